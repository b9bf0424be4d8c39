//! The DevTools protocol over a pipe: JSON messages that end with a zero byte.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::parallel::lock;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// The browser has ended.
    Closed,
    /// The browser rejected it.
    Refused(String),
}

type Answer = Result<Value, CallError>;

#[derive(Default)]
struct Waiting {
    /// Calls without an answer; `None` if the browser has ended.
    calls: Option<HashMap<u64, oneshot::Sender<Answer>>>,
    /// The receivers of the events of each session.
    sessions: HashMap<String, mpsc::UnboundedSender<Value>>,
}

/// A connection to a browser. Calls may be made from several tasks at once.
pub(super) struct Connection {
    next: AtomicU64,
    waiting: Arc<Mutex<Waiting>>,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
}

impl Connection {
    /// Creates a connection from clm's ends of the two pipes.
    pub(super) fn new(to_browser: OwnedFd, from_browser: OwnedFd) -> std::io::Result<Self> {
        let sender = pipe::Sender::from_owned_fd(to_browser)?;
        let receiver = pipe::Receiver::from_owned_fd(from_browser)?;
        let waiting = Arc::new(Mutex::new(Waiting {
            calls: Some(HashMap::new()),
            sessions: HashMap::new(),
        }));
        let (outgoing, messages) = mpsc::unbounded_channel();
        tokio::spawn(write(sender, messages));
        tokio::spawn(read(receiver, Arc::clone(&waiting)));
        Ok(Self {
            next: AtomicU64::new(1),
            waiting,
            outgoing,
        })
    }

    /// Calls a method of the browser, or of a session's page, and waits for the result.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Answer {
        let (sender, receiver) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        match &mut lock(&self.waiting).calls {
            Some(calls) => calls.insert(id, sender),
            None => return Err(CallError::Closed),
        };
        self.send(id, session, method, params);
        receiver.await.unwrap_or(Err(CallError::Closed))
    }

    /// Calls a method and ignores its result.
    pub(super) fn post(&self, session: Option<&str>, method: &str, params: Value) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.send(id, session, method, params);
    }

    /// Returns the events of a session from now on; those of the browser itself have an empty session name.
    pub(super) fn events(&self, session: &str) -> mpsc::UnboundedReceiver<Value> {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.waiting)
            .sessions
            .insert(session.to_owned(), sender);
        receiver
    }

    /// Stops delivering the events of a session.
    pub(super) fn forget(&self, session: &str) {
        lock(&self.waiting).sessions.remove(session);
    }

    /// Returns whether the browser has ended.
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.waiting).calls.is_none()
    }

    fn send(&self, id: u64, session: Option<&str>, method: &str, params: Value) {
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = Value::from(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        // If the writer has ended, so has the browser, and the reader reports that to waiting calls.
        let _ = self.outgoing.send(bytes);
    }
}

async fn write(mut sender: pipe::Sender, mut messages: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(message) = messages.recv().await {
        if sender.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// Delivers each message to its receiver, until the browser closes its end.
async fn read(receiver: pipe::Receiver, waiting: Arc<Mutex<Waiting>>) {
    let mut reader = BufReader::with_capacity(1 << 16, receiver);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.read_until(0, &mut bytes).await {
            Ok(count) if count > 0 && bytes.last() == Some(&0) => {
                bytes.pop();
            }
            _ => break,
        }
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(message) => deliver(message, &waiting),
            Err(error) => tracing::warn!(%error, "the browser sent something that is not JSON"),
        }
    }
    let mut waiting = lock(&waiting);
    waiting.sessions.clear();
    // Dropping the senders wakes all waiting callers.
    waiting.calls = None;
}

fn deliver(mut message: Value, waiting: &Mutex<Waiting>) {
    let mut waiting = lock(waiting);
    if let Some(id) = message.get("id").and_then(Value::as_u64) {
        let caller = waiting.calls.as_mut().and_then(|calls| calls.remove(&id));
        let answer = match message.get("error") {
            Some(error) => Err(CallError::Refused(error.to_string())),
            None => Ok(message["result"].take()),
        };
        if let Some(caller) = caller {
            let _ = caller.send(answer);
        }
        return;
    }
    let session = message
        .get("sessionId")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    if let Some(sender) = waiting.sessions.get(&session) {
        let _ = sender.send(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};

    /// Returns a connection, and the browser's ends of its pipes.
    fn connected() -> (Arc<Connection>, BufReader<PipeReader>, PipeWriter) {
        let (commands, to_browser) = std::io::pipe().unwrap();
        let (from_browser, answers) = std::io::pipe().unwrap();
        let connection = Connection::new(to_browser.into(), from_browser.into()).unwrap();
        (Arc::new(connection), BufReader::new(commands), answers)
    }

    fn next(commands: &mut BufReader<PipeReader>) -> Value {
        let mut bytes = Vec::new();
        commands.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0));
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn answers_and_events_find_their_way() {
        let (connection, mut commands, mut answers) = connected();
        let mut events = connection.events("S1");
        let call = |session: Option<&'static str>, method: &'static str| {
            let connection = Arc::clone(&connection);
            tokio::spawn(async move { connection.call(session, method, json!({})).await })
        };
        let one = call(None, "One");
        let first = next(&mut commands);
        let two = call(Some("S1"), "Two");
        let second = next(&mut commands);
        assert_eq!(first["method"], "One");
        assert_eq!(first.get("sessionId"), None);
        assert_eq!(second["sessionId"], "S1");

        // Out of order, in pieces, and mixed with unknown messages.
        let text = format!(
            "{{\"id\":{},\"error\":{{\"message\":\"no\"}}}}\0not JSON\0{{\"method\":\"E\",\"sessionId\":\"S2\"}}\0\
             {{\"method\":\"E\",\"sessionId\":\"S1\",\"params\":{{\"n\":1}}}}\0{{\"id\":999,\"result\":{{}}}}\0\
             {{\"id\":{},\"result\":{{\"v\":\"ü\"}}}}\0",
            second["id"], first["id"]
        );
        for piece in text.as_bytes().chunks(7) {
            answers.write_all(piece).unwrap();
        }
        assert_eq!(one.await.unwrap().unwrap(), json!({ "v": "ü" }));
        let Err(CallError::Refused(reason)) = two.await.unwrap() else {
            panic!("it was refused");
        };
        assert!(reason.contains("no"));
        assert_eq!(events.recv().await.unwrap()["params"]["n"], 1);

        let last = call(None, "Last");
        next(&mut commands);
        assert!(!connection.is_closed());
        drop(answers);
        assert!(matches!(last.await.unwrap(), Err(CallError::Closed)));
        assert!(events.recv().await.is_none());
        assert!(connection.is_closed());
        let after = connection.call(None, "After", json!({})).await;
        assert!(matches!(after, Err(CallError::Closed)));
    }
}
