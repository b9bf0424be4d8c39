use std::collections::BTreeSet;

use super::*;

struct Lab {
    dir: tempfile::TempDir,
    filter: Filter,
}

/// Creates a course with `slides` scanned, `shared` watched additionally, outputs in `output` and the state in `.clm`.
fn lab(files: &[&str], change: impl FnOnce(&mut Inputs)) -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::write(root.join(".gitignore"), "*.log\ncache/\nnode_modules/\n").unwrap();
    let mut inputs = Inputs {
        scanned: vec!["slides".into(), "code/one".into()],
        also: vec!["shared".into()],
        files: files.iter().map(PathBuf::from).collect::<BTreeSet<_>>(),
        output_dirs: vec!["output".into(), "slides/m/out-dir".into()],
    };
    change(&mut inputs);
    let filter = Filter::new(root, &root.join("course.xml"), Path::new(".clm"), inputs);
    Lab { dir, filter }
}

impl Lab {
    fn counts(&self, path: &str) -> bool {
        self.filter.is_relevant(&self.dir.path().join(path), false)
    }

    fn enters(&self, path: &str) -> bool {
        self.filter.enters(&self.dir.path().join(path))
    }
}

#[test]
fn what_the_build_would_read_counts_in_spite_of_ignore_rules() {
    let lab = lab(&[], |_| {});
    for path in [
        "course.xml",
        "clm.toml",
        ".env",
        ".gitignore",
        ".clmignore",
        "slides/m/topic_1_a/slides_a.py",
        "slides/m/topic_1_a/data.log",
        "slides/m/topic_1_a/cache/x.csv",
        "slides/m/topic_1_a/voiceover/voiceover_a.py",
        "slides/m/topic_1_a.bak/slides_a.py",
        "slides/m/topic_1_a/.gitignore",
        "slides/new_module",
        "slides",
        "code",
        "code/one/main.cpp",
        "shared/x.py",
    ] {
        assert!(lab.counts(path), "{path}");
    }
}

#[test]
fn noise_does_not_count() {
    let lab = lab(&[], |_| {});
    for path in [
        ".clm/clm.db-wal",
        "output/a.html",
        "slides/m/out-dir/a.html",
        "slides/.git/index",
        ".git/HEAD",
        "README.md",
        "code/two/main.cpp",
        "slides/m/topic_1_a/__pycache__/a.pyc",
        "slides/m/topic_1_a/.venv/lib/x.py",
        "slides/m/topic_1_a/.slides_a.py.swp",
        "slides/m/topic_1_a/slides_a.py~",
        "slides/m/topic_1_a/4913",
        "shared/x.log",
        "shared/cache/x.py",
        "shared/node_modules/x/y.js",
    ] {
        assert!(!lab.counts(path), "{path}");
    }
    for dir in [
        ".clm",
        "output",
        "slides/m/out-dir",
        "slides/.git",
        "slides/m/topic_1_a/__pycache__",
        "shared/node_modules",
    ] {
        assert!(!lab.enters(dir), "{dir}");
    }
    for dir in [
        "slides/m",
        "slides/m/topic_1_a",
        "slides/m/topic_1_a/cache",
        "shared/sub",
    ] {
        assert!(lab.enters(dir), "{dir}");
    }
}

#[test]
fn declared_inputs_win_over_everything() {
    let files = [
        "output/table.csv",
        "slides/m/topic_1_a/data-local/x.csv",
        "shared/cache/x.py",
        "shared/y.log",
        "slides/m/topic_1_a/notes.tmp",
        "../elsewhere/logo.svg",
    ];
    let lab = lab(&files, |_| {});
    for path in &files[..5] {
        assert!(lab.counts(path), "{path}");
    }
    let outside = lab.dir.path().parent().unwrap().join("elsewhere/logo.svg");
    assert!(lab.filter.is_relevant(&outside, false));
    // A file beside an input in an ignored directory is relevant as well: a topic may list it.
    assert!(lab.counts("slides/m/topic_1_a/data-local/y.csv"));
    assert!(lab.enters("slides/m/topic_1_a/data-local"));
    // A directory that contains an input was created or removed.
    assert!(lab.filter.is_relevant(&lab.dir.path().join("output"), true));
    assert!(!lab.counts("output/other.csv"));
}

#[test]
fn a_scanned_directory_inside_outputs_counts() {
    let lab = lab(&[], |inputs| {
        inputs.output_dirs = vec!["slides".into(), "".into()];
        inputs.scanned.push("output/from-elsewhere".into());
    });
    assert!(lab.counts("slides/m/topic_1_a/slides_a.py"));
    assert!(lab.counts("output/from-elsewhere/x"));
    assert!(!lab.counts("output/x"));
}

#[test]
fn a_course_whose_root_is_scanned_still_has_places_that_do_not_count() {
    let lab = lab(&[], |inputs| inputs.scanned.push("".into()));
    assert!(lab.counts("README.md"));
    assert!(lab.counts("cache/x.log"));
    assert!(!lab.counts(".clm/clm.db"));
    assert!(!lab.counts("output/a.html"));
    assert!(!lab.counts(".git/objects/x"));
}
