//! `clm runner`: the work of an action in the directory where a farm's worker put it.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Course;
use crate::support::casd::Casd;

use super::execution::{all_there, lazy_client};

const DIAGRAM: &str = "slides/m/topic_010_a/pu/d.pu";
const INCLUDED: &str = "slides/m/topic_010_a/pu/c.iuml";

/// The directory of an action that a farm was given, and the image that it made.
fn action() -> Option<(tempfile::TempDir, Vec<u8>)> {
    let farm = Casd::farm()?;
    let course = Course::with_topics(&["a"]);
    course.write(DIAGRAM, "@startuml\n!include c.iuml\nA -> B\n@enduml\n");
    course.write(INCLUDED, "skinparam monochrome true\n");
    let client = lazy_client(&course, &farm);
    all_there(&client.built());
    let outputs = client.course.outputs();
    let image = outputs.keys().find(|path| path.ends_with(".png")).unwrap();
    let image = std::fs::read(client.course.path("output").join(image)).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let orders = farm.objects().into_iter();
    let mut texts = orders.filter_map(|object| std::fs::read_to_string(object).ok());
    let order = texts.find(|text| text.contains("\"renderer\":\"plantuml\""));
    std::fs::write(dir.path().join("request.json"), order.unwrap()).unwrap();
    std::fs::write(dir.path().join("params"), "--request=request.json\n").unwrap();
    let included = dir.path().join("course").join(INCLUDED);
    std::fs::create_dir_all(included.parent().unwrap()).unwrap();
    std::fs::write(included, course.read(INCLUDED)).unwrap();
    Some((dir, image))
}

fn runner(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clm"));
    command.arg("runner").args(args).current_dir(dir);
    command
}

#[test]
fn one_action_in_the_working_directory() {
    let Some((dir, image)) = action() else { return };
    let ran = runner(dir.path(), &["plantuml", "@params"])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert_eq!(
        std::fs::read(dir.path().join("out/image.png")).unwrap(),
        image
    );

    // Without the included file, what it says is what it looked for.
    std::fs::remove_dir_all(dir.path().join("course")).unwrap();
    std::fs::remove_dir_all(dir.path().join("out")).unwrap();
    let ran = runner(dir.path(), &["plantuml", "@params"])
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let answer = std::fs::read_to_string(dir.path().join("out/result.json")).unwrap();
    let found = format!("[\"{INCLUDED}\",null]");
    assert!(answer.contains(&found), "{answer}");
}

#[test]
fn what_is_no_work_of_a_farm_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["latex", "@params"][..],
        &["plantuml"],
        &["plantuml", "params"],
    ] {
        let ran = runner(dir.path(), args).output().unwrap();
        assert_eq!(ran.status.code(), Some(2), "{args:?}");
    }
    // No order, another version, or damage: refused, with the reason in the result.
    for (order, said) in [
        (None, "cannot prepare the work"),
        (Some("{"), "does not understand the work"),
        (
            Some(
                r#"{"format":1,"clm":"0.0.0","renderer":"html","fingerprint":"","source":"a","work":{"Html":{"pages":[]}}}"#,
            ),
            "the course is built by clm 0.0.0",
        ),
    ] {
        if let Some(order) = order {
            std::fs::write(dir.path().join("request.json"), order).unwrap();
        }
        let ran = runner(dir.path(), &["html", "@params"]).output().unwrap();
        assert_eq!(ran.status.code(), Some(2));
        let answer = std::fs::read_to_string(dir.path().join("out/result.json")).unwrap();
        assert!(answer.contains(said), "{answer}");
    }
    let ran = runner(dir.path(), &["--buildbox-run", "--action=/nowhere"])
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("`--remote=` is missing"), "{said}");
}

#[test]
fn many_actions_in_one_process() {
    let Some((dir, image)) = action() else { return };
    let mut process = runner(dir.path(), &["plantuml", "--persistent_worker"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut output = process.stdout.take().unwrap();
    for number in 1..=3 {
        let _ = std::fs::remove_dir_all(dir.path().join("out"));
        input.write_all(&request(number)).unwrap();
        // exit_code 0 is not sent: the response is its number.
        let mut response = [0; 3];
        output.read_exact(&mut response).unwrap();
        assert_eq!(response, [2, 0x18, number]);
        assert_eq!(
            std::fs::read(dir.path().join("out/image.png")).unwrap(),
            image
        );
    }
    drop(input);
    assert!(process.wait().unwrap().success());
}

/// A request of the protocol: the arguments `@params` and its number, preceded by its length.
fn request(number: u8) -> Vec<u8> {
    let mut message = vec![0x0a, 7];
    message.extend(b"@params");
    message.extend([0x18, number]);
    let mut bytes = vec![u8::try_from(message.len()).unwrap()];
    bytes.extend(message);
    bytes
}
