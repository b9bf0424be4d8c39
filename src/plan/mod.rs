//! What should exist: the actions of a course, their keys, their outputs and what they wait for.
//!
//! Pure: the same course, settings and tool versions give the same plan.

pub mod action;
pub mod key;
mod memo;
mod rules;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Settings;
use crate::course::layout::{Destination, Layout, Placed, References};
use crate::course::spec::Spec;
use crate::course::tree::Tree;
use crate::course::{Lang, RelPath};
use crate::digest::Digest;
use crate::events::Diagnostic;

pub use action::{Action, ActionIndex, EXECUTED, ImageSource, InlineImage, Make, Output};
pub use key::{ActionKey, KeyParts};
pub use memo::{Memo, Slim};
pub use rules::deck::{DataUrls, page, written};
pub use rules::surroundings::mime;

/// Everything that should exist, in an order in which every action comes after those it waits for.
#[derive(Debug, Default)]
pub struct Plan {
    /// The actions. One that is the same as in an earlier plan of the same [`Memo`] is the very same allocation.
    pub actions: Vec<Arc<Action>>,
    /// Outputs that the layout does not name, since only the decks' content tells of them.
    pub placed: Vec<Placed>,
}

/// The bytes of a source file and their digest.
#[derive(Clone, Debug)]
pub struct Source {
    /// The content.
    pub bytes: Arc<[u8]>,
    /// The digest of exactly these bytes.
    pub digest: Digest,
}

/// Versions of the tools, as they enter keys; none for a tool that is not there.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    /// The HTML renderer.
    pub html: Option<String>,
    /// Kernel environments by kernelspec name.
    pub kernels: HashMap<String, String>,
    /// PlantUML and its layout engine.
    pub plantuml: Option<String>,
    /// The draw.io viewer and browser.
    pub drawio: Option<String>,
}

/// What a plan is made of.
pub struct Context<'a> {
    /// The specification.
    pub spec: &'a Spec,
    /// The sources.
    pub tree: &'a Tree,
    /// Where outputs go.
    pub layout: &'a Layout,
    /// The decks that links between decks can lead to.
    pub references: &'a References<'a>,
    /// The root of each of the layout's targets: relative to the course root, or absolute.
    pub target_roots: &'a [String],
    /// Project settings.
    pub settings: &'a Settings,
    /// Versions of the tools.
    pub tools: &'a Fingerprints,
    /// Reads a source file.
    pub read: &'a dyn Fn(&RelPath) -> Option<Source>,
    /// Digests a source file.
    pub digest: &'a dyn Fn(&RelPath) -> Option<Digest>,
    /// Whether an action is known to be up to date, so that nobody will ask what it makes.
    pub is_settled: &'a dyn Fn(&Arc<Action>) -> bool,
}

impl Context<'_> {
    fn destinations(&self, destinations: &[Destination]) -> Vec<String> {
        let mut paths: Vec<String> = destinations
            .iter()
            .filter_map(|destination| {
                let root = self.target_roots.get(destination.target)?;
                Some(format!("{root}/{}", destination.path))
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    fn organization(&self, lang: Lang) -> &str {
        self.spec.organization.get(lang)
    }
}

/// Plans everything that the layout names. What `memo` remembers of decks, diagrams and copies that did not change is
/// used again; an empty memo gives an equal plan.
#[tracing::instrument(level = "debug", skip_all)]
pub fn plan(context: &Context<'_>, memo: &mut Memo) -> Plan {
    let mut actions = Vec::new();
    memo.begin(context);
    for diagram in &context.layout.diagrams {
        memo.diagram(context, diagram, &mut actions);
    }
    let rendered = context
        .layout
        .diagrams
        .iter()
        .map(|entry| entry.diagram.rendered.clone())
        .zip(0..)
        .collect();
    for copy in &context.layout.copies {
        memo.copy(context, copy, &mut actions);
    }
    let mut programs = rules::program::Programs::default();
    for deck in &context.layout.decks {
        memo.deck(context, deck, &rendered, &mut actions, &mut programs);
    }
    memo.end();
    let mut projects = Vec::new();
    rules::project::add(context, &programs, &mut projects);
    actions.extend(projects.into_iter().map(Arc::new));
    Plan {
        actions,
        placed: programs.placed,
    }
}

/// What a missing tool is called in a key: its arrival changes the key.
const MISSING: &str = "not installed";

/// An action of a source that cannot be read at all.
fn unreadable(source: &RelPath) -> Vec<Diagnostic> {
    vec![
        Diagnostic::error("the file cannot be read")
            .at(source.as_str(), None)
            .hint("check that it still exists and that you may read it"),
    ]
}
