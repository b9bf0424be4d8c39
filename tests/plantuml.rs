//! PlantUML with the real JVM: pictures, errors with their lines, includes, and what diagrams may not do.

mod lab;
mod references;

use std::path::Path;
use std::sync::Arc;

use clm::testing::course::RelPath;
use clm::testing::events::{ActionKind, Severity};
use clm::testing::worker::request::{ImageFormat, OutcomeStatus, PlantumlWork};
use clm::testing::worker::{Outcome, Request, Work};
use tokio_util::sync::CancellationToken;

use crate::support::renderers::{PLANTUML, renderers};
use lab::{Lab, picture, uml};

#[tokio::test]
async fn diagrams_of_many_types_are_drawn() {
    let lab = Lab::new();
    for (text, word) in [
        (uml("class Grüße\nclass 日本\nGrüße --> 日本"), "日本"),
        (uml("Alice -> Bob: hello"), "hello"),
        (uml("[*] --> Waiting"), "Waiting"),
        (uml("start\n:work;\nstop"), "work"),
        (uml("[Component] --> (Use)"), "Component"),
        (
            uml("!include <C4/C4_Context>\nPerson(p, \"Somebody\")"),
            "Somebody",
        ),
        (
            "@startmindmap\n* Root\n** Leaf\n@endmindmap\n".to_owned(),
            "Leaf",
        ),
        (
            "@startjson\n{\"key\": [1, 2]}\n@endjson\n".to_owned(),
            "key",
        ),
        ("@startyaml\nkey: value\n@endyaml\n".to_owned(), "value"),
        (
            "@startgantt\n[Design] lasts 3 days\n@endgantt\n".to_owned(),
            "Design",
        ),
        ("@startsalt\n{ [Push] }\n@endsalt\n".to_owned(), "Push"),
        ("@startwbs\n* Top\n** Part\n@endwbs\n".to_owned(), "Part"),
    ] {
        assert!(lab.svg(&text).await.contains(word), "{text}");
        let png = lab.render(&text, ImageFormat::Png).await;
        assert_eq!(png.outcome, Outcome::ok(["image.png"]), "{text}");
        assert!(png.size().0 > 20, "{text}");
    }
}

#[tokio::test]
async fn pictures_are_the_same_each_time_and_say_nothing_of_their_source() {
    let lab = Lab::new();
    let text = uml("' a remark for the author only\nclass A\nA --> B");
    for format in [ImageFormat::Png, ImageFormat::Svg] {
        let first = lab.render(&text, format).await.image.unwrap();
        assert_eq!(lab.render(&text, format).await.image.unwrap(), first);
        let other = Lab::new().render(&text, format).await.image.unwrap();
        assert_eq!(other, first, "another process draws the same");
        let haystack = String::from_utf8_lossy(&first);
        for secret in ["remark", "plantuml-src", "iTXt"] {
            assert!(!haystack.contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn resolution_scales_all_types() {
    let lab = Lab::new();
    for text in [
        uml("class A"),
        "@startjson\n{\"key\": 1}\n@endjson\n".to_owned(),
        "@startyaml\nkey: 1\n@endyaml\n".to_owned(),
    ] {
        let mut widths = Vec::new();
        for dpi in [96, 192] {
            let work = PlantumlWork {
                text: text.clone(),
                format: ImageFormat::Png,
                dpi,
                limit: 4000,
            };
            widths.push(f64::from(lab.run(work).await.size().0));
        }
        let factor = widths[1] / widths[0];
        assert!((1.7..2.2).contains(&factor), "{text}: {factor}");
    }
}

#[tokio::test]
async fn errors_have_a_line() {
    let lab = Lab::new();
    for (text, line, message) in [
        (
            "\n\n@startuml\nA -> B\nfoo bar baz\n@enduml\n",
            5,
            "Syntax Error?",
        ),
        (
            "@startuml\nA -> B\n!include none.iuml\n@enduml\n",
            3,
            "cannot include none.iuml",
        ),
        (
            "@startjson\n{\n  \"a\": 1,\n  \"b\": ]\n}\n@endjson\n",
            4,
            "not valid JSON",
        ),
        (
            "@startuml\n!while 1\n!endwhile\n@enduml\n",
            3,
            "Infinite loop",
        ),
        ("", 1, "`@startuml` is missing"),
        ("just words", 1, "`@startuml` is missing"),
        ("\n@startuml\nA -> B\n", 2, "`@enduml` is missing"),
    ] {
        let error = lab.error(text).await;
        assert_eq!(error.file.as_deref(), Some("slides/pu/a.pu"), "{text}");
        assert_eq!(error.line, Some(line), "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
    let endless = lab
        .error(&uml("!procedure $r()\n$r()\n!endprocedure\n$r()"))
        .await;
    assert!(
        endless.message.contains("recurses without end"),
        "{endless}"
    );
    assert_eq!(endless.line, Some(1), "{endless}");
    // The worker has survived all that.
    lab.svg(&uml("class A")).await;
}

#[tokio::test]
async fn an_error_in_an_included_file_is_told_there() {
    let lab = Lab::new();
    lab.write(
        "slides/pu/parts/bad.iuml",
        "class Fine\n\nclass {{{ nonsense\n",
    );
    let rendered = lab
        .render(&uml("!include parts/bad.iuml"), ImageFormat::Png)
        .await;
    let error = &rendered.outcome.diagnostics[0];
    assert_eq!(error.file.as_deref(), Some("slides/pu/parts/bad.iuml"));
    assert_eq!(error.line, Some(3));
    assert_eq!(rendered.discovered(), ["slides/pu/parts/bad.iuml"]);
}

#[tokio::test]
async fn all_that_is_read_or_missed_is_discovered() {
    let lab = Lab::new();
    lab.write("slides/common/one.iuml", "!include two.iuml\nclass One\n");
    lab.write("slides/common/two.iuml", "class Two\n");
    lab.write(
        "slides/common/parts.iuml",
        "class No\n!startsub P\nclass Yes\n!endsub\n",
    );
    lab.write(
        "slides/common/puml-theme-ours.puml",
        "skinparam classBackgroundColor red\n",
    );
    lab.write("slides/pu/data.json", "{\"name\": \"Datum\"}");
    lab.write("slides/pu/dot.png", picture());
    let common = "slides/common";
    for (body, word, discovered) in [
        (
            "!include ../common/one.iuml",
            "Two",
            vec![format!("{common}/one.iuml"), format!("{common}/two.iuml")],
        ),
        (
            "!includesub ../common/parts.iuml!P",
            "Yes",
            vec![format!("{common}/parts.iuml")],
        ),
        (
            "!theme ours from ../common\nclass Themed",
            "Themed",
            vec![format!("{common}/puml-theme-ours.puml")],
        ),
        (
            "!$d = %load_json(\"data.json\")\nclass $d.name",
            "Datum",
            vec!["slides/pu/data.json".to_owned()],
        ),
        (
            "note \"<img:dot.png>\" as N",
            "<image",
            vec!["slides/pu/dot.png".to_owned()],
        ),
        (
            "!if %file_exists(\"extra.iuml\")\nclass Extra\n!else\nclass Plain\n!endif",
            "Plain",
            vec!["slides/pu/extra.iuml".to_owned()],
        ),
    ] {
        let rendered = lab.render(&uml(body), ImageFormat::Svg).await;
        assert_eq!(
            rendered.outcome.status,
            OutcomeStatus::Ok,
            "{body}: {:?}",
            rendered.outcome
        );
        assert_eq!(rendered.discovered(), discovered, "{body}");
        let svg = String::from_utf8(rendered.image.unwrap()).unwrap();
        assert!(svg.contains(word), "{body}");
    }
    let missing = lab
        .render(&uml("!include later.iuml"), ImageFormat::Svg)
        .await;
    assert_eq!(missing.discovered(), ["slides/pu/later.iuml"]);
    let picture = lab
        .render(&uml("note \"<img:gone.png>\" as N"), ImageFormat::Svg)
        .await;
    assert_eq!(picture.outcome.status, OutcomeStatus::Ok);
    assert_eq!(
        picture.outcome.diagnostics[0].message,
        "`gone.png` is not there"
    );
    assert_eq!(picture.discovered(), ["slides/pu/gone.png"]);
}

#[tokio::test]
async fn diagrams_read_nothing_outside_the_course_and_no_network() {
    let lab = Lab::new();
    let outside = lab.dir.path().join("secret.iuml");
    std::fs::write(lab.dir.path().join("secret.json"), "{\"secret\": 1}").unwrap();
    std::fs::write(lab.dir.path().join("secret.png"), picture()).unwrap();
    // A directory whose name begins like the root's.
    let twin = lab.dir.path().join("kürs ä twin");
    std::fs::create_dir(&twin).unwrap();
    std::fs::write(twin.join("x.iuml"), "class Twin").unwrap();
    lab.write("slides/pu/a.txt", "");
    std::os::unix::fs::symlink(&outside, lab.root().join("slides/pu/link.iuml")).unwrap();
    for (body, line) in [
        ("!include /etc/passwd".to_owned(), 2),
        ("class A\n!include ../../../secret.iuml".to_owned(), 3),
        (format!("!include {}", outside.display()), 2),
        ("!include ../../../kürs ä twin/x.iuml".to_owned(), 2),
        ("!include link.iuml".to_owned(), 2),
        (
            "!$up = \"../../..\"\n!include $up/secret.iuml".to_owned(),
            3,
        ),
        ("!includesub ../../../secret.iuml!X".to_owned(), 2),
        ("!includeurl http://127.0.0.1:1/x".to_owned(), 2),
        ("!include https://127.0.0.1:1/x".to_owned(), 2),
        ("!theme secret from ../../..".to_owned(), 2),
        ("!$x = %load_json(\"/etc/passwd\")".to_owned(), 2),
        (
            "!$x = %load_json(\"../../../secret.json\")\nclass A".to_owned(),
            2,
        ),
        ("note \"<img:/etc/hostname>\" as N".to_owned(), 2),
        ("note \"<img:../../../secret.png>\" as N".to_owned(), 2),
        ("note \"<img:http://127.0.0.1:1/x.png>\" as N".to_owned(), 2),
        ("sprite $s ../../../secret.png\nclass A".to_owned(), 2),
    ] {
        let error = lab.error(&uml(&body)).await;
        assert_eq!(error.line, Some(line), "{body}: {error}");
        let explains = error.message.contains("outside the root directory")
            || error.message.contains("network");
        assert!(explains, "{body}: {error}");
    }
    let import = lab
        .error(&uml("!import ../../../secret.zip\nclass A"))
        .await;
    assert_eq!(import.line, Some(2));
    let home = std::env::var("HOME").unwrap();
    let variable = lab.svg(&uml("A -> B: home %getenv(\"HOME\")")).await;
    assert!(variable.contains("home") && !variable.contains(&home));
    let graphviz = "@startdot\ndigraph x {\n a [image=\"/etc/x.png\"]\n}\n@enddot\n";
    assert!(lab.error(graphviz).await.message.contains("read files"));
    let formula = "@startlatex\n\\includegraphics{/etc/x.png}\n@endlatex\n";
    assert!(lab.error(formula).await.message.contains("not supported"));
}

#[tokio::test]
async fn what_is_left_out_or_cut_is_told() {
    let lab = Lab::new();
    let two = format!("{}{}", uml("class First"), uml("class Second"));
    let rendered = lab.render(&two, ImageFormat::Svg).await;
    let warning = &rendered.outcome.diagnostics[0];
    assert_eq!(warning.severity, Severity::Warning);
    assert!(
        warning.message.contains("only the first diagram"),
        "{warning}"
    );
    let svg = String::from_utf8(rendered.image.unwrap()).unwrap();
    assert!(svg.contains("First") && !svg.contains("Second"));

    let pages = lab
        .render(&uml("A -> B\nnewpage\nB -> A"), ImageFormat::Svg)
        .await;
    assert!(
        pages.outcome.diagnostics[0]
            .message
            .contains("only the first page")
    );

    let chain: Vec<String> = (0..60).map(|n| format!("C{n} --> C{}", n + 1)).collect();
    let large = lab.render(&uml(&chain.join("\n")), ImageFormat::Png).await;
    assert!(large.outcome.diagnostics[0].message.contains("was cut"));
    assert_eq!(large.size().0, 2000);

    let ditaa = "@startditaa\n+--+\n|a |\n+--+\n@endditaa\n";
    assert!(lab.error(ditaa).await.message.contains("only as PNG"));
    assert!(lab.render(ditaa, ImageFormat::Png).await.size().0 > 10);
}

#[tokio::test]
async fn without_graphviz_classes_are_still_laid_out() {
    let lab = Lab::with(|renderers| {
        if let Some(tool) = &mut renderers.plantuml {
            (tool.dot, tool.own_dot) = (None, None);
        }
    });
    let svg = lab.svg(&uml("class A\nclass B\nA --> B")).await;
    assert!(svg.contains(">A<") && svg.contains(">B<"));
    let graphviz = "@startdot\ndigraph x {\n a -> b\n}\n@enddot\n";
    assert!(lab.error(graphviz).await.message.contains("needs Graphviz"));
}

#[tokio::test]
async fn our_graphviz_lays_out_what_asks_for_it() {
    let lab = Lab::with(|renderers| {
        if let Some(tool) = &mut renderers.plantuml {
            tool.dot = None;
            assert!(
                tool.own_dot.is_some()
                    || clm::testing::tools::Context::of_process(None)
                        .program("dot")
                        .is_some()
            );
        }
    });
    if renderers(PLANTUML)
        .plantuml
        .is_some_and(|tool| tool.own_dot.is_none())
    {
        return; // the system has one, which is used instead
    }
    for format in [ImageFormat::Svg, ImageFormat::Png] {
        let graph = "@startdot\ndigraph x {\n rankdir=LR\n a -> b [label=\"to\"]\n}\n@enddot\n";
        assert_eq!(
            lab.render(graph, format).await.outcome,
            Outcome::ok([format!("image.{}", format.extension())])
        );
    }
    let classes = "class A\nclass B\nclass C\nA --> B : reads\nA --> C\nnote right of B: a note";
    let usual = lab.svg(&uml(classes)).await;
    let asked = lab
        .svg(&uml(&format!("!pragma layout dot\n{classes}")))
        .await;
    assert!(asked.contains(">A<") && asked != usual);
    let broken = lab
        .error("@startdot\ndigraph x {\n a -> [\n}\n@enddot\n")
        .await;
    assert_eq!(broken.message, "Graphviz cannot read the diagram");
}

#[tokio::test]
async fn cancelling_and_killing_harm_no_later_diagram() {
    let lab = Lab::new();
    lab.pool.warm_up(ActionKind::Plantuml, 2);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let out = lab.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let request = Request {
        id: 1000,
        source: RelPath::new("slides/pu/a.pu").unwrap(),
        root: lab.root(),
        out,
        work: Work::Plantuml(PlantumlWork {
            text: uml("class A"),
            format: ImageFormat::Png,
            dpi: 96,
            limit: 4000,
        }),
    };
    let outcome = lab
        .pool
        .run(&request, Arc::new(|_| {}), cancel)
        .await
        .unwrap();
    assert_eq!(outcome, Outcome::cancelled());
    lab.svg(&uml("class A")).await;
    let jvm = jvm_of(lab.dir.path());
    assert_eq!(jvm.len(), 1, "both places are in one process");
    nix::sys::signal::kill(jvm[0], nix::sys::signal::SIGKILL).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    lab.svg(&uml("class A")).await;
    lab.pool.shutdown().await;
    assert_eq!(jvm_of(lab.dir.path()), []);
}

/// Worker processes that serve a course below a directory.
fn jvm_of(dir: &Path) -> Vec<nix::unistd::Pid> {
    let dir = dir.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let command = std::fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command);
            let is_worker = command.contains("clm.plantuml.Worker") && command.contains(dir);
            is_worker.then(|| nix::unistd::Pid::from_raw(pid))
        })
        .collect()
}
