//! The trace in Chrome's trace event format, which Perfetto and `chrome://tracing` show.

use serde_json::{Value, json};

use super::lanes::KINDS;
use super::timeline::{Bar, Class, Timeline};

/// The name of the process in the trace.
const PROCESS: &str = "clm";

/// Returns the text of the file. Times in the format are in microseconds, like those of the timeline.
pub(super) fn json(timeline: &Timeline) -> String {
    let pid = std::process::id();
    let mut events = vec![json!({
        "ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": { "name": PROCESS },
    })];
    for (place, name) in timeline.lanes.iter().enumerate() {
        let tid = tid(place);
        events.push(json!({
            "ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": { "name": name },
        }));
        events.push(json!({
            "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": { "sort_index": tid },
        }));
    }
    events.extend(timeline.bars.iter().map(|bar| complete(timeline, bar, pid)));
    for (at, lengths) in &timeline.queue {
        let lengths = KINDS.iter().zip(lengths);
        let args: serde_json::Map<String, Value> = lengths
            .map(|(kind, length)| ((*kind).to_owned(), Value::from(*length)))
            .collect();
        events.push(json!({ "ph": "C", "name": "queue", "pid": pid, "ts": at, "args": args }));
    }
    for cores in &timeline.cpu {
        events.push(json!({
            "ph": "C", "name": "busy processors", "pid": pid, "ts": cores.at,
            "args": { "clm": rounded(cores.own), "others": rounded((cores.all - cores.own).max(0.0)) },
        }));
    }
    let counts = &timeline.counts;
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    // One event per line, so that the file can be searched with grep.
    format!(
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{},\"traceEvents\":[\n{}\n]}}\n",
        json!({
            "program": concat!("clm ", env!("CARGO_PKG_VERSION")),
            "built": counts.built,
            "written": counts.written,
            "restored": counts.restored,
            "fresh": counts.fresh,
            "failed": counts.failed,
            "finished": timeline.is_over,
        }),
        lines.join(",\n")
    )
}

/// Converts a lane to a thread id. Ids of lanes start at 1, since 0 stands for the process.
fn tid(lane: usize) -> usize {
    lane + 1
}

fn complete(timeline: &Timeline, bar: &Bar, pid: u32) -> Value {
    let about = bar.action.map(|place| (place, &timeline.actions[place]));
    let mut args = serde_json::Map::new();
    let category = match (bar.class, about) {
        (Class::Work, Some((place, action))) => {
            for (key, value) in [
                ("action", Value::from(action.id.as_str())),
                ("kind", Value::from(action.kind.as_str())),
                ("source", Value::from(action.source.as_str())),
                ("status", Value::from(action.status.as_str())),
                ("reasons", Value::from(action.reasons.as_str())),
                ("waited_ms", millis(action.waited)),
                ("duration_ms", millis(action.duration())),
                ("attempt", Value::from(action.attempt)),
                ("critical", Value::from(timeline.critical.contains(&place))),
            ] {
                args.insert(key.to_owned(), value);
            }
            action.kind.as_str()
        }
        (class, about) => {
            if let Some((_, action)) = about {
                args.insert("action".to_owned(), Value::from(action.id.as_str()));
            }
            match class {
                Class::Phase => "phase",
                Class::Start => "start",
                Class::Wait | Class::Work => "wait",
            }
        }
    };
    json!({
        "ph": "X", "name": bar.name, "cat": category, "pid": pid, "tid": tid(bar.lane),
        "ts": bar.start, "dur": bar.duration(), "args": args,
    })
}

fn millis(micros: u64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a time of many years")]
    Value::from(micros as f64 / 1000.0)
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
