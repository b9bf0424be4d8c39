//! A course on disk: its specification and settings, and the locations of its files and outputs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::config::{Bounds, CacheSettings, EnvFile, ImageMode, Place, SETTINGS_FILE, Settings};
use crate::course::path::name_of;
use crate::course::spec::Target;
use crate::course::tree::{self, DiagramKind};
use crate::course::{ProgLang, RelPath, lfs, spec};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::files;
use crate::watch::{FolderFilter, Inputs, rule_files_above};
use crate::worker::Renderers;

use super::scan::{Scanned, Skip};
use super::snapshot::Snapshot;

/// A course: its location and settings.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    /// Its location.
    pub place: Place,
    /// Project settings.
    pub settings: Settings,
    /// The output root that replaces the one of the specification (absolute).
    pub output_dir: Option<PathBuf>,
}

/// A specification that was parsed and checked.
pub(crate) struct Specified {
    /// Its content.
    pub spec: spec::Spec,
    /// Warnings about it.
    pub diagnostics: Vec<Diagnostic>,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// The renderers that a course needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
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

impl Course {
    /// Reads the specification. Returns an error if it has errors.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(crate) fn specification(&self) -> Result<Specified> {
        let (spec, diagnostics, digest) = self.read_specification()?;
        let has_errors = diagnostics.iter().any(Diagnostic::is_error);
        match spec {
            Some(spec) if !has_errors => Ok(Specified {
                spec,
                diagnostics,
                digest,
            }),
            _ => Err(Error::from_diagnostics(diagnostics)),
        }
    }

    /// Reads the specification as far as it can be parsed, with all diagnostics and the digest of its bytes.
    pub(super) fn read_specification(
        &self,
    ) -> Result<(Option<spec::Spec>, Vec<Diagnostic>, Digest)> {
        if self.place.is_folder() {
            return Ok(self.derived_specification());
        }
        let name = self.place.spec_name();
        let bytes = files::read(&self.place.spec)
            .map_err(|error| Error::io("read", &self.place.spec, &error))?;
        let digest = Digest::of(&bytes);
        if let Some(pointer) = lfs::pointer(&name, &bytes) {
            return Err(Error::from_diagnostics(vec![pointer]));
        }
        let text = tree::text_of(&bytes).map_err(|not_text| {
            Error::usage("the specification is not UTF-8 text")
                .at(&name, Some(not_text.line))
                .hint("save it with the encoding UTF-8")
        })?;
        let (mut spec, mut diagnostics) = spec::parse_leniently(text, &name);
        if let Some(spec) = &spec {
            diagnostics.extend(self.leaving(spec, &name, text));
        }
        if let Some(spec) = &mut spec {
            self.apply_settings(spec);
        }
        Ok((spec, diagnostics, digest))
    }

    /// Returns the specification of a folder, which follows from the settings alone.
    fn derived_specification(&self) -> (Option<spec::Spec>, Vec<Diagnostic>, Digest) {
        let settings = &self.settings.folder;
        let name = self.place.root.file_name();
        let name = name.map_or("Notebooks".into(), |name| name.to_string_lossy());
        let title = settings.title.as_deref().unwrap_or(&name);
        let mut spec = spec::folder(title, settings.folder(), &settings.formats());
        self.apply_settings(&mut spec);
        let digest = Digest::of(format!("{spec:?}"));
        (Some(spec), Vec::new(), digest)
    }

    fn apply_settings(&self, spec: &mut spec::Spec) {
        let images = &self.settings.images;
        // Each picture of a folder has one place.
        spec.images.shared = images.mode == ImageMode::Shared && spec.folder.is_none();
        spec.images.format = images.format.unwrap_or(spec.images.format);
        spec.images.inline = images.inline.unwrap_or(spec.images.inline);
    }

    /// Returns errors about outputs and sources that the specification itself, by a link, puts outside of the course:
    /// nothing could be built of them. Other paths that lead out are checked by [`Self::leaving_sources`].
    fn leaving(&self, spec: &spec::Spec, name: &str, text: &str) -> Vec<Diagnostic> {
        let bounds = Bounds::of(&self.place.root);
        let mut found = Vec::new();
        let mut check = |what: &str, path: &str| {
            if let Err(error) = bounds.check(what, path, name, text) {
                found.extend(error.diagnostics);
            }
        };
        check("the directory of all sources", "slides");
        if self.output_root().is_none() {
            for target in &spec.targets {
                check("the output target", target.path.as_str());
            }
        }
        if let Some(python) = &spec.kernel_python
            && self.settings.notebook.kernel_python.is_none()
            && let Err(error) = bounds.check_python(python, name, text)
        {
            found.extend(error.diagnostics);
        }
        found
    }

    /// Returns errors about directories and files that the specification names and that a link puts outside of the
    /// course: they are not read.
    pub(super) fn leaving_sources(&self, spec: &spec::Spec) -> Vec<Diagnostic> {
        let bounds = Bounds::of(&self.place.root);
        let mut known: HashMap<RelPath, Option<PathBuf>> = HashMap::new();
        let mut found = Vec::new();
        let mut check = |what: &str, path: &RelPath, line: u32, column: u32| {
            let leaves = known
                .entry(path.clone())
                .or_insert_with(|| bounds.leaves(&path.under(&self.place.root)));
            if let Some(real) = leaves {
                let mut error = Bounds::error(&format!("{what} `{path}`"), real);
                (error.line, error.column) = (Some(line), Some(column));
                found.push(error);
            }
        };
        for group in tree::dir_groups(spec) {
            if let Some(path) = &group.path {
                check("the dir-group", path, group.line, group.column);
            }
            for subdir in group.subdirs.iter().flatten() {
                let dir = match &group.path {
                    Some(path) => path.join(subdir.as_str()).ok(),
                    None => Some(subdir.clone()),
                };
                if let Some(dir) = dir {
                    check("the directory", &dir, group.line, group.column);
                }
            }
        }
        let topics = spec.sections.iter().flat_map(|section| &section.topics);
        for include in topics.flat_map(|topic| &topic.includes) {
            check("the include", &include.source, include.line, include.column);
        }
        let mut seen = HashSet::new();
        found.retain(|error| seen.insert(error.clone()));
        found
    }

    /// Returns the directory of a target as it is written in output paths: relative to the course root, or absolute if
    /// it is outside of it.
    pub(crate) fn root_of(&self, target: &Target) -> String {
        match self.output_root() {
            // A folder has only one target.
            Some(dir) if self.place.is_folder() => name_of(&self.place.root, &dir),
            Some(dir) => name_of(&self.place.root, &dir.join(&target.name)),
            None => target.path.to_string(),
        }
    }

    /// Returns whether every build executes all notebooks.
    pub(crate) fn executes_always(&self) -> bool {
        self.place.is_folder() && self.settings.folder.execute == spec::Execute::Always
    }

    /// Returns the output root that replaces the targets' paths, if one is set (absolute).
    pub(crate) fn output_root(&self) -> Option<PathBuf> {
        self.output_dir.clone().or_else(|| {
            let dir = self.settings.output.dir.as_ref()?;
            Some(self.place.root.join(dir))
        })
    }

    /// Returns the scope: the name under which the ledger records the outputs of this specification and output root.
    pub(crate) fn scope(&self) -> String {
        let output = self
            .output_root()
            .map_or_else(String::new, |dir| dir.display().to_string());
        format!("{} -> {output}", self.place.spec_name())
    }

    /// Returns a digest of everything that determines what a build of this course with these tools makes. Two processes
    /// with the same digest may do each other's work.
    pub(crate) fn identity_with(&self, renderers: &Renderers) -> Digest {
        Digest::of(format!("{} {}", self.identity(), renderers.identity()))
    }

    /// Returns a digest of everything besides tools that determines what a build of this course means.
    pub(crate) fn identity(&self) -> Digest {
        // Where results come from does not matter.
        let settings = Settings {
            cache: CacheSettings::default(),
            ..self.settings.clone()
        };
        let rules = match self.place.is_folder() {
            true => rule_files_above(&self.place.root),
            false => Vec::new(),
        };
        let rules = rules
            .iter()
            .map(|file| files::read(file).ok().map(Digest::of));
        let rules: Vec<Option<Digest>> = rules.collect();
        Digest::of(format!(
            "{:?}",
            (
                &self.place,
                &settings,
                &self.output_dir,
                Bounds::of(&self.place.root),
                rules
            )
        ))
    }

    /// Returns the files that settings come from, existing or not (absolute).
    pub(crate) fn settings_files(&self) -> Vec<PathBuf> {
        let mut files = EnvFile::candidates(&self.place, &self.settings.notebook);
        files.push(self.place.root.join(SETTINGS_FILE));
        files.extend(self.place.lock_files());
        if self.place.is_folder() {
            files.extend(rule_files_above(&self.place.root));
        }
        files
    }

    /// Returns the inputs of a plan, for a watch.
    pub(crate) fn inputs(&self, specified: &Specified, snapshot: &Snapshot) -> Inputs {
        let root = &self.place.root;
        let under = |path: &Option<RelPath>| match path {
            Some(path) => path.under(root),
            None => root.clone(),
        };
        let templates = self.settings.notebook.templates.iter();
        let bounds = Bounds::of(root);
        let is_folder = specified.spec.folder.is_some();
        let roots = tree::scan_roots(&specified.spec);
        Inputs {
            scanned: roots
                .iter()
                .filter(|_| !is_folder)
                .map(under)
                .filter(|dir| bounds.leaves(dir).is_none())
                .chain(templates.map(|dir| root.join(dir)))
                .collect(),
            also: is_folder.then(|| root.clone()).into_iter().collect(),
            files: snapshot
                .paths()
                .iter()
                .flat_map(|path| snapshot.places().watched(path))
                .chain(self.settings_files())
                .collect(),
            output_dirs: self.output_dirs(&specified.spec),
        }
    }

    /// Returns the directories of outputs (absolute).
    pub(crate) fn output_dirs(&self, spec: &spec::Spec) -> Vec<PathBuf> {
        match self.output_root() {
            Some(dir) => vec![dir],
            None => spec
                .targets
                .iter()
                .map(|target| target.path.under(&self.place.root))
                .collect(),
        }
    }

    /// Returns a filter for paths that are not sources, although they may be among them: records, outputs, the
    /// repository.
    pub(crate) fn skip(&self, spec: &spec::Spec) -> Skip<'static> {
        let state_dir = self.place.state_dir();
        let output_dirs = self.output_dirs(spec);
        let folder = spec.folder.as_ref();
        let folder = folder.map(|folder| FolderFilter::new(&self.place.root, folder));
        let is_folder = folder.is_some();
        let skip = Skip::new(move |path| {
            path == state_dir
                || path.file_name().is_some_and(|name| name == ".git")
                || output_dirs.iter().any(|dir| path == dir)
                || folder.as_ref().is_some_and(|folder| folder.skips(path))
        });
        skip.once(is_folder)
    }

    /// Returns the renderers that the sources need, by their files alone.
    pub(crate) fn uses(&self, specified: &Specified) -> Uses {
        let spec = &specified.spec;
        let root = &self.place.root;
        let skip = self.skip(spec);
        let scanned = Scanned::new(root, tree::scan_roots(spec), &skip);
        let read = |path: &RelPath| files::read(&path.under(root)).ok().map(Into::into);
        let (tree, _) = tree::discover(spec, scanned.listing(), &read);
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
}
