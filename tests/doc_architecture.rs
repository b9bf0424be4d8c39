//! The document for developers agrees with the source: rooms, parts of the engine, states, tables, messages, paths.

use std::collections::BTreeSet;
use std::path::Path;

use clm::testing::store::Store;
use regex::Regex;

use crate::layering::{ALLOWED, BOTTOM, PURE};

const DOCUMENT: &str = "contrib/doc/architecture.md";

type Names = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// What stands below a heading, up to the next one that is not below it.
fn section(heading: &str) -> String {
    let level = |line: &str| line.len() - line.trim_start_matches('#').len();
    let text = read(DOCUMENT);
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "there is no `{heading}`");
    let is_below = |line: &&str| !(1..=level(heading)).contains(&level(line));
    lines.take_while(is_below).collect::<Vec<_>>().join("\n")
}

/// The cells of the first table below a heading whose head begins so.
fn rows(heading: &str, head: &str) -> Vec<Vec<String>> {
    let section = section(heading);
    let lines = section.lines().skip_while(|line| !line.starts_with(head));
    let lines = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let cells = |line: &str| line.trim_matches('|').split('|').map(cell).collect();
    let rows: Vec<Vec<String>> = lines.map(cells).collect();
    assert!(rows.len() > 5, "the table `{head}` was not found");
    rows
}

/// The first cells of a table, each of which is there once.
fn first_cells(rows: &[Vec<String>]) -> Names {
    let names: Names = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(names.len(), rows.len(), "a row is there twice");
    names
}

/// The first groups of what a pattern finds.
fn found(pattern: &str, text: &str) -> Names {
    let pattern = Regex::new(pattern).unwrap();
    let all = pattern.captures_iter(text);
    all.map(|found| found[1].to_owned()).collect()
}

fn modules(dir: &str) -> Names {
    let entries = std::fs::read_dir(root().join(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect()
}

#[test]
fn every_room_is_described_with_what_it_may_use() {
    let rows = rows("## The way of the data", "| Room ");
    let mut rooms = modules("src");
    assert!(rooms.remove("main") && rooms.remove("lib"));
    assert_eq!(first_cells(&rows), rooms);
    let (mut bottom, mut pure) = (BTreeSet::new(), BTreeSet::new());
    for row in &rows {
        let documented = row[2].split(", ").filter(|room| !room.is_empty());
        let documented: Vec<&str> = documented.collect();
        let (_, allowed) = ALLOWED.iter().find(|(room, _)| *room == row[0]).unwrap();
        assert_eq!(documented, *allowed, "`{}`", row[0]);
        match row[3].as_str() {
            "bottom" => bottom.insert(row[0].clone()),
            "pure" => pure.insert(row[0].clone()),
            _ => false,
        };
    }
    assert!(bottom.iter().eq(BOTTOM), "{bottom:?}");
    // Some files of other rooms are pure as well.
    let text = section("## The way of the data");
    pure.extend(found(r"`src/(\w+/\S+)`", &text));
    let expected: Names = PURE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(pure, expected);
}

#[test]
fn every_part_of_the_engine_is_described() {
    let rows = rows("## The engine", "| Part of ");
    assert_eq!(first_cells(&rows), modules("src/engine"));
}

#[test]
fn every_state_of_an_action_is_described_and_drawn() {
    let heading = "### The states of an action";
    let source = read("src/engine/schedule/mod.rs");
    let (_, body) = source.split_once("enum ActionState {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let states = found(r"(?m)^    ([A-Z]\w*)", body);
    assert!(states.len() > 8, "{states:?}");
    assert_eq!(first_cells(&rows(heading, "| State ")), states);
    let section = section(heading);
    let picture = section.split("```").nth(1).unwrap();
    assert_eq!(found(r"\b([A-Z]\w*)", picture), states, "in the picture");
    let methods = found(r"(\w+)\(\)", picture);
    assert!(methods.len() > 8, "{methods:?}");
    for method in methods {
        assert!(source.contains(&format!("fn {method}(")), "`{method}`");
    }
}

#[test]
fn every_table_of_the_database_is_described() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let database = rusqlite::Connection::open(dir.path().join("clm.db")).unwrap();
    let query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    let mut statement = database.prepare(query).unwrap();
    let tables = statement.query_map([], |row| row.get(0)).unwrap();
    let tables: Names = tables.map(Result::unwrap).collect();
    assert_eq!(first_cells(&rows("### The database", "| Table ")), tables);
}

#[test]
fn the_messages_of_workers_are_those_of_the_source() {
    let source = read("src/worker/protocol.rs");
    let section = section("## The worker protocol");
    let example = section.split("```").nth(1).unwrap().trim();
    assert!(example.lines().count() > 4, "{example}");
    for line in example.lines() {
        assert!(source.contains(&format!("//! {line}\n")), "{line}");
    }
}

#[test]
fn every_path_exists() {
    let text = read(DOCUMENT);
    let paths = found(r"`((?:src|tests|contrib|fixtures)/[^`\s]*)`", &text);
    assert!(paths.len() > 60, "only {} paths were found", paths.len());
    let is_missing = |path: &&String| !root().join(path).exists();
    let missing: Vec<&String> = paths.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
