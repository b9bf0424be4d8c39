//! `clm add`: notebooks become topics of a course.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::Place;
use crate::course::deck::plain::{self, Plain};
use crate::course::spec::{Spec, parse_leniently};
use crate::course::tree::{self, simplified};
use crate::course::words::nearest;
use crate::course::{ProgLang, RelPath, lfs};
use crate::diagnostic::Diagnostic;
use crate::error::{Error, Result};
use crate::files::{self, Access};
use crate::scaffold::{AddedTopic, TopicEntry, added_topic, deck_id, insert_topic};
use crate::ui;

use super::session;

/// The module of a course that has none.
const FIRST_MODULE: &str = "module_010_notebooks";

/// The name of the section of a course that has none with topics.
const FIRST_SECTION: &str = "Notebooks";

/// The distance between the numbers of topics, so that there is room for others.
const STEP: u32 = 10;

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Notebooks: `.ipynb`, percent scripts, Markdown of jupytext or MyST with code cells
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The directory in `slides` that gets the topics [default: the one with the last topic of the course]
    #[arg(short, long, value_name = "DIR")]
    module: Option<String>,
    /// The section that gets the topics, by id or name; a new one if there is none
    /// [default: the section with the last topic of the module]
    #[arg(long, value_name = "SECTION")]
    section: Option<String>,
    /// The id of the topic, for a single file [default: made of the name of the file]
    #[arg(long)]
    id: Option<String>,
    /// The course specification [default: the nearest `course.xml` upward]
    #[arg(long, value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// Course root, which holds `slides/` [default: the specification's directory, or its parent]
    #[arg(short = 'd', long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Runs the command and returns the exit code. Everything is read and checked before anything is written.
pub(super) fn run(args: &AddArgs) -> Result<u8> {
    let cwd = session::current_dir()?;
    let place = Place::find(args.spec.as_deref(), args.data_dir.as_deref(), &cwd)?;
    if args.id.is_some() && args.files.len() > 1 {
        return Err(
            Error::usage("`--id` names one topic, but there are several files")
                .hint("add them one by one, or leave it out"),
        );
    }
    let mut course = Target::read(&place, args)?;
    let mut added = Vec::new();
    let mut errors = Vec::new();
    for file in &args.files {
        match course.add(file, &cwd, args.id.as_deref()) {
            Ok(topic) => added.push(topic),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(Error::from_diagnostics(errors));
    }
    let mut created = Vec::new();
    let written = added
        .iter()
        .try_for_each(|(dir, topic)| write(&place.root, dir, topic, &mut created))
        .and_then(|()| write_spec(&place.spec, &course.text));
    if let Err(error) = written {
        // Without its entry a topic would be in the way of the next attempt.
        for dir in created {
            let _ = std::fs::remove_dir_all(dir);
        }
        return Err(error);
    }
    for (dir, topic) in &added {
        ui::print_diagnostics(&topic.warnings);
        let others = topic.files.len() - 1;
        let pictures = match others {
            0 => String::new(),
            1 => ", 1 picture".to_owned(),
            _ => format!(", {others} pictures"),
        };
        let cells = match topic.cells {
            1 => "1 cell".to_owned(),
            cells => format!("{cells} cells"),
        };
        ui::print(&format!("{dir}/{}: {cells}{pictures}", topic.deck));
    }
    let name = place.spec_name();
    ui::print(&match course.is_disabled {
        true => format!("They are in {name}, in a section that is disabled"),
        false => format!(
            "{name} has them now. Copy the data that they read into their topics; `clm build` makes the pages"
        ),
    });
    Ok(0)
}

/// The course that gets the topics.
struct Target {
    spec: Spec,
    spec_name: String,
    /// The text of the specification, with the topics that were added.
    text: String,
    is_disabled: bool,
    /// The names in each module.
    modules: BTreeMap<String, BTreeSet<String>>,
    module: String,
    /// The ids of topics whose section gets the new ones, if it was chosen.
    of_section: Option<Vec<String>>,
    section: Option<String>,
}

impl Target {
    fn read(place: &Place, args: &AddArgs) -> Result<Self> {
        let spec_name = place.spec_name();
        let bytes =
            files::read(&place.spec).map_err(|error| Error::io("read", &place.spec, &error))?;
        let text = tree::text_of(&bytes).map_err(|not_text| {
            Error::usage("the specification is not UTF-8 text")
                .at(&spec_name, Some(not_text.line))
                .hint("save it with the encoding UTF-8")
        })?;
        let (spec, diagnostics) = parse_leniently(text, &spec_name);
        let Some(spec) = spec else {
            return Err(Error::from_diagnostics(diagnostics));
        };
        let modules = modules(&place.root)?;
        let module = match &args.module {
            Some(module) => checked_module(module)?,
            None => default_module(&spec, &modules),
        };
        let section = args.section.as_deref();
        let of_section = section.and_then(|wanted| {
            let found = spec.sections.iter().find(|section| {
                section.id.as_deref() == Some(wanted)
                    || section.name.texts().any(|name| name == wanted)
            })?;
            Some(found.topics.iter().map(|topic| topic.id.clone()).collect())
        });
        if of_section.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::usage(format!(
                "the section `{}` has no topics, so it cannot be told where they go",
                section.unwrap_or_default()
            ))
            .hint(format!("write a first `<topic>` into it in {spec_name}")));
        }
        Ok(Self {
            text: text.to_owned(),
            spec,
            spec_name,
            is_disabled: false,
            modules,
            module,
            of_section,
            section: args.section.clone(),
        })
    }

    /// Returns the directory and the topic of a notebook, and adds it to the specification.
    fn add(
        &mut self,
        file: &Path,
        cwd: &Path,
        id: Option<&str>,
    ) -> std::result::Result<(RelPath, AddedTopic), Vec<Diagnostic>> {
        let whole = cwd.join(file);
        let plain = notebook(&whole, cwd)?;
        let path = plain.deck.path.clone();
        let wrong = |message: String, hint: &str| {
            vec![
                Diagnostic::error(message)
                    .at(path.as_str(), None)
                    .hint(hint),
            ]
        };
        let prog_lang = match (plain.prog_lang, &plain.kernel) {
            (Some(prog_lang), _) => prog_lang,
            (None, None) => self.spec.prog_lang,
            (None, Some(kernel)) => {
                let message = format!(
                    "the notebook is for the kernel `{kernel}`, whose language clm does not know"
                );
                let names: Vec<&str> = ProgLang::ALL.iter().map(|lang| lang.name()).collect();
                let hint = format!("decks can be in {}", names.join(", "));
                return Err(wrong(message, &hint));
            }
        };
        let id = match id {
            Some(id) => id.to_owned(),
            None => deck_id(path.stem()),
        };
        if id.is_empty() || deck_id(&id) != id.to_lowercase() {
            let message = format!("`{id}` cannot be the id of a topic");
            return Err(wrong(
                message,
                "choose one of letters, digits and `_` with `--id`",
            ));
        }
        let names = self.modules.values().flatten();
        if let Some(other) = names
            .into_iter()
            .find(|name| simplified(name).as_ref() == Some(&id))
        {
            let message = format!("the course has a topic `{id}` already, in `{other}`");
            return Err(wrong(message, "choose another id with `--id`"));
        }
        let in_module = self.modules.entry(self.module.clone()).or_default();
        let neighbours = match &self.of_section {
            Some(topics) => topics.clone(),
            None if self.section.is_some() => Vec::new(),
            None => in_module
                .iter()
                .filter_map(|name| simplified(name))
                .collect(),
        };
        let name = format!("topic_{:03}_{id}", next_number(in_module));
        let folder = whole.parent().unwrap_or(cwd).to_owned();
        let topic = added_topic(plain, &id, prog_lang, &|path| picture(&folder, path));
        let has_topics = self
            .spec
            .sections
            .iter()
            .any(|section| !section.topics.is_empty());
        let new_section = match (&self.section, has_topics) {
            (Some(section), _) => Some(section.as_str()),
            (None, true) => None,
            (None, false) => Some(FIRST_SECTION),
        };
        let entry = TopicEntry {
            id: &id,
            module: &self.module,
            neighbours,
            attributes: topic.attributes.clone(),
            section: new_section.map(|name| (None, name)).into_iter().collect(),
        };
        let inserted =
            insert_topic(&self.text, &self.spec_name, &entry).map_err(|one| vec![one])?;
        self.text = inserted.text;
        self.is_disabled |= inserted.is_disabled;
        in_module.insert(name.clone());
        if self.section.is_some() || !has_topics {
            // The next ones go where this one is.
            self.of_section.get_or_insert_default().push(id);
        }
        let dir = RelPath::new(&format!("slides/{}/{name}", self.module))
            .map_err(|error| wrong(error.to_string(), "choose another name"))?;
        Ok((dir, topic))
    }
}

/// Returns the names in each module of a course.
fn modules(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let slides = root.join("slides");
    let names = |dir: &Path| -> Result<BTreeSet<String>> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if files::is_gone(&error) => return Ok(BTreeSet::new()),
            Err(error) => return Err(Error::io("read", dir, &error)),
        };
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().into_string());
        Ok(names.filter_map(std::result::Result::ok).collect())
    };
    let mut modules = BTreeMap::new();
    for module in names(&slides)? {
        let dir = slides.join(&module);
        if !module.starts_with(['_', '.']) && dir.is_dir() {
            modules.insert(module, names(&dir)?);
        }
    }
    Ok(modules)
}

/// Returns the module of the last topic in the specification that the course has, else the last module.
fn default_module(spec: &Spec, modules: &BTreeMap<String, BTreeSet<String>>) -> String {
    let topics = spec.sections.iter().flat_map(|section| &section.topics);
    let of_topic = topics.rev().find_map(|topic| {
        modules.iter().find_map(|(module, names)| {
            let is_module = topic.module.as_ref().is_none_or(|wanted| wanted == module);
            let has_topic = || {
                let mut ids = names.iter().filter_map(|name| simplified(name));
                ids.any(|id| id == topic.id)
            };
            (is_module && has_topic()).then(|| module.clone())
        })
    });
    of_topic
        .or_else(|| modules.keys().next_back().cloned())
        .unwrap_or_else(|| FIRST_MODULE.to_owned())
}

/// Returns the name of a module if a directory in `slides` can have it.
fn checked_module(name: &str) -> Result<String> {
    let name = name.trim_end_matches('/');
    let name = name.strip_prefix("slides/").unwrap_or(name);
    let is_name = !name.is_empty()
        && !name.contains(['/', '\\'])
        && !name.starts_with(['.', '_'])
        && !name.chars().any(char::is_control);
    match is_name {
        true => Ok(name.to_owned()),
        false => Err(
            Error::usage(format!("`{name}` cannot be the name of a module"))
                .hint("a module is a directory in `slides`, such as `module_010_intro`"),
        ),
    }
}

/// Returns the number of the next topic, by the names in its module.
fn next_number(names: &BTreeSet<String>) -> u32 {
    let number = |name: &String| name.split('_').nth(1)?.parse::<u32>().ok();
    let last = names.iter().filter_map(number).max().unwrap_or(0);
    (last / STEP).saturating_add(1).saturating_mul(STEP)
}

/// Reads a notebook.
fn notebook(file: &Path, cwd: &Path) -> std::result::Result<Plain, Vec<Diagnostic>> {
    let shown = file.strip_prefix(cwd).unwrap_or(file).display().to_string();
    let wrong = |message: String| Diagnostic::error(message).at(&shown, None);
    let path = RelPath::below(cwd, file)
        .or_else(|| RelPath::new(file.file_name()?.to_str()?).ok())
        .ok_or_else(|| vec![wrong("the name of the file is not UTF-8 text".into())])?;
    let bytes = files::read(file).map_err(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::IsADirectory => "this is a directory".to_owned(),
            _ => format!("the file cannot be read: {error}"),
        };
        vec![
            wrong(message)
                .hint("name notebooks: `.ipynb`, percent scripts, Markdown with code cells"),
        ]
    })?;
    if let Some(pointer) = lfs::pointer(path.as_str(), &bytes) {
        return Err(vec![pointer]);
    }
    let text =
        tree::text_of(&bytes).map_err(|not_text| vec![not_text.diagnostic("notebook", &path)])?;
    let plain = plain::read(&path, text).map_err(|error| vec![error])?;
    plain.ok_or_else(|| {
        let extension = path.extension();
        let hint = if matches!(extension, "md" | "markdown") {
            "Markdown is a notebook if it has code cells, and front matter with `jupytext`, `kernelspec` or `file_format: mystnb`".to_owned()
        } else if let Some(prog_lang) = ProgLang::of_extension(extension) {
            format!("cells of scripts begin with a line `{} %%`", prog_lang.comment())
        } else {
            let known = ["ipynb", "md", "py", "cpp", "cs", "java", "ts"];
            match nearest(extension, known) {
                Some(meant) => format!("did you mean a file `.{meant}`?"),
                None => "notebooks are `.ipynb`, percent scripts, and Markdown with code cells".to_owned(),
            }
        };
        vec![wrong("this is not a notebook".into()).hint(hint)]
    })
}

/// Returns the content of a file by its path relative to the directory of a notebook.
fn picture(folder: &Path, path: &str) -> Option<Vec<u8>> {
    /// Larger files are no pictures that belong into a course.
    const LARGEST: u64 = 100 << 20;
    let file = folder.join(path);
    let length = std::fs::metadata(&file)
        .ok()
        .filter(|file| file.is_file())?
        .len();
    (length <= LARGEST).then(|| files::read(&file).ok())?
}

/// Writes the files of a topic into a directory that does not exist yet.
fn write(root: &Path, dir: &RelPath, topic: &AddedTopic, created: &mut Vec<PathBuf>) -> Result<()> {
    let target = dir.under(root);
    if let Some(module) = target.parent() {
        std::fs::create_dir_all(module).map_err(|error| Error::io("create", module, &error))?;
    }
    std::fs::create_dir(&target).map_err(|error| Error::io("create", &target, &error))?;
    created.push(target.clone());
    for (path, content) in &topic.files {
        let file = target.join(path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Error::io("create", parent, &error))?;
        }
        let written =
            std::fs::File::create_new(&file).and_then(|mut created| created.write_all(content));
        written.map_err(|error| Error::io("write", &file, &error))?;
    }
    Ok(())
}

/// Replaces the specification, which may be a symbolic link.
fn write_spec(spec: &Path, text: &str) -> Result<()> {
    let file = spec.canonicalize().unwrap_or_else(|_| spec.to_owned());
    files::replace(&file, Access::Shared, |file| {
        file.write_all(text.as_bytes())
    })
    .map_err(|error| Error::io("write", &file, &error))
}
