//! Which processes use what is installed.

use std::path::{Path, PathBuf};

use crate::owner::Owner;

/// Returns descriptions of the processes that use one of these directories, or may start what is in them at any moment: a
/// clm with workers.
pub(super) fn users(tools_dir: &Path, dirs: &[PathBuf]) -> Vec<String> {
    let mut users = of_workers(&tools_dir.join("run"));
    users.extend(of_programs(dirs));
    users
}

/// Returns every clm that has workers: each has a directory of its own while they live.
fn of_workers(run: &Path) -> Vec<String> {
    let mut users = Vec::new();
    for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match Owner::is_gone_by_name(&name) {
            Some(true) => {}
            Some(false) => {
                let process = name.split('-').next().unwrap_or_default();
                users.push(format!("clm with workers (process {process})"));
            }
            None if name.split('-').count() == 3 => users.push(format!(
                "clm with workers on another machine or in a container; if it has ended, remove `{}`",
                entry.path().display()
            )),
            None => {}
        }
    }
    users.sort();
    users
}

/// Returns the processes that run a program in one of the directories, or whose command line names a file there, where the
/// system shows them.
fn of_programs(dirs: &[PathBuf]) -> Vec<String> {
    let own = std::process::id();
    // The system names programs without links.
    let real = dirs.iter().filter_map(|dir| dir.canonicalize().ok());
    let real: Vec<PathBuf> = real.collect();
    let mut users = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line);
        let names = |dir: &PathBuf| line.contains(&format!("{}/", dir.display()));
        // A command line may be relative to any directory.
        let program = std::fs::read_link(entry.path().join("exe"));
        let runs = |dir: &PathBuf| program.as_ref().is_ok_and(|file| file.starts_with(dir));
        if process != own && (dirs.iter().any(names) || real.iter().any(runs)) {
            // A process that has just started may have no arguments yet.
            let shown = line.split('\0').next().filter(|word| !word.is_empty());
            let file = program.as_deref().unwrap_or(Path::new(""));
            let shown = shown.map_or_else(|| file.to_string_lossy(), Into::into);
            let name = shown.rsplit('/').next().unwrap_or(&shown);
            users.push((process, name.to_owned()));
        }
    }
    users.sort();
    let users = users.into_iter();
    users
        .map(|(process, program)| format!("`{program}` (process {process})"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_with_workers_use_everything_until_they_end() {
        let run = tempfile::tempdir().unwrap();
        let me = Owner::current();
        let create = |name: &str| std::fs::create_dir(run.path().join(name)).unwrap();
        create("something");
        create(
            &Owner {
                started: 1,
                ..me.clone()
            }
            .dir_name(),
        );
        // Where the system shows no start times, the number alone decides.
        let before = of_workers(run.path()).len();
        assert_eq!(before, usize::from(!cfg!(target_os = "linux")));
        create(&me.dir_name());
        let elsewhere = Owner {
            host: "elsewhere".to_owned(),
            ..me.clone()
        };
        create(&elsewhere.dir_name());
        let users = of_workers(run.path()).join("\n");
        assert!(users.contains(&format!("(process {})", me.pid)), "{users}");
        assert!(users.contains("another machine"), "{users}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_that_was_started_by_a_relative_path_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let sleep = std::fs::canonicalize("/bin/sleep").unwrap();
        std::fs::copy(sleep, dir.path().join("program")).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "exec ./program 600"])
            .current_dir(dir.path())
            .spawn()
            .unwrap();
        let users = loop {
            let users = of_programs(std::slice::from_ref(&link));
            if !users.is_empty() {
                break users;
            }
            // One program for everything, which goes by its name, does not know this one.
            if child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::yield_now();
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(users, [format!("`program` (process {})", child.id())]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_of_a_component_is_found_by_its_command_line() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_path_buf()];
        assert!(of_programs(&dirs).is_empty());
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line"])
            .arg(dir.path().join("program"))
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The command line is that of this process until the program has started.
        let users = loop {
            let users = of_programs(&dirs);
            if !users.is_empty() {
                break users;
            }
            std::thread::yield_now();
        };
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(users, [format!("`sh` (process {})", child.id())]);
    }
}
