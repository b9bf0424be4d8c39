//! The course format beyond the ordinary: includes, narration, images, links, templates, variables.

use crate::support::Course;

const DECK: &str = "slides/m/topic_010_one/slides_one.py";
const TOPICS: &str = "<topic>one</topic>";
const PNG: &[u8] =
    include_bytes!("../fixtures/mini/slides/module_010_mini/topic_010_first/img/dot.png");

fn course(deck: &str) -> Course {
    let course = Course::with_topics(&["one"]);
    course.write(DECK, deck);
    course
}

/// Builds notebooks and scripts only.
fn built(course: &Course, args: &[&str]) {
    let mut all = vec!["--formats", "notebook,code"];
    all.extend(args);
    let run = course.build(&all);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
}

fn script(course: &Course, target: &str, kind: &str) -> String {
    course.read(&format!(
        "output/{target}/course-en/Slides/Python/{kind}/Part/01 slides_one.py"
    ))
}

#[test]
fn included_files_are_there_for_decks_kernels_and_outputs() {
    let course = course(
        "# %% [markdown]\n# {% include 'lib/text.md' %}\n\n# %%\nimport lib.util\nprint(lib.util.value)\n",
    );
    course.write("shared/lib/util.py", "value = 'from shared'\n");
    course.write("shared/lib/text.md", "Shared words");
    course.edit(
        "course.xml",
        TOPICS,
        r#"<topic id="one"><include source="shared/lib"/></topic>"#,
    );
    course.built();
    let page =
        course.read("output/trainer/course-en/Slides/Html/Completed/Part/01 slides_one.html");
    assert!(page.contains("from shared") && page.contains("Shared words"));
    let copied = "output/shared/course-en/Slides/Python/Completed/Part/lib/util.py";
    assert_eq!(course.read(copied), "value = 'from shared'\n");

    course.write("shared/lib/util.py", "value = 'edited'\n");
    let run = course.built();
    assert!(
        run.jobs().contains(&format!("execute {DECK} de").as_str()),
        "{:?}",
        run.jobs()
    );
    assert!(course.read(copied).contains("edited"));

    // A file of the topic itself counts more.
    course.write("slides/m/topic_010_one/lib/util.py", "value = 'own'\n");
    let run = course.built();
    assert!(
        run.stdout.contains("has files of its own"),
        "{}",
        run.stdout
    );
    assert!(course.read(copied).contains("own"));
}

#[test]
fn narration_is_for_recordings_and_its_edits_are_seen() {
    let course = course("# %% [markdown] tags=[\"slide\"] slide_id=\"a\"\n# Shown\n\n# %%\n1\n");
    let companion = "slides/m/topic_010_one/voiceover/voiceover_one.py";
    course.write(
        companion,
        "# %% [markdown] tags=[\"voiceover\"] for_slide=\"a\"\n# Heard\n",
    );
    built(&course, &[]);
    assert!(script(&course, "speaker", "Recording").contains("Shown"));
    assert!(script(&course, "speaker", "Recording").contains("Heard"));
    assert!(!script(&course, "trainer", "Trainer").contains("Heard"));
    course.edit(companion, "Heard", "Listened to");
    built(&course, &[]);
    assert!(script(&course, "speaker", "Recording").contains("Listened to"));

    course.edit(companion, "for_slide=\"a\"", "for_slide=\"b\"");
    let run = course.build(&["--formats", "code"]);
    assert_eq!(run.code, 1);
    let error = run.error_in(companion);
    assert_eq!(error.line, Some(1));
    assert_eq!(run.errors().len(), 1, "told once: {:#?}", run.errors());
    assert!(script(&course, "speaker", "Recording").contains("Shown"));
}

#[test]
fn diagrams_are_svg_where_the_course_says_so() {
    let course =
        course("# %% [markdown]\n# <img src=\"img/flow.png\"> <img src=\"img/hand.png\">\n");
    course.write(
        "slides/m/topic_010_one/pu/flow.pu",
        "@startuml\nA -> B\n@enduml\n",
    );
    course.write("slides/m/topic_010_one/img/hand.png", PNG);
    course.edit(
        "course.xml",
        "<sections>",
        "<image-options><format>svg</format></image-options><sections>",
    );
    built(&course, &[]);
    let script = script(&course, "shared", "Completed");
    assert!(
        script.contains(r#"<img src="img/flow.svg"> <img src="img/hand.png">"#),
        "{script}"
    );
    let image = course.read("output/shared/course-en/Slides/Python/Completed/Part/img/flow.svg");
    assert!(image.contains("<svg"));
    // The command line counts more than the specification.
    built(&course, &["--image-format", "png"]);
    assert!(
        course
            .path("output/shared/course-en/Slides/Python/Completed/Part/img/flow.png")
            .exists()
    );
    assert!(
        !course
            .path("output/shared/course-en/Slides/Python/Completed/Part/img/flow.svg")
            .exists()
    );
}

#[test]
fn images_become_a_part_of_the_decks_and_follow_their_sources() {
    let course = course(
        "# %% [markdown]\n# <img src=\"img/flow.png\"> <img src=\"img/hand.png\"> <img src=\"https://x/y.png\">\n\n# %% [markdown] tags=[\"nodataurl\"]\n# <img src=\"img/hand.png\">\n",
    );
    course.write(
        "slides/m/topic_010_one/pu/flow.pu",
        "@startuml\nA -> B\n@enduml\n",
    );
    course.write("slides/m/topic_010_one/img/hand.png", PNG);
    built(&course, &["--inline-images"]);
    let before = script(&course, "shared", "Completed");
    assert_eq!(
        before.matches("src=\"data:image/png;base64,").count(),
        2,
        "{before}"
    );
    assert_eq!(before.matches("src=\"img/hand.png\"").count(), 1);
    assert!(before.contains("https://x/y.png"));

    course.write(
        "slides/m/topic_010_one/pu/flow.pu",
        "@startuml\nA -> C\n@enduml\n",
    );
    built(&course, &["--inline-images"]);
    assert_ne!(
        script(&course, "shared", "Completed"),
        before,
        "a diagram changed"
    );
    let run = course.build(&["--formats", "notebook,code", "--inline-images"]);
    assert_eq!(run.started(), Vec::<&str>::new());
}

#[test]
fn images_go_to_one_place_where_that_is_asked_for() {
    let course = course("# %% [markdown]\n# <img src=\"img/hand.png\">\n");
    course.write("slides/m/topic_010_one/img/hand.png", PNG);
    course.write("clm.toml", "[images]\nmode = \"shared\"\n");
    built(&course, &[]);
    let script = script(&course, "shared", "Completed");
    assert!(
        script.contains("src=\"../../../../img/hand.png\""),
        "{script}"
    );
    assert!(course.path("output/shared/course-en/img/hand.png").exists());
    let outputs = course.outputs();
    let images: Vec<&String> = outputs
        .keys()
        .filter(|path| path.ends_with("hand.png"))
        .collect();
    assert_eq!(
        images.len(),
        6,
        "one for each target and language: {images:?}"
    );
}

#[test]
fn links_between_decks_lead_to_the_page_of_the_same_kind() {
    let course = Course::with_topics(&["one", "two"]);
    course.write(
        DECK,
        "# %% [markdown]\n# See [it](clm:two), [that](clm:gone) and [me](clm:one#here)\n",
    );
    let two = "slides/m/topic_020_two/slides_two.py";
    course.write(
        two,
        "# j2 from 'macros.j2' import header_en\n# {{ header_en(\"Two & more\") }}\n",
    );
    let run = course.build(&["--formats", "notebook,code"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(
        run.stdout.contains("`clm:gone` names no deck"),
        "{}",
        run.stdout
    );
    let notebook = |kind: &str| {
        course.read(&format!(
            "output/trainer/course-en/Slides/Notebooks/{kind}/Part/01 slides_one.ipynb"
        ))
    };
    for kind in ["Completed", "Code-Along"] {
        assert!(
            notebook(kind)
                .contains("[it](02%20Two%20_%20more.ipynb), that and [me](01%20slides_one.ipynb)"),
            "{}",
            notebook(kind)
        );
    }
    assert!(script(&course, "shared", "Completed").contains("# See it, that and me"));
    // A new title of the other deck is a new link in this one.
    course.edit(two, "Two & more", "Second");
    built(&course, &[]);
    assert!(notebook("Completed").contains("[it](02%20Second.ipynb)"));
}

#[test]
fn a_course_may_have_templates_of_its_own() {
    let course = course("# j2 from 'macros.j2' import greeting\n# {{ greeting('you') }}\n");
    course.write("clm.toml", "[notebook]\ntemplates = \"templates\"\n");
    let macros = "{% macro greeting(who) %}%% [markdown]\n# Hello {{ who }}\n{% endmacro %}";
    course.write("templates/python/macros.j2", macros);
    built(&course, &[]);
    assert!(script(&course, "shared", "Completed").contains("# Hello you"));
    course.edit("templates/python/macros.j2", "Hello", "Welcome");
    built(&course, &[]);
    assert!(script(&course, "shared", "Completed").contains("# Welcome you"));
    // Without them, the bundled macros count, which know no greeting.
    course.remove("templates/python/macros.j2");
    assert_eq!(course.build(&["--formats", "code"]).code, 1);
}

#[test]
fn kernels_get_the_variables_of_the_env_file() {
    let course = course("# %%\nimport os\nprint('service at', os.environ.get('COURSE_SERVICE'))\n");
    course.write(".env", "COURSE_SERVICE=\"here and now\"\n");
    course.built();
    let page =
        || course.read("output/trainer/course-en/Slides/Html/Completed/Part/01 slides_one.html");
    assert!(page().contains("service at here and now"));
    course.write(".env", "COURSE_SERVICE=elsewhere\n");
    let run = course.built();
    let reasons = run.reasons(&format!("execute {DECK} de"));
    assert!(reasons[0].starts_with("environment changed"), "{reasons:?}");
    assert!(page().contains("service at elsewhere"));
    course.write("clm.toml", "[notebook]\nenv_file = \"\"\n");
    course.built();
    assert!(page().contains("service at None"));
}

#[test]
fn typescript_decks_are_executed_and_their_errors_told() {
    let course = Course::with_topics(&["one"]);
    course.edit("course.xml", ">python<", ">typescript<");
    let deck = "slides/m/topic_010_one/slides_one.ts";
    course.write(
        deck,
        "// %%\ninterface Point { x: number; y: number }\nconst p: Point = { x: 20, y: 22 };\n\n// %%\nconsole.log(\"sum\", p.x + p.y);\n",
    );
    course.built();
    let page =
        course.read("output/trainer/course-en/Slides/Html/Completed/Part/01 slides_one.html");
    assert!(page.contains("sum 42"));
    let script =
        course.read("output/shared/course-en/Slides/TypeScript/Completed/Part/01 slides_one.ts");
    assert!(script.contains("interface Point"));
    course.edit(deck, "p.x + p.y", "missing.x");
    let run = course.build(&[]);
    assert_eq!(run.code, 1);
    let error = run.error_in(deck);
    assert!(
        error.message.contains("missing is not defined"),
        "{error:?}"
    );
    assert_eq!(error.cell, Some(2));
}

#[test]
fn what_typescript_cells_print_is_theirs_however_late_the_kernel_says_it() {
    let course = Course::with_topics(&["one"]);
    course.edit("course.xml", ">python<", ">typescript<");
    // The last ones print without the deck's own `console`, and after it was replaced.
    let mut deck: String = (0..25)
        .map(|cell| format!("// %%\nconsole.log('cell', {cell});\n\n"))
        .collect();
    deck +=
        "// %%\nconst log = console.log;\nconsole.log = () => {};\n\n// %%\nlog('after that');\n";
    course.write("slides/m/topic_010_one/slides_one.ts", &deck);
    course.built();
    let page =
        course.read("output/trainer/course-en/Slides/Html/Completed/Part/01 slides_one.html");
    let outputs: Vec<&str> = page.split("output_stdout").skip(1).collect();
    assert_eq!(outputs.len(), 26);
    for (cell, output) in outputs[..25].iter().enumerate() {
        assert!(output.contains(&format!("cell {cell}\n")), "{output}");
    }
    assert!(outputs[25].contains("after that"));
}

#[test]
fn every_target_lists_its_outputs_after_a_build_of_the_whole_course() {
    let course = Course::with_topics(&["one", "two"]);
    course.write(DECK, "# %%\n1\n");
    course.write("slides/m/topic_010_one/data/a.csv", "1\n");
    let two = "slides/m/topic_020_two/slides_two.py";
    course.write(two, "# %%\n2\n");
    course.edit(
        "course.xml",
        TOPICS,
        r#"<topic>one<dir-group><name>Extra</name><path>extra</path></dir-group></topic>"#,
    );
    course.write("extra/x.txt", "x\n");
    built(&course, &[]);
    let file = "output/shared/.clm-manifest.json";
    assert!(
        !course.path(file).exists(),
        "a part of the formats is not the whole course"
    );

    course.built();
    let manifest = || serde_json::from_str::<serde_json::Value>(&course.read(file)).unwrap();
    let listed = |manifest: &serde_json::Value| -> Vec<String> {
        let files = manifest["files"].as_array().unwrap();
        files
            .iter()
            .map(|file| file["path"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = manifest();
    let mode = |file: &str| std::fs::metadata(course.path(file)).unwrap().permissions();
    let output = format!("output/shared/{}", listed(&first)[0]);
    assert_eq!(mode(file), mode(&output), "whoever reads one reads both");
    let there: Vec<String> = course
        .outputs()
        .into_keys()
        .filter_map(|path| path.strip_prefix("shared/").map(str::to_owned))
        .collect();
    assert_eq!(listed(&first), there);
    let entry = |path: &str| {
        let files = first["files"].as_array().unwrap();
        files
            .iter()
            .find(|file| file["path"] == path)
            .unwrap()
            .clone()
    };
    let deck = entry("course-en/Slides/Notebooks/Code-Along/Part/01 slides_one.ipynb");
    assert_eq!(
        (&deck["kind"], &deck["topic_id"]),
        (&"code-along".into(), &"one".into())
    );
    let extra = entry("course-en/Extra/x.txt");
    assert_eq!(
        (&extra["format"], &extra["topic_id"]),
        (&"dir-group".into(), &"one".into())
    );
    let sum = "sha256:73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac";
    assert_eq!(extra["content_hash"], sum);

    course.built();
    assert_eq!(manifest(), first, "nothing was built, nothing is written");
    course.write(two, "# %%\n1 / 0\n");
    assert_eq!(course.build(&[]).code, 1);
    let partial = manifest();
    assert_eq!(
        (&partial["partial"], &partial["failed_topics"][0]),
        (&true.into(), &"two".into())
    );
    assert!(
        listed(&partial)
            .iter()
            .all(|path| !path.contains("slides_two"))
    );
}
