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

/// Returns the processes whose command line names a file in one of the directories, where the system shows them.
fn of_programs(dirs: &[PathBuf]) -> Vec<String> {
    let own = std::process::id();
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
        if process != own && dirs.iter().any(names) {
            let program = line.split('\0').next().unwrap_or_default();
            let program = program.rsplit('/').next().unwrap_or(program);
            users.push((process, program.to_owned()));
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
