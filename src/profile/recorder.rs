//! Records spans: when each began and ended, and its fields.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::parallel::lock;

/// The span of a whole run.
pub(super) const RUN: &str = "run";

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Its number, which is never reused, unlike the ids of spans.
    pub number: u64,
    /// The number of the span that contains it.
    pub parent: Option<u64>,
    /// What it measures, such as `plan` or `work`.
    pub name: &'static str,
    /// When it began, since the recorder was started.
    pub start: Duration,
    /// When it ended, since the recorder was started; `None` while it is open.
    pub end: Option<Duration>,
    /// Its fields, in the order in which they were recorded.
    pub fields: Vec<(&'static str, String)>,
}

/// Stores the spans of this program. Clones share the same records.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Shared>);

struct Shared {
    origin: Instant,
    spans: Mutex<Spans>,
}

#[derive(Default)]
struct Spans {
    count: u64,
    /// When [`Recorder::take`] was last called.
    taken: Duration,
    open: HashMap<u64, Record>,
    done: Vec<Record>,
}

impl Recorder {
    /// Creates a recorder; its clock starts now.
    pub(crate) fn start() -> Self {
        Self(Arc::new(Shared {
            origin: Instant::now(),
            spans: Mutex::default(),
        }))
    }

    /// Returns whether a span is recorded: spans of this program are, events are not.
    pub(crate) fn wants(metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    /// Returns the time since it was started.
    pub(crate) fn now(&self) -> Duration {
        self.0.origin.elapsed()
    }

    /// Returns when the first run after the last call of [`Recorder::take`] began.
    pub(crate) fn first_run(&self) -> Option<Duration> {
        let spans = self.spans();
        let runs = spans.done.iter().chain(spans.open.values());
        // A run that was open then is still in the records, but it began before.
        runs.filter(|record| record.name == RUN && record.start >= spans.taken)
            .map(|record| record.start)
            .min()
    }

    /// Returns whether any span is open.
    pub(crate) fn is_busy(&self) -> bool {
        !self.spans().open.is_empty()
    }

    /// Returns everything that was recorded since the last call, by start. Open spans have no end, and are returned
    /// again by the next call.
    pub(crate) fn take(&self) -> Vec<Record> {
        let now = self.now();
        let mut spans = self.spans();
        spans.taken = now;
        let mut records = std::mem::take(&mut spans.done);
        records.extend(spans.open.values().cloned());
        drop(spans);
        records.sort_by_key(|record| (record.start, record.number));
        records
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        lock(&self.0.spans)
    }
}

impl Record {
    /// Returns the value of a field, or an empty text if it has none of this name.
    pub(crate) fn field(&self, name: &str) -> &str {
        // The value that was recorded last counts.
        let field = self.fields.iter().rev().find(|(key, _)| *key == name);
        field.map_or("", |(_, value)| value)
    }
}

impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(Vec::new());
        attributes.record(&mut fields);
        let parent = context.span(id).and_then(|span| span.parent());
        let parent = parent.map(|parent| parent.id().into_u64());
        let start = self.now();
        let mut spans = self.spans();
        spans.count += 1;
        let record = Record {
            number: spans.count,
            parent: parent
                .and_then(|id| spans.open.get(&id))
                .map(|parent| parent.number),
            name: attributes.metadata().name(),
            start,
            end: None,
            fields: fields.0,
        };
        spans.open.insert(id.into_u64(), record);
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Vec::new());
        values.record(&mut fields);
        if let Some(record) = self.spans().open.get_mut(&id.into_u64()) {
            record.fields.append(&mut fields.0);
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let end = self.now();
        let mut spans = self.spans();
        if let Some(mut record) = spans.open.remove(&id.into_u64()) {
            record.end = Some(end);
            spans.done.push(record);
        }
    }
}

/// Collects the fields of a span as text.
struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn spans_are_recorded_with_their_parents_and_last_words() {
        let recorder = Recorder::start();
        let subscriber = tracing_subscriber::registry().with(
            recorder
                .clone()
                .with_filter(tracing_subscriber::filter::filter_fn(Recorder::wants)),
        );
        tracing::subscriber::with_default(subscriber, || {
            let open = tracing::debug_span!("outer", status = tracing::field::Empty, number = 7);
            open.in_scope(|| {
                tracing::debug!("a line of the log");
                tracing::debug_span!("inner").in_scope(|| ());
                tracing::debug_span!(target: "another", "foreign").in_scope(|| ());
            });
            open.record("status", "built");
            let records = recorder.take();
            let names: Vec<_> = records.iter().map(|record| record.name).collect();
            assert_eq!(names, ["outer", "inner"]);
            let (outer, inner) = (&records[0], &records[1]);
            assert_eq!(inner.parent, Some(outer.number));
            assert_eq!(outer.end, None);
            assert!(inner.start >= outer.start && inner.end.unwrap() >= inner.start);
            assert_eq!(
                (outer.field("status"), outer.field("number")),
                ("built", "7")
            );
            drop(open);
            let ended = recorder.take();
            assert_eq!(ended.len(), 1);
            assert_eq!(
                (ended[0].number, ended[0].end.is_some()),
                (outer.number, true)
            );
        });
    }
}
