//! One of the targets of `tests/fuzz`, chosen by the variable `CLM_FUZZ_TARGET`.

#![no_main]

use std::sync::LazyLock;

// The words and the speed of a target are for the suite.
#[allow(dead_code)]
#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("CLM_FUZZ_TARGET").unwrap_or_default();
    let target = targets::TARGETS.iter().find(|target| target.name == name);
    let names = || targets::TARGETS.iter().map(|target| target.name).collect::<Vec<_>>();
    target.unwrap_or_else(|| panic!("CLM_FUZZ_TARGET is one of {:?}", names())).run
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| RUN(input));
