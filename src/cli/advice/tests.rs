use std::collections::BTreeSet;

use clap::CommandFactory as _;

use super::super::Cli;
use super::*;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/doc/migration.md");
    std::fs::read_to_string(path).unwrap()
}

/// What is printed for a command line that is not accepted.
fn said(line: &str) -> String {
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let definition = Cli::command();
    let error = definition.clone().try_get_matches_from(&args).unwrap_err();
    advise(error, &definition, &args).render().to_string()
}

/// The texts in backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether clm has a command.
fn is_command(words: &str) -> bool {
    let definition = Cli::command();
    let mut command = &definition;
    for word in words
        .split(' ')
        .skip(1)
        .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        match command.find_subcommand(word) {
            Some(inner) => command = inner,
            None => return command.get_name() != "clm",
        }
    }
    true
}

#[test]
fn the_document_has_the_table_of_the_python_tool() {
    let document = document();
    let rows = document
        .lines()
        .skip_while(|line| *line != "| CLM | clm |")
        .skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let mut documented = BTreeSet::new();
    for row in rows {
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [theirs, ours] = cells.as_slice() else {
            panic!("{row}");
        };
        let ours = ours.replace('\u{1}', "|");
        for name in quoted(theirs) {
            if ours.starts_with("the same") {
                for option in name.split(' ').filter(|word| word.starts_with('-')) {
                    let mut owners = Vec::new();
                    collect_owners(&Cli::command(), "clm", option, &mut owners);
                    assert!(owners.contains(&"clm build".to_owned()), "{option}");
                }
                continue;
            }
            let name = name.strip_prefix("clm ").unwrap_or(&name);
            let name = match name.starts_with('-') {
                true => name.split(' ').next().unwrap(),
                false => name,
            };
            assert_eq!(of_python::ours(name), Some(&*ours), "`{name}`");
            documented.insert(name.to_owned());
        }
    }
    let names = of_python::TABLE.iter().flat_map(|theirs| theirs.names);
    let names: BTreeSet<String> = names.map(|name| (*name).to_owned()).collect();
    assert_eq!(documented, names);
}

#[test]
fn every_option_and_command_of_the_python_tool_is_answered() {
    let mut count = 0;
    for theirs in of_python::TABLE {
        for name in theirs.names {
            let line = match name.starts_with('-') {
                true => format!("clm build course.xml {name}"),
                false => format!("clm {name}"),
            };
            let said = said(&line);
            assert!(said.contains(theirs.ours), "{said}");
            assert!(
                !said.contains("similar") && !said.contains("as a value"),
                "{said}"
            );
            assert!(words::meant(name).is_none(), "`{name}` is in both tables");
            count += 1;
        }
        for command in quoted(theirs.ours)
            .iter()
            .filter(|text| text.starts_with("clm "))
        {
            assert!(is_command(command), "{command}");
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn other_words_for_commands_lead_to_the_right_one() {
    for (words, meant) in words::TABLE {
        for word in *words {
            let said = said(&format!("clm {word}"));
            assert!(said.contains(meant), "{word}: {said}");
        }
        for command in quoted(meant).iter().filter(|text| text.starts_with("clm ")) {
            assert!(is_command(command), "{command}");
        }
    }
}

#[test]
fn similar_names_and_places_of_options_are_named() {
    for (line, expected) in [
        ("clm bild", "a similar subcommand exists: 'build'"),
        ("clm help bild", "a similar subcommand exists: 'build'"),
        ("clm help serve", "`clm watch --serve`"),
        ("clm statsu", "'status'"),
        ("clm cache stat", "a similar subcommand exists: 'stats'"),
        (
            "clm build --format html",
            "a similar argument exists: '--formats'",
        ),
        (
            "clm --serve",
            "options follow a command, such as `clm watch --serve`",
        ),
        ("clm build --serve", "`clm watch --serve` exists"),
        ("clm watch --dry-run", "`clm build --dry-run` exists"),
        ("clm -v", "`clm --version`"),
        ("clm course.xml", "`clm build course.xml`"),
        ("clm slides/a.py", "`clm build slides/a.py`"),
        ("clm build course.xml output/", "`-o output/`"),
        ("clm build course.xml watch", "`clm watch`"),
        (
            "clm build Cargo.toml Cargo.lock",
            "`clm build --only Cargo.toml Cargo.lock`",
        ),
    ] {
        let said = said(line);
        assert!(said.contains(expected), "{line}: {said}");
        assert!(said.contains("Usage: clm"), "{said}");
    }
}
