//! The options and commands of the Python tool CLM that clm does not have under the same name. `contrib/doc/migration.md`
//! has the same table, which a test compares.

/// Options and commands of CLM with the same answer.
pub(super) struct Theirs {
    /// Options with their dashes, and commands without `clm`.
    pub names: &'static [&'static str],
    /// What clm has in their place.
    pub ours: &'static str,
}

const fn of(names: &'static [&'static str], ours: &'static str) -> Theirs {
    Theirs { names, ours }
}

/// All of them, in the order of the document.
pub(super) const TABLE: &[Theirs] = &[
    of(&["-w", "--watch"], "`clm watch`"),
    of(&["--watch-mode"], "`clm watch --fast`, or the key `f`"),
    of(&["--debounce"], "`clm watch --settle MS`"),
    of(
        &["--ignore-cache", "--force-execute", "--clear-cache"],
        "`--force`, for everything or for what depends on some files",
    ),
    of(&["--language"], "`--languages de,en`"),
    of(&["--speaker-only"], "`--kinds trainer,recording`"),
    of(&["--no-html"], "`--formats notebook,code`"),
    of(
        &[
            "--notebook-workers",
            "--plantuml-workers",
            "--drawio-workers",
        ],
        "`--workers notebook=N,html=N,plantuml=N,drawio=N`",
    ),
    of(&["--max-workers"], "`-j N`"),
    of(
        &["-O", "--output-mode"],
        "`--quiet`, `--verbose` or `--message-format json`",
    ),
    of(&["--report"], "`--summary FILE`"),
    of(&["--no-progress"], "`--ci`, or standard error to a file"),
    of(&["--no-color"], "the variable `NO_COLOR=1`"),
    of(
        &[
            "--log-level",
            "--verbose-logging",
            "--print-correlation-ids",
        ],
        "the variable `CLM_LOG=debug`",
    ),
    of(
        &["--explain-rebuilds", "cache explain"],
        "`clm build --dry-run`, `clm explain PATH`",
    ),
    of(
        &["--env-file"],
        "`env_file = \"FILE\"` under `[notebook]` in `clm.toml`",
    ),
    of(
        &["--no-env-file"],
        "`env_file = \"\"` under `[notebook]` in `clm.toml`",
    ),
    of(
        &["--provenance-manifest", "--no-provenance-manifest"],
        "`manifest = true` or `false` under `[output]` in `clm.toml`",
    ),
    of(
        &["--cache-db-path", "--jobs-db-path", "--telemetry-db-path"],
        "the variable `CLM_STATE_DIR`",
    ),
    of(
        &["--fail-on-error", "--no-fail-on-error"],
        "nothing: whatever fails makes the exit code 1",
    ),
    of(
        &["--fail-on-missing-xref", "--no-fail-on-missing-xref"],
        "nothing: a link to no deck is a warning",
    ),
    of(
        &[
            "--incremental",
            "--no-sweep",
            "--clean",
            "--allow-unowned-output",
        ],
        "nothing: clm writes only what changed, and removes only what it wrote",
    ),
    of(
        &["--include-html", "--strict-verify"],
        "nothing: `--verify-against` compares pages, too",
    ),
    of(
        &["--no-diagrams"],
        "nothing: a diagram is drawn once, and then comes from the cache",
    ),
    of(&["--http-replay"], "nothing: HTTP replay is missing"),
    of(
        &["--notebook-image", "--plantuml-image", "--drawio-image"],
        "nothing: docker workers are missing",
    ),
    of(&["validate"], "`clm check-spec`"),
    of(&["serve"], "`clm watch --serve`"),
    of(&["monitor", "workers", "jobs"], "`clm status`"),
    of(
        &["db"],
        "`clm cache stats`, `clm cache gc`, `clm cache clean`",
    ),
    of(&["config"], "the file `clm.toml`"),
    of(
        &["course", "git", "zip", "release", "export"],
        "nothing: commands that work on outputs and specifications are missing",
    ),
];

/// Returns what clm has in the place of an option or command of CLM; `None` if CLM has none of this name.
pub(super) fn ours(name: &str) -> Option<&'static str> {
    let found = TABLE.iter().find(|theirs| theirs.names.contains(&name));
    found.map(|theirs| theirs.ours)
}
