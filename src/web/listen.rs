//! Binds the ports of the preview.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::{Error, Result};

/// How many of the following ports are tried: for the pages, and to suggest a free one.
const NEXT_PORTS: u16 = 50;

/// Two ports of one address: one for the course's page and state, one for the pages of decks, which so have another
/// origin.
#[derive(Debug)]
pub struct Listener {
    // Dropped before the other port, so that a process that gets the port of the course next can get this one, too.
    pub(super) pages: TcpListener,
    pub(super) course: TcpListener,
}

impl Listener {
    /// Returns the address of the course's page.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.course.local_addr()
    }
}

/// Binds an address, and the next free port for the pages. Must be called within a tokio runtime. If the port is in
/// use, the hint of the error names a free one.
pub fn bind(addr: SocketAddr) -> Result<Listener> {
    let course = listen(addr).map_err(|error| refused(addr, &error))?;
    let taken = course.local_addr().map_err(|error| refused(addr, &error))?;
    let next = (1..=NEXT_PORTS)
        .filter_map(|more| taken.port().checked_add(more))
        .chain([0])
        .map(|port| SocketAddr::new(taken.ip(), port));
    let mut last = Err(std::io::Error::from(ErrorKind::AddrInUse));
    for addr in next {
        last = listen(addr);
        if last.is_ok() {
            break;
        }
    }
    let pages = last.map_err(|error| refused(addr, &error))?;
    Ok(Listener { pages, course })
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn refused(addr: SocketAddr, error: &std::io::Error) -> Error {
    let any = SocketAddr::new(addr.ip(), 0);
    match error.kind() {
        ErrorKind::AddrInUse => {
            let mut next = (1..=NEXT_PORTS)
                .filter_map(|more| addr.port().checked_add(more))
                .map(|port| SocketAddr::new(addr.ip(), port))
                .filter(|next| std::net::TcpListener::bind(next).is_ok());
            let hint = match next.next() {
                Some(free) => {
                    format!("`--serve {free}` is free; `--serve {any}` takes any free port")
                }
                None => format!("`--serve {any}` takes any free port"),
            };
            let message = format!("another program already listens on `{addr}`");
            Error::usage(message).hint(hint)
        }
        ErrorKind::PermissionDenied => {
            let message = format!("this user may not listen on `{addr}`");
            Error::usage(message).hint(format!("`--serve {any}` takes any free port"))
        }
        ErrorKind::AddrNotAvailable => {
            Error::usage(format!("this machine has no address `{}`", addr.ip()))
                .hint("use `127.0.0.1` for this machine alone, or one of its own addresses")
        }
        _ => Error::system(&format!("listen on `{addr}`"), error),
    }
}
