//! What draw.io diagrams look like: their fonts and backgrounds, and what cannot be drawn as it was meant.

use clm::testing::worker::request::{ImageFormat, Outcome, OutcomeStatus};

use super::studio::{Studio, cell, document, size_of};

#[tokio::test]
async fn usual_fonts_have_their_widths_and_scripts_their_characters() {
    let studio = Studio::new();
    let width = async |id: u64, font: &str, letter: &str| {
        let style = format!("text;html=1;fontFamily={font};");
        let (outcome, png) = studio
            .draw(
                id,
                &document(&cell(2, &letter.repeat(60), &style)),
                ImageFormat::Png,
            )
            .await;
        assert_eq!(outcome, Outcome::ok(["image.png"]), "{font}");
        size_of(&png).0
    };
    for (id, font, is_monospaced) in [
        (10, "Courier New", true),
        (20, "Courier", true),
        (30, "Times New Roman", false),
        (40, "Helvetica", false),
        (50, "Arial", false),
    ] {
        let (thin, wide) = (width(id, font, "i").await, width(id + 1, font, "m").await);
        assert_eq!(thin == wide, is_monospaced, "{font}: {thin}, {wide}");
    }
    // Sixty letters of 12 units that are 2/3 (Helvetica) and 7/9 (Times) of an em wide, scaled by 3.
    for (id, font, expected) in [(60, "Helvetica", 1441), (61, "Times New Roman", 1560)] {
        let found = width(id, font, "A").await;
        assert!(found.abs_diff(expected) < 150, "{font}: {found}");
    }
    let scripts = document(&cell(2, "日本語 中文 한국어 ✓ 😀 Ελλάδα Россия", "html=1;"));
    assert_eq!(studio.svg(2, &scripts).await.0, Outcome::ok(["image.svg"]));
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_drawn_is_named() {
    let studio = Studio::new();
    for (id, value, style, told) in [
        (
            1,
            "x",
            "html=1;fontFamily=No Such Font;",
            "another width: `No Such Font`",
        ),
        (2, "a 𐎀 b", "html=1;", "drawn as boxes: `𐎀`"),
        (
            3,
            "x",
            "shape=image;image=img/lib/nowhere/x.svg;",
            "not part of this version of draw.io: `img/lib/nowhere/x.svg`",
        ),
        (
            4,
            "x",
            "shape=mxgraph.nowhere.thing;",
            "`mxgraph.nowhere.thing`",
        ),
    ] {
        let (outcome, _) = studio.svg(id, &document(&cell(2, value, style))).await;
        assert_eq!(outcome.status, OutcomeStatus::Ok);
        assert_eq!(outcome.diagnostics.len(), 1, "{style}: {outcome:?}");
        let warning = &outcome.diagnostics[0];
        assert!(warning.message.contains(told), "{warning}");
        assert!(!warning.message.contains("drawio.invalid"), "{warning}");
        assert!(warning.hint.is_some(), "{warning}");
    }
    let (outcome, _) = studio.svg(5, &document(&cell(2, "x", "shape=rect;"))).await;
    assert_eq!(outcome, Outcome::ok(["image.svg"]), "a rectangle is meant");
    let (outcome, _) = studio
        .svg(6, &document(&cell(2, "x", "shape=constructor;")))
        .await;
    assert_eq!(outcome.status, OutcomeStatus::Failed);
    let error = &outcome.diagnostics[0];
    assert_eq!(error.message, "draw.io's viewer fails on this diagram");
    assert!(error.detail.is_some() && error.hint.is_some());
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn a_page_behind_the_first_one_is_drawn() {
    let studio = Studio::new();
    let page = |id: &str, attributes: &str, value: &str, side: u32| {
        format!(
            "<diagram id=\"{id}\" name=\"{id}\"><mxGraphModel {attributes}><root><mxCell id=\"0\"/><mxCell id=\"1\" parent=\"0\"/>\
             <mxCell id=\"a\" value=\"{value}\" style=\"html=1;\" vertex=\"1\" parent=\"1\">\
             <mxGeometry x=\"20\" y=\"20\" width=\"{side}\" height=\"{side}\" as=\"geometry\"/></mxCell></root></mxGraphModel></diagram>"
        )
    };
    let behind =
        |id: &str| format!("backgroundImage=\"{{&quot;src&quot;:&quot;data:page/id,{id}&quot;}}\"");
    let file = |first: &str| format!("<mxfile>{first}{}</mxfile>", page("two", "", "Frame", 300));

    let (_, alone) = studio
        .draw(1, &file(&page("one", "", "Front", 60)), ImageFormat::Png)
        .await;
    let framed = file(&page("one", &behind("two"), "Front", 60));
    let (outcome, png) = studio.draw(2, &framed, ImageFormat::Png).await;
    assert_eq!(outcome, Outcome::ok(["image.png"]));
    assert!(
        size_of(&alone).0 < 300 && size_of(&png).0 > 900,
        "{:?}",
        size_of(&png)
    );
    let (outcome, svg) = studio.svg(3, &framed).await;
    assert_eq!(outcome, Outcome::ok(["image.svg"]));
    assert!(
        svg.contains("Front") && svg.contains("data:image/svg+xml"),
        "{svg}"
    );

    let (outcome, svg) = studio
        .svg(4, &file(&page("one", &behind("gone"), "Front", 60)))
        .await;
    assert!(svg.contains("Front"));
    let warning = &outcome.diagnostics[0];
    assert!(
        warning.message.ends_with("not in the file: `gone`"),
        "{warning}"
    );
    studio.pool.shutdown().await;
}
