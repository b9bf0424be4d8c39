//! Everything that reads what others wrote is fed with damaged inputs: no panic, no hang, bounded memory, and every error
//! has a place.
//!
//! `CLM_FUZZ_RUNS=N` runs every target so often (some hundred times otherwise), `CLM_FUZZ_TARGET=NAME` only one of them,
//! `CLM_FUZZ_SEED=N` with other inputs, `CLM_FUZZ_INPUT=FILE` that input alone. An input that fails is written to a file. The
//! same targets are for `cargo fuzz` in `contrib/fuzz`.
#![allow(
    // To measure memory.
    unsafe_code,
    clippy::exit,
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod limits;
mod mutate;
mod targets;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use mutate::{Random, mutated};
use targets::{TARGETS, Target};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The stored inputs of a target, and the files that it is about among the fixtures.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = Vec::new();
    let mut dirs = vec![root.join("tests/fuzz/corpus").join(target.name)];
    let extension = match target.name {
        "percent" | "light" | "jinja" | "companion" => "py",
        "languages" => "cpp",
        "specification" => "xml",
        "drawio" => "drawio",
        "plantuml" => "pu",
        "notebooks" => "ipynb",
        _ => "",
    };
    if !extension.is_empty() {
        dirs.push(root.join("fixtures"));
    }
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let is_output = path.ends_with("output") || path.ends_with(".clm");
            if path.is_dir() && !is_output {
                dirs.push(path);
            } else if dir.ends_with(target.name) || path.extension().is_some_and(|e| e == extension)
            {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut corpus: Vec<Vec<u8>> = files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    corpus.retain(|input| input.len() <= mutate::LONGEST);
    assert!(!corpus.is_empty(), "`{}` has no stored input", target.name);
    corpus
}

/// Runs one input; gives what went wrong.
fn run(target: &Target, input: &[u8]) -> Result<(), String> {
    limits::watch(target.name, input);
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    limits::unwatch();
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic").to_owned()
    })
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    if std::env::var("CLM_FUZZ_TARGET").is_ok_and(|only| only != name) {
        return;
    }
    if let Some(file) = std::env::var_os("CLM_FUZZ_INPUT") {
        (target.run)(&std::fs::read(file).unwrap());
        return;
    }
    // Decks take longer than all else.
    let usual = if target.is_slow { 60 } else { 500 };
    let runs = number("CLM_FUZZ_RUNS").unwrap_or(usual);
    let mut random = Random::new(number("CLM_FUZZ_SEED").unwrap_or(1));
    let corpus = corpus(target);
    let mut failures: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    let begun = std::time::Instant::now();
    for (index, input) in corpus.iter().enumerate() {
        if let Err(error) = run(target, input) {
            failures.push(format!("stored input {index}: {error}"));
        }
    }
    for _ in 0..runs {
        let input = mutated(&corpus, target.words, &mut random);
        let Err(error) = run(target, &input) else {
            continue;
        };
        // Numbers and names differ from one input to the next.
        let kind: String = error
            .chars()
            .filter(|c| c.is_alphabetic())
            .take(40)
            .collect();
        if seen.insert(kind) && failures.len() < 20 {
            let file = limits::keep(target.name, &input);
            failures.push(format!("{}: {error}", file.display()));
        }
    }
    let peak = limits::peak() / 1024;
    eprintln!(
        "{name}: {runs} runs in {:?}, at most {peak} kB more memory",
        begun.elapsed()
    );
    assert!(
        failures.is_empty(),
        "{name}: {} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
}

macro_rules! fuzz {
    ($($name:ident)*) => {
        $(#[test] fn $name() { fuzz(stringify!($name)); })*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            assert!(TARGETS.iter().all(|target| tested.contains(&target.name)));
        }
    };
}

fuzz! {
    percent light markdown languages companion jinja ipynb kernel specification settings environment archives results plantuml drawio answer
    worker socket http page outputs notebooks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_at_all(target in 0..TARGETS.len(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        (TARGETS[target].run)(&bytes);
    }

    #[test]
    fn any_words_in_any_order(
        target in 0..TARGETS.len(), words in prop::collection::vec((any::<usize>(), "\\PC{0,5}"), 0..40),
    ) {
        let target = &TARGETS[target];
        let input: String = words
            .iter()
            .map(|(word, text)| format!("{}{text}", target.words[word % target.words.len()]))
            .collect();
        (target.run)(input.as_bytes());
    }
}
