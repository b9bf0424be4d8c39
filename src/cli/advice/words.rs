//! Names that people give to commands of clm before they know them.

/// Words for commands, and what they probably mean.
pub(super) const TABLE: &[(&[&str], &str)] = &[
    (
        &[
            "run", "make", "render", "convert", "execute", "exec", "compile", "generate", "all",
            "publish", "html", "notebook", "diagrams",
        ],
        "`clm build` makes everything that is not up to date",
    ),
    (
        &[
            "server",
            "preview",
            "show",
            "open",
            "view",
            "browse",
            "live",
            "dev",
            "livereload",
        ],
        "`clm watch --serve` builds, and shows the course in a browser",
    ),
    (
        &["start", "up"],
        "`clm watch` builds whenever something changes, and `clm daemon start` does so in the background",
    ),
    (
        &["init", "create", "scaffold", "quickstart", "startproject"],
        "`clm new DIR` starts a course",
    ),
    (
        &["clean", "clear", "reset", "rebuild", "remove", "delete"],
        "`clm build` removes outputs that the course has no more, `clm build --force` makes everything again, and \
         `clm cache clean` removes cached results",
    ),
    (
        &["gc", "prune"],
        "`clm cache gc` removes old results from the cache",
    ),
    (
        &["install", "download", "update", "upgrade", "bootstrap"],
        "`clm setup` installs the renderers that are missing",
    ),
    (
        &["lint", "check", "test", "verify"],
        "`clm check-spec` lists the mistakes of a specification, and `clm build --check` fails if anything is stale",
    ),
    (
        &["diagnose", "health", "info", "env", "tools"],
        "`clm doctor` shows the renderers, and tests them",
    ),
    (
        &["log", "logs", "ps", "top", "list", "ls", "errors"],
        "`clm status` shows workers, runs and errors",
    ),
    (
        &["stop", "kill", "down", "restart"],
        "`clm daemon stop` ends the watch of a course",
    ),
    (
        &["why", "diff", "deps"],
        "`clm explain PATH` says why outputs are stale",
    ),
    (&["stats", "usage"], "`clm cache stats` shows the cache"),
    (
        &["import"],
        "`clm add FILE` makes a deck of a notebook, and `clm cache import FILE` reads an archive of a cache",
    ),
    (&["version"], "`clm --version`"),
    (
        &[
            "cache clear",
            "cache reset",
            "cache remove",
            "cache rm",
            "cache delete",
            "cache purge",
        ],
        "`clm cache clean` removes all results, and `clm cache gc` those that are old",
    ),
    (
        &["cache prune", "cache trim"],
        "`clm cache gc` removes old results",
    ),
    (
        &[
            "cache info",
            "cache show",
            "cache list",
            "cache ls",
            "cache status",
            "cache size",
        ],
        "`clm cache stats` shows the cache",
    ),
    (
        &["cache save", "cache store", "cache upload", "cache push"],
        "`clm cache export FILE` writes an archive",
    ),
    (
        &[
            "cache load",
            "cache restore",
            "cache download",
            "cache pull",
        ],
        "`clm cache import FILE` reads an archive",
    ),
    (
        &["daemon run", "daemon up", "daemon restart"],
        "`clm daemon start` watches a course in the background",
    ),
    (
        &["daemon kill", "daemon end", "daemon down", "daemon quit"],
        "`clm daemon stop` ends the watch of a course",
    ),
    (
        &["farm test", "farm status"],
        "`clm farm check` tests the farm",
    ),
];

/// Returns what a word for a command probably means.
pub(super) fn meant(word: &str) -> Option<&'static str> {
    let found = TABLE.iter().find(|(words, _)| words.contains(&word));
    found.map(|(_, meant)| *meant)
}
