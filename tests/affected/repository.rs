//! A course in a git repository.

use std::path::Path;
use std::process::Command;

use crate::support::Course;

pub struct Repository<'c>(pub &'c Course);

impl<'c> Repository<'c> {
    /// Makes a repository of a course, with one commit.
    pub fn of(course: &'c Course) -> Self {
        course.write(".gitignore", "output\n.clm\n");
        let repository = Self(course);
        repository.git(&["init", "-q", "-b", "main"]);
        repository.commit("first");
        repository
    }

    pub fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.0.root(), args)
    }
}

pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args([
            "-c",
            "commit.gpgsign=false",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
