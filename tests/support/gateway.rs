//! A gateway with TLS before a server of gRPC, as people have it: nginx, which lets only those in who know a key.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Child;

use super::servers::{launch, program};

/// The header that is asked for.
pub const KEY: &str = "X-Gate-Key: open sesame";

/// A gateway on a loopback port. It ends when it is dropped.
pub struct Gateway {
    dir: tempfile::TempDir,
    address: SocketAddr,
    process: Child,
}

impl Gateway {
    /// A gateway to a server; `None`, with a message, if nginx is not installed.
    pub fn start(to: SocketAddr) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: `nginx` is not installed (`.ci/run` installs it as root)");
            return None;
        };
        // Another process may take the free port first.
        let gateway = (0..20).find_map(|_| Self::start_on_free_port(&program, to));
        Some(gateway.expect("nginx listens"))
    }

    fn start_on_free_port(program: &Path, to: SocketAddr) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let address = port.unwrap();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        let text = format!(
            "daemon off; master_process off; user root; pid nginx.pid;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; server {{\n\
             listen {address} ssl http2; ssl_certificate cert.pem; ssl_certificate_key key.pem;\n\
             client_max_body_size 0;\n\
             location / {{ if ($http_x_gate_key != 'open sesame') {{ return 401; }} grpc_pass grpc://{to}; }}\n\
             }} }}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), text).unwrap();
        let Some(process) = launch(program, dir.path(), address) else {
            let said = std::fs::read_to_string(dir.path().join("stderr")).unwrap();
            assert!(said.contains("in use"), "{said}");
            return None;
        };
        Some(Self {
            dir,
            address,
            process,
        })
    }

    /// The address for clm.
    pub fn url(&self) -> String {
        format!("grpcs://{}", self.address)
    }

    /// The certificate that clients have to trust.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
