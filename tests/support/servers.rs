//! A real nginx as a remote cache, with the configuration that people are given (`contrib/ci/nginx.conf`).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The configuration as people get it.
const CONFIGURATION: &str = include_str!("../../contrib/ci/nginx.conf");

/// Name and password of the only user.
pub const USER: &str = "ci";
pub const PASSWORD: &str = "open sesame";

/// Requests for this path are made by [`Nginx::log`].
const MARK: &str = "/end-of-log-";

/// What nobody may do without the password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// Nothing.
    No,
    /// Write.
    ToWrite,
    /// Read or write.
    Always,
}

/// An nginx on a loopback port, with a directory of its own. It ends when it is dropped.
pub struct Nginx {
    dir: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
    marks: AtomicUsize,
}

impl Nginx {
    /// A cache that everybody may read and write; `None`, with a message, if nginx is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(Password::No)
    }

    pub fn start_with(password: Password) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: `nginx` is not installed (`.ci/run` installs it as root)");
            return None;
        };
        // Another process may take the free port first.
        let server = (0..20).find_map(|_| Self::start_on_free_port(&program, password));
        Some(server.expect("nginx listens"))
    }

    fn start_on_free_port(program: &Path, password: Password) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let address = port.unwrap();
        std::fs::create_dir(dir.path().join("cache")).unwrap();
        let user = format!("{USER}:{{PLAIN}}{PASSWORD}\n");
        std::fs::write(dir.path().join("users"), user).unwrap();
        std::fs::write(
            dir.path().join("nginx.conf"),
            configuration(dir.path(), address, password),
        )
        .unwrap();
        let mut server = Self {
            dir,
            address,
            process: None,
            marks: AtomicUsize::new(0),
        };
        server.run(program).then_some(server)
    }

    /// Starts the process, and returns whether it listens.
    fn run(&mut self, program: &Path) -> bool {
        self.process = launch(program, self.dir.path(), self.address);
        self.process.is_some()
    }

    /// The address of the cache, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of the entries.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Everything that was asked so far, such as `PUT /cas/12ab.. 201 ci` (`-` without a user). The order is that of the
    /// ends of requests, and a connection with a body may end later than its answer.
    pub fn log(&self) -> Vec<String> {
        // A line is written after its answer was sent, when nginx sees that the client has closed the connection. It has
        // seen everything that was before the first of these requests when it handles the second one.
        for _ in 0..2 * usize::from(self.process.is_some()) {
            let mark = self.marks.fetch_add(1, Ordering::Relaxed);
            ask(self.address, "GET", &format!("{MARK}{mark}"), &[], b"").unwrap();
        }
        let text = std::fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.contains(MARK));
        lines.map(str::to_owned).collect()
    }

    /// Kills it, as a power cut would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
            let _ = std::fs::remove_file(self.dir.path().join("nginx.pid"));
        }
    }

    /// Starts it again, with the same address and entries.
    pub fn restart(&mut self) {
        self.stop();
        let program = program().unwrap();
        assert!(self.run(&program), "nginx listens again");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The configuration of people with what the test needs around it.
fn configuration(dir: &Path, address: SocketAddr, password: Password) -> String {
    let users = dir.join("users").display().to_string();
    let mut server = CONFIGURATION.to_owned();
    let mut fill_in = |from: &str, to: &str| {
        assert!(server.contains(from), "contrib/ci/nginx.conf has {from:?}");
        server = server.replace(from, to);
    };
    fill_in("127.0.0.1:8080", &address.to_string());
    fill_in("/var/cache/clm", &dir.join("cache").display().to_string());
    fill_in("/etc/nginx/clm.users", &users);
    match password {
        Password::No => fill_in("auth_basic \"clm cache\"", "auth_basic off"),
        Password::ToWrite => {}
        Password::Always => fill_in(
            "server {",
            &format!("server {{ auth_basic \"clm cache\"; auth_basic_user_file {users};"),
        ),
    }
    // One process, so that a kill leaves none, and a log in the order of requests. `user` counts for root only.
    format!(
        "daemon off; master_process off; user root; pid nginx.pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         log_format short '$request_method $request_uri $status $remote_user';\n\
         access_log access.log short;\n\
         proxy_temp_path temporary; fastcgi_temp_path temporary; uwsgi_temp_path temporary; scgi_temp_path temporary;\n\
         {server}\n}}\n"
    )
}

/// Starts nginx with the configuration of a directory; `None` if it does not listen at its address.
pub fn launch(program: &Path, dir: &Path, address: SocketAddr) -> Option<Child> {
    let said = File::create(dir.join("stderr")).unwrap();
    let mut process = Command::new(program)
        .arg("-p")
        .arg(dir)
        .args(["-c", "nginx.conf", "-e", "error.log"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        // The process that answers must be ours: it ends if the port is taken.
        let answers = TcpStream::connect(address).is_ok();
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        if answers && dir.join("nginx.pid").exists() {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}

/// The program, if it is installed.
pub fn program() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Only the PATH of root has the directories of servers.
    std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join("nginx"))
        .find(|program| program.is_file())
}

/// Sends one request, and returns the status and the body of the answer.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let status = answer.get(9..12).and_then(|status| {
        let text = std::str::from_utf8(status).ok()?;
        text.parse().ok()
    });
    match (status, end) {
        (Some(status), Some(end)) => Ok((status, answer.split_off(end + 4))),
        _ => Err(std::io::Error::other("the answer is not HTTP")),
    }
}
