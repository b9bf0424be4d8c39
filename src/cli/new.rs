//! `clm new`: starts a course.

mod topic;

pub(super) use topic::{module_here, modules, replace_spec};

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr as _;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use nix::unistd::{Uid, User};

use crate::course::{Lang, ProgLang};
use crate::error::{Error, Result};
use crate::scaffold::{self, NewFile, Settings, title_of};
use crate::tools::provision::is_complete;
use crate::tools::{Context, Needs};
use crate::ui;

use super::session::current_dir;

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
    Topic(topic::NewTopicArgs),
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

fn prog_lang_parser() -> impl clap::builder::TypedValueParser<Value = ProgLang> {
    PossibleValuesParser::new(ProgLang::ALL.map(ProgLang::name))
        .try_map(|name| ProgLang::parse(&name).ok_or("it is none"))
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &NewArgs) -> Result<u8> {
    match &args.command {
        Some(NewCommand::Topic(args)) => topic::run(args),
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
    for (done, file) in files.iter().enumerate() {
        if let Err(error) = write(dir, file) {
            return Err(half_done(error, &files[..done], named));
        }
    }
    Ok(())
}

fn write(dir: &Path, file: &NewFile) -> Result<()> {
    let path = dir.join(&file.path);
    let parent = path.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent)
        .map_err(|error| Error::io("create the directory", parent, &error))?;
    let mut options = std::fs::OpenOptions::new();
    let mut new = options
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| Error::io("write", &path, &error))?;
    new.write_all(file.content.as_bytes()).map_err(|error| {
        // It is new, and has a part of what it should have.
        let _ = std::fs::remove_file(&path);
        Error::io("write", &path, &error)
    })
}

/// Lists what was written before an error, with a hint to remove it.
fn half_done(mut error: Error, written: &[NewFile], named: &Path) -> Error {
    for file in written {
        ui::print(&format!("written: {}", named.join(&file.path).display()));
    }
    if let (Some(last), false) = (error.diagnostics.last_mut(), written.is_empty()) {
        let rest = "remove what was written before you run the command again";
        last.hint = Some(match last.hint.take() {
            Some(hint) => format!("{hint}; {rest}"),
            None => rest.to_owned(),
        });
    }
    error
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_slugs_are_words() {
        for (path, word) in [
            ("a/b-c", "a/b-c"),
            ("my course", "'my course'"),
            ("it's", r"'it'\''s'"),
            ("-x", "'./-x'"),
            ("größe", "größe"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
        for (name, expected) in [
            ("coffee", "coffee"),
            ("My course: 2", "My-course--2"),
            ("..", "course"),
            ("größe", "größe"),
        ] {
            assert_eq!(slug(name), expected);
        }
    }

    #[test]
    fn titles_are_checked() {
        assert_eq!(checked_title(" C# {1} ").ok().as_deref(), Some("C# {1}"));
        for wrong in ["", " ", "a\nb", "{{ x", "a %} b", "{# x"] {
            assert!(checked_title(wrong).is_err(), "{wrong:?}");
        }
    }
}
