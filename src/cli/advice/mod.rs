//! What to do about a mistake on the command line: tips that clap cannot know, added to its errors.

mod of_python;
#[cfg(test)]
mod tests;
mod words;

use std::ffi::OsString;
use std::path::Path;

use crate::course::words::nearest;
use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Adds tips to an error. `definition` is that of the command line, and `args` what was typed, with the name of the
/// program first.
pub(super) fn advise(mut error: Error, definition: &Command, args: &[OsString]) -> Error {
    let args: Vec<&str> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    let path = path(definition, &args);
    let wrong = |kind| match error.get(kind) {
        Some(ContextValue::String(wrong)) => Some(wrong.clone()),
        _ => None,
    };
    let tip = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            wrong(ContextKind::InvalidSubcommand).and_then(|word| {
                let tip = of_command(&path, &word);
                // clap does not look for similar names after `help`.
                tip.or_else(|| {
                    let names = definition.get_subcommands().map(Command::get_name);
                    let near = nearest(&word, names).filter(|_| args.first() == Some(&"help"));
                    near.map(|near| format!("a similar subcommand exists: '{near}'"))
                })
            })
        }
        ErrorKind::UnknownArgument => wrong(ContextKind::InvalidArg).and_then(|arg| {
            let is_option = arg.starts_with('-');
            if is_option {
                // Nobody means a file of this name.
                error.remove(ContextKind::Suggested);
            }
            match is_option {
                true => of_option(definition, &path, &arg),
                false => of_value(definition, &path, &args, &arg),
            }
        }),
        _ => None,
    };
    if let Some(tip) = tip {
        // A similar name is a worse guess than what is known.
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::SuggestedArg);
        let tips = vec![StyledStr::from(tip)];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// Returns the names of the commands that the arguments choose, such as `cache`, `gc`.
fn path<'a>(definition: &Command, args: &[&'a str]) -> Vec<&'a str> {
    let mut command = definition;
    let mut path = Vec::new();
    for arg in args {
        match command.find_subcommand(arg) {
            Some(inner) => {
                command = inner;
                path.push(*arg);
            }
            None if arg.starts_with('-') => {}
            None => break,
        }
    }
    path
}

/// Returns the tip about a word that is no command.
fn of_command(path: &[&str], word: &str) -> Option<String> {
    let phrase = [path, &[word]].concat().join(" ");
    if let Some(ours) = of_python::ours(&phrase) {
        return Some(in_place_of(&format!("clm {phrase}"), ours));
    }
    if let Some(meant) = words::meant(&phrase) {
        return Some(meant.to_owned());
    }
    // A course, a deck, a folder: as arguments of a command they are fine.
    let is_path = path.is_empty() && (word.contains(['/', '.']) || Path::new(word).exists());
    is_path.then(|| format!("`clm build {word}` builds it, and `clm watch {word}` on every change"))
}

/// Returns the tip about an option that the command does not have.
fn of_option(definition: &Command, path: &[&str], option: &str) -> Option<String> {
    let mut owners = Vec::new();
    collect_owners(definition, "clm", option, &mut owners);
    if let Some(ours) = of_python::ours(option) {
        return Some(in_place_of(option, ours));
    }
    let command = [&["clm"], path].concat().join(" ");
    owners.retain(|owner| *owner != command);
    if path.is_empty() && matches!(option, "-v" | "-version" | "-h" | "-?") {
        return Some(
            "`clm --version` prints the version, and `clm build -v` tells more".to_owned(),
        );
    }
    let owner = owners.first()?;
    Some(match path.is_empty() {
        true => format!("options follow a command, such as `{owner} {option}`"),
        false => format!("`{owner} {option}` exists"),
    })
}

/// Adds the commands that have an option, the most usual ones first.
fn collect_owners(command: &Command, name: &str, option: &str, owners: &mut Vec<String>) {
    let has = command.get_arguments().any(|arg| {
        let is_long = |long: &str| option.strip_prefix("--") == Some(long);
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let is_short = |short: char| option == format!("-{short}");
        !arg.is_hide_set()
            && (arg.get_long().is_some_and(is_long)
                || aliases.into_iter().any(is_long)
                || arg.get_short().is_some_and(is_short))
    });
    if has {
        owners.push(name.to_owned());
    }
    for inner in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        collect_owners(
            inner,
            &format!("{name} {}", inner.get_name()),
            option,
            owners,
        );
    }
}

/// Returns the tip about a further word after those that the command takes.
fn of_value(definition: &Command, path: &[&str], args: &[&str], value: &str) -> Option<String> {
    let [name] = path else { return None };
    let command = definition.find_subcommand(name)?;
    let has_output = command
        .get_arguments()
        .any(|arg| arg.get_long() == Some("output-dir") && !arg.is_hide_set());
    if definition.find_subcommand(value).is_some() {
        return Some(format!("one command at a time: `clm {value}` afterwards"));
    }
    if Path::new(value).is_file() {
        let others = args.iter().filter(|arg| Path::new(arg).is_file());
        let others: Vec<&str> = others.copied().collect();
        return (*name == "build").then(|| {
            format!(
                "several sources are named by an option: `clm build --only {}`",
                others.join(" ")
            )
        });
    }
    has_output.then(|| format!("the output directory is named by an option: `-o {value}`"))
}

fn in_place_of(theirs: &str, ours: &str) -> String {
    format!("`{theirs}` is of the Python tool; here: {ours}")
}
