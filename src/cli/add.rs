//! `clm add`: notebooks become topics of a course.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::Place;
use crate::course::deck::plain::{self, Plain};
use crate::course::spec::{Section, Spec, parse_leniently};
use crate::course::words::nearest;
use crate::course::{ProgLang, RelPath, lfs, tree};
use crate::diagnostic::Diagnostic;
use crate::error::{Error, Result};
use crate::files;
use crate::scaffold::{
    AddedTopic, ModuleChoice, Modules, TopicEntry, added_topic, id_of_notebook, identifier_hint,
    insert_topic, is_identifier,
};
use crate::ui;

use super::{new, session};

/// The module of a course that has none.
const FIRST_MODULE: &str = "notebooks";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm add ../notes/loops.ipynb                a topic with its cells\n\
    \x20 clm add a.ipynb b.md --module control_flow  two topics in this module")]
pub(super) struct AddArgs {
    /// Notebooks: `.ipynb`, percent scripts, Markdown of jupytext or MyST with code cells
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The module that gets the topics, by its directory or the end of that; another name makes a module with a section of
    /// its own [default: the module of the working directory, or else that of the last topic]
    #[arg(long, value_name = "MODULE")]
    module: Option<String>,
    /// The section that gets the topics, by id or name; another name makes one [default: the section of the module's topics]
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
        let topic = match deck_of(&place, &cwd.join(file)) {
            Some(deck) => Err(vec![there_already(&deck)]),
            None => course.add(file, &cwd, args.id.as_deref()),
        };
        match topic {
            Ok(topic) => added.push((file, topic)),
            Err(found) => errors.extend(found.into_iter().map(|error| named(error, file))),
        }
    }
    if !errors.is_empty() {
        return Err(Error::from_diagnostics(errors));
    }
    let mut created = Vec::new();
    let written = added
        .iter()
        .try_for_each(|(_, (dir, topic))| write(&place.root, dir, topic, &mut created))
        .and_then(|()| new::replace_spec(&place, &course.text));
    if let Err(error) = written {
        // Without its entry a topic would be in the way of the next attempt.
        for dir in created {
            let _ = std::fs::remove_dir_all(dir);
        }
        return Err(error);
    }
    for (file, (dir, topic)) in &added {
        let warnings = topic.warnings.iter().cloned();
        let warnings: Vec<Diagnostic> = warnings.map(|warning| named(warning, file)).collect();
        ui::print_diagnostics(&warnings);
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

/// Returns the path of a file in the course, if it is called like a deck and lies where decks are.
fn deck_of(place: &Place, file: &Path) -> Option<RelPath> {
    let root = place.root.canonicalize().ok()?;
    let path = RelPath::below(&root, &file.canonicalize().ok()?)?;
    let is_deck = path.as_str().starts_with("slides/") && tree::is_deck(&path);
    is_deck.then_some(path)
}

fn there_already(deck: &RelPath) -> Diagnostic {
    Diagnostic::error("this is a deck in the course already")
        .at(deck.as_str(), None)
        .hint("`clm new topic ID` starts a topic with a deck of its own")
}

/// Names the notebook in a diagnostic as the user named it. Others are about the specification.
fn named(mut diagnostic: Diagnostic, file: &Path) -> Diagnostic {
    let name = |path: &str| Path::new(path).file_name() == file.file_name();
    if diagnostic.file.as_deref().is_some_and(name) {
        diagnostic.file = Some(file.display().to_string());
    }
    diagnostic
}

/// The course that gets the topics.
struct Target {
    spec: Spec,
    spec_name: String,
    /// The text of the specification, with the topics that were added.
    text: String,
    is_disabled: bool,
    modules: Modules,
    /// The name of the module's directory.
    module: String,
    /// The section that was chosen, or the title of a new module.
    section: Option<String>,
    /// The ids of topics whose section gets the new ones, if it was chosen.
    of_section: Option<Vec<String>>,
}

impl Target {
    fn read(place: &Place, args: &AddArgs) -> Result<Self> {
        let spec_name = place.spec_name();
        let text = files::read_to_string(&place.spec)
            .map_err(|error| Error::io("read", &place.spec, &error))?;
        let (spec, diagnostics) = parse_leniently(&text, &spec_name);
        let Some(spec) = spec else {
            return Err(Error::from_diagnostics(diagnostics));
        };
        let modules = new::modules(place)?;
        let topics: Vec<&str> = (spec.sections.iter().flat_map(|section| &section.topics))
            .map(|topic| topic.id.as_str())
            .collect();
        let usual = || -> Result<Option<String>> {
            Ok(modules.usual(new::module_here(place)?.as_deref(), &topics))
        };
        let named = match &args.module {
            Some(module) => Some(module.clone()),
            None => usual()?,
        };
        let named = named.unwrap_or_else(|| FIRST_MODULE.to_owned());
        let choice = modules
            .named(&named)
            .map_err(|hint| Error::usage(format!("there is no module `{named}`")).hint(hint))?;
        let (module, title) = match choice {
            ModuleChoice::Existing(module) => (module, None),
            ModuleChoice::New { directory, title } => (directory, Some(title)),
        };
        let wanted = args.section.as_deref();
        let section = wanted.and_then(|wanted| {
            let is_it = |section: &&Section| {
                section.id.as_deref() == Some(wanted)
                    || section.name.texts().any(|name| name == wanted)
            };
            spec.sections.iter().find(is_it)
        });
        let of_section: Option<Vec<String>> = section.map(|section| {
            let topics = section.topics.iter();
            topics.map(|topic| topic.id.clone()).collect()
        });
        if of_section.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::usage(format!(
                "the section `{}` has no topics yet, which would show where they go",
                wanted.unwrap_or_default()
            ))
            .hint(format!("write its first `<topic>` into {spec_name}")));
        }
        Ok(Self {
            text,
            spec_name,
            is_disabled: false,
            modules,
            module,
            section: args.section.clone().or(title),
            of_section,
            spec,
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
        let wrong = |message: String, hint: String| {
            let error = Diagnostic::error(message);
            vec![error.at(path.as_str(), None).hint(hint)]
        };
        let prog_lang = match (plain.prog_lang, &plain.kernel) {
            (Some(prog_lang), _) => prog_lang,
            (None, None) => self.spec.prog_lang,
            (None, Some(kernel)) => {
                let names = ProgLang::ALL.map(ProgLang::name).join(", ");
                return Err(wrong(
                    format!("the notebook is for the kernel `{kernel}`, which no deck can have"),
                    format!("decks are in {names}"),
                ));
            }
        };
        let id = match id {
            Some(id) if is_identifier(id) => id.to_owned(),
            Some(id) => {
                let message = format!("`{id}` cannot be the id of a topic");
                return Err(wrong(message, identifier_hint(id)));
            }
            None => id_of_notebook(path.stem()).ok_or_else(|| {
                let message = "no id for the topic can be made of the file's name";
                wrong(message.into(), "choose one with `--id`".into())
            })?,
        };
        if let Some(other) = self.modules.path_of(&id) {
            let message = format!("there is a topic `{id}` already: `{other}`");
            return Err(wrong(message, "choose another id with `--id`".into()));
        }
        let neighbours = match &self.of_section {
            Some(topics) => topics.clone(),
            None if self.section.is_some() => Vec::new(),
            None => self.modules.topics_of(&self.module),
        };
        let dir = self.modules.directory_of(&self.module, &id);
        let dir = RelPath::new(&dir)
            .map_err(|error| wrong(error.to_string(), "choose another id with `--id`".into()))?;
        let folder = whole.parent().unwrap_or(cwd).to_owned();
        let topic = added_topic(plain, &id, prog_lang, &|path| picture(&folder, path));
        let section = self.section.as_deref();
        let entry = TopicEntry {
            id: &id,
            module: &self.module,
            neighbours,
            attributes: topic.attributes.clone(),
            section: section.map(|name| (None, name)).into_iter().collect(),
        };
        let inserted =
            insert_topic(&self.text, &self.spec_name, &entry).map_err(|error| vec![error])?;
        self.text = inserted.text;
        self.is_disabled |= inserted.is_disabled;
        self.modules.insert(&self.module, dir.file_name());
        if self.section.is_some() {
            // The next ones go where this one is.
            self.of_section.get_or_insert_default().push(id);
        }
        Ok((dir, topic))
    }
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
    /// A notebook of somebody else must not bring other files of this machine into a course: it can name any path.
    const SHOWN: [&str; 21] = [
        "apng", "avif", "bmp", "gif", "ico", "jpeg", "jpg", "m4a", "m4v", "mov", "mp3", "mp4",
        "ogg", "ogv", "png", "svg", "tif", "tiff", "wav", "webm", "webp",
    ];
    let file = folder.join(path);
    let extension = file.extension()?.to_str()?.to_ascii_lowercase();
    if !SHOWN.contains(&extension.as_str()) {
        return None;
    }
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
