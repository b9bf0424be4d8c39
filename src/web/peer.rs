//! Identifies the local user at the other end of a connection.
//!
//! Every user of a machine can connect to a port of the loopback interface. Linux reports the owner of a connection.
//! Without this information (other systems, namespaces of containers) only the port number protects the preview.

use std::net::{IpAddr, SocketAddr};

/// Returns whether a connection belongs to a user without access, that is, neither this user nor root.
pub(super) fn is_stranger(local: SocketAddr, peer: SocketAddr) -> bool {
    let table = if peer.is_ipv4() { "tcp" } else { "tcp6" };
    let Ok(text) = std::fs::read_to_string(format!("/proc/net/{table}")) else {
        return false;
    };
    let own = nix::unistd::geteuid().as_raw();
    owner(&text, peer, local).is_some_and(|user| user != own && user != 0)
}

/// Returns the user of the connection from `from` to `to` in the kernel's table.
fn owner(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u32> {
    let (from, to) = (name(from), name(to));
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1)? == &from && fields.get(2)? == &to;
        is_it.then(|| fields.get(7)?.parse().ok()).flatten()
    })
}

/// Formats an address like the kernel: words of 32 bits in the machine's byte order, the port in network order.
fn name(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words: String = octets
        .chunks_exact(4)
        .map(|word| {
            format!(
                "{:08X}",
                u32::from_ne_bytes([word[0], word[1], word[2], word[3]])
            )
        })
        .collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_owner_is_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
             0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1 1\n\
             1: 0100007F:C350 0100007F:1F40 01 00000000:00000000 00:00000000 00000000  1001 0 2 1\n";
        let find = |from: &str| {
            owner(
                table,
                from.parse().unwrap(),
                "127.0.0.1:8000".parse().unwrap(),
            )
        };
        assert_eq!(find("127.0.0.1:50000"), Some(1001));
        assert_eq!(find("127.0.0.1:50001"), None);
        assert_eq!(
            name("[::1]:8000".parse().unwrap()),
            "00000000000000000000000001000000:1F40"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn we_are_no_stranger_to_ourselves() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(local).unwrap();
        let peer = client.local_addr().unwrap();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        assert_eq!(
            owner(&table, peer, local),
            Some(nix::unistd::geteuid().as_raw())
        );
        assert!(!is_stranger(local, peer));
    }
}
