//! What clm keeps is for this user alone, whatever the umask.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Course;

const DECK: &str = "# %% [markdown] lang=\"en\"\n# # Title\n";

/// Entries of a directory that other users could open.
fn open(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        let metadata = std::fs::symlink_metadata(&next).unwrap();
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(next.clone());
        }
        if metadata.is_dir() {
            for entry in std::fs::read_dir(&next).unwrap() {
                dirs.push(entry.unwrap().path());
            }
        }
    }
    found
}

fn with_umask(course: &Course, umask: &str, args: &str) -> String {
    let clm = course.command(&["build"]);
    let script = format!(
        "umask {umask}; exec '{}' {args}",
        clm.get_program().display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(course.root())
        .env_remove("CLM_STATE_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn everything_in_the_state_directory_is_private() {
    let course = Course::with_topics(&["a"]);
    course.write("slides/m/topic_010_a/slides_a.py", DECK);
    course.write("slides/m/topic_010_a/data/big.txt", "x".repeat(50_000));
    let state = course.path(".clm");
    with_umask(&course, "000", "build --no-daemon");
    assert!(state.join("clm.db").exists());
    assert_eq!(open(&state), Vec::<PathBuf>::new());
    // Outputs are for everybody, as the umask says.
    let outputs = course.outputs();
    assert!(outputs.keys().any(|path| path.ends_with("big.txt")));
    for output in outputs.keys().filter(|path| path.ends_with(".ipynb")) {
        let output = course.path("output").join(output);
        let mode = std::fs::metadata(&output).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666, "{}", output.display());
    }

    // What an older version left open is closed by the next build that has something to do.
    for path in ["", "clm.db", "blobs"] {
        let path = state.join(path);
        let mode = if path.is_file() { 0o644 } else { 0o755 };
        if path.exists() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    course.edit("slides/m/topic_010_a/slides_a.py", "Title", "Other");
    with_umask(&course, "022", "build --no-daemon");
    assert_eq!(open(&state), Vec::<PathBuf>::new());

    // A daemon with a preview in the network: its log and its note, and no secret in the log.
    let log = state.join("daemon.log");
    std::fs::write(&log, "of an older version\n").unwrap();
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = with_umask(&course, "000", "daemon start -- --serve 0.0.0.0:0");
    assert!(
        said.contains("The preview is at") && !said.contains("token="),
        "stderr is no terminal, and may be a log: {said}"
    );
    let status = course.command(&["status"]).output().unwrap();
    let said = String::from_utf8(status.stdout).unwrap();
    let token = said
        .split("?token=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .map(str::to_owned);
    let found = open(&state);
    let logged = std::fs::read_to_string(&log).unwrap();
    with_umask(&course, "000", "daemon stop");
    assert_eq!(found, Vec::<PathBuf>::new());
    let token = token.unwrap();
    assert!(token.len() >= 16, "{said}");
    assert!(
        logged.contains("The preview is at") && !logged.contains(&token),
        "{logged}"
    );
}

#[test]
fn a_state_directory_of_any_name_is_known_by_what_is_in_it() {
    let course = Course::with_topics(&["a"]);
    course.write("slides/m/topic_010_a/slides_a.py", "# {{ nothing( }}\n");
    let state = course.path("elsewhere");
    let build = || {
        let output = course
            .command(&["build", "--no-daemon"])
            .env("CLM_STATE_DIR", &state)
            .output()
            .unwrap();
        output.status.code()
    };
    // It fails, and so it has no checkpoint, but a list of the sources.
    assert_eq!(build(), Some(1));
    let names = std::fs::read_dir(&state).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| name.starts_with("listed-")));
    // Of a process that was killed, and of a preview.
    for name in [".clm-a1b2c3", "preview.html"] {
        std::fs::write(state.join(name), "").unwrap();
    }
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    course.write("slides/m/topic_010_a/data/n.txt", "1");
    assert_eq!(build(), Some(1));
    assert_eq!(open(&state), Vec::<PathBuf>::new());
}
