//! Spans of requests, found by request id.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Fields of a closed span.
#[derive(Debug, Clone, Default)]
pub struct Span(BTreeMap<&'static str, String>);

impl Span {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

static CLOSED: Mutex<Vec<Span>> = Mutex::new(Vec::new());

/// Returns the spans of the requests with this id.
pub fn spans_of(request_id: &str) -> Vec<Span> {
    let closed = CLOSED.lock().unwrap();
    closed
        .iter()
        .filter(|span| span.field("request_id") == Some(request_id))
        .cloned()
        .collect()
}

/// Records the spans of requests from now on.
pub(super) fn record() {
    let own = Targets::new().with_target("keyward", LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(Recorder.with_filter(own))
        .init();
}

struct Recorder;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Span::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(fields) = context.span(id).unwrap().extensions_mut().get_mut::<Span>() {
            values.record(fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions_mut().remove::<Span>();
        if let Some(fields) = fields.filter(|_| span.name() == "call") {
            CLOSED.lock().unwrap().push(fields);
        }
    }
}

impl Visit for Span {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
