//! `clm new`: starts a course, and adds a topic to one.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr as _;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use nix::unistd::{Uid, User};

use crate::config::Place;
use crate::course::tree::is_ignored_dir;
use crate::course::{Lang, ProgLang, spec};
use crate::error::{Error, Result};
use crate::files;
use crate::scaffold::{
    self, Inserted, ModuleChoice, Modules, NewFile, Settings, TopicEntry, has_kernel,
    identifier_hint, insert_topic, is_identifier, title_of,
};
use crate::tools::provision::is_complete;
use crate::tools::{Context, Needs};
use crate::ui;

use super::session::{CourseArgs, current_dir};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n\
        \x20 clm new statistics                   a course in English, decks in Python\n\
        \x20 clm new statistik --languages de,en  one in two languages\n\
        \x20 clm new basics --prog-lang cpp       with decks in C++"
)]
pub(super) struct NewArgs {
    #[command(subcommand)]
    command: Option<NewCommand>,
    #[command(flatten)]
    course: NewCourseArgs,
}

#[derive(Debug, Subcommand)]
enum NewCommand {
    /// Add a topic to a course: its folder, a deck, and the entry in the specification
    Topic(NewTopicArgs),
}

#[derive(Debug, Args)]
struct NewCourseArgs {
    /// The directory of the course: a new or an empty one
    #[arg(required = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The languages of the course: codes such as `de,en`
    #[arg(long, value_delimiter = ',', value_name = "LANG,..", value_parser = Lang::from_str, default_value = "en")]
    languages: Vec<Lang>,
    /// The programming language of the course
    #[arg(long, value_name = "LANG", value_parser = prog_lang_parser(), default_value = "python")]
    prog_lang: ProgLang,
    /// The title of the course [default: the name of the directory]
    #[arg(long)]
    title: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm new topic for_loops                        after the last topic\n\
    \x20 clm new topic for_loops --module control_flow  in this module")]
struct NewTopicArgs {
    /// The id of the topic, such as `for_loops`
    id: String,
    /// The course specification [default: the nearest `course.xml` upward]
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// Course root, which holds `slides/` [default: the specification's directory, or its parent]
    #[arg(short = 'd', long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The module that gets the topic, by its directory or the end of that; another name makes a module with a section of
    /// its own [default: the module of the working directory, or else that of the last topic]
    #[arg(long, value_name = "MODULE")]
    module: Option<String>,
    /// The programming language of the deck [default: that of the course]
    #[arg(long, value_name = "LANG", value_parser = prog_lang_parser())]
    prog_lang: Option<ProgLang>,
    /// The title of the deck [default: made of the id]
    #[arg(long)]
    title: Option<String>,
}

fn prog_lang_parser() -> impl clap::builder::TypedValueParser<Value = ProgLang> {
    PossibleValuesParser::new(ProgLang::ALL.map(ProgLang::name))
        .try_map(|name| ProgLang::parse(&name).ok_or("it is none"))
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &NewArgs) -> Result<u8> {
    match &args.command {
        Some(NewCommand::Topic(args)) => new_topic(args),
        None => new_course(&args.course),
    }
}

/// Starts a course.
fn new_course(args: &NewCourseArgs) -> Result<u8> {
    let named = args.dir.as_deref().unwrap_or(Path::new("."));
    let cwd = current_dir()?;
    let dir = real_dir(&cwd.join(named), named)?;
    refuse_inner(&dir)?;
    refuse_full(&dir, named)?;
    let name = dir.file_name().unwrap_or(OsStr::new("course"));
    let name = name.to_string_lossy();
    let title = match &args.title {
        Some(title) => checked_title(title)?,
        None => title_of(&name),
    };
    let mut languages = args.languages.clone();
    let mut seen = Vec::new();
    languages.retain(|lang| {
        !seen.contains(lang) && {
            seen.push(*lang);
            true
        }
    });
    let settings = Settings {
        title: if title.is_empty() {
            "Course".to_owned()
        } else {
            title
        },
        languages,
        prog_lang: args.prog_lang,
        author: author(dir.parent().unwrap_or(&cwd)),
        organization: String::new(),
    };
    let repository = repository_around(&dir);
    let slug = slug(&name);
    let files = scaffold::course(&settings, &slug, repository.is_none());
    write_all(&dir, &files, named)?;
    ui::print(&format!(
        "The course `{}` is in `{}`:",
        settings.title,
        shown(named)
    ));
    for file in &files {
        ui::print(&format!("  {}", file.path));
    }
    if let Some(repository) = repository {
        ui::print(&format!(
            "note: there is no file for GitHub, which looks for it at the top of the repository, `{}`",
            repository.display()
        ));
    }
    say_next(named, &dir);
    Ok(0)
}

/// Prints the commands that show the course in the browser.
fn say_next(named: &Path, dir: &Path) {
    let needs = Needs::of_spec(&dir.join("course.xml"));
    let context = Context::of_process(Some(dir.to_path_buf()));
    let is_installed = needs.is_ok_and(|needs| is_complete(&context, &needs));
    ui::print("Next:");
    if named.components().any(|part| part != Component::CurDir) {
        ui::print(&format!("  cd {}", quoted(named)));
    }
    match is_installed {
        true => ui::print("  clm watch --serve"),
        // What is missing takes a while, and it is not obvious what happens meanwhile.
        false => ui::print("  clm watch --setup --serve    (installs the renderers first)"),
    }
}

/// Returns the real path of a directory that may not exist yet.
fn real_dir(dir: &Path, named: &Path) -> Result<PathBuf> {
    match dir.canonicalize() {
        Ok(real) => Ok(real),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if dir.symlink_metadata().is_ok() {
                return Err(Error::usage(format!(
                    "`{}` is a symbolic link that leads nowhere",
                    named.display()
                ))
                .hint("remove it, or name another directory"));
            }
            let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
                return Err(Error::io("create the directory", named, &error));
            };
            let real = parent.canonicalize();
            let real = real.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    Error::usage(format!("there is no directory `{}`", parent.display()))
                        .hint("check the path, or make the directory first")
                }
                _ => Error::io("look at", parent, &error),
            })?;
            Ok(real.join(name))
        }
        Err(error) => Err(Error::io("look at", named, &error)),
    }
}

/// Rejects a directory in another course, which would find its decks.
fn refuse_inner(dir: &Path) -> Result<()> {
    let outer = dir.ancestors().skip(1);
    let mut specs = outer.map(|dir| dir.join("course.xml"));
    match specs.find(|spec| spec.is_file()) {
        None => Ok(()),
        Some(spec) => Err(Error::usage(format!(
            "`{}` lies in the course of `{}`",
            dir.display(),
            spec.display()
        ))
        .hint("`clm new topic ID` adds a topic to that course; a new course needs a directory outside of it")),
    }
}

/// Rejects what is no directory, and directories with anything but a repository.
fn refuse_full(dir: &Path, named: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(
                Error::usage(format!("`{}` is not a directory", named.display()))
                    .hint("name a directory that is new or empty"),
            );
        }
        Err(error) => return Err(Error::io("list", named, &error)),
    };
    let mut names: Vec<OsString> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", named, &error))?;
        names.push(entry.file_name());
    }
    names.sort();
    let Some(first) = names.iter().find(|name| *name != ".git") else {
        return Ok(());
    };
    let others = names.iter().filter(|name| *name != ".git").count() - 1;
    let others = match others {
        0 => String::new(),
        1 => " and another entry".to_owned(),
        count => format!(" and {count} other entries"),
    };
    let first = first.to_string_lossy();
    let error = Error::usage(format!(
        "`{}` is not empty: it has `{first}`{others}",
        shown(named)
    ));
    Err(match names.iter().any(|name| name == "course.xml") {
        true => error.hint("there is a course already: `clm new topic ID` adds a topic to it"),
        false => error.hint("name a directory that is new or empty"),
    })
}

/// Returns the top of the repository that a directory lies in, unless the directory is the top itself.
fn repository_around(dir: &Path) -> Option<PathBuf> {
    if dir.join(".git").exists() {
        return None;
    }
    let outer = dir.ancestors().skip(1);
    let mut outer = outer.filter(|dir| dir.join(".git").exists());
    outer.next().map(Path::to_path_buf)
}

/// Returns the name of the author: the one in git's settings, else the one of the account.
fn author(dir: &Path) -> String {
    let git = || {
        let mut git = Command::new("git");
        git.args(["config", "user.name"]).current_dir(dir);
        let output = git
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let user = || User::from_uid(Uid::current()).ok().flatten();
    // The first part is the name; others are rooms and telephones.
    let full = || {
        let gecos = user()?.gecos;
        let name = gecos.to_string_lossy().into_owned();
        name.split(',').next().map(str::to_owned)
    };
    let account = || user().map(|user| user.name);
    let plain = |name: String| {
        let name = name
            .replace(|c: char| c.is_control(), " ")
            .trim()
            .to_owned();
        (!name.is_empty()).then_some(name)
    };
    let found = git().and_then(plain);
    let found = found.or_else(|| full().and_then(plain));
    let found = found.or_else(|| account().and_then(plain));
    found.unwrap_or_else(|| "clm".to_owned())
}

/// Returns a title without the blanks around it. Those that no header or specification can have are errors.
fn checked_title(title: &str) -> Result<String> {
    let title = title.trim();
    let refused = |what: &str| {
        Err(Error::usage(format!("the title {what}")).hint("write it in one line of plain text"))
    };
    if title.is_empty() {
        refused("is empty")
    } else if title.contains(|c: char| c.is_control()) {
        refused("has a line end or another control character")
    } else if ["{{", "}}", "{%", "%}", "{#", "#}"]
        .iter()
        .any(|mark| title.contains(mark))
    {
        refused("has a mark of Jinja")
    } else {
        Ok(title.to_owned())
    }
}

/// Returns what the output directories are called: the name of the course's directory, without what is unusual in paths.
fn slug(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let slug: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    match slug.trim_matches('-') {
        "" => "course".to_owned(),
        slug => slug.to_owned(),
    }
}

/// Writes new files below a directory. Nothing is ever overwritten; an error says what was written before.
fn write_all(dir: &Path, files: &[NewFile], named: &Path) -> Result<()> {
    let mut written = 0;
    let result = files.iter().try_for_each(|file| {
        let path = dir.join(&file.path);
        let parent = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent)
            .map_err(|error| Error::io("create the directory", parent, &error))?;
        let new = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path);
        new.and_then(|mut new| new.write_all(file.content.as_bytes()))
            .map_err(|error| Error::io("write", &path, &error))?;
        written += 1;
        Ok(())
    });
    result.map_err(|error: Error| match written {
        0 => error,
        _ => {
            for file in &files[..written] {
                ui::print(&format!("written: {}", named.join(&file.path).display()));
            }
            error
        }
    })
}

/// Adds a topic to a course.
fn new_topic(args: &NewTopicArgs) -> Result<u8> {
    let id = args.id.as_str();
    if !is_identifier(id) {
        return Err(
            Error::usage(format!("`{id}` cannot be the id of a topic")).hint(identifier_hint(id))
        );
    }
    let course = CourseArgs {
        spec: args.spec.clone(),
        data_dir: args.data_dir.clone(),
        ..CourseArgs::default()
    };
    let place = course.place()?;
    let name = place.spec_name();
    let text = files::read_to_string(&place.spec)
        .map_err(|error| Error::io("read", &place.spec, &error))?;
    let (spec, diagnostics) = spec::parse_leniently(&text, &name);
    let Some(spec) = spec else {
        return Err(Error::from_diagnostics(diagnostics));
    };
    let modules = modules(&place)?;
    if let Some(path) = modules.path_of(id) {
        return Err(exists(id, &path, &spec, &name));
    }
    let in_order: Vec<&str> = (spec.sections.iter().flat_map(|section| &section.topics))
        .map(|topic| topic.id.as_str())
        .collect();
    let choice = match &args.module {
        Some(module) => modules
            .named(module)
            .map_err(|hint| Error::usage(format!("there is no module `{module}`")).hint(hint))?,
        None => match modules.usual(module_here(&place)?.as_deref(), &in_order) {
            Some(module) => ModuleChoice::Existing(module),
            None => {
                return Err(Error::usage("the course has no module yet")
                    .hint("name one for the topic: `--module intro`"));
            }
        },
    };
    let (module, section) = match &choice {
        ModuleChoice::Existing(module) => (module, None),
        ModuleChoice::New { directory, title } => (directory, Some(title.as_str())),
    };
    let prog_lang = args.prog_lang.unwrap_or(spec.prog_lang);
    // As the others: an author who has installed a kernel has removed the attribute there.
    let is_executed = has_kernel(prog_lang)
        || (prog_lang == spec.prog_lang
            && (spec.sections.iter().flat_map(|section| &section.topics))
                .any(|topic| topic.evaluate));
    let entry = TopicEntry {
        id,
        module,
        neighbours: modules.topics_of(module),
        attributes: if is_executed {
            Vec::new()
        } else {
            vec![("evaluate", "no")]
        },
        section: section.into_iter().map(|title| (None, title)).collect(),
    };
    let Inserted {
        text,
        line,
        is_disabled,
    } = insert_topic(&text, &name, &entry).map_err(|error| Error::from_diagnostics(vec![error]))?;
    let settings = Settings {
        title: match &args.title {
            Some(title) => checked_title(title)?,
            None => title_of(id),
        },
        languages: spec.languages(),
        prog_lang,
        author: spec.author.clone(),
        organization: String::new(),
    };
    let deck = scaffold::topic(&settings, &modules.directory_of(module, id), id);
    write_all(&place.root, std::slice::from_ref(&deck), &place.root)?;
    replace_spec(&place, &text).inspect_err(|_| ui::print(&format!("written: {}", deck.path)))?;
    if section.is_some() {
        ui::print(&format!("The module `{module}` is new"));
    }
    ui::print(&format!("The topic `{id}` is in:"));
    ui::print(&format!("  {}", deck.path));
    ui::print(&format!("  {name}, line {line}"));
    if is_disabled {
        ui::print("note: its section is disabled, so it is not built");
    }
    Ok(0)
}

/// Returns the error that a topic exists. It says whether the specification names it.
fn exists(id: &str, path: &str, spec: &spec::Spec, file: &str) -> Error {
    let error = Error::usage(format!("there is a topic `{id}` already: `{path}`"));
    let mut topics = spec.sections.iter().flat_map(|section| &section.topics);
    error.hint(match topics.any(|topic| topic.id == id) {
        true => "choose another id".to_owned(),
        false => format!("choose another id, or add `<topic>{id}</topic>` to `{file}`"),
    })
}

/// Replaces the specification as a whole; its permissions stay.
pub(super) fn replace_spec(place: &Place, text: &str) -> Result<()> {
    let permissions = std::fs::metadata(&place.spec).map(|metadata| metadata.permissions());
    files::replace(&place.spec, files::Access::Shared, |file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions?)
    })
    .map_err(|error| Error::io("write", &place.spec, &error))
}

/// Returns the modules of a course.
pub(super) fn modules(place: &Place) -> Result<Modules> {
    let slides = place.root.join("slides");
    let mut modules = Vec::new();
    for module in names_in(&slides)? {
        let path = slides.join(&module);
        if !module.starts_with(['_', '.']) && !is_ignored_dir(&module) && path.is_dir() {
            let mut entries = names_in(&path)?;
            entries.retain(|name| !name.starts_with(['_', '.']));
            modules.push((module, entries));
        }
    }
    Ok(Modules::new(modules))
}

fn names_in(dir: &Path) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| Error::io("list", dir, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Returns the module that the working directory lies in.
pub(super) fn module_here(place: &Place) -> Result<Option<String>> {
    let cwd = current_dir()?;
    let cwd = cwd.canonicalize().unwrap_or(cwd);
    let below = cwd.strip_prefix(place.root.join("slides")).ok();
    let module = below.and_then(|below| below.components().next());
    Ok(module.map(|module| module.as_os_str().to_string_lossy().into_owned()))
}

/// Returns a directory as the user named it.
fn shown(named: &Path) -> String {
    named.display().to_string()
}

/// Returns a path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,@".contains(c);
    match text.chars().all(is_plain) && !text.starts_with('-') {
        true => text,
        false if text.starts_with('-') => format!("'./{}'", text.replace('\'', r"'\''")),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
