//! The page of `--timings`: figures and tables, and a timeline that a script in the page draws. It loads no other
//! files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::lanes::KINDS;
use super::timeline::{Action, Bar, Class, Timeline};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const PROGRAM: &str = include_str!("page/page.js");
/// How many of the slowest actions are listed.
const SLOWEST: usize = 100;

/// Returns the text of the page.
pub(super) fn html(timeline: &Timeline) -> String {
    // The order matters: text from the course is inserted last, so that no placeholder is replaced in it.
    let parts = [
        ("style", STYLE.to_owned()),
        ("program", PROGRAM.to_owned()),
        ("outcome", outcome(timeline)),
        ("figures", figures(timeline)),
        ("kinds", kinds(timeline)),
        ("phases", phases(timeline)),
        ("critical", critical(timeline)),
        ("slowest", slowest(timeline)),
        ("data", data(timeline)),
    ];
    let mut page = String::new();
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("<!-- ") {
        page.push_str(before);
        let (name, after) = after.split_once(" -->").unwrap_or((after, ""));
        let part = parts.iter().find(|(part, _)| *part == name);
        page.push_str(part.map_or("", |(_, text)| text));
        rest = after;
    }
    page.push_str(rest);
    page
}

fn outcome(timeline: &Timeline) -> String {
    let counts = &timeline.counts;
    let how = match (timeline.is_over, timeline.has_run()) {
        (true, _) => "",
        (false, true) => "The run was stopped before its end. ",
        (false, false) => "There was no run. ",
    };
    format!(
        "{how}Built {}, written {}, restored {}, fresh {}, removed {}, failed {} in {}",
        counts.built,
        counts.written,
        counts.restored,
        counts.fresh,
        counts.removed,
        counts.failed,
        time(timeline.total)
    )
}

/// Returns the figures about the whole run, each with its name and its meaning.
fn figures(timeline: &Timeline) -> String {
    let total = timeline.total.max(1);
    let busy: u64 = timeline.of_class(Class::Work).map(Bar::duration).sum();
    let first = timeline.of_class(Class::Work).map(|bar| bar.start).min();
    let starts = timeline.of_class(Class::Start).count();
    let starting: u64 = timeline.of_class(Class::Start).map(Bar::duration).sum();
    let chain = timeline.critical.iter();
    let chain: u64 = chain.map(|place| timeline.actions[*place].duration()).sum();
    let counts = &timeline.counts;
    let hits = counts.restored + counts.fresh;
    let all = hits + counts.built + counts.written + counts.failed + counts.superseded;
    let mut figures = vec![
        (
            "Total",
            time(timeline.total),
            "from start to end".to_owned(),
        ),
        (
            "Parallelism",
            format!("{:.2}", ratio(busy, total)),
            format!("{} of work on actions, by the total", time(busy)),
        ),
        (
            "First action after",
            first.map_or("–".to_owned(), time),
            "reading, planning and deciding".to_owned(),
        ),
        (
            "Critical path",
            time(chain),
            format!(
                "{:.0} % of the total; no number of workers makes it shorter",
                100.0 * ratio(chain, total)
            ),
        ),
        (
            "Cache hits",
            format!("{hits} of {all}"),
            format!("{} fresh, {} restored", counts.fresh, counts.restored),
        ),
        (
            "Cold starts",
            starts.to_string(),
            format!("{} for workers and kernels, in all", time(starting)),
        ),
    ];
    if let Some(own) = average(timeline) {
        figures.push((
            "Processors",
            format!("{own:.2}"),
            "busy with this, on average".to_owned(),
        ));
    }
    let html = |(name, value, meaning)| {
        format!("<div><dt>{name}</dt><dd><b>{value}</b> <span>{meaning}</span></dd></div>")
    };
    figures.into_iter().map(html).collect()
}

/// Returns how many processors clm and its processes used on average.
fn average(timeline: &Timeline) -> Option<f64> {
    let mut used = 0.0;
    let mut before = 0;
    for cores in &timeline.cpu {
        used += cores.own * ratio(cores.at - before, 1);
        before = cores.at;
    }
    (before > 0).then(|| used / ratio(before, 1))
}

fn kinds(timeline: &Timeline) -> String {
    let mut by_kind: BTreeMap<&str, Vec<&Action>> = BTreeMap::new();
    for action in &timeline.actions {
        by_kind.entry(&action.kind).or_default().push(action);
    }
    let mut text = String::new();
    for (kind, actions) in by_kind {
        let durations = || actions.iter().map(|action| action.duration());
        let count = actions.len() as u64;
        let sum: u64 = durations().sum();
        let waited: u64 = actions.iter().map(|action| action.waited).sum();
        let _ = write!(
            text,
            "<tr><th scope=\"row\">{}</th><td>{count}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(kind),
            time(sum),
            time(sum / count.max(1)),
            time(durations().max().unwrap_or(0)),
            wait(waited / count.max(1)),
        );
    }
    or_none(text, 6, "nothing was made")
}

/// Returns the table of the engine's phases. Their own time does not include that of the phases inside them.
fn phases(timeline: &Timeline) -> String {
    struct Phase {
        count: u64,
        whole: u64,
        own: u64,
    }
    let mut phases: BTreeMap<&str, Phase> = BTreeMap::new();
    // The phases that contain the current bar.
    let mut around: Vec<&str> = Vec::new();
    for bar in timeline.of_class(Class::Phase) {
        let took = bar.duration();
        around.truncate(bar.depth);
        if let Some(outer) = around.last().and_then(|outer| phases.get_mut(outer)) {
            outer.own = outer.own.saturating_sub(took);
        }
        around.push(&bar.name);
        let phase = phases.entry(&bar.name).or_insert(Phase {
            count: 0,
            whole: 0,
            own: 0,
        });
        phase.count += 1;
        phase.whole += took;
        phase.own += took;
    }
    let mut phases: Vec<(&str, Phase)> = phases.into_iter().collect();
    phases.sort_by_key(|(_, phase)| std::cmp::Reverse(phase.own));
    let mut text = String::new();
    for (name, phase) in phases {
        let _ = write!(
            text,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(name),
            phase.count,
            time(phase.own),
            time(phase.whole),
        );
    }
    or_none(text, 4, "nothing was measured")
}

fn critical(timeline: &Timeline) -> String {
    let mut text = String::new();
    for place in &timeline.critical {
        let action = &timeline.actions[*place];
        let _ = write!(
            text,
            "<li>{} {} <span>{}</span></li>",
            button(*place, action),
            time(action.duration()),
            escape(&action.kind),
        );
    }
    if text.is_empty() {
        return "<li>nothing was made</li>".to_owned();
    }
    text
}

fn slowest(timeline: &Timeline) -> String {
    let mut actions: Vec<(usize, &Action)> = timeline.actions.iter().enumerate().collect();
    actions.sort_by_key(|(_, action)| std::cmp::Reverse(action.duration()));
    let mut text = String::new();
    for (place, action) in actions.into_iter().take(SLOWEST) {
        let status = escape(&action.status);
        let mark = match timeline.critical.contains(&place) {
            true => " class=\"critical\"",
            false => "",
        };
        let _ = write!(
            text,
            "<tr{mark}><th scope=\"row\">{}</th><td>{}</td><td class=\"{status}\">{status}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}</td></tr>",
            button(place, action),
            escape(&action.kind),
            time(action.duration()),
            wait(action.waited),
            time(action.start),
            escape(&action.reasons),
        );
    }
    or_none(text, 7, "nothing was made")
}

/// Returns a button that shows an action in the timeline.
fn button(place: usize, action: &Action) -> String {
    format!(
        "<button type=\"button\" data-action=\"{place}\" title=\"{}\">{}</button>",
        escape(&action.id),
        escape(action.label())
    )
}

fn or_none(rows: String, columns: usize, none: &str) -> String {
    match rows.is_empty() {
        true => format!("<tr><td colspan=\"{columns}\" class=\"text\">{none}</td></tr>"),
        false => rows,
    }
}

/// Returns the data for the script that draws the timeline.
fn data(timeline: &Timeline) -> String {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let actions: Vec<Value> = timeline
        .actions
        .iter()
        .enumerate()
        .map(|(place, action)| {
            let after = action.after.iter();
            let after: Vec<usize> = after
                .filter_map(|id| places.get(id.as_str()).copied())
                .collect();
            places.insert(&action.id, place);
            json!([
                action.id,
                action.kind,
                action.source,
                action.status,
                action.reasons,
                action.waited,
                action.start,
                action.duration(),
                after,
            ])
        })
        .collect();
    let bars: Vec<Value> = timeline.bars.iter().map(bar_data).collect();
    let cpu: Vec<Value> = timeline
        .cpu
        .iter()
        .map(|cores| json!([cores.at, cores.own, cores.all]))
        .collect();
    let processors = crate::parallel::processors();
    let data = json!({
        "total": timeline.total,
        "lanes": timeline.lanes,
        "bars": bars,
        "actions": actions,
        "critical": timeline.critical,
        "kinds": KINDS,
        "queue": timeline.queue,
        "cpu": cpu,
        "processors": processors,
    });
    // Without `<` the data cannot end the element that contains it.
    data.to_string().replace('<', "\\u003c")
}

fn bar_data(bar: &Bar) -> Value {
    let class = match bar.class {
        Class::Phase => "phase",
        Class::Work => "work",
        Class::Start => "start",
        Class::Wait => "wait",
    };
    let took = bar.duration();
    json!([
        bar.lane, bar.depth, class, bar.name, bar.start, took, bar.action
    ])
}

#[expect(clippy::cast_precision_loss, reason = "times of many years")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Formats a time.
fn time(micros: u64) -> String {
    let seconds = ratio(micros, 1_000_000);
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..10_000 => format!("{:.1} ms", seconds * 1000.0),
        10_000..1_000_000 => format!("{:.0} ms", seconds * 1000.0),
        1_000_000..100_000_000 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// Formats a waiting time; actions made in this process have none.
fn wait(micros: u64) -> String {
    match micros {
        0 => "–".to_owned(),
        _ => time(micros),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times = [3, 4200, 42_400, 3_141_592, 345_600_000].map(time);
        assert_eq!(times, ["3 µs", "4.2 ms", "42 ms", "3.14 s", "346 s"]);
    }
}
