//! A small HTTP server that keeps entries in memory and misbehaves on demand, for the stories of the remote cache.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How the server misbehaves. Faults of a body concern answers to GET; other requests are answered as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// It closes each connection at once.
    Refuse,
    /// It accepts connections, and never reads.
    HalfOpen,
    /// It reads requests, and never answers.
    HangBeforeAnswer,
    /// It sends half of a body, and then nothing more.
    HangInBody,
    /// It sends so many bytes of a body in a second.
    SlowBody(usize),
    /// It closes the connection before the length that it announced.
    Truncate,
    /// One byte of a body is another one.
    WrongBytes,
    /// The body is that of another entry, if there is one.
    OtherEntry,
    /// It sends bytes that are not HTTP.
    Garbage,
    /// It sends a body without end, whatever is asked for.
    HugeBody,
    /// It sends headers without end.
    HugeHeaders,
    /// It answers with this status. A 413 comes before the request was read, as from nginx.
    Status(u16),
    /// It redirects every path to itself.
    RedirectLoop,
    /// It redirects to another host, which has the same entries.
    RedirectToOtherHost,
    /// It answers 200 without any byte, whatever is asked for.
    EmptyBody,
}

/// The requests that meet the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    All,
    Puts,
    Gets,
    /// Every n-th request, beginning with the n-th after it was set.
    EveryNth(usize),
}

/// A request that was read.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// By names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The number of bytes of the body that were read.
    pub body: usize,
}

/// The server. It ends, with all its connections, when it is dropped.
pub struct Faulty {
    shared: Arc<Shared>,
    listeners: Vec<(SocketAddr, JoinHandle<()>)>,
}

struct Shared {
    state: Mutex<State>,
    /// Where [`Fault::RedirectToOtherHost`] leads.
    other_port: u16,
}

struct State {
    fault: Fault,
    of: Of,
    /// Requests since the fault was set.
    count: usize,
    is_stopped: bool,
    entries: BTreeMap<String, Vec<u8>>,
    asked: Vec<Asked>,
    asked_of_other: Vec<Asked>,
    connections: Vec<TcpStream>,
}

impl Faulty {
    pub fn start(fault: Fault) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (listener, other) = (bind(), bind());
        let state = State {
            fault,
            of: Of::All,
            count: 0,
            is_stopped: false,
            entries: BTreeMap::new(),
            asked: Vec::new(),
            asked_of_other: Vec::new(),
            connections: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            other_port: other.local_addr().unwrap().port(),
        });
        let listen = |listener: TcpListener, is_other: bool| {
            let shared = Arc::clone(&shared);
            let address = listener.local_addr().unwrap();
            let thread = std::thread::spawn(move || accept(&listener, &shared, is_other));
            (address, thread)
        };
        let listeners = vec![listen(listener, false), listen(other, true)];
        Self { shared, listeners }
    }

    /// The address of the cache, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.listeners[0].0
    }

    /// From now on all requests meet this fault, those on open connections as well.
    pub fn set(&self, fault: Fault) {
        self.set_for(fault, Of::All);
    }

    /// From now on these requests meet this fault.
    pub fn set_for(&self, fault: Fault, of: Of) {
        let mut state = self.shared.state();
        (state.fault, state.of, state.count) = (fault, of, 0);
    }

    /// The requests so far, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    /// The requests that came to the other host.
    pub fn asked_of_other(&self) -> Vec<Asked> {
        self.shared.state().asked_of_other.clone()
    }

    /// The entries by their paths.
    pub fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        self.shared.state().entries.clone()
    }

    /// Replaces all entries.
    pub fn set_entries(&self, entries: BTreeMap<String, Vec<u8>>) {
        self.shared.state().entries = entries;
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let connections = {
            let mut state = self.shared.state();
            state.is_stopped = true;
            std::mem::take(&mut state.connections)
        };
        for connection in connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        for (address, thread) in self.listeners.drain(..) {
            let _ = TcpStream::connect(address);
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The fault that a request meets.
    fn fault_of(&mut self, method: &str) -> Fault {
        self.count += 1;
        let meets = match self.of {
            Of::All => true,
            Of::Puts => method == "PUT",
            Of::Gets => method == "GET",
            Of::EveryNth(n) => self.count.is_multiple_of(n),
        };
        if meets { self.fault } else { Fault::None }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, is_other: bool) {
    for stream in listener.incoming().flatten() {
        let mut state = shared.state();
        if state.is_stopped {
            return;
        }
        let fault = match state.of {
            Of::All if !is_other => state.fault,
            _ => Fault::None,
        };
        if fault == Fault::Refuse {
            continue;
        }
        // Also keeps connections open that nobody handles.
        state.connections.push(stream.try_clone().unwrap());
        drop(state);
        if fault != Fault::HalfOpen {
            let shared = Arc::clone(shared);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut next = Some(Next::Request);
                while next == Some(Next::Request) {
                    next = serve(&mut reader, &shared, is_other);
                }
                if next != Some(Next::Nothing) {
                    let _ = reader.get_mut().shutdown(Shutdown::Both);
                }
            });
        }
    }
}

/// What follows on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another request.
    Request,
    /// Its end.
    End,
    /// Nothing, until the client or the server ends.
    Nothing,
}

/// Serves one request. Returns `None` if the client left.
fn serve(reader: &mut BufReader<TcpStream>, shared: &Shared, is_other: bool) -> Option<Next> {
    let mut asked = read_head(reader)?;
    let fault = match is_other {
        true => Fault::None,
        false => shared.state().fault_of(&asked.method),
    };
    let mut body = Vec::new();
    if !matches!(fault, Fault::Refuse | Fault::HalfOpen | Fault::Status(413)) {
        body = read_body(reader, &asked)?;
        asked.body = body.len();
    }
    let Asked { method, path, .. } = asked.clone();
    let is_last = asked
        .headers
        .get("connection")
        .is_some_and(|value| value == "close");
    let entry = {
        let mut state = shared.state();
        match is_other {
            true => state.asked_of_other.push(asked),
            false => state.asked.push(asked),
        }
        let is_refused = matches!(
            fault,
            Fault::Status(_) | Fault::RedirectLoop | Fault::RedirectToOtherHost
        );
        if method == "PUT" && !is_refused && is_path_of_entry(&path) {
            state.entries.insert(path.clone(), body);
        }
        match fault {
            Fault::OtherEntry => other_entry(&state.entries, &path),
            _ => state.entries.get(&path).cloned(),
        }
    };
    let answer = Answer {
        stream: reader.get_mut(),
        is_head: method == "HEAD",
    };
    let next = respond(answer, fault, &method, &path, entry, shared.other_port)?;
    Some(if is_last && next == Next::Request {
        Next::End
    } else {
        next
    })
}

fn respond(
    mut to: Answer<'_>,
    fault: Fault,
    method: &str,
    path: &str,
    entry: Option<Vec<u8>>,
    other_port: u16,
) -> Option<Next> {
    match fault {
        Fault::Refuse => Some(Next::End),
        Fault::HalfOpen | Fault::HangBeforeAnswer => Some(Next::Nothing),
        Fault::Garbage => to
            .raw(b"\x00\xff no HTTP \r\n\r\n at all")
            .and(Some(Next::End)),
        Fault::Status(413) => to.status(413, b"").and(Some(Next::End)),
        Fault::Status(status) => to.status(status, b"no"),
        Fault::RedirectLoop => to.redirect(path),
        Fault::RedirectToOtherHost => to.redirect(&format!("http://localhost:{other_port}{path}")),
        Fault::HugeHeaders => to
            .raw(b"HTTP/1.1 200 OK\r\n")
            .and(to.without_end(b"x-more: and more of it\r\n")),
        _ if method == "PUT" && is_path_of_entry(path) => to.status(201, b""),
        _ if method == "PUT" => to.status(404, b""),
        Fault::EmptyBody => to.status(200, b""),
        Fault::HugeBody => to
            .raw(b"HTTP/1.1 200 OK\r\n\r\n")
            .and(to.without_end(&[b'x'; 4096])),
        _ => match entry {
            None => to.status(404, b""),
            Some(body) => to.entry(fault, body),
        },
    }
}

fn is_path_of_entry(path: &str) -> bool {
    let hex = path.strip_prefix("/ac/").or(path.strip_prefix("/cas/"));
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The entry after that of the path, among those of the same kind.
fn other_entry(entries: &BTreeMap<String, Vec<u8>>, path: &str) -> Option<Vec<u8>> {
    let kind = path.split_inclusive('/').nth(1)?;
    let of_kind = || {
        entries
            .iter()
            .filter(|(path, _)| path[1..].starts_with(kind))
    };
    let next = of_kind().find(|(other, _)| other.as_str() > path);
    let (_, body) = next.or_else(|| of_kind().next())?;
    Some(body.clone())
}

/// The place for an answer.
struct Answer<'a> {
    stream: &'a mut TcpStream,
    is_head: bool,
}

impl Answer<'_> {
    fn raw(&mut self, bytes: &[u8]) -> Option<Next> {
        self.stream.write_all(bytes).ok().map(|()| Next::Request)
    }

    fn status(&mut self, status: u16, body: &[u8]) -> Option<Next> {
        self.head(status, "", body.len())?;
        if self.is_head {
            Some(Next::Request)
        } else {
            self.raw(body)
        }
    }

    fn head(&mut self, status: u16, more: &str, length: usize) -> Option<Next> {
        let head = format!("HTTP/1.1 {status} Status\r\n{more}content-length: {length}\r\n\r\n");
        self.raw(head.as_bytes())
    }

    fn redirect(&mut self, to: &str) -> Option<Next> {
        self.head(307, &format!("location: {to}\r\n"), 0)
    }

    /// Sends the same bytes until the client leaves or the server is dropped.
    fn without_end(&mut self, bytes: &[u8]) -> Option<Next> {
        while self.raw(bytes).is_some() {}
        None
    }

    fn entry(&mut self, fault: Fault, mut body: Vec<u8>) -> Option<Next> {
        let half = body.len() / 2;
        match fault {
            _ if self.is_head => self.status(200, &body),
            Fault::Truncate => {
                self.head(200, "", body.len() + 100)?;
                self.raw(&body)?;
                Some(Next::End)
            }
            Fault::HangInBody => {
                // An entry of one byte hangs as well.
                self.head(200, "", body.len().max(1))?;
                self.raw(&body[..half])?;
                Some(Next::Nothing)
            }
            Fault::SlowBody(rate) => {
                self.head(200, "", body.len())?;
                for piece in body.chunks(rate.div_ceil(20).max(1)) {
                    std::thread::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64));
                    self.raw(piece)?;
                }
                Some(Next::Request)
            }
            Fault::WrongBytes => {
                match body.get_mut(half) {
                    Some(byte) => *byte ^= 1,
                    None => body.push(0),
                }
                self.status(200, &body)
            }
            _ => self.status(200, &body),
        }
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = read_line(reader)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    Some(Asked {
        method,
        path,
        headers,
        body: 0,
    })
}

fn read_body(reader: &mut BufReader<TcpStream>, asked: &Asked) -> Option<Vec<u8>> {
    if asked.headers.contains_key("expect") {
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        reader.get_mut().write_all(go_on).ok()?;
    }
    let mut body = Vec::new();
    if asked.headers.contains_key("transfer-encoding") {
        loop {
            let length = usize::from_str_radix(read_line(reader)?.trim(), 16).ok()?;
            body.append(&mut read_exactly(reader, length)?);
            read_line(reader)?;
            if length == 0 {
                return Some(body);
            }
        }
    }
    let length = asked.headers.get("content-length");
    read_exactly(
        reader,
        length.map_or(Some(0), |length| length.parse().ok())?,
    )
}

fn read_exactly(reader: &mut BufReader<TcpStream>, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn read_line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(1..) => Some(line.trim_end().to_owned()),
        _ => None,
    }
}
