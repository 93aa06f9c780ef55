//! Results of requests: latency by kind, and reasons for failures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Outcome;

/// Maximum latency that is recorded exactly, in microseconds; longer ones count as this.
const MAX_MICROS: u64 = 120_000_000;
/// Maximum number of times that each failure is reported on standard error.
const TOLD: u64 = 3;

/// Counts requests until the measurements are taken.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Prototype of the histograms, since creating one may fail.
    empty: Histogram<u64>,
    figures: Mutex<Figures>,
}

#[derive(Debug)]
struct Figures {
    since: Instant,
    kinds: BTreeMap<&'static str, Histogram<u64>>,
    /// Successful requests of every kind.
    good: Histogram<u64>,
    failures: BTreeMap<String, u64>,
}

impl Figures {
    fn new(good: Histogram<u64>) -> Self {
        Self {
            since: Instant::now(),
            kinds: BTreeMap::new(),
            good,
            failures: BTreeMap::new(),
        }
    }
}

impl Recorder {
    /// Creates an empty recorder.
    ///
    /// # Errors
    ///
    /// Never in practice: the bounds are valid constants.
    pub(crate) fn new() -> Outcome<Self> {
        let empty = Histogram::new_with_bounds(1, MAX_MICROS, 3)?;
        Ok(Self {
            figures: Mutex::new(Figures::new(empty.clone())),
            empty,
        })
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request that ended, successfully or not. The latency of a failed request counts
    /// too, since its caller waited for it.
    pub(crate) fn record(&self, kind: &'static str, took: Duration, failure: Option<&str>) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MAX_MICROS);
        let mut figures = self.figures();
        let histogram = figures
            .kinds
            .entry(kind)
            .or_insert_with(|| self.empty.clone());
        histogram.saturating_record(micros.clamp(1, MAX_MICROS));
        if failure.is_none() {
            figures.good.saturating_record(micros.clamp(1, MAX_MICROS));
        }
        if let Some(failure) = failure {
            let reason = format!("{kind}: {failure}");
            let seconds = figures.since.elapsed().as_secs_f64();
            let times = figures.failures.entry(reason).or_default();
            *times += 1;
            if *times <= TOLD {
                eprintln!("keyward-loadtest: after {seconds:.3} s: {kind}: {failure}");
            }
        }
    }

    /// Returns the measurements since the last call and resets them.
    pub(crate) fn take(&self) -> Summary {
        let figures = std::mem::replace(&mut *self.figures(), Figures::new(self.empty.clone()));
        let mut all = self.empty.clone();
        for histogram in figures.kinds.values() {
            // All have the same bounds, so that any value fits.
            let _ = all.add(histogram);
        }
        Summary {
            took: figures.since.elapsed(),
            figures,
            all,
        }
    }
}

/// Measurements of a period.
#[derive(Debug)]
pub(crate) struct Summary {
    took: Duration,
    figures: Figures,
    all: Histogram<u64>,
}

impl Summary {
    /// Returns the number of failed requests.
    pub(crate) fn failed(&self) -> u64 {
        self.figures.failures.values().sum()
    }

    /// Returns all measurements; `micros` are times in microseconds, `good` those of successful
    /// requests, `rate` is requests per second.
    pub(crate) fn json(&self) -> Value {
        let kinds = self.figures.kinds.iter();
        let kinds: serde_json::Map<_, _> = kinds
            .map(|(kind, histogram)| ((*kind).to_owned(), times(histogram)))
            .collect();
        let seconds = self.took.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let rate = self.all.len() as f64 / seconds;
        json!({
            "sent": self.all.len(),
            "failed": self.failed(),
            "seconds": rounded(seconds),
            "rate": rounded(rate),
            "micros": times(&self.all),
            "good": times(&self.figures.good),
            "kinds": kinds,
            "failures": self.figures.failures,
        })
    }
}

fn times(histogram: &Histogram<u64>) -> Value {
    json!({
        "count": histogram.len(),
        "p50": histogram.value_at_quantile(0.5),
        "p90": histogram.value_at_quantile(0.9),
        "p99": histogram.value_at_quantile(0.99),
        "p99.9": histogram.value_at_quantile(0.999),
        "max": histogram.max(),
    })
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
