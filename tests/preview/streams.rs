//! What readers of streams are told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use clm::testing::digest::Digest;
use clm::testing::events::{ActionKind, Diagnostic, Event, Status};
use clm::testing::web::Access;
use serde_json::{Value, json};

use super::lab::{ALPHA, FILE, Lab, PAGE, index};

#[test]
fn the_state_is_told_and_its_changes_follow() {
    let lab = Lab::new();
    let state: Value = serde_json::from_str(&lab.get("/api/state").body).unwrap();
    let outputs = state["course"]["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), index().outputs.len());
    assert!(outputs.iter().all(|output| output["made_ms"].is_u64()));
    assert_eq!(state["course"]["title"]["en"], "A Course");

    let mut stream = lab.stream("/events", &[]);
    let (first_id, first) = stream.next();
    assert_eq!(first["course"], state["course"]);
    let execute = format!("execute {ALPHA} en");
    lab.start(&execute, ALPHA);
    let running = |data: &Value| data["actions"][0]["running"].is_object();
    let told = stream.until(running);
    assert!(
        told.get("course").is_none(),
        "only what changed is told: {told}"
    );
    assert_eq!(told["actions"][0]["id"], execute.as_str());
    lab.report(&execute, Diagnostic::error("broken").at(ALPHA, Some(2)));
    lab.finish(&execute, ALPHA, Status::Failed);
    lab.end_run();
    let told = stream.until(|data| data["run"]["duration_ms"].is_u64());
    assert_eq!(told["run"]["counts"]["built"], 1);

    // Who comes again is told what was missed, and of another server everything.
    let mut again = lab.stream("/events", &[("Last-Event-ID", &first_id)]);
    let (_, missed) = again.next();
    assert!(missed.get("course").is_none());
    assert_eq!(missed["diagnostics"][0]["message"], "broken");
    assert_eq!(missed["actions"][0]["status"], "failed");
    for unknown in ["1-5", "rubbish", "99999999999999999999-1"] {
        let mut stream = lab.stream("/events", &[("Last-Event-ID", unknown)]);
        assert!(stream.next().1["course"].is_object(), "{unknown}");
    }
    lab.cancel();
    assert!(stream.ends() && again.ends());
}

#[test]
fn a_page_is_told_about_itself_only() {
    let lab = Lab::new();
    let address = PAGE.replace('%', "%25");
    let mut stream = lab.stream(&format!("/events?page={address}&since=0"), &[]);
    let (_, first) = stream.next();
    assert_eq!(
        (&first["is_known"], &first["source"]),
        (&json!(true), &json!(ALPHA))
    );
    let version = first["version"].clone();
    assert!(
        lab.get(PAGE)
            .body
            .contains(&format!("data-version=\"{}\"", version.as_str().unwrap()))
    );
    // Another deck is built: not a word about it, so the next message is about ours.
    lab.build(
        "output/shared/c-en/Html/Completed/Part One/02 Beta.html",
        "x",
    );
    lab.build(FILE, "new");
    let (_, told) = stream.next();
    let told = if told["version"] == version {
        stream.next().1
    } else {
        told
    };
    assert_ne!(told["version"], version, "{told}");

    let mut nowhere = lab.stream("/events?page=/out/shared/x.html", &[]);
    assert_eq!(nowhere.next().1["is_known"], false);
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() {
    let lab = Lab::new();
    let mut stuck: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(lab.address).unwrap();
            let request = format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", lab.address);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    let execute = format!("execute {ALPHA} en");
    lab.start(&execute, ALPHA);
    for done in 0..50_000 {
        lab.event(Event::Progress {
            action: execute.clone(),
            kind: ActionKind::Execute,
            done,
            total: 50_000,
            label: "a long label that fills the buffers of sockets ".repeat(5),
        });
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Somebody who reads is told the last state at once, and the others when they wake up.
    let mut reader = lab.stream("/events", &[]);
    let (_, state) = reader.next();
    let actions = state["actions"].as_array().unwrap();
    assert!(
        actions
            .iter()
            .any(|action| action["running"]["done"] == 49_999)
    );
    let mut bytes = vec![0; 1 << 20];
    stuck[0]
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut text = String::new();
    while !text.contains("\"done\":49999,") {
        let count = stuck[0].read(&mut bytes).unwrap();
        assert!(count > 0);
        text += &String::from_utf8_lossy(&bytes[..count]);
    }
    assert!(
        text.len() < 1 << 20,
        "{} bytes were kept for it",
        text.len()
    );
}

#[test]
fn before_the_course_is_known() {
    let lab = Lab::empty(Access::Loopback);
    let answer = lab.get(PAGE);
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("appears here by itself") && answer.body.contains("overlay.js"));
    assert!(
        answer.body.contains("<h1>01 Alpha &amp; More</h1>"),
        "{}",
        answer.body
    );
    let hostile = lab.get("/out/t/%3Cscript%3Ealert(1)%3C%2Fx%3E.html");
    assert!(!hostile.body.contains("<script>alert"), "{}", hostile.body);
    let mut stream = lab.stream("/events", &[]);
    assert!(stream.next().1.get("course").is_none());
    lab.plan(index());
    let told = stream.until(|data| data["course"].is_object());
    assert!(
        told["course"]["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|o| o["made_ms"].is_null())
    );
    // A file that appears is heard of by its event.
    lab.write(FILE, "x");
    lab.event(Event::Output {
        path: FILE.to_owned(),
        digest: Some(Digest::of("x")),
    });
    let told = stream.until(|data| data["made"].is_array());
    assert!(told["made"][0]["made_ms"].is_u64());
}
