//! What came of each request: how long it took by its kind, and why it failed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Outcome;

/// The longest time that is told from a longer one, in microseconds.
const MAX_MICROS: u64 = 120_000_000;
/// How often each failure is told on standard error.
const TOLD: u64 = 3;

/// Counts requests until the figures are taken.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// What each histogram is made of, since making one may fail.
    empty: Histogram<u64>,
    figures: Mutex<Figures>,
}

#[derive(Debug)]
struct Figures {
    since: Instant,
    kinds: BTreeMap<&'static str, Histogram<u64>>,
    /// Those that did not fail, of every kind.
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
    /// Starts at nothing.
    ///
    /// # Errors
    ///
    /// None that can be met: the bounds are constants that fit.
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

    /// Counts a request that ended, well or not. A failed one counts with its time too, since its
    /// caller waited that long.
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
                eprintln!("keyward-siege: after {seconds:.3} s: {kind}: {failure}");
            }
        }
    }

    /// The figures since the last time, which begin anew.
    pub(crate) fn take(&self) -> Summary {
        let figures = std::mem::replace(&mut *self.figures(), Figures::new(self.empty.clone()));
        let mut all = self.empty.clone();
        for histogram in figures.kinds.values() {
            // All have the same bounds, so that nothing is too large for another.
            let _ = all.add(histogram);
        }
        Summary {
            took: figures.since.elapsed(),
            figures,
            all,
        }
    }
}

/// What was counted in a time.
#[derive(Debug)]
pub(crate) struct Summary {
    took: Duration,
    figures: Figures,
    all: Histogram<u64>,
}

impl Summary {
    /// How many requests failed.
    pub(crate) fn failed(&self) -> u64 {
        self.figures.failures.values().sum()
    }

    /// All of it; `micros` are times in microseconds, `good` those of requests that did not fail, `rate` is requests per second.
    pub(crate) fn json(&self) -> Value {
        let kinds = self.figures.kinds.iter();
        let kinds: serde_json::Map<_, _> = kinds
            .map(|(kind, histogram)| ((*kind).to_owned(), times(histogram)))
            .collect();
        let seconds = self.took.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "so many are never counted")]
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
