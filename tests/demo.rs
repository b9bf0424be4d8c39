//! The course of the README: what a newcomer sees is really there.

use std::path::Path;

use crate::support::{Course, tree};

const EN: &str = "output/trainer/measurement-to-model-en/Slides";
const DE: &str = "output/trainer/measurement-to-model-de/Folien";

/// Width and height of a PNG.
fn size(file: &Path) -> (u32, u32) {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "{} is not a PNG",
        file.display()
    );
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn the_demo_has_everything_that_the_readme_promises() {
    let course = Course::fixture("demo");
    let ran = course.built();
    assert_eq!(ran.counts().failed, 0);
    assert!(ran.errors().is_empty());

    let page = course.read(&format!(
        "{EN}/Html/Completed/Seeing Data/01 Measurements.html"
    ));
    // The plot, the value of the data file, the table.
    assert!(
        page.contains("data:image/png;base64,") || page.contains("src=\"data:image/png"),
        "no plot"
    );
    assert!(page.contains("measurements: 8"));
    assert!(page.contains("19.8") && page.contains("<table"));
    assert!(!page.contains("Messungen:") && !page.contains("Ask for measurements"));
    let trainer = course.read(&format!(
        "{EN}/Html/Trainer/Seeing Data/01 Measurements.html"
    ));
    assert!(trainer.contains("Ask for measurements"));
    assert!(!trainer.contains("The picture shows the way"));
    let recording = course.read(
        "output/speaker/measurement-to-model-en/Slides/Html/Recording/Seeing Data/01 Measurements.html",
    );
    assert!(recording.contains("The picture shows the way"));

    let formula = course.read(&format!(
        "{DE}/Html/Completed/Daten sehen/02 Verteilungen.html"
    ));
    assert!(formula.contains(r"\bar{x}"), "no formula");
    let code_along = course.read(&format!(
        "{EN}/Notebooks/Code-Along/Seeing Data/02 Distributions.ipynb"
    ));
    assert!(code_along.contains("# values = ...") && !code_along.contains("19.8, 20.1"));
    let script = course.read(&format!(
        "{EN}/Python/Completed/Building Models/02 What Is Left Over.py"
    ));
    assert!(script.contains("total = float((residuals**2).sum())"));
    assert!(!script.contains("a draft that nobody needs"));

    // Both halves of the split deck have the same number.
    assert!(
        course
            .path(&format!(
                "{DE}/Html/Completed/Modelle bauen/01 Eine Gerade anpassen.html"
            ))
            .exists()
    );
    assert!(
        course
            .path(&format!(
                "{EN}/Html/Completed/Building Models/01 Fitting a Line.html"
            ))
            .exists()
    );

    let images = course.path(&format!("{EN}/Html/Completed"));
    for (image, least) in [
        ("Seeing Data/img/chain.png", 300),
        ("Seeing Data/img/sampling.png", 300),
        ("Seeing Data/img/sensor.png", 1000),
        ("Seeing Data/img/ruler.png", 300),
        ("Building Models/img/model.png", 300),
        ("Building Models/img/spring.png", 500),
        ("Building Models/img/residual.png", 900),
        ("Building Models/img/judgement.png", 300),
        ("Building Models/img/map.png", 600),
        ("Building Models/img/plan.png", 300),
    ] {
        let (width, height) = size(&images.join(image));
        assert!(width >= least && height > 50, "{image} is {width}x{height}");
    }
    for solution in [
        "Code/solutions/fit.py",
        "Code/starter/fit.py",
        "Code/README.txt",
    ] {
        let file = format!("output/shared/measurement-to-model-en/{solution}");
        assert!(course.path(&file).exists(), "{file}");
    }

    let second = course.built();
    assert_eq!(second.started(), [""; 0]);
}

/// As vector images the diagrams show their texts.
#[test]
fn diagrams_of_the_demo_show_their_texts() {
    let course = Course::fixture("demo");
    course.edit(
        "course.xml",
        "<prog-lang>",
        "<image-options><format>svg</format></image-options>\n    <prog-lang>",
    );
    let ran = course.build(&["--fast"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let images = course.path(&format!("{EN}/Notebooks/Completed"));
    for (image, texts) in [
        (
            "Seeing Data/img/chain.svg",
            &["plausible?", "Converter"][..],
        ),
        (
            "Seeing Data/img/sampling.svg",
            &["six values", "2000 times"],
        ),
        (
            "Seeing Data/img/sensor.svg",
            &["thermistor", "voltage", "19.8"],
        ),
        ("Building Models/img/spring.svg", &["Stand", "50 g"]),
        ("Building Models/img/residual.svg", &["Größe y ≥ 0", "ŷ"]),
        ("Building Models/img/model.svg", &["Parabola"]),
        ("Building Models/img/map.svg", &["Exponential"]),
    ] {
        let text = std::fs::read_to_string(images.join(image))
            .unwrap_or_else(|error| panic!("{image}: {error}"));
        roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{image}: {error}"));
        for wanted in texts {
            assert!(text.contains(wanted), "{image} does not show {wanted:?}");
        }
    }
    let second_page =
        std::fs::read_to_string(images.join("Building Models/img/residual.svg")).unwrap();
    assert!(!second_page.contains("a second page"));
}

/// The same course gives the same bytes, in another place and without any of what makes clm quick: one worker, every
/// kernel a process of its own, every page rendered by nbconvert as a whole.
#[test]
fn the_demo_is_reproducible() {
    let one = Course::fixture("demo");
    let two = Course::fixture("demo");
    one.built();
    let mut slow = two.command(&["build", "-j", "1"]);
    slow.env("CLM_ZYGOTE", "0").env("CLM_HTML_MEMO", "0");
    let slow = slow.output().unwrap();
    assert!(
        slow.status.success(),
        "{}",
        String::from_utf8_lossy(&slow.stderr)
    );
    let (first, second) = (tree(&one.path("output")), tree(&two.path("output")));
    let different: Vec<&String> = first
        .iter()
        .filter(|(path, digest)| second.get(*path) != Some(digest))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(different, Vec::<&String>::new());
    assert_eq!(first.len(), second.len());
}
