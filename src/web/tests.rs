//! Tests of the preview's state after sequences of events.

use std::collections::HashSet;
use std::sync::Arc;

use crate::course::words::Localized;
use crate::course::{Kind, Lang, RelPath};
use crate::diagnostic::{Diagnostic, Reported};
use crate::digest::Digest;
use crate::events::{
    ActionKind, Contents, Counts, Event, Index, IndexClass, IndexOutput, IndexSection, IndexTarget,
    PlannedCourse, Status,
};

use super::model::{Made, Model};

const DECK: &str = "slides/m/t/slides_a.py";
const OTHER: &str = "slides/m/t/slides_b.de.py";
const HALF: &str = "slides/m/t/slides_b.en.py";

fn index() -> Index {
    index_in(Lang::DE)
}

/// The index of a course in English and this language.
fn index_in(other: Lang) -> Index {
    let mut outputs = Vec::new();
    let all = [
        (0, DECK, other, Kind::CodeAlong, "plain"),
        (0, DECK, other, Kind::Completed, "executed"),
        (0, DECK, Lang::EN, Kind::Completed, "executed"),
        (1, DECK, Lang::EN, Kind::Completed, "executed"),
        (1, DECK, Lang::EN, Kind::Trainer, "executed"),
        (1, OTHER, other, Kind::Trainer, "executed"),
        (1, HALF, Lang::EN, Kind::Trainer, "executed"),
    ];
    for (target, source, lang, kind, group) in all {
        let name = if source == DECK { "01 A" } else { "02 B" };
        let source = &source.replace(".de.", &format!(".{other}."));
        outputs.push(IndexOutput {
            path: format!("output/t{target}/{lang}/{kind}/{name}.html").into(),
            source: RelPath::new(source).unwrap(),
            action: Some(format!("html {source} {lang} {group}").into()),
            target,
            section: Some(0),
            topic: Some("t".into()),
            lang,
            class: IndexClass::Html,
            kind: Some(kind),
        });
    }
    Index {
        title: Localized::same("Course"),
        sections: vec![IndexSection {
            name: Localized::same("Section"),
            topics: vec!["t".to_owned()],
        }],
        targets: (0..2)
            .map(|target| IndexTarget {
                name: format!("t{target}"),
                root: format!("output/t{target}"),
            })
            .collect(),
        outputs,
        folder: None,
    }
}

/// A plan with this index, in which the first deck is executed.
struct Fixed(Arc<Index>);

impl PlannedCourse for Fixed {
    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.0)
    }

    fn actions(&self) -> HashSet<&str> {
        let outputs = self.0.outputs.iter();
        let actions = outputs.filter_map(|output| output.action.as_deref());
        let has_deck = self
            .0
            .outputs
            .iter()
            .any(|output| output.source.as_str() == DECK);
        actions.chain(has_deck.then_some(EXECUTE.0)).collect()
    }
}

struct Story(Model);

impl Story {
    fn new() -> Self {
        let mut story = Self(Model::default());
        story.plan(index());
        story
    }

    fn plan(&mut self, index: Index) {
        self.apply(Event::Planned {
            outputs: index.outputs.len() as u64,
            contents: Contents::new(Fixed(Arc::new(index))),
        });
    }

    fn report(&mut self, action: &str, diagnostic: Diagnostic) {
        self.apply(Event::Diagnostic(Reported {
            action: Some(action.into()),
            diagnostic,
        }));
    }

    fn apply(&mut self, event: Event) {
        self.0.apply(&event, 1000);
    }

    /// Applies a run with these diagnostics (reported by the first part of the same source, or of the course) and parts
    /// (action, source and outcome).
    fn run(&mut self, diagnostics: &[Diagnostic], parts: &[(&str, &str, Status)]) {
        self.begin();
        for diagnostic in diagnostics {
            let of_file = |part: &&(&str, &str, Status)| Some(part.1) == diagnostic.file.as_deref();
            self.apply(Event::Diagnostic(Reported {
                action: parts.iter().find(of_file).map(|part| part.0.into()),
                diagnostic: diagnostic.clone(),
            }));
        }
        for (action, source, status) in parts {
            self.finish(action, source, *status);
        }
        self.end();
    }

    fn begin(&mut self) {
        self.apply(Event::RunStarted {
            run: 1,
            trigger: "watch".to_owned(),
            actions: 9,
        });
    }

    fn start(&mut self, action: &str, source: &str) {
        self.apply(Event::ActionStarted {
            action: action.to_owned(),
            kind: kind(action),
            source: source.to_owned(),
            reasons: Vec::new(),
        });
    }

    fn finish(&mut self, action: &str, source: &str, status: Status) {
        self.apply(Event::ActionFinished {
            action: action.to_owned(),
            kind: kind(action),
            source: source.to_owned(),
            status,
            duration_ms: 5,
            replayed: false,
            cause: None,
            not_made: 0,
            machine: None,
        });
    }

    fn end(&mut self) {
        self.apply(Event::RunFinished {
            run: 1,
            counts: Counts::default(),
            duration_ms: 10,
            interrupted: false,
        });
    }

    fn problems(&self) -> Vec<&str> {
        let problems = self.0.standing.diagnostics();
        problems.map(|problem| problem.message.as_str()).collect()
    }

    fn ended(&self, id: &str) -> Option<Status> {
        let mut actions = self.0.actions.iter();
        actions.find(|action| action.id == id)?.ended
    }
}

fn kind(action: &str) -> ActionKind {
    if action.starts_with("execute") {
        ActionKind::Execute
    } else {
        ActionKind::Html
    }
}

fn error(message: &str, file: &str) -> Diagnostic {
    Diagnostic::error(message).at(file, Some(1))
}

const EXECUTE: (&str, &str) = ("execute slides/m/t/slides_a.py de", DECK);
const PAGE: (&str, &str) = ("html slides/m/t/slides_a.py de executed", DECK);
const PLAIN: (&str, &str) = ("html slides/m/t/slides_a.py de plain", DECK);

fn with(
    action: (&'static str, &'static str),
    status: Status,
) -> (&'static str, &'static str, Status) {
    (action.0, action.1, status)
}

#[test]
fn an_error_holds_until_what_failed_is_done() {
    let mut story = Story::new();
    let trouble = error("broken", DECK);
    let failed = [with(EXECUTE, Status::Failed), with(PAGE, Status::Failed)];
    story.run(std::slice::from_ref(&trouble), &failed);
    assert_eq!(story.problems(), ["broken"]);
    // Actions that do not depend on the execution are built first.
    story.begin();
    story.finish(PLAIN.0, DECK, Status::Built);
    story.start(EXECUTE.0, DECK);
    assert_eq!(story.problems(), ["broken"]);
    story.finish(EXECUTE.0, DECK, Status::Built);
    assert!(story.problems().is_empty(), "it goes before the run ends");
    story.finish(PAGE.0, DECK, Status::Built);
    story.end();

    story.run(&[trouble], &failed);
    // A run that does not reach the failed action proves nothing, nor does one in which it was superseded.
    story.run(&[], &[with(PLAIN, Status::Built)]);
    story.run(
        &[],
        &[
            with(EXECUTE, Status::Superseded),
            with(PAGE, Status::Superseded),
        ],
    );
    assert_eq!(story.problems(), ["broken"]);
    assert_eq!(story.ended(PAGE.0), Some(Status::Failed));
    // Another error replaces it as soon as the action has failed again.
    story.begin();
    story.report(EXECUTE.0, error("another", DECK));
    assert_eq!(story.problems(), ["broken", "another"]);
    story.finish(EXECUTE.0, DECK, Status::Failed);
    story.finish(PAGE.0, DECK, Status::Failed);
    assert_eq!(story.problems(), ["another"]);
    story.end();
    assert_eq!(story.problems(), ["another"]);
}

#[test]
fn a_failure_that_is_said_while_others_succeed_stays() {
    let mut story = Story::new();
    story.run(
        &[],
        &[with(PAGE, Status::Fresh), with(PLAIN, Status::Fresh)],
    );
    story.begin();
    story.report(EXECUTE.0, error("broken", DECK));
    story.finish(PLAIN.0, DECK, Status::Built);
    assert_eq!(story.problems(), ["broken"], "said, and not yet failed");
    story.finish(EXECUTE.0, DECK, Status::Failed);
    story.finish(PLAIN.0, DECK, Status::Built);
    assert_eq!(story.problems(), ["broken"], "failed, and its page not yet");
}

#[test]
fn warnings_hold_until_their_source_is_done_again() {
    let mut story = Story::new();
    let warning = Diagnostic::warning("odd").at(DECK, Some(3));
    story.run(std::slice::from_ref(&warning), &[with(PAGE, Status::Built)]);
    story.run(&[], &[("html b", OTHER, Status::Built)]);
    assert_eq!(story.problems(), ["odd"]);
    story.run(&[warning], &[with(PAGE, Status::Fresh)]);
    assert_eq!(story.problems(), ["odd"], "said again, and not twice");
    story.run(&[], &[with(PAGE, Status::Built)]);
    assert!(story.problems().is_empty());
}

#[test]
fn what_planning_says_holds_until_the_next_planning() {
    let mut story = Story::new();
    let spec = error("no such topic", "course.xml");
    let general = Diagnostic::error("too many");
    let clash = error("two decks for one output", DECK);
    let all = [spec, general, clash.clone()];
    story.run(&all, &[]);
    assert_eq!(story.problems().len(), 3);
    // A run of the same plan does not report it again.
    story.run(&[], &[with(PAGE, Status::Built)]);
    assert_eq!(story.problems().len(), 3);
    story.plan(index());
    story.run(&[clash], &[]);
    assert_eq!(story.problems(), ["two decks for one output"]);
    // The specification cannot be read: there is no new index, and nothing is withdrawn.
    story.run(&[error("broken", "course.xml")], &[]);
    assert_eq!(story.problems().len(), 2);
    story.plan(index());
    story.run(&[], &[]);
    assert!(story.problems().is_empty());
}

#[test]
fn a_source_that_is_gone_takes_its_problems_along() {
    let mut story = Story::new();
    story.run(
        &[error("broken", DECK)],
        &[with(EXECUTE, Status::Failed), with(PAGE, Status::Failed)],
    );
    let mut smaller = index();
    smaller
        .outputs
        .retain(|output| output.source.as_str() != DECK);
    story.plan(smaller);
    assert_eq!(story.ended(PAGE.0), None);
    story.run(&[], &[]);
    assert!(story.problems().is_empty());
}

#[test]
fn running_things_and_progress() {
    let mut story = Story::new();
    story.begin();
    story.start(PAGE.0, DECK);
    story.apply(Event::Progress {
        action: PAGE.0.to_owned(),
        kind: ActionKind::Html,
        done: 1,
        total: 3,
        label: "trainer".to_owned(),
    });
    let page = story.0.page("/out/t0/de/completed/01%20A.html", 0, 7);
    assert_eq!((page.running[0].done, page.running[0].total), (1, 3));
    assert!(
        story
            .0
            .page("/out/t1/de/trainer/02%20B.html", 0, 7)
            .running
            .is_empty()
    );
    story.finish(PAGE.0, DECK, Status::Built);
    story.finish(PAGE.0, DECK, Status::Fresh);
    assert_eq!(
        story.0.standing.run().map(|run| run.finished),
        Some(1),
        "an action counts once"
    );
    // After a cancelled run, no action is running.
    story.start(EXECUTE.0, DECK);
    story.end();
    assert!(story.0.standing.running().is_empty());
}

#[test]
fn outputs_keep_their_age_over_plannings() {
    let mut story = Story::new();
    let path = index().outputs[1].path.clone();
    story.apply(Event::Output {
        path: path.to_string(),
        digest: Some(Digest::of("x")),
    });
    assert_eq!(story.0.outputs[1].made, Made::At(1000));
    assert_eq!(story.0.unseen().len(), 6);
    let catalog = story.0.catalog.clone().unwrap();
    story
        .0
        .seen(&catalog, &[(0, Made::Missing), (1, Made::At(5))]);
    assert_eq!(
        (story.0.outputs[0].made, story.0.outputs[1].made),
        (Made::Missing, Made::At(1000))
    );
    let mut changed = index();
    changed.outputs.remove(0);
    story.plan(changed);
    assert_eq!(story.0.outputs[0].made, Made::At(1000));
    // Files of the old course are ignored.
    story.0.seen(&catalog, &[(2, Made::Missing)]);
    assert_eq!(story.0.outputs[2].made, Made::Unknown);
    story.apply(Event::Output {
        path: path.to_string(),
        digest: None,
    });
    assert_eq!(story.0.outputs[0].made, Made::Missing);
}

#[test]
fn only_what_has_changed_is_told() {
    let mut story = Story::new();
    story.run(&[], &[with(PAGE, Status::Built)]);
    let known = story.0.change;
    let nothing = story.0.since(Some(known), 1, 0);
    assert!(nothing.course.is_none() && nothing.actions.is_empty() && nothing.run.is_none());
    assert!(nothing.diagnostics.is_none() && nothing.made.is_empty());
    story.finish(PLAIN.0, DECK, Status::Built);
    let shown = story.0.since(Some(known), 1, 0);
    let shown: Vec<&str> = shown
        .actions
        .iter()
        .map(|action| action.id.as_str())
        .collect();
    assert_eq!(shown, [PLAIN.0]);
    assert!(
        story.0.since(Some(known + 1000), 1, 0).course.is_some(),
        "a change of the future"
    );
    let mut changed = index();
    changed.outputs.remove(0);
    story.plan(changed);
    let shown = story.0.since(Some(known), 1, 0);
    assert_eq!(shown.course.map(|course| course.outputs.len()), Some(6));
    assert_eq!(
        shown.actions.len(),
        story.0.actions.len(),
        "numbers of actions are new"
    );
}

#[test]
fn siblings_of_pages() {
    let story = Story::new();
    let siblings = |address: &str| {
        let page = story.0.page(address, 0, 1);
        let addresses = |of: &[super::view::Sibling]| {
            let shown = of.iter().map(|sibling| {
                let mark = if sibling.is_current { "*" } else { "" };
                format!("{mark}{}", sibling.address.trim_start_matches("/out/"))
            });
            shown.collect::<Vec<_>>().join(" ")
        };
        (addresses(&page.languages), addresses(&page.kinds))
    };
    // From the same target if possible, else from another.
    assert_eq!(
        siblings("/out/t0/en/completed/01%20A.html"),
        (
            "t0/de/completed/01%20A.html *t0/en/completed/01%20A.html".to_owned(),
            "*t0/en/completed/01%20A.html t1/en/trainer/01%20A.html".to_owned()
        )
    );
    // There is no German page for trainers, so another one is used.
    let (languages, _) = siblings("/out/t1/en/trainer/01%20A.html");
    assert_eq!(
        languages,
        "t0/de/code-along/01%20A.html *t1/en/trainer/01%20A.html"
    );
    // A deck in two files.
    let (languages, _) = siblings("/out/t1/de/trainer/02%20B.html");
    assert_eq!(
        languages,
        "*t1/de/trainer/02%20B.html t1/en/trainer/02%20B.html"
    );
    assert!(!story.0.page("/out/t1/de/trainer/03.html", 0, 1).is_known);
}

#[test]
fn the_languages_of_pages_are_those_of_the_course() {
    let fr = Lang::parse("fr").unwrap();
    let mut story = Story(Model::default());
    story.plan(index_in(fr));
    let languages = |address: &str| -> Vec<String> {
        let page = story.0.page(address, 0, 1);
        page.languages.into_iter().map(|page| page.name).collect()
    };
    assert_eq!(languages("/out/t0/en/completed/01%20A.html"), ["en", "fr"]);
    // A deck in two files.
    assert_eq!(languages("/out/t1/fr/trainer/02%20B.html"), ["en", "fr"]);
}

#[test]
fn a_page_says_why_it_failed() {
    let mut story = Story::new();
    let address = "/out/t0/de/completed/01%20A.html";
    story.run(
        &[
            error("in a macro", "slides/macros.j2"),
            error("other deck", OTHER),
        ],
        &[
            with(PAGE, Status::Failed),
            (
                "html slides/m/t/slides_b.de.py de executed",
                OTHER,
                Status::Failed,
            ),
        ],
    );
    let shown = |story: &Story, address| {
        let page = story.0.page(address, 0, 1);
        page.diagnostics
            .into_iter()
            .map(|shown| shown.message)
            .collect::<Vec<_>>()
    };
    // There is no diagnostic about the deck itself, so those that belong to no other source are shown: one may be the
    // reason.
    assert_eq!(shown(&story, address), ["in a macro"]);
    assert_eq!(
        shown(&story, "/out/t1/de/trainer/02%20B.html"),
        ["other deck"]
    );
    assert!(shown(&story, "/out/t0/de/code-along/01%20A.html").is_empty());
}

#[test]
fn an_english_page_shows_its_own_wrong_cell_first_and_errors_before_warnings() {
    let mut story = Story::new();
    story.begin();
    let english = "execute slides/m/t/slides_a.py en";
    story.report(PAGE.0, Diagnostic::warning("odd").at(DECK, Some(1)));
    story.report(EXECUTE.0, error("the German cell", DECK));
    story.report(PAGE.0, Diagnostic::warning("odd").at(DECK, Some(1)));
    story.finish(EXECUTE.0, DECK, Status::Failed);
    story.report(english, error("the English cell", DECK));
    story.finish(english, DECK, Status::Failed);
    story.finish(PAGE.0, DECK, Status::Failed);
    story.finish(
        "html slides/m/t/slides_a.py en executed",
        DECK,
        Status::Failed,
    );
    story.end();
    let shown = |address: &str| {
        let page = story.0.page(address, 0, 1);
        page.diagnostics
            .into_iter()
            .map(|shown| shown.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown("/out/t0/en/completed/01%20A.html"),
        ["the English cell", "the German cell", "odd"]
    );
    assert_eq!(
        shown("/out/t0/de/completed/01%20A.html"),
        ["the German cell", "the English cell", "odd"]
    );
}
