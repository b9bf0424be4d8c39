//! draw.io in the real browser: what is drawn, what is refused, what happens when the browser dies.

mod looks;
mod studio;

use std::time::{Duration, Instant};

use clm::testing::worker::request::{ImageFormat, Outcome, OutcomeStatus};
use tokio_util::sync::CancellationToken;

use studio::{Studio, cell, document, endless, packed, size_of};

#[tokio::test]
async fn labels_shapes_and_sizes() {
    let studio = Studio::new();
    let text = document(&format!(
        "{}{}",
        cell(
            2,
            "<b>Größe</b> ≥ 10 µm",
            "rounded=1;html=1;whiteSpace=wrap;"
        ),
        cell(3, "Router", "shape=mxgraph.cisco.routers.router;html=1;")
    ));
    let (outcome, svg) = studio.svg(1, &text).await;
    assert_eq!(
        (outcome.status, outcome.diagnostics.len()),
        (OutcomeStatus::Ok, 0),
        "{outcome:?}"
    );
    assert!(svg.contains("Größe") && svg.contains("≥ 10 µm"));
    let (_, png) = studio.draw(2, &text, ImageFormat::Png).await;
    // 260 by 60 units of drawing at scale 3, a border of 60 at the left and top and of 20 at the right, and the label
    // below the router.
    let (width, height) = size_of(&png);
    assert!((850..=870).contains(&width), "{width}");
    assert!((260..=330).contains(&height), "{height}");
    let (outcome, _) = studio
        .svg(3, &document(&cell(2, "x", "shape=mxgraph.nowhere.thing;")))
        .await;
    assert!(
        outcome.diagnostics[0]
            .message
            .contains("mxgraph.nowhere.thing"),
        "{outcome:?}"
    );
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn nothing_is_loaded_and_no_script_runs() {
    let studio = Studio::new();
    let text = document(&format!(
        "{}{}",
        cell(
            2,
            "<img src=\"x\" onerror=\"document.title='run'; this.parentNode.textContent='EXECUTED'\"><script>document.body.textContent='EXECUTED'</script>text",
            "html=1;"
        ),
        cell(
            3,
            "remote",
            "shape=image;image=https://example.invalid/x.png;"
        )
    ));
    let (outcome, svg) = studio.svg(1, &text).await;
    assert_eq!(outcome.status, OutcomeStatus::Ok, "{outcome:?}");
    assert!(!svg.contains("EXECUTED"));
    assert!(svg.contains("text"));
    assert!(
        outcome
            .diagnostics
            .iter()
            .any(|d| d.message.contains("https://example.invalid/x.png")),
        "{outcome:?}"
    );
    let local = document(&cell(2, "", "shape=image;image=file:///etc/passwd;"));
    let (outcome, svg) = studio.svg(2, &local).await;
    assert!(!svg.contains("root:"), "{outcome:?}");
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn broken_documents_are_told() {
    let studio = Studio::new();
    for (id, text, message) in [
        (1, String::new(), "empty"),
        (2, "<mxfile>\n<diagram".to_owned(), "not well-formed"),
        (3, "<html/>".to_owned(), "not a draw.io diagram"),
        (4, document(""), "nothing on the first page"),
        (
            5,
            "<mxfile><diagram name=\"x\">!!!not compressed!!!</diagram></mxfile>".to_owned(),
            "compressed page",
        ),
    ] {
        let (outcome, _) = studio.draw(id, &text, ImageFormat::Png).await;
        assert_eq!(outcome.status, OutcomeStatus::Failed, "{text}");
        let diagnostic = &outcome.diagnostics[0];
        assert!(diagnostic.message.contains(message), "{diagnostic}");
        assert!(diagnostic.hint.is_some() && diagnostic.file.is_some());
    }
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn a_picture_shows_the_first_page_whole() {
    let studio = Studio::new();
    let box_ = |label: &str| cell(2, label, "html=1;whiteSpace=wrap;strokeWidth=1;");
    let model = |label: &str| {
        format!(
            "<mxGraphModel><root><mxCell id=\"0\"/><mxCell id=\"1\" parent=\"0\"/>{}</root></mxGraphModel>",
            box_(label)
        )
    };
    let pages = format!(
        "\u{feff}<mxfile><diagram name=\"one\">{}</diagram><diagram name=\"two\">{}</diagram></mxfile>",
        packed(&model("erste Seite: äöü → Σ")),
        packed(&model("second page"))
    );
    let (outcome, svg) = studio.svg(1, &pages).await;
    assert_eq!(outcome, Outcome::ok(["image.svg"]));
    assert!(svg.contains("erste Seite: äöü → Σ"), "{svg}");
    assert!(!svg.contains("second page"));
    // The scale is one of pixels, which a vector image has none of: 120 by 60, a border of 20 on each side, a line.
    assert!(
        svg.contains("width=\"161px\" height=\"101px\""),
        "{}",
        &svg[..400]
    );
    let (_, png) = studio.draw(2, &pages, ImageFormat::Png).await;
    assert_eq!(size_of(&png), (446, 266));
    let (_, bare) = studio.svg(3, &model("bare model")).await;
    assert!(bare.contains("bare model"));

    let far = document(&format!(
        "{}{}",
        box_("near"),
        cell(300, "far", "html=1;whiteSpace=wrap;")
    ));
    let (outcome, png) = studio.draw(4, &far, ImageFormat::Png).await;
    assert!(
        outcome.diagnostics[0].message.contains("made smaller"),
        "{outcome:?}"
    );
    assert!(size_of(&png).0 <= 32_000);
    let (outcome, _) = studio
        .svg(5, &document(&cell(9_000_000, "gone", "html=1;")))
        .await;
    assert_eq!(outcome.status, OutcomeStatus::Failed);
    assert!(outcome.diagnostics[0].message.contains("too large"));
    let processes = studio.processes();
    assert!(processes.len() > 1, "{processes:?}");
    studio.pool.shutdown().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (pid, line) in processes {
        let is_left = std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|now| String::from_utf8_lossy(&now).replace('\0', " ") == line);
        assert!(!is_left, "{line}");
    }
    let run = studio.dir.path().join("run");
    let left: Vec<_> = std::fs::read_dir(run).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn formulas_are_typeset_and_their_errors_told() {
    let studio = Studio::new();
    let math = |formula: &str| {
        document(&cell(2, formula, "html=1;"))
            .replace("<mxGraphModel>", "<mxGraphModel math=\"1\">")
    };
    let (outcome, svg) = studio.svg(1, &math("$$\\sqrt{a^2+b^2}$$")).await;
    assert_eq!(outcome.diagnostics, []);
    assert!(svg.contains("data-mml-node=\"msqrt\""), "{svg}");
    for (id, formula, told) in [
        (2, "$$\\nosuchthing x$$", "unknown command \\nosuchthing"),
        (3, "$$\\frac{a}$$", "Missing argument for \\frac"),
    ] {
        let (outcome, _) = studio.svg(id, &math(formula)).await;
        assert_eq!(outcome.status, OutcomeStatus::Ok);
        assert!(outcome.diagnostics[0].message.contains(told), "{outcome:?}");
    }
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn what_one_document_does_does_not_show_in_another() {
    let math = |formula: &str| {
        document(&cell(2, formula, "html=1;"))
            .replace("<mxGraphModel>", "<mxGraphModel math=\"1\">")
    };
    let documents = [
        math("$$\\def\\foo{FOO}\\require{physics}\\foo\\label{a}$$"),
        math("$$\\foo+\\dv{x}{y}\\label{a}$$"),
        // It makes the viewer stumble, even while the next document is prepared.
        document(&cell(2, "x", "shape=constructor;html=1;")),
        document(&cell(2, "hand-drawn", "comic=1;html=1;fillColor=#dae8fc;")),
        document(&cell(2, "hand-drawn", "sketch=1;sketchStyle=comic;html=1;")),
        document(&cell(
            2,
            "font",
            "html=1;fontFamily=Mine;fontSource=data%3Afont/woff2%3Bbase64%2CAAAA;",
        )),
        document(&cell(
            2,
            "gradient",
            "fillColor=#dae8fc;gradientColor=#7ea6e0;",
        )),
    ];
    let mut seen = Vec::new();
    for turn in [0, 3, 5] {
        let studio = Studio::with(|config| config.slots.drawio = 1);
        let mut results = vec![None; documents.len()];
        for step in 0..documents.len() {
            let index = (step * if turn == 3 { 6 } else { 1 } + turn) % documents.len();
            let (outcome, svg) = studio.svg(index as u64, &documents[index]).await;
            let (_, png) = studio
                .draw(index as u64, &documents[index], ImageFormat::Png)
                .await;
            results[index] = Some((outcome.status, outcome.diagnostics, svg, png));
        }
        studio.pool.shutdown().await;
        seen.push(results);
    }
    for (index, first) in seen[0].iter().enumerate() {
        let (status, ..) = first.as_ref().unwrap();
        let expected = match index {
            2 => OutcomeStatus::Failed,
            _ => OutcomeStatus::Ok,
        };
        assert_eq!(*status, expected, "document {index}");
        assert!(*first == seen[1][index], "document {index}, backwards");
        assert!(*first == seen[2][index], "document {index}, rotated");
    }
}

#[tokio::test]
async fn windows_work_side_by_side_and_give_the_same_bytes() {
    let studio = Studio::with(|config| config.slots.drawio = 2);
    let text = document(&cell(
        2,
        "twice",
        "shape=cube;html=1;gradientColor=#7ea6e0;",
    ));
    for round in 0..3 {
        let (one, two) = tokio::join!(
            studio.draw(round * 2, &text, ImageFormat::Png),
            studio.draw(round * 2 + 1, &text, ImageFormat::Png)
        );
        assert_eq!(one.0.status, OutcomeStatus::Ok);
        assert!(one.1.len() > 500 && one.1 == two.1, "round {round}");
    }
    let browsers = studio.processes();
    let browsers = browsers
        .iter()
        .filter(|(_, line)| !line.contains("--type=") && line.contains("--user-data-dir"));
    assert_eq!(browsers.count(), 1, "one browser for both");
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn slow_documents_are_cancelled_or_given_up() {
    let studio = Studio::with(|config| {
        config.slots.drawio = 1;
        config.timeouts.drawio = Some(Duration::from_secs(10));
    });
    let quick = document(&cell(2, "quick", "html=1;"));
    studio.svg(1, &quick).await;
    let slow = studio.request(2, &endless(), ImageFormat::Svg);
    let cancel = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        cancel.cancel();
        Instant::now()
    };
    let (outcome, since) = tokio::join!(studio.attempt(&slow, cancel.clone()), stop);
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(outcome.unwrap().status, OutcomeStatus::Cancelled);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = studio.busy_ticks();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let busy = studio.busy_ticks().saturating_sub(before);
    assert!(busy < 25, "the page works on: {busy} of 50 ticks");
    let (outcome, _) = studio.svg(3, &quick).await;
    assert_eq!(outcome.status, OutcomeStatus::Ok);

    let slow = studio.request(4, &endless(), ImageFormat::Svg);
    let outcome = studio
        .attempt(&slow, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(outcome.status, OutcomeStatus::Failed);
    let said = outcome.diagnostics[0].to_string();
    assert!(said.contains("was not drawn within 10 s"), "{said}");
    let (outcome, _) = studio.svg(5, &quick).await;
    assert_eq!(outcome.status, OutcomeStatus::Ok);
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn the_same_document_gives_the_same_bytes_in_every_browser() {
    let one = document(&cell(
        2,
        "gradient",
        "fillColor=#dae8fc;gradientColor=#7ea6e0;shadow=1;html=1;",
    ));
    let two = document(&cell(2, "sketch", "sketch=1;html=1;fillColor=#ffe6cc;"));
    let mut seen: Vec<Vec<Vec<u8>>> = Vec::new();
    for order in [[&one, &two], [&two, &one]] {
        let studio = Studio::new();
        let mut bytes = Vec::new();
        for (id, text) in order.iter().enumerate() {
            bytes.push(studio.draw(id as u64 + 1, text, ImageFormat::Svg).await.1);
            bytes.push(studio.draw(id as u64 + 1, text, ImageFormat::Png).await.1);
        }
        studio.pool.shutdown().await;
        seen.push(bytes);
    }
    assert!(seen[0].iter().all(|bytes| bytes.len() > 500));
    assert_eq!(seen[0][0], seen[1][2], "SVG of the first");
    assert_eq!(seen[0][1], seen[1][3], "PNG of the first");
    assert_eq!(seen[0][2], seen[1][0], "SVG of the second");
    assert_eq!(seen[0][3], seen[1][1], "PNG of the second");
}

#[tokio::test]
async fn after_the_browser_was_killed_the_next_diagram_gets_a_new_one() {
    let studio = Studio::new();
    let text = document(&cell(2, "still here", "html=1;"));
    studio.svg(1, &text).await;
    assert!(studio.kill(|_| true) > 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (outcome, svg) = studio.svg(2, &text).await;
    assert_eq!(outcome.status, OutcomeStatus::Ok);
    assert!(svg.contains("still here"));
    studio.pool.shutdown().await;
}

/// Kills each kind of the browser's processes, at work and at rest: the diagram is drawn all the same, and as usual.
#[tokio::test]
async fn a_process_of_the_browser_that_dies_costs_one_more_attempt() {
    let text = document(
        &(2..700)
            .map(|id| {
                cell(
                    id,
                    "<b>still here</b>",
                    "html=1;sketch=1;shape=mxgraph.basic.star;",
                )
            })
            .collect::<String>(),
    );
    let mut expected = String::new();
    for kind in [
        "",
        "--type=renderer",
        "--type=zygote",
        "NetworkService",
        "--type=gpu-process",
    ] {
        let studio = Studio::with(|config| config.slots.drawio = 1);
        let simple = document(&cell(2, "simple", "html=1;"));
        studio.svg(1, &simple).await;
        let request = studio.request(2, &text, ImageFormat::Svg);
        let strike = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            kind.is_empty() || studio.kill(|line| line.contains(kind)) > 0
        };
        let (outcome, is_struck) =
            tokio::join!(studio.attempt(&request, CancellationToken::new()), strike);
        assert!(is_struck, "{kind}");
        assert_eq!(outcome.unwrap(), Outcome::ok(["image.svg"]), "{kind}");
        let svg = std::fs::read_to_string(request.out.join("image.svg")).unwrap();
        if kind.is_empty() {
            expected.clone_from(&svg);
        }
        assert!(svg == expected, "{kind}: another picture");

        studio.svg(3, &simple).await;
        studio.kill(|line| line.contains(kind));
        let (outcome, svg) = studio.svg(4, &text).await;
        assert_eq!(outcome, Outcome::ok(["image.svg"]), "{kind}");
        assert!(svg == expected, "{kind}: another picture");
        studio.pool.shutdown().await;
    }
}
