//! `clm cache export` and `clm cache import`: results of one store for another one.

use std::io::{self, BufWriter, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::parse_size;
use crate::diagnostic::Diagnostic;
use crate::engine::course::Course;
use crate::engine::staging::Staging;
use crate::error::{Error, Result};
use crate::files::{self, Access};
use crate::store::Store;
use crate::store::archive::{self, ArchiveError, Exported, Extent, Imported};
use crate::ui;

use super::cache::{actions, open};
use super::place_args::PlaceArgs;
use super::session::CourseArgs;

/// The name that stands for standard input or output.
const STREAM: &str = "-";
/// What an archive may become if nothing else is said, in bytes.
const MAX_SIZE: u64 = 10_000_000_000;
/// The longest label, in bytes.
const LONGEST_LABEL: usize = 200;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm cache export cache.tar.zst      what the course uses now\n\
    \x20 clm cache export all.tar.zst --all  also earlier versions")]
pub(super) struct ExportArgs {
    /// The archive to write, or `-` for the standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    course: CourseArgs,
    /// Also export what the course does not use now: earlier versions, other courses
    #[arg(long)]
    all: bool,
    /// The name of this machine, for `clm explain` where the results are used
    #[arg(long, value_name = "TEXT", value_parser = parse_label)]
    label: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm cache import cache.tar.zst  the next build restores what it finds")]
pub(super) struct ImportArgs {
    /// The archive to read, or `-` for the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    course: PlaceArgs,
    /// Refuse an archive that unpacks to more, such as `20GB` [default: 10 GB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
}

fn parse_label(text: &str) -> Result<String, String> {
    match archive::is_name(text) && text.len() <= LONGEST_LABEL {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "a label is one line of 1 to {LONGEST_LABEL} bytes, such as `ci`"
        )),
    }
}

/// Writes an archive.
pub(super) fn export(args: &ExportArgs) -> Result<u8> {
    let is_stream = args.file.as_os_str() == STREAM;
    if is_stream && io::stdout().is_terminal() {
        return Err(Error::usage("an archive is no text for a terminal")
            .hint("name a file, or send it to a program: `clm cache export - | ssh ..`"));
    }
    let (course, store) = open(&args.course)?;
    let export = Export {
        extent: extent(&course, args.all),
        label: args.label.as_deref(),
        store: &store,
    };
    if is_stream {
        let stream = BufWriter::with_capacity(1 << 16, ui::data_stream());
        let exported = store.export(&export.extent, export.label, stream)?;
        ui::print(&said(&exported));
        return Ok(0);
    }
    let exported = export.to_file(&args.file)?;
    ui::data(&format!("{}\n", said(&exported)));
    Ok(0)
}

fn said(exported: &Exported) -> String {
    let (count, bytes) = (actions(exported.results), ui::size(exported.bytes));
    format!("exported the results of {count}, {bytes}")
}

/// Returns what is exported. If the course cannot be planned, nothing says which of its records are outdated.
fn extent(course: &Course, all: bool) -> Extent {
    if all {
        return Extent::All;
    }
    if let Ok(Some(actions)) = course.planned_actions() {
        return Extent::Planned(actions);
    }
    let warning = "the course cannot be planned now, so what its last builds used is exported";
    ui::print_diagnostics(&[Diagnostic::warning(warning).hint("`clm check-spec` says why")]);
    Extent::Latest
}

struct Export<'a> {
    store: &'a Store,
    extent: Extent,
    label: Option<&'a str>,
}

impl Export<'_> {
    /// Writes the archive as a whole or not at all.
    fn to_file(&self, file: &Path) -> Result<Exported> {
        let file = replaceable(file)?;
        let mut exported = None;
        let replaced = files::replace(&file, Access::Shared, |to| {
            let result = self
                .store
                .export(&self.extent, self.label, BufWriter::new(to));
            let is_written = result.is_ok();
            exported = Some(result);
            match is_written {
                true => Ok(()),
                false => Err(io::ErrorKind::Other.into()),
            }
        });
        match (exported, replaced) {
            (Some(Ok(exported)), Ok(())) => Ok(exported),
            (Some(Err(ArchiveError::Stream { what, source })), _) => {
                Err(Error::io(what, &file, &source))
            }
            (Some(Err(error)), _) => Err(error.into()),
            (_, Err(error)) => Err(Error::io("write", &file, &error)),
            (None, Ok(())) => Err(Error::bug("nothing was exported")),
        }
    }
}

/// Returns the file to be written: nothing, or an archive, perhaps through a link.
fn replaceable(file: &Path) -> Result<PathBuf> {
    let found = match std::fs::symlink_metadata(file) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(file.to_owned()),
        Err(error) => return Err(Error::io("write", file, &error)),
    };
    let refused = |reason: &str| {
        Error::usage(format!("`{}` is not overwritten: {reason}", file.display()))
            .hint("name another file, or remove this one, or write to the standard output with `-`")
    };
    let Ok(real) = file.canonicalize() else {
        return Err(refused("it is a link to nothing"));
    };
    let kind = std::fs::metadata(&real).map_or(found.file_type(), |found| found.file_type());
    if let Some(reason) = files::not_a_file(kind) {
        return Err(refused(reason));
    }
    let opened = files::open(&real).map_err(|error| Error::io("read", file, &error))?;
    match archive::is_archive(opened) {
        true => Ok(real),
        false => Err(refused("it is not an archive of clm")),
    }
}

/// Reads an archive.
pub(super) fn import(args: &ImportArgs) -> Result<u8> {
    let input = input(&args.file)?;
    let (course, store) = open(&args.course)?;
    let staging = Staging::create(&course.place.state_dir())?;
    let max_size = args.max_size.unwrap_or(MAX_SIZE);
    let staged = archive::unpack(input, staging.path(), max_size);
    let imported = staged.and_then(|staged| store.import(&staged));
    let Imported { added, known } = imported.map_err(|error| of_file(error, &args.file))?;
    let (added, known) = (actions(added), actions(known));
    ui::data(&format!(
        "imported the results of {added}; those of {known} were there\n"
    ));
    Ok(0)
}

fn input(file: &Path) -> Result<Box<dyn Read>> {
    if file.as_os_str() != STREAM {
        return match files::open(file) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(unreadable(file, &error)),
        };
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Error::usage("a terminal is no archive")
            .hint("name a file, or let a program send it: `ssh .. | clm cache import -`"));
    }
    Ok(Box::new(stdin.lock()))
}

fn unreadable(file: &Path, error: &io::Error) -> Error {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    let result = Error::usage(format!("cannot read `{}`: {error}", file.display()));
    match error.kind() {
        NotFound | NotADirectory | IsADirectory => {
            result.hint("name a file that `clm cache export` wrote")
        }
        InvalidInput => result.hint("send it to the standard input: `clm cache import - < FILE`"),
        _ => Error::io("read", file, error),
    }
}

/// Returns an error of an archive with the name of its file.
fn of_file(error: ArchiveError, file: &Path) -> Error {
    if file.as_os_str() == STREAM {
        return error.into();
    }
    match error {
        ArchiveError::Stream { what, source } => Error::io(what, file, &source),
        ArchiveError::Refused(_) => Error::from(error).at(file.display().to_string(), None),
        error => error.into(),
    }
}
