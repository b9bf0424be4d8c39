//! The servers of the stories about the remote cache do what these stories rely on.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::support::faulty::{Fault, Faulty, Of};
use crate::support::servers::{Nginx, PASSWORD, Password, USER, ask};

fn key(digit: char) -> String {
    String::from(digit).repeat(64)
}

fn authorization() -> String {
    format!("Basic {}", BASE64.encode(format!("{USER}:{PASSWORD}")))
}

#[test]
fn nginx_is_a_cache() {
    let Some(mut nginx) = Nginx::start() else {
        return;
    };
    assert_eq!(nginx.url(), format!("http://{}", nginx.address()));
    let path = format!("/cas/{}", key('a'));
    let (to, big) = (nginx.address(), vec![7; 3_000_000]);
    let status = |method: &str, path: &str| ask(to, method, path, &[], b"").unwrap().0;
    assert_eq!(status("GET", &path), 404);
    assert_eq!(ask(to, "PUT", &path, &[], &big).unwrap().0, 201);
    assert_eq!(ask(to, "GET", &path, &[], b"").unwrap(), (200, big.clone()));
    assert_eq!(ask(to, "HEAD", &path, &[], b"").unwrap(), (200, Vec::new()));
    assert_eq!(ask(to, "PUT", &path, &[], b"new").unwrap().0, 204);
    assert_eq!(
        std::fs::read(nginx.dir().join("cas").join(key('a'))).unwrap(),
        b"new"
    );
    // Nothing else can be read, written or removed.
    std::fs::write(nginx.dir().join("secret"), "secret").unwrap();
    for other in ["/secret", "/", "/cas/", "/ac/abc", "/upload/0000000001"] {
        assert_eq!(status("GET", other), 404, "{other}");
        assert!(status("PUT", other) >= 400, "{other}");
    }
    assert_eq!(status("PUT", &format!("/cas/../{}", key('a'))), 404);
    assert_eq!(status("DELETE", &path), 405);
    let log = nginx.log();
    for line in [
        "GET {} 404 -",
        "PUT {} 201 -",
        "GET {} 200 -",
        "DELETE {} 405 -",
    ] {
        let line = line.replace("{}", &path);
        assert!(log.contains(&line), "{line}: {log:#?}");
    }
    let before = log.len();

    nginx.stop();
    assert!(TcpStream::connect(to).is_err());
    nginx.restart();
    assert_eq!(
        ask(to, "GET", &path, &[], b"").unwrap(),
        (200, b"new".to_vec())
    );
    assert_eq!(nginx.log().len(), before + 1);
}

#[test]
fn nginx_asks_for_the_password() {
    for (password, to_read) in [(Password::ToWrite, 404), (Password::Always, 401)] {
        let Some(nginx) = Nginx::start_with(password) else {
            return;
        };
        let (to, path) = (nginx.address(), format!("/ac/{}", key('b')));
        let known = authorization();
        let known = [("authorization", known.as_str())];
        assert_eq!(ask(to, "GET", &path, &[], b"").unwrap().0, to_read);
        assert_eq!(ask(to, "PUT", &path, &[], b"x").unwrap().0, 401);
        assert_eq!(ask(to, "PUT", &path, &known, b"x").unwrap().0, 201);
        assert_eq!(ask(to, "GET", &path, &known, b"").unwrap().0, 200);
        assert!(nginx.log().contains(&format!("PUT {path} 201 {USER}")));
    }
}

#[test]
fn a_faulty_server_without_a_fault_is_a_cache() {
    let faulty = Faulty::start(Fault::None);
    assert_eq!(faulty.url(), format!("http://{}", faulty.address()));
    let (to, path) = (faulty.address(), format!("/ac/{}", key('c')));
    assert_eq!(ask(to, "GET", &path, &[], b"").unwrap().0, 404);
    assert_eq!(
        ask(to, "PUT", &path, &[("X-One", "1")], b"abc").unwrap().0,
        201
    );
    assert_eq!(ask(to, "PUT", "/other", &[], b"abc").unwrap().0, 404);
    assert_eq!(
        ask(to, "GET", &path, &[], b"").unwrap(),
        (200, b"abc".to_vec())
    );
    let asked = faulty.asked();
    assert_eq!(
        (asked[1].method.as_str(), asked[1].path.as_str()),
        ("PUT", path.as_str())
    );
    assert_eq!(
        (asked[1].headers["x-one"].as_str(), asked[1].body),
        ("1", 3)
    );
    assert_eq!(faulty.entries(), BTreeMap::from([(path, b"abc".to_vec())]));
}

#[test]
fn requests_follow_one_another_on_a_connection() {
    let faulty = Faulty::start(Fault::None);
    let path = format!("/cas/{}", key('d'));
    let mut stream = TcpStream::connect(faulty.address()).unwrap();
    let put = format!(
        "PUT {path} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    );
    stream.write_all(put.as_bytes()).unwrap();
    let get = format!("GET {path} HTTP/1.1\r\n\r\n");
    stream.write_all(get.as_bytes()).unwrap();
    let expected = "HTTP/1.1 201 Status\r\ncontent-length: 0\r\n\r\n\
                    HTTP/1.1 200 Status\r\ncontent-length: 4\r\n\r\nabcd";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
}

#[test]
fn a_faulty_server_misbehaves_as_it_is_told() {
    let faulty = Faulty::start(Fault::None);
    let (to, path, other) = (
        faulty.address(),
        format!("/cas/{}", key('e')),
        format!("/cas/{}", key('f')),
    );
    let entries = [(path.clone(), b"0123".to_vec()), (other, b"other".to_vec())];
    faulty.set_entries(BTreeMap::from(entries));
    let get = |fault: Fault| {
        faulty.set(fault);
        ask(to, "GET", &path, &[], b"")
    };
    assert!(get(Fault::Refuse).is_err());
    assert!(get(Fault::Garbage).is_err());
    assert_eq!(get(Fault::Truncate).unwrap(), (200, b"0123".to_vec()));
    assert_eq!(get(Fault::WrongBytes).unwrap(), (200, b"0133".to_vec()));
    assert_eq!(get(Fault::OtherEntry).unwrap(), (200, b"other".to_vec()));
    assert_eq!(get(Fault::EmptyBody).unwrap(), (200, Vec::new()));
    assert_eq!(get(Fault::Status(503)).unwrap().0, 503);
    assert_eq!(get(Fault::RedirectLoop).unwrap().0, 307);
    assert_eq!(get(Fault::RedirectToOtherHost).unwrap().0, 307);
    assert_eq!(get(Fault::SlowBody(1000)).unwrap(), (200, b"0123".to_vec()));
    assert_eq!(get(Fault::None).unwrap(), (200, b"0123".to_vec()));

    faulty.set_for(Fault::Status(403), Of::Puts);
    assert_eq!(ask(to, "GET", &path, &[], b"").unwrap().0, 200);
    assert_eq!(ask(to, "PUT", &path, &[], b"x").unwrap().0, 403);
    faulty.set_for(Fault::Status(500), Of::Gets);
    assert_eq!(ask(to, "GET", &path, &[], b"").unwrap().0, 500);
    assert_eq!(ask(to, "PUT", &path, &[], b"x").unwrap().0, 201);
    faulty.set_for(Fault::Status(429), Of::EveryNth(3));
    let statuses: Vec<u16> = (0..6)
        .map(|_| ask(to, "GET", &path, &[], b"").unwrap().0)
        .collect();
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429]);
}

/// What a server does that never ends must end when the server does: else stories leave threads and connections behind.
#[test]
fn a_faulty_server_ends_with_all_its_connections() {
    let path = format!("/cas/{}", key('e'));
    for fault in [
        Fault::HalfOpen,
        Fault::HangBeforeAnswer,
        Fault::HangInBody,
        Fault::HugeBody,
        Fault::HugeHeaders,
    ] {
        let faulty = Faulty::start(Fault::None);
        faulty.set_entries(BTreeMap::from([(path.clone(), b"0123".to_vec())]));
        let mut stream = TcpStream::connect(faulty.address()).unwrap();
        faulty.set(fault);
        let get = format!("GET {path} HTTP/1.1\r\n\r\n");
        stream.write_all(get.as_bytes()).unwrap();
        // It has begun to misbehave.
        let first = match fault {
            Fault::HalfOpen | Fault::HangBeforeAnswer => "",
            Fault::HangInBody => "HTTP/1.1 200 Status\r\ncontent-length: 4\r\n\r\n01",
            _ => "HTTP/1.1 200 OK\r\n",
        };
        let mut begun = vec![0; first.len()];
        stream.read_exact(&mut begun).unwrap();
        assert_eq!(String::from_utf8(begun).unwrap(), first);
        drop(faulty);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
}

#[test]
fn the_other_host_records_what_it_is_told() {
    let faulty = Faulty::start(Fault::RedirectToOtherHost);
    let path = format!("/cas/{}", key('a'));
    faulty.set_entries(BTreeMap::from([(path.clone(), b"abc".to_vec())]));
    let mut stream = TcpStream::connect(faulty.address()).unwrap();
    let get = format!("GET {path} HTTP/1.1\r\n\r\n");
    stream.write_all(get.as_bytes()).unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0].into());
    }
    let (_, other) = answer.split_once("localhost:").unwrap();
    let (port, _) = other.split_once('/').unwrap();
    let other = format!("127.0.0.1:{port}").parse().unwrap();
    let known = [("Authorization", "Bearer 1")];
    assert_eq!(
        ask(other, "GET", &path, &known, b"").unwrap(),
        (200, b"abc".to_vec())
    );
    assert_eq!(
        faulty.asked_of_other()[0].headers["authorization"],
        "Bearer 1"
    );
    assert!(!faulty.asked()[0].headers.contains_key("authorization"));
}
