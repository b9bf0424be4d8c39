//! What is said on the wire: addresses, headers, streams, and everything that is refused.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use clm::testing::web::{Access, Preview, bind, serve};
use tokio_util::sync::CancellationToken;

use super::lab::{FILE, Lab, PAGE, index, page};

const IMAGE: &str = "/out/shared/c-en/Html/Completed/Part%20One/img/wave.svg";

#[test]
fn outputs_are_shown_with_types_and_versions() {
    let lab = Lab::new();
    let answer = lab.get(PAGE);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let on_disk = std::fs::read_to_string(lab.path(FILE)).unwrap();
    assert!(!on_disk.contains("overlay.js"));
    let (before, rest) = answer
        .body
        .split_once("<script src=\"/assets/overlay.js\"")
        .unwrap();
    let (_, after) = rest.split_once("</script>").unwrap();
    assert_eq!(format!("{before}{after}"), on_disk);
    assert!(after.starts_with("</body>"), "{after}");

    let version = answer.header("etag").unwrap();
    let again = lab.get_with(PAGE, &[("If-None-Match", version)]);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("etag"), Some(version));
    lab.write(FILE, &page("x", "changed", 1));
    let changed = lab.get_with(PAGE, &[("If-None-Match", version)]);
    assert_eq!(changed.status, 200);
    assert!(changed.body.contains("changed"));

    for (path, content_type) in [
        (IMAGE, "image/svg+xml"),
        (
            "/out/shared/c-en/Html/Completed/Part%20One/data/t.csv",
            "text/plain; charset=utf-8",
        ),
        (
            "/out/shared/c-en/Notebooks/Completed/Part%20One/02%20Beta.ipynb",
            "application/json; charset=utf-8",
        ),
    ] {
        let answer = lab.get(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(content_type))
        );
        assert!(!answer.body.contains("overlay.js"));
        let version = answer.header("etag").unwrap();
        assert_eq!(
            lab.get_with(path, &[("If-None-Match", version)]).status,
            304
        );
    }
    // Larger than what is read at once, and not text.
    let bytes: Vec<u8> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
    let table = "output/shared/c-en/Html/Completed/Part One/data/t.csv";
    std::fs::write(lab.path(table), &bytes).unwrap();
    let answer = lab.get("/out/shared/c-en/Html/Completed/Part%20One/data/t.csv");
    assert_eq!(answer.header("content-length"), Some("300000"));

    let head = lab.raw(&format!("HEAD {PAGE} HTTP/1.1\r\nHost: {}", lab.address));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let length: usize = head.header("content-length").unwrap().parse().unwrap();
    assert!(length > 1000 && head.header("etag").is_some());
}

#[test]
fn pages_tell_browsers_what_to_allow() {
    let lab = Lab::new();
    for path in ["/", "/assets/app.js", "/api/state", "/nowhere", PAGE, IMAGE] {
        let answer = lab.get(path);
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.header("cross-origin-resource-policy"),
            Some("same-origin"),
            "{path}"
        );
        assert!(answer.header("referrer-policy").is_some(), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    let own = lab.get("/");
    let policy = own.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
        "{policy}"
    );
    assert!(
        policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(
        own.header("cross-origin-opener-policy"),
        Some("same-origin")
    );
    let course = lab.get(PAGE);
    let policy = course.header("content-security-policy").unwrap();
    for part in [
        "worker-src blob:",
        "frame-ancestors 'self'",
        "form-action 'none'",
        "object-src 'none'",
    ] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(
        lab.get(IMAGE)
            .header("content-security-policy")
            .unwrap()
            .ends_with("sandbox")
    );
    // Our own pages have no script or style in them, so that none can be smuggled in.
    for page in [own.body, lab.get("/nowhere").body] {
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onclick"));
        assert!(
            page.matches("<script").count() == page.matches("src=\"/assets/").count(),
            "{page}"
        );
    }
}

#[test]
fn nothing_but_outputs_is_shown() {
    let lab = Lab::new();
    std::fs::write(lab.path("secret.html"), "SECRET").unwrap();
    std::fs::write(lab.path("output/shared/other.html"), "SECRET").unwrap();
    for path in [
        "/out/shared/other.html",
        "/out/shared/../../secret.html",
        "/out/shared/..%2f..%2fsecret.html",
        "/out/shared/%2e%2e/%2e%2e/secret.html",
        "/out/shared/..%5c..%5csecret.html",
        "/out/shared/c-en/../../../secret.html",
        "/out/shared/c-en/Html/Completed/Part%20One/01%20Alpha%20%26%20More.html%00",
        "/out/shared//c-en/Html/Completed/Part%20One/01%20Alpha%20%26%20More.html",
        "/out/shared/./c-en/Html/Completed/Part%20One/01%20Alpha%20%26%20More.html",
        "/out/%2e%2e/secret.html",
        "/out/nowhere/x.html",
        "/out/",
        "/out",
        "/assets/../secret.html",
        "/assets/server.rs",
        "/secret.html",
        "//secret.html",
        "/../../../../etc/passwd",
        "/api",
    ] {
        let answer = lab.get(path);
        assert_eq!(answer.status, 404, "{path} {answer:?}");
        assert!(
            !answer.body.contains("SECRET") && !answer.body.contains("root:"),
            "{path}"
        );
    }
    // Links out of the output directory, as a file and as a directory on the way; a pipe would wait for ever.
    let table = lab.path("output/shared/c-en/Html/Completed/Part One/data/t.csv");
    std::fs::remove_file(&table).unwrap();
    std::os::unix::fs::symlink(lab.path("secret.html"), &table).unwrap();
    let address = "/out/shared/c-en/Html/Completed/Part%20One/data/t.csv";
    let answer = lab.get(address);
    assert!(
        answer.status == 404 && !answer.body.contains("SECRET"),
        "{answer:?}"
    );
    std::fs::remove_file(&table).unwrap();
    Command::new("mkfifo").arg(&table).status().unwrap();
    assert_eq!(lab.get(address).status, 404);
    let part = lab.path("output/shared/c-en/Html/Completed/Part One");
    std::fs::rename(&part, lab.path("moved")).unwrap();
    std::os::unix::fs::symlink(lab.path("moved"), &part).unwrap();
    let answer = lab.get(PAGE);
    assert!(
        answer.status == 404 && !answer.body.contains("Cell 1"),
        "{answer:?}"
    );
}

#[test]
fn strangers_are_refused() {
    let lab = Lab::new();
    let port = lab.address.port();
    let get = |host: &str, more: &str| {
        lab.raw(&format!("GET /api/state HTTP/1.1\r\nHost: {host}{more}"))
            .status
    };
    assert_eq!(get(&format!("127.0.0.1:{port}"), ""), 200);
    assert_eq!(get(&format!("localhost:{port}"), ""), 200);
    assert_eq!(get(&format!("[::1]:{port}"), ""), 200);
    for host in [
        "evil.example",
        "localhost",
        "localhost.evil.example:80",
        "0.0.0.0",
        "",
    ] {
        assert_eq!(get(host, ""), 403, "{host}");
        assert_eq!(get(&format!("{host}:1"), ""), 403, "{host}");
    }
    assert_eq!(get(&format!("evil.example:{port}"), ""), 403);
    assert_eq!(lab.raw("GET / HTTP/1.0").status, 403);
    let ours = format!("127.0.0.1:{port}");
    assert_eq!(get(&ours, "\r\nHost: evil.example"), 403);
    assert_eq!(
        get(
            &ours,
            "\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors"
        ),
        403
    );
    assert_eq!(get(&ours, "\r\nService-Worker: script"), 403);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = lab.raw(&format!(
            "{method} / HTTP/1.1\r\nHost: {ours}\r\nContent-Length: 0"
        ));
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    // Rubbish does not end the server.
    assert_eq!(lab.raw("\u{0}\u{1} nonsense").status, 400);
    let long = format!("GET /{} HTTP/1.1\r\nHost: {ours}", "x".repeat(200_000));
    let mut stream = TcpStream::connect(lab.address).unwrap();
    let _ = stream.write_all(long.as_bytes());
    drop(stream);
    assert_eq!(lab.get("/").status, 200);
}

#[test]
fn a_network_needs_a_token() {
    let token = "0123456789abcdef0123".to_owned();
    let lab = Lab::empty(Access::Network {
        token: token.clone(),
    });
    lab.plan(index());
    for path in [
        "/",
        "/api/state",
        "/events",
        PAGE,
        "/assets/app.js",
        "/?token=",
        "/?token=0123456789abcdef012",
    ] {
        let answer = lab.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            !answer.body.contains("Alpha") && answer.header("set-cookie").is_none(),
            "{path}"
        );
    }
    let answer = lab.get(&format!("/out/%22%3E?token={token}"));
    assert_eq!(answer.status, 200);
    let name = format!("clm_preview_{}", lab.address.port());
    let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(answer.header("set-cookie"), Some(cookie.as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(
        answer.body.contains("content=\"0;url=/out/%22%3E\""),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains(&token), "{}", answer.body);
    let cookie = format!("other=1; {name}={token}");
    assert_eq!(
        lab.get_with("/api/state", &[("Cookie", &cookie)]).status,
        200
    );
    let wrong = format!("{name}={token}0");
    assert_eq!(
        lab.get_with("/api/state", &[("Cookie", &wrong)]).status,
        401
    );
    let evil = format!(
        "GET /?token={token} HTTP/1.1\r\nHost: evil.example:{}",
        lab.address.port()
    );
    assert_eq!(lab.raw(&evil).status, 403);
    for away in [
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "/\\/evil.example/",
        "/\t/evil.example/",
        "/\r//evil.example/",
        "/%5cevil.example/",
        "/%09/evil.example/",
        "/.//evil.example/",
        "http://evil.example/",
        "\\\\evil.example/",
    ] {
        let answer = lab.get(&format!("{away}?token={token}"));
        assert_eq!(answer.header("location"), None, "{away:?}");
        let address = answer.body.split("url=").nth(1).unwrap_or("/");
        let is_here = address.starts_with('/') && !address.starts_with("//");
        assert!(
            is_here && !address.contains(['\\', '\t', '\r']),
            "{away:?} {}",
            answer.body
        );
    }
}

#[test]
fn wrong_tokens_are_logged_without_the_token() {
    let token = "0123456789abcdef0123".to_owned();
    let lab = Lab::empty(Access::Network {
        token: token.clone(),
    });
    let said: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&said);
    lab.preview
        .log_to(move |line| log.lock().unwrap().push(line.to_owned()));
    // Whoever brings none was not guessing.
    assert_eq!(lab.get("/").status, 401);
    assert!(said.lock().unwrap().is_empty());
    let guess = "0123456789abcdef9999";
    assert_eq!(lab.get(&format!("/?token={guess}")).status, 401);
    let cookie = format!("clm_preview_{}={guess}", lab.address.port());
    assert_eq!(lab.get_with("/", &[("Cookie", &cookie)]).status, 401);
    let said = said.lock().unwrap().join("\n");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("127.0.0.1") && !said.contains("0123456789"),
        "{said}"
    );
    // The right one is not slowed down by what others of this machine did.
    assert_eq!(lab.get(&format!("/?token={token}")).status, 200);
}

#[test]
fn open_connections_do_not_close_the_preview() {
    let lab = Lab::new();
    let mut reader = lab.stream("/events", &[]);
    reader.next();
    let idle: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(lab.address).unwrap();
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ");
            }
            stream
        })
        .collect();
    assert_eq!(lab.get("/").status, 200);
    assert_eq!(lab.get(PAGE).status, 200);
    // Whoever had asked for something before goes on reading.
    lab.build(FILE, "new");
    reader.until(|data| data["run"]["duration_ms"].is_u64());
    // Many that ask make way for the next one, too.
    let asking: Vec<_> = (0..100).map(|_| lab.stream("/events", &[])).collect();
    assert_eq!(lab.get("/").status, 200);
    drop((idle, asking));
}

#[test]
fn pages_have_another_origin_than_the_state() {
    let lab = Lab::new();
    let visit = [
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    let answer = lab.get_with(PAGE, &visit);
    assert_eq!(answer.status, 307, "{answer:?}");
    let location = answer.header("location").unwrap();
    let rest = location.strip_prefix("http://127.0.0.1:").unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    assert_eq!(format!("/{path}"), PAGE);
    let pages: std::net::SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    assert_ne!(pages, lab.address);
    // An old browser does not say what it does.
    let old = lab.get_with(PAGE, &[("User-Agent", "Mozilla/5.0 (X11)")]);
    assert_eq!(old.header("location"), Some(location));
    // What is not a visit is answered here, and none of its scripts would run.
    let inert = lab.get(PAGE);
    assert!(
        inert
            .header("content-security-policy")
            .unwrap()
            .ends_with("; sandbox")
    );
    let at_pages = |path: &str, headers: &[(&str, &str)]| lab.get_at(pages, path, headers);
    let page = at_pages(PAGE, &visit);
    assert_eq!(page.status, 200);
    assert!(
        !page
            .header("content-security-policy")
            .unwrap()
            .contains("sandbox")
    );
    assert_eq!(at_pages("/assets/overlay.js", &[]).status, 200);
    assert_eq!(at_pages(IMAGE, &[]).status, 200);
    for path in ["/api/state", "/events", "/events?since=1", "/api/other"] {
        assert_eq!(at_pages(path, &[]).status, 404, "{path}");
    }
    assert_eq!(
        at_pages("/", &visit).header("location"),
        Some(format!("http://{}/", lab.address).as_str())
    );
    // The other way round: a page asks the course's origin.
    let from_page = [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors")];
    assert_eq!(lab.get_with("/api/state", &from_page).status, 403);
    let wrong_host = lab.get_at(pages, PAGE, &[]);
    assert_eq!(wrong_host.status, 200);
}

#[test]
fn addresses_that_cannot_be_served() {
    let lab = Lab::new();
    let error = lab
        .block_on(async { bind(lab.address) })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another program already listens on")
            && error.contains("hint: `--serve 127.0.0.1:"),
        "{error}"
    );
    let open = lab.block_on(async {
        let listener = bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let preview = Preview::new(lab.path(""));
        serve(
            preview,
            listener,
            Access::Loopback,
            CancellationToken::new(),
        )
        .await
    });
    assert!(open.unwrap_err().to_string().contains("needs a token"));
    let weak = lab.block_on(async {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let token = "a; Domain=x".to_owned();
        serve(
            Preview::new(lab.path("")),
            listener,
            Access::Network { token },
            CancellationToken::new(),
        )
        .await
    });
    assert!(weak.unwrap_err().to_string().contains("letters and digits"));
}

#[cfg(target_os = "linux")]
#[test]
fn other_users_of_the_machine_are_not_answered() {
    let lab = Lab::new();
    let ask = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET / HTTP/1.0\\r\\nHost: {}\\r\\n\\r\\n' >&3; cat <&3",
        lab.address.port(),
        lab.address
    );
    let own = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&own.stdout).starts_with("HTTP/1.0 200"),
        "{own:?}"
    );
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can be another user: the other half of this story is left out");
        return;
    }
    let mut other = Command::new("bash");
    std::os::unix::process::CommandExt::uid(&mut other, 65534);
    let other = other.args(["-c", &ask]).current_dir("/").output().unwrap();
    assert!(other.stdout.is_empty(), "{other:?}");
}
