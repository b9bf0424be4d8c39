//! The channels between clm and one kernel: private sockets, signed messages.
//!
//! If the kernel supports it (`ipykernel` on Unix), the sockets are files in a directory that only this user can
//! access, so that there is no open port; otherwise they are ports of the loopback interface. Every message is signed
//! with a key from the connection file, which only this user can read.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use jupyter_zmq_client as jupyter;
use jupyter_zmq_client::{ConnectionInfo, JupyterMessage, RawMessage};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeromq::SocketRecv;

/// How many messages may be queued before the kernel is made to wait.
const WAITING_MESSAGES: usize = 4096;

/// The longest path of a socket that every Unix accepts (macOS: 104 bytes with the final zero).
const MAX_SOCKET_PATH: usize = 100;

/// The description of any failure of the channels.
pub(super) type ChannelError = String;

/// Whether the kernel records the executed code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    /// The code gets a number and enters the history, as cells do.
    History,
    /// The code has no number and no outputs.
    Silent,
}

/// A message of the kernel.
#[derive(Debug)]
pub(super) struct Message {
    /// The message type, such as `execute_reply`.
    pub(super) kind: String,
    /// The id of the request it belongs to.
    pub(super) parent: String,
    /// The content.
    pub(super) content: Value,
    /// Binary parts.
    pub(super) buffers: Vec<Vec<u8>>,
}

/// The addresses on which a kernel will listen; chosen before it starts.
pub(super) struct Endpoints {
    info: ConnectionInfo,
    /// Reserve the ports until the kernel is about to open them.
    listeners: Vec<TcpListener>,
    file: PathBuf,
}

impl Endpoints {
    /// Chooses sockets or ports and writes the connection file into a directory that only this user can access.
    pub(super) async fn new(directory: &Path, sockets: bool) -> Result<Self, ChannelError> {
        let sockets = sockets.then(|| directory.join("s"));
        let sockets = sockets.as_ref().and_then(|path| path.to_str());
        let sockets = sockets.filter(|path| cfg!(unix) && path.len() + 2 <= MAX_SOCKET_PATH);
        let (transport, ip, ports, listeners) = match sockets {
            // A "port" is the number at the end of the socket's name.
            Some(path) => ("ipc", path.to_owned(), vec![1, 2, 3, 4, 5], Vec::new()),
            None => {
                let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let (ports, listeners) = jupyter::peek_ports_with_listeners(loopback, 5)
                    .await
                    .map_err(|error| format!("no free port on the loopback interface: {error}"))?;
                ("tcp", loopback.to_string(), ports, listeners)
            }
        };
        let description = json!({
            "transport": transport,
            "ip": ip,
            "shell_port": ports[0],
            "iopub_port": ports[1],
            "stdin_port": ports[2],
            "control_port": ports[3],
            "hb_port": ports[4],
            "key": uuid::Uuid::new_v4().to_string(),
            "signature_scheme": "hmac-sha256",
        });
        let file = directory.join("connection.json");
        write_private(&file, description.to_string().as_bytes())
            .map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
        let info = serde_json::from_value(description)
            .map_err(|error| format!("the connection file makes no sense: {error}"))?;
        Ok(Self {
            info,
            listeners,
            file,
        })
    }

    /// Returns the path of the connection file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Releases the reserved ports, so that the kernel can open them.
    pub(super) fn release(&mut self) {
        self.listeners.clear();
    }

    /// Returns whether the kernel accepts connections on all channels that we use.
    pub(super) async fn are_open(&self) -> bool {
        let ports = [
            self.info.shell_port,
            self.info.iopub_port,
            self.info.control_port,
        ];
        for port in ports {
            if !self.is_open(port).await {
                return false;
            }
        }
        true
    }

    async fn is_open(&self, port: u16) -> bool {
        #[cfg(unix)]
        if self.info.transport == jupyter_protocol::connection_info::Transport::IPC {
            let path = format!("{}-{port}", self.info.ip);
            return tokio::net::UnixStream::connect(path).await.is_ok();
        }
        let address = (self.info.ip.as_str(), port);
        tokio::net::TcpStream::connect(address).await.is_ok()
    }

    /// Connects to the kernel, which must already be listening.
    pub(super) async fn connect(&self) -> Result<Channels, ChannelError> {
        let cannot =
            |error: jupyter::RuntimeError| format!("cannot connect to the kernel: {error}");
        let session = uuid::Uuid::new_v4().to_string();
        let identity = jupyter::peer_identity_for_session(&session).map_err(cannot)?;
        let mut iopub = jupyter::create_client_iopub_connection(&self.info, "", &session)
            .await
            .map_err(cannot)?;
        let shell =
            jupyter::create_client_shell_connection_with_identity(&self.info, &session, identity)
                .await
                .map_err(cannot)?;
        let control = jupyter::create_client_control_connection(&self.info, &session)
            .await
            .map_err(cannot)?;
        let (shell, mut shell_replies) = shell.split();
        let (reply_sender, replies) = mpsc::channel(WAITING_MESSAGES);
        let (publish_sender, published) = mpsc::channel(WAITING_MESSAGES);
        let mut readers = JoinSet::new();
        readers.spawn(async move {
            let mac = shell_replies.mac.clone();
            forward(
                &mut shell_replies.socket,
                |multipart| RawMessage::from_multipart(multipart, &mac),
                reply_sender,
            )
            .await;
        });
        readers.spawn(async move {
            let mac = iopub.mac.clone();
            forward(
                &mut iopub.socket,
                |multipart| RawMessage::from_multipart(multipart, &mac),
                publish_sender,
            )
            .await;
        });
        Ok(Channels {
            shell,
            control,
            replies,
            published,
            _readers: readers,
        })
    }
}

/// Open channels to a kernel.
pub(super) struct Channels {
    shell: jupyter::DealerSendConnection,
    control: jupyter::ClientControlConnection,
    /// Replies to what was sent on the shell channel.
    pub(super) replies: mpsc::Receiver<Message>,
    /// Messages that the kernel publishes: outputs and its state.
    pub(super) published: mpsc::Receiver<Message>,
    /// The tasks that read the sockets; they end with the channels.
    _readers: JoinSet<()>,
}

impl Channels {
    /// Sends a request and returns its id.
    pub(super) async fn send(
        &mut self,
        request: impl Into<JupyterMessage>,
    ) -> Result<String, ChannelError> {
        let message: JupyterMessage = request.into();
        let id = message.header.msg_id.clone();
        let sent = self.shell.send(message).await;
        sent.map_err(|error| format!("cannot send to the kernel: {error}"))?;
        Ok(id)
    }

    /// Sends code to run, and returns the id that its reply and its outputs refer to.
    pub(super) async fn execute(
        &mut self,
        code: &str,
        recording: Recording,
        stop_on_error: bool,
    ) -> Result<String, ChannelError> {
        let request = jupyter::ExecuteRequest {
            code: code.to_owned(),
            silent: recording == Recording::Silent,
            store_history: recording == Recording::History,
            user_expressions: None,
            // There is no user to answer: `input()` fails at once.
            allow_stdin: false,
            stop_on_error,
        };
        self.send(request).await
    }

    /// Asks the kernel to interrupt itself.
    pub(super) async fn send_interrupt(&mut self) -> Result<(), ChannelError> {
        let sent = self.control.send(jupyter::InterruptRequest {}.into()).await;
        sent.map_err(|error| format!("cannot send to the kernel: {error}"))
    }
}

/// Forwards messages until the socket or the receiver is closed. Unsigned messages are dropped.
async fn forward<S: SocketRecv>(
    socket: &mut S,
    verified: impl Fn(zeromq::ZmqMessage) -> jupyter::Result<RawMessage>,
    receiver: mpsc::Sender<Message>,
) {
    loop {
        match socket.recv().await {
            Ok(multipart) => {
                let message = verified(multipart).ok().and_then(|raw| parse(&raw));
                match message {
                    Some(message) => {
                        if receiver.send(message).await.is_err() {
                            return;
                        }
                    }
                    None => tracing::debug!("dropped a message that is not of the protocol"),
                }
            }
            // A kernel that ends closes its sockets; callers that wait for it watch the process.
            Err(error) => {
                tracing::trace!(%error, "a channel closed");
                if receiver.is_closed() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}

/// Parses a message. Python may send bytes that are not UTF-8 (undecodable file names): they are replaced.
fn parse(raw: &RawMessage) -> Option<Message> {
    let json = |part: usize| -> Option<Value> {
        serde_json::from_str(&String::from_utf8_lossy(raw.jparts.get(part)?)).ok()
    };
    let text = |value: &Value, name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Some(Message {
        kind: text(&json(0)?, "msg_type"),
        parent: text(&json(1)?, "msg_id"),
        content: json(3)?,
        buffers: raw
            .jparts
            .iter()
            .skip(4)
            .map(|part| part.to_vec())
            .collect(),
    })
}

/// Writes a new file that no other user can read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}
