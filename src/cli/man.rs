//! `clm man`: the manual pages, made of the same definitions as `--help`.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::error::{Error, Result};
use crate::files;

/// The first line of each page, by which pages of earlier versions are known.
const MARK: &str = ".\\\" Written by `clm man`.\n";

/// What `clm` is in the list of pages (`apropos`), where the whole sentence of `--help` is too long.
const ABOUT: &str = "build courses of notebooks and diagrams, incrementally";

/// The exit codes, in the page of `clm` for all commands.
const EXIT_CODES: [(&str, &str); 6] = [
    ("0", "Everything is up to date"),
    ("1", "A deck, a diagram or an output failed, or a check did"),
    ("2", "The usage, the settings or the specification is wrong"),
    (
        "3",
        "The system failed (such as a full disk), or clm has a bug",
    ),
    (
        "4",
        "`clm build --check`: something is stale, and nothing is wrong besides",
    ),
    ("130", "Interrupted"),
];

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm man share/man/man1  one page for each command")]
pub(super) struct ManArgs {
    /// The directory, such as `share/man/man1`; it is made if it is missing
    dir: PathBuf,
}

/// Writes a page for each command that is not hidden.
pub(super) fn run<C: CommandFactory>(args: &ManArgs) -> Result<u8> {
    let command = C::command().disable_help_subcommand(true);
    let long = command.get_about().cloned().unwrap_or_default();
    let mut command = command.about(ABOUT).long_about(long);
    command.build();
    let mut pages = Vec::new();
    collect(&command, None, &mut pages)?;
    std::fs::create_dir_all(&args.dir)
        .map_err(|error| Error::io("create the directory", &args.dir, &error))?;
    // All are looked at before the first is written: an error leaves nothing half done.
    let mut targets = Vec::new();
    for (name, text) in pages {
        let path = args.dir.join(name);
        if !is_ours(&path).map_err(|error| Error::io("read", &path, &error))? {
            return Err(Error::usage(format!(
                "`{}` exists, and was not written by `clm man`",
                path.display()
            ))
            .hint("name another directory, or remove the file"));
        }
        targets.push((path, text));
    }
    for (path, text) in targets {
        write(&path, &text).map_err(|error| Error::io("write", &path, &error))?;
    }
    Ok(0)
}

/// Adds the pages of a command and of all its commands: names of files, and contents.
fn collect(
    command: &Command,
    parent: Option<&str>,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let text = page(command, &name, parent)
        .map_err(|error| Error::system("make a manual page", &error))?;
    pages.push((format!("{name}.1"), text));
    for inner in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        collect(inner, Some(&name), pages)?;
    }
    Ok(())
}

/// Returns the page of a command. `Man::render` is not used: its title is wrong for pages without a date, and it adds a
/// section for the version alone.
fn page(command: &Command, name: &str, parent: Option<&str>) -> io::Result<Vec<u8>> {
    let mut command = command.clone();
    // As in `--help`: a line of forty options says nothing.
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    let help = command.get_after_help().map(ToString::to_string);
    let has_commands = command.get_subcommands().any(|one| !one.is_hide_set());
    let man = Man::new(command.override_usage(usage));
    let mut text = MARK.as_bytes().to_vec();
    let title = name.to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        text,
        ".TH \"{title}\" \"1\" \"\" \"clm {version}\" \"Manual of clm\""
    )?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::default();
    if let Some(help) = &help {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for example in help.lines().filter(|line| line.starts_with("  ")) {
            roff.text([roman(example.trim_start())]);
        }
        roff.control("fi", []);
    }
    match parent {
        Some(parent) => {
            roff.control("SH", ["SEE ALSO"]);
            roff.text([roman(format!("{parent}(1)"))]);
        }
        None => {
            roff.control("SH", ["EXIT STATUS"]);
            for (code, meaning) in EXIT_CODES {
                roff.control("TP", []);
                roff.text([bold(code)]);
                roff.text([roman(meaning)]);
            }
        }
    }
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// Returns whether a page may be written to this path: nothing is there, or a page of `clm man`.
fn is_ours(path: &Path) -> io::Result<bool> {
    let file = match files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A link that leads nowhere is not ours either.
            return Ok(path.symlink_metadata().is_err());
        }
        Err(error) => return Err(error),
    };
    let mut start = Vec::new();
    file.take(MARK.len() as u64).read_to_end(&mut start)?;
    Ok(start == MARK.as_bytes())
}

/// Writes a page beside its place and moves it there, so that a reader never sees half of it.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".clm-man")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)?;
    file.write_all(text)?;
    file.persist(path)?;
    Ok(())
}
