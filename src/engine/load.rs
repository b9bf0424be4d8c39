//! From files to a plan: reads the specification, lists the tree, names the outputs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::config::{ImageMode, Place, Settings};
use crate::course::layout::{self, Layout, Placed, References, Selection};
use crate::course::tree::{self, DiagramKind, Tree};
use crate::course::{ProgLang, RelPath, spec};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::events::{Diagnostic, Severity};
use crate::plan::{self, Context, Fingerprints, Make, Plan};
use crate::worker::{Renderers, drawio, notebook, plantuml};

use super::snapshot::{self, Snapshot};

/// Which specification is read.
#[derive(Clone, Debug)]
pub struct Course {
    /// Where it is.
    pub place: Place,
    /// Project settings.
    pub settings: Settings,
    /// The output root, if it is not what the specification says (absolute).
    pub output_dir: Option<PathBuf>,
}

/// A course that was read, and the plan for it.
pub struct Loaded {
    /// The actions of what was selected.
    pub plan: Plan,
    /// Every output path of the whole course, selected or not.
    pub all_destinations: HashSet<String>,
    /// Directories to be created although they are empty.
    pub empty_dirs: Vec<String>,
    /// Every output of what was selected, with what it is.
    pub placed: Vec<Placed>,
    /// Names and directories of the targets.
    pub targets: Vec<(String, String)>,
    /// What was found while reading.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether sources could not be read, so that nobody knows which outputs are superfluous.
    pub is_incomplete: bool,
}

/// Which renderers a course needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Pages.
    pub pages: bool,
    /// Python kernels.
    pub python: bool,
    /// TypeScript kernels.
    pub typescript: bool,
    /// PlantUML.
    pub plantuml: bool,
    /// draw.io.
    pub drawio: bool,
}

/// The specification, read and checked.
pub struct Specified {
    /// Its content.
    pub spec: spec::Spec,
    /// Warnings about it.
    pub diagnostics: Vec<Diagnostic>,
}

impl Course {
    /// Reads the specification.
    pub fn specification(&self) -> Result<Specified> {
        let (spec, diagnostics) = self.read_specification()?;
        let has_errors = diagnostics.iter().any(|d| d.severity == Severity::Error);
        match spec {
            Some(spec) if !has_errors => Ok(Specified { spec, diagnostics }),
            _ => Err(Error::from_diagnostics(diagnostics)),
        }
    }

    /// Everything that is wrong with the specification and with what it names, without building anything.
    pub fn check(&self) -> Result<Vec<Diagnostic>> {
        let (spec, diagnostics) = self.read_specification()?;
        let Some(spec) = spec else {
            return Ok(diagnostics);
        };
        let specified = Specified { spec, diagnostics };
        let snapshot = Snapshot::new(&self.place.root, HashMap::new());
        let everything = Selection::default();
        let loaded = self.load(
            &specified,
            &snapshot,
            &HashSet::new(),
            &everything,
            &Renderers::default(),
        )?;
        let mut found = loaded.diagnostics;
        for action in loaded.plan.actions {
            found.extend(action.warnings);
            if let Make::Invalid(errors) = action.make {
                found.extend(errors);
            }
        }
        let mut told = HashSet::new();
        found.retain(|diagnostic| told.insert(diagnostic.clone()));
        let spec_name = self.place.spec_name();
        found.sort_by_key(|found| {
            let is_elsewhere = found.file.as_deref() != Some(spec_name.as_str());
            (is_elsewhere, found.file.clone(), found.line, found.column)
        });
        Ok(found)
    }

    fn read_specification(&self) -> Result<(Option<spec::Spec>, Vec<Diagnostic>)> {
        let name = self.place.spec_name();
        let bytes = std::fs::read(&self.place.spec)
            .map_err(|error| Error::io("read", &self.place.spec, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            Error::usage("the specification is not UTF-8 text")
                .at(&name, Some(line as u32 + 1))
                .hint("save it with the encoding UTF-8")
        })?;
        let (mut spec, diagnostics) = spec::parse_leniently(&text, &name);
        if let Some(spec) = &mut spec {
            let images = &self.settings.images;
            spec.images.shared = images.mode == ImageMode::Shared;
            spec.images.format = images.format.unwrap_or(spec.images.format);
            spec.images.inline = images.inline.unwrap_or(spec.images.inline);
        }
        Ok((spec, diagnostics))
    }

    /// The root of each target: as it stands in output paths (relative to the course root where it can be).
    pub fn target_roots(&self, layout: &Layout) -> Vec<String> {
        let under = |path: &Path| match RelPath::below(&self.place.root, path) {
            Some(relative) => relative.to_string(),
            None => path.display().to_string(),
        };
        layout
            .targets
            .iter()
            .map(|target| match self.output_root() {
                Some(dir) => under(&dir.join(&target.name)),
                None => target.path.to_string(),
            })
            .collect()
    }

    /// The output root that replaces the targets' paths, if one was asked for (absolute).
    pub fn output_root(&self) -> Option<PathBuf> {
        self.output_dir.clone().or_else(|| {
            let dir = self.settings.output.dir.as_ref()?;
            Some(self.place.root.join(dir))
        })
    }

    /// The name under which the ledger keeps the outputs of this specification and output root.
    pub fn scope(&self) -> String {
        let output = self
            .output_root()
            .map_or_else(String::new, |dir| dir.display().to_string());
        format!("{} -> {output}", self.place.spec_name())
    }

    /// The directories that outputs lie in (absolute).
    pub fn output_dirs(&self, spec: &spec::Spec) -> Vec<PathBuf> {
        match self.output_root() {
            Some(dir) => vec![dir],
            None => spec
                .targets
                .iter()
                .map(|target| target.path.under(&self.place.root))
                .collect(),
        }
    }

    /// Which renderers the sources need, by their files alone.
    pub fn uses(&self, specified: &Specified) -> Uses {
        let spec = &specified.spec;
        let root = &self.place.root;
        let output_dirs = self.output_dirs(spec);
        let skip =
            |path: &Path| path.ends_with(".git") || output_dirs.iter().any(|dir| path == dir);
        let (listing, _) = snapshot::scan(root, &tree::scan_roots(spec), &skip);
        let read = |path: &RelPath| std::fs::read(path.under(root)).ok().map(Into::into);
        let (tree, _) = tree::discover(spec, &listing, &read);
        let mut uses = Uses::default();
        for topic in tree.sections.iter().flat_map(|section| &section.topics) {
            for diagram in &topic.diagrams {
                match diagram.kind {
                    DiagramKind::Plantuml => uses.plantuml = true,
                    DiagramKind::Drawio => uses.drawio = true,
                }
            }
            for deck in &topic.decks {
                uses.pages = true;
                uses.python |= deck.prog_lang == ProgLang::Python;
                uses.typescript |= deck.prog_lang == ProgLang::TypeScript;
            }
        }
        uses
    }

    /// Lists the tree and plans everything that is selected. `written_back` are files in the tree that we rendered.
    pub fn load(
        &self,
        specified: &Specified,
        snapshot: &Snapshot,
        written_back: &HashSet<String>,
        selection: &Selection,
        renderers: &Renderers,
    ) -> Result<Loaded> {
        let spec = &specified.spec;
        let mut diagnostics = specified.diagnostics.clone();
        let root = &self.place.root;
        let state_dir = self.place.state_dir();
        let output_dirs = self.output_dirs(spec);
        let skip = |path: &Path| {
            path == state_dir
                || path.file_name().is_some_and(|name| name == ".git")
                || output_dirs.iter().any(|dir| path == dir)
        };
        let (mut listing, found) = snapshot::scan(root, &tree::scan_roots(spec), &skip);
        diagnostics.extend(found);
        // What we rendered into the tree is no source of anything.
        for path in written_back {
            listing.files.remove(path.as_str());
        }
        let read = |path: &RelPath| snapshot.read(path).map(|source| source.bytes);
        let (tree, found) = tree::discover(spec, &listing, &read);
        let spec_name = self.place.spec_name();
        diagnostics.extend(found.into_iter().map(|found| of_spec(found, &spec_name)));
        let is_incomplete = diagnostics.iter().any(|d| d.severity == Severity::Error);

        let is_same = |one: &RelPath, other: &RelPath| {
            let digest = snapshot.digest(one);
            digest.is_some() && digest == snapshot.digest(other)
        };
        let everything = Selection::default();
        let (full, found) = layout::layout(spec, &tree, &listing, &everything, &is_same)
            .map_err(Error::from_diagnostics)?;
        diagnostics.extend(found.into_iter().map(|found| of_spec(found, &spec_name)));
        let mut all_destinations = self.all_destinations(&full);
        let selected = if *selection == everything {
            full
        } else {
            // What only the decks' content tells of belongs to the outputs that are not selected, too.
            if has_programs(&tree) {
                let whole = self.plan(spec, &tree, &full, snapshot, renderers);
                all_destinations.extend(made_texts(&whole));
            }
            let (selected, _) = layout::layout(spec, &tree, &listing, selection, &is_same)
                .map_err(Error::from_diagnostics)?;
            selected
        };
        let plan = self.plan(spec, &tree, &selected, snapshot, renderers);
        all_destinations.extend(made_texts(&plan));
        let roots = self.target_roots(&selected);
        let placed = [&selected.placed[..], &plan.placed].concat();
        Ok(Loaded {
            plan,
            all_destinations,
            empty_dirs: selected
                .empty_dirs
                .iter()
                .map(|dir| format!("{}/{}", roots[dir.target], dir.path))
                .collect(),
            targets: selected
                .targets
                .iter()
                .map(|target| target.name.clone())
                .zip(roots)
                .collect(),
            placed,
            diagnostics,
            is_incomplete,
        })
    }

    fn plan(
        &self,
        spec: &spec::Spec,
        tree: &Tree,
        layout: &Layout,
        snapshot: &Snapshot,
        renderers: &Renderers,
    ) -> Plan {
        plan::plan(&Context {
            spec,
            tree,
            layout,
            references: &References::new(spec, tree),
            target_roots: &self.target_roots(layout),
            settings: &self.settings,
            tools: &fingerprints(renderers),
            read: &|path| snapshot.read(path),
            digest: &|path| snapshot.digest(path),
        })
    }

    fn all_destinations(&self, layout: &Layout) -> HashSet<String> {
        let roots = self.target_roots(layout);
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
        let mut all: HashSet<String> = places
            .map(|place| format!("{}/{}", roots[place.target], place.path))
            .collect();
        if self.settings.diagrams.write_back {
            all.extend(
                layout
                    .diagrams
                    .iter()
                    .map(|diagram| diagram.diagram.rendered.to_string()),
            );
        }
        all
    }
}

fn has_programs(tree: &Tree) -> bool {
    let topics = tree.sections.iter().flat_map(|section| &section.topics);
    topics
        .flat_map(|topic| &topic.decks)
        .any(|deck| deck.prog_lang == ProgLang::Cpp)
}

/// Where the texts go that planning makes.
fn made_texts(plan: &Plan) -> impl Iterator<Item = String> {
    let texts = plan
        .actions
        .iter()
        .filter(|action| matches!(action.make, Make::Text(_)));
    texts
        .flat_map(|action| &action.outputs)
        .flat_map(|output| output.destinations.iter().cloned())
}

/// A diagnostic that names no file is about the specification.
fn of_spec(mut diagnostic: Diagnostic, spec_name: &str) -> Diagnostic {
    diagnostic.file.get_or_insert_with(|| spec_name.to_owned());
    diagnostic
}

/// The versions of the tools as they enter keys, with those of our own programs that drive them.
fn fingerprints(renderers: &Renderers) -> Fingerprints {
    let with = |tool: &str, program: Digest| format!("{tool}, program {}", program.short());
    let execution = notebook::execution_program_digest();
    Fingerprints {
        html: renderers
            .html
            .as_ref()
            .map(|tool| with(&tool.fingerprint, notebook::html_program_digest())),
        kernels: renderers
            .kernels
            .specs
            .iter()
            .map(|(name, spec)| (name.clone(), with(&spec.fingerprint, execution)))
            .collect(),
        plantuml: renderers
            .plantuml
            .as_ref()
            .map(|tool| with(&tool.fingerprint, plantuml::program_digest())),
        drawio: renderers
            .drawio
            .as_ref()
            .map(|tool| with(tool.fingerprint(), drawio::program_digest())),
    }
}
