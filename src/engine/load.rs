//! Loads a course: lists the tree, names the outputs and plans them.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::config::Settings;
use crate::course::layout::{self, Layout, Naming, Placed, References, Selection};
use crate::course::spec::Spec;
use crate::course::tree::{self, Listing, Tree};
use crate::course::{Names, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::plan::{self, Bases, Context, Files as _, Fingerprints, Memo, Plan, Recipes};
use crate::watch::is_rule_file;
use crate::worker::{Renderers, drawio, notebook, plantuml, renderers};

use super::checkpoint;
use super::course::{Course, Specified};
use super::index;
use super::publish::WrittenBack;
use super::snapshot::Snapshot;
use super::sources::{LaidOut, OutputPaths, Sources, Titled};

/// A course that was loaded, with its plan.
pub(crate) struct Loaded {
    /// The actions of the selected outputs.
    pub plan: Arc<Plan>,
    /// Every output path of the whole course, selected or not.
    pub all_destinations: OutputPaths,
    /// Directories to be created although they are empty.
    pub empty_dirs: Vec<String>,
    /// The places of the selected outputs.
    pub layout: Arc<Layout>,
    /// The sources.
    pub tree: Arc<Tree>,
    /// The directory of each target: relative to the course root, or absolute.
    pub target_roots: Vec<String>,
    /// Versions of the tools.
    tools: Fingerprints,
    /// Diagnostics of the specification, the files and the layout.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether sources could not be read, so that it is unknown which outputs are superfluous.
    pub is_incomplete: bool,
    /// Whether a source changed while the course was planned.
    pub is_torn: bool,
}

impl Course {
    /// Returns all diagnostics about the specification and what it names, without building anything.
    pub(crate) fn check(&self) -> Result<Vec<Diagnostic>> {
        let (spec, diagnostics, digest) = self.read_specification()?;
        let Some(spec) = spec else {
            return Ok(diagnostics);
        };
        let specified = Specified {
            spec,
            diagnostics,
            digest,
        };
        let loaded = self.load_once(&specified)?;
        let mut found = loaded.diagnostics;
        for action in &loaded.plan.actions {
            found.extend(action.warnings.iter().cloned());
            found.extend(action.errors.iter().flatten().cloned());
        }
        let mut seen = HashSet::new();
        found.retain(|diagnostic| seen.insert(diagnostic.clone()));
        let spec_name = self.place.spec_name();
        found.sort_by_key(|found| {
            let is_elsewhere = found.file.as_deref() != Some(spec_name.as_str());
            (is_elsewhere, found.file.clone(), found.line, found.column)
        });
        Ok(found)
    }

    /// Returns the identities of all actions; `None` if some sources cannot be read.
    pub(crate) fn planned_actions(&self) -> Result<Option<HashSet<Arc<str>>>> {
        let loaded = self.load_once(&self.specification()?)?;
        let actions = loaded.plan.actions.iter();
        let ids = actions.map(|action| Arc::clone(&action.id)).collect();
        Ok((!loaded.is_incomplete).then_some(ids))
    }

    /// Plans the whole course without renderers and records.
    fn load_once(&self, specified: &Specified) -> Result<Loaded> {
        let mut sources = Sources::new(&self.place.root, HashMap::new(), Arc::default());
        self.load(
            specified,
            &mut sources,
            &WrittenBack::default(),
            &Selection::default(),
            &Renderers::default(),
        )
    }

    /// Lists the tree and plans everything that is selected. `written_back` are the files in the tree that clm
    /// rendered.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(crate) fn load(
        &self,
        specified: &Specified,
        sources: &mut Sources,
        written_back: &WrittenBack,
        selection: &Selection,
        renderers: &Renderers,
    ) -> Result<Loaded> {
        let spec = &specified.spec;
        let mut diagnostics = specified.diagnostics.clone();
        diagnostics.extend_from_slice(&self.settings.notes);
        let root = &self.place.root;
        let skip = self.skip(spec);
        let last = || checkpoint::last(self, specified, renderers);
        let scanned = sources.list(root, tree::scan_roots(spec), &skip, &last);
        diagnostics.extend_from_slice(&scanned.diagnostics);
        let version = scanned.version;
        let leaving = self.leaving_sources(spec).into_iter();
        diagnostics.extend(leaving.map(|found| of_spec(found, &self.place.spec_name())));
        let mut listing = scanned.listing().clone();
        let removed = remove_written_back(&mut listing, written_back);
        for (path, error) in &written_back.unreadable {
            if let Ok(path) = RelPath::new(path) {
                sources.snapshot.note_failure(&path, error);
            }
        }
        let snapshot = &sources.snapshot;
        if spec.folder.is_some() {
            note_rules(&listing, snapshot);
        }
        let titled = Titled {
            snapshot,
            titles: &sources.titles,
        };
        let (tree, found) =
            tracing::debug_span!("discover").in_scope(|| tree::discover(spec, &listing, &titled));
        let spec_name = self.place.spec_name();
        diagnostics.extend(found.into_iter().map(|found| of_spec(found, &spec_name)));
        let mut seen = HashSet::new();
        diagnostics.retain(|found| seen.insert(found.clone()));
        let has_errors = diagnostics.iter().any(Diagnostic::is_error);

        let basis = Basis {
            specified,
            listing: &listing,
            listed: (version, removed),
        };
        let known = sources.laid_out.take();
        let naming = Naming {
            root_of: &|target| self.root_of(target),
            names: &sources.names,
        };
        let mut full = self.lay_out(known, basis, tree, snapshot, &naming)?;
        let found = full.diagnostics.iter().cloned();
        diagnostics.extend(found.map(|found| of_spec(found, &spec_name)));
        let layout = if *selection == Selection::default() {
            Arc::clone(&full.layout)
        } else {
            let is_same = |one: &RelPath, other: &RelPath| is_same(snapshot, one, other);
            let (selected, _) =
                layout::layout(spec, &full.tree, &listing, selection, &naming, &is_same)
                    .map_err(Error::from_diagnostics)?;
            Arc::new(selected)
        };
        let tools = fingerprints(renderers);
        let context = Context {
            spec,
            tree: &full.tree,
            layout: &layout,
            references: References::new(spec, &full.tree),
            settings: &self.settings,
            tools: &tools,
            files: snapshot,
            names: &sources.names,
        };
        let (plan, texts) = plan_selected(context, &full, &mut sources.memo);
        diagnostics.extend(unreported(snapshot, &plan, &diagnostics));
        let is_incomplete = has_errors || !snapshot.failures().is_empty();
        let all_destinations = full.destinations_with(texts);
        let tree = Arc::clone(&full.tree);
        sources.laid_out = Some(full);
        sources.snapshot.forget_contents();
        Ok(Loaded {
            plan: Arc::new(plan),
            all_destinations,
            empty_dirs: layout
                .empty_dirs
                .iter()
                .map(|dir| dir.output().to_string())
                .collect(),
            tree,
            target_roots: layout.target_roots(),
            tools,
            layout,
            diagnostics,
            is_incomplete,
            is_torn: sources.snapshot.take_torn(),
        })
    }

    /// Lays out the whole course. Returns `known` if nothing that it depends on changed.
    #[tracing::instrument(level = "debug", name = "layout", skip_all)]
    fn lay_out(
        &self,
        known: Option<LaidOut>,
        basis: Basis<'_>,
        tree: Tree,
        snapshot: &Snapshot,
        naming: &Naming<'_>,
    ) -> Result<LaidOut> {
        let specification = basis.specified.digest;
        if let Some(known) = known
            && known.specification == specification
            && known.listed == basis.listed
            && *known.tree == tree
        {
            return Ok(known);
        }
        let compared = Cell::new(false);
        let is_same = |one: &RelPath, other: &RelPath| {
            compared.set(true);
            is_same(snapshot, one, other)
        };
        naming.names.sweep();
        let spec = &basis.specified.spec;
        let everything = Selection::default();
        let (layout, diagnostics) =
            layout::layout(spec, &tree, basis.listing, &everything, naming, &is_same)
                .map_err(Error::from_diagnostics)?;
        let mut listed = basis.listed;
        if compared.get() {
            // The layout also depends on the bytes of sources, so it must not be reused: no list of files has this
            // version.
            listed.0 = u64::MAX;
        }
        Ok(LaidOut {
            specification,
            bases: Bases::of(spec, &tree, &layout),
            destinations: Arc::new(self.all_destinations(spec, &tree, &layout, naming.names)),
            tree: Arc::new(tree),
            listed,
            with_texts: None,
            layout: Arc::new(layout),
            diagnostics,
        })
    }

    fn all_destinations(
        &self,
        spec: &Spec,
        tree: &Tree,
        layout: &Layout,
        names: &Names,
    ) -> HashSet<Arc<str>> {
        let decks = layout.decks.iter().flat_map(|deck| &deck.outputs);
        let places = decks
            .flat_map(|output| &output.destinations)
            .chain(layout.copies.iter().flat_map(|copy| &copy.destinations))
            .chain(
                layout
                    .diagrams
                    .iter()
                    .flat_map(|diagram| &diagram.destinations),
            );
        let mut all: HashSet<Arc<str>> =
            places.map(|place| Arc::clone(place.at.output())).collect();
        if self.settings.writes_back(spec) {
            let diagrams = layout.diagrams.iter();
            let pictures = diagrams.map(|entry| names.of(entry.diagram.rendered.as_str()));
            all.extend(pictures);
            let decks = layout.decks.iter();
            all.extend(decks.filter_map(|deck| plan::notebook_beside(spec, tree, deck, names)));
        }
        all
    }
}

/// Makes the ignore files of a folder inputs of its plan.
fn note_rules(listing: &Listing, snapshot: &Snapshot) {
    let rules = listing.files.iter();
    for path in rules.filter(|path| is_rule_file(Path::new(path.as_str()))) {
        let _ = snapshot.digest(path);
    }
}

/// Removes the files that clm rendered into the tree, since they are not sources. Returns those that were listed, in
/// order.
pub(super) fn remove_written_back(
    listing: &mut Listing,
    written_back: &WrittenBack,
) -> Vec<String> {
    let unreadable = written_back.unreadable.iter().map(|(path, _)| path);
    let paths = written_back.unchanged.iter().chain(unreadable);
    let mut removed: Vec<String> = paths
        .filter(|path| listing.files.remove(path.as_str()))
        .cloned()
        .collect();
    removed.sort_unstable();
    removed
}

/// Plans what the layout of `context` selects. Also returns the output paths of the whole course that only follow from
/// the content of decks.
fn plan_selected(context: Context<'_>, full: &LaidOut, memo: &mut Memo) -> (Plan, Vec<Arc<str>>) {
    if std::ptr::eq(context.layout, &*full.layout) {
        let plan = plan::plan(&context, &full.bases, memo);
        let texts = plan.texts.clone();
        return (plan, texts);
    }
    // The plans of the whole course must not be dropped for a part of it.
    let bases = Bases::of(context.spec, &full.tree, context.layout);
    let plan = plan::plan(&context, &bases, &mut Memo::default());
    let mut texts = plan.texts.clone();
    if has_programs(&full.tree) {
        let whole = Context {
            layout: &full.layout,
            ..context
        };
        texts.extend(plan::plan(&whole, &full.bases, memo).texts);
    }
    (plan, texts)
}

/// The inputs of a layout, besides the tree.
struct Basis<'a> {
    specified: &'a Specified,
    listing: &'a Listing,
    listed: (u64, Vec<String>),
}

/// Returns whether two sources have the same bytes.
fn is_same(snapshot: &Snapshot, one: &RelPath, other: &RelPath) -> bool {
    let digest = snapshot.digest(one);
    digest.is_some() && digest == snapshot.digest(other)
}

impl Loaded {
    /// Returns the names and directories of the targets.
    pub(crate) fn targets(&self) -> Vec<(String, String)> {
        let names = self.layout.targets.iter().map(|target| target.name.clone());
        names.zip(self.target_roots.iter().cloned()).collect()
    }

    /// Returns the recipes of the plan, from the sources as they are now.
    pub(crate) fn recipes<'a>(
        &'a self,
        specified: &'a Specified,
        settings: &'a Settings,
        sources: &'a Sources,
    ) -> Recipes<'a> {
        let context = Context {
            spec: &specified.spec,
            tree: &self.tree,
            layout: &self.layout,
            references: References::new(&specified.spec, &self.tree),
            settings,
            tools: &self.tools,
            files: &sources.snapshot,
            names: &sources.names,
        };
        Recipes::new(context, &self.plan)
    }

    /// Returns the versions of the tools.
    pub(super) fn tools(&self) -> &Fingerprints {
        &self.tools
    }

    /// Returns every selected output, with its origin and class.
    pub(crate) fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        index::placed(&self.layout, &self.tree, &self.plan)
    }
}

fn has_programs(tree: &Tree) -> bool {
    let topics = tree.sections.iter().flat_map(|section| &section.topics);
    topics
        .flat_map(|topic| &topic.decks)
        .any(|deck| deck.prog_lang == ProgLang::Cpp)
}

/// Returns the errors about unreadable files that neither an action nor `reported` contains.
fn unreported(snapshot: &Snapshot, plan: &Plan, reported: &[Diagnostic]) -> Vec<Diagnostic> {
    let mut failures: Vec<Diagnostic> = snapshot
        .failures()
        .into_iter()
        .map(|(_, error)| error)
        .collect();
    if failures.is_empty() {
        return failures;
    }
    let of_actions = plan
        .actions
        .iter()
        .filter_map(|action| action.errors.as_ref());
    let reported: HashSet<&Diagnostic> = of_actions.flatten().chain(reported).collect();
    failures.retain(|error| !reported.contains(error));
    failures.dedup();
    failures
}

/// Adds the name of the specification to a diagnostic that names no file.
fn of_spec(mut diagnostic: Diagnostic, spec_name: &str) -> Diagnostic {
    diagnostic.file.get_or_insert_with(|| spec_name.to_owned());
    diagnostic
}

/// Returns the versions of the tools, with those of clm's own programs that drive them, as they enter keys.
pub(crate) fn fingerprints(renderers: &Renderers) -> Fingerprints {
    let identities = renderers.identities();
    let with = |tool: &str, program: Digest| {
        let platform = platform();
        format!("{tool}{platform}, program {}", program.short())
    };
    let of = |name: &str, program: Digest| Some(with(identities.get(name)?, program));
    let execution = notebook::execution_program_digest();
    let kernels = identities.iter().filter_map(|(name, tool)| {
        let name = renderers::kernel_of(name)?;
        Some((name.to_owned(), with(tool, execution)))
    });
    Fingerprints {
        html: of(renderers::HTML, notebook::html_program_digest()),
        kernels: kernels.collect(),
        plantuml: of(renderers::PLANTUML, plantuml::program_digest()),
        drawio: of(renderers::DRAWIO, drawio::program_digest()),
    }
}

/// Returns what a platform adds to the version of a tool: the same version makes other bytes on another system. The most
/// common platform adds nothing, so that its results from before stay valid.
fn platform() -> String {
    use std::env::consts::{ARCH, OS};
    match (OS, ARCH) {
        ("linux", "x86_64") => String::new(),
        (os, arch) => format!(" on {os} {arch}"),
    }
}
