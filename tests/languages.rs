//! Decks in every programming language become notebooks and scripts. All expected texts are those of CLM 1.35.0.

use serde_json::{Value, json};

use crate::support::Course;

/// What differs between the languages.
struct Language {
    name: &'static str,
    extension: &'static str,
    comment: &'static str,
    /// A line for the kernel as decks write it, and as notebooks and scripts have it.
    magic: [&'static str; 3],
    /// The first lines of scripts.
    head: &'static str,
    author_style: &'static str,
    dir: &'static str,
    kernelspec: [&'static str; 3],
    main_language: &'static str,
}

const LANGUAGES: [Language; 5] = [
    Language {
        name: "python",
        extension: "py",
        comment: "#",
        magic: [
            "# %matplotlib inline",
            "%matplotlib inline",
            "# %matplotlib inline",
        ],
        head: "",
        author_style: "text-align:center;",
        dir: "Python",
        kernelspec: ["Python 3 (ipykernel)", "python", "python3"],
        main_language: "python",
    },
    Language {
        name: "cpp",
        extension: "cpp",
        comment: "//",
        magic: ["// %timeit", "%timeit", "// %timeit"],
        head: "",
        author_style: "",
        dir: "Cpp",
        kernelspec: ["C++20", "cpp", "xcpp20"],
        main_language: "c++",
    },
    Language {
        name: "csharp",
        extension: "cs",
        comment: "//",
        magic: ["// #!share x", "#!share x", "// #!share x"],
        head: "// -*- coding: utf-8 -*-\n",
        author_style: "text-align:center; font-size:120%;",
        dir: "CSharp",
        kernelspec: [".NET (C#)", "C#", ".net-csharp"],
        main_language: "csharp",
    },
    Language {
        name: "java",
        extension: "java",
        comment: "//",
        magic: ["// %maven a:b:1", "%maven a:b:1", "// %maven a:b:1"],
        head: "// -*- coding: utf-8 -*-\n",
        author_style: "text-align:center; font-size:120%;",
        dir: "Java",
        kernelspec: ["Java", "java", "java"],
        main_language: "java",
    },
    Language {
        name: "typescript",
        extension: "ts",
        comment: "//",
        magic: ["// %x", "%x", "// %x"],
        head: "// -*- coding: utf-8 -*-\n",
        author_style: "text-align:center; font-size:120%;",
        dir: "TypeScript",
        kernelspec: ["Deno", "typescript", "deno"],
        main_language: "typescript",
    },
];

/// `C` stands for the comment sign, `MAGIC` for the kernel's line.
const DECK: &str = r#"C j2 from 'macros.j2' import header
C {{ header("Grüße", "Greetings") }}

C %% [markdown] lang="de" tags=["slide"]
C ## Grüße

C %% [markdown] lang="en" tags=["slide"] slide_id="greet"
C ## Greetings
C
C - one

C %%
x = 1;
show(x);

C %% tags=["keep"]
MAGIC

C %% tags=["completed"]
solution();

C %% tags=["start"]
begin();

C %% [markdown] tags=["answer"]
C 42

C %% [markdown] tags=["notes"]
C Remember

C %% [raw]
C raw
"#;

const TITLE: &str = r#"C %% [markdown]
C
C <div style="text-align:center; font-size:200%;">
C   <b>Greetings</b>
C </div>
C <br/>
C <div style="STYLE">Dr. Matthias Hölzl</div>
C <br/>
C
C <div style="text-align:center;">Coding-Academy Munich</div>
C <br/>
C
C

C %% [markdown]
C ## Greetings
C
C - one

"#;

const CODE_ALONG: &str = r#"C %%

C %%
MAGIC

C %%
begin();

C %% [markdown]
C *Answer:* 

C %% [raw]
C raw
"#;

const TRAINER: &str = r#"C %%
x = 1;
show(x);

C %%
MAGIC

C %%
solution();

C %% [markdown]
C *Answer:* 42

C %% [markdown]
C <div style='background: yellow; color: black;'>
C Remember
C </div>

C %% [raw]
C raw
"#;

fn with(text: &str, comment: &str, magic: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix('C') {
            Some(rest) => format!("{comment}{rest}"),
            None => line.replace("MAGIC", magic),
        })
        .collect();
    lines.join("\n") + "\n"
}

fn built(language: &Language) -> Course {
    let course = Course::with_topics(&["one"]);
    course.edit(
        "course.xml",
        "<prog-lang>python",
        &format!("<prog-lang>{}", language.name),
    );
    course.write(
        &format!("slides/m/topic_010_one/slides_one.{}", language.extension),
        with(DECK, language.comment, language.magic[0]),
    );
    let run = course.build(&["--formats", "notebook,code"]);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    course
}

#[test]
fn scripts_are_written_in_every_language() {
    for language in LANGUAGES.iter().filter(|language| language.name != "cpp") {
        let course = built(language);
        for (kind, body) in [("Code-Along", CODE_ALONG), ("Trainer", TRAINER)] {
            let script = course.read(&format!(
                "output/trainer/course-en/Slides/{}/{kind}/Part/01 Greetings.{}",
                language.dir, language.extension
            ));
            let title = TITLE.replace("STYLE", language.author_style);
            let wanted = format!(
                "{}{}{}",
                language.head,
                with(&title, language.comment, ""),
                with(body, language.comment, language.magic[2])
            );
            similar_asserts::assert_eq!(script, wanted, "{} {kind}", language.name);
        }
    }
}

#[test]
fn notebooks_are_written_in_every_language() {
    for language in &LANGUAGES {
        let course = built(language);
        let notebook: Value = serde_json::from_str(
            &course
                .read("output/trainer/course-en/Slides/Notebooks/Trainer/Part/01 Greetings.ipynb"),
        )
        .unwrap();
        let cells: Vec<Value> = notebook["cells"]
            .as_array()
            .unwrap()
            .iter()
            .skip(1)
            .map(|cell| json!([cell["cell_type"], cell["source"], cell["metadata"]]))
            .collect();
        let boxed = [
            "<div style='background: yellow; color: black;'>\n",
            "Remember\n",
            "</div>",
        ];
        assert_eq!(
            json!(cells),
            json!([
                [
                    "markdown",
                    ["## Greetings\n", "\n", "- one"],
                    {"lang": "en", "slideshow": {"slide_type": "slide"}, "tags": ["slide"]}
                ],
                ["code", ["x = 1;\n", "show(x);"], {}],
                ["code", [language.magic[1]], {"tags": ["keep"]}],
                ["code", ["solution();"], {"tags": ["completed"]}],
                ["markdown", ["*Answer:* 42"], {"tags": ["answer"]}],
                ["markdown", boxed, {"slideshow": {"slide_type": "notes"}, "tags": ["notes"]}],
                ["raw", ["raw"], {}],
            ]),
            "{}",
            language.name
        );
        let metadata = &notebook["metadata"];
        let [display, kernel_language, kernel] = language.kernelspec;
        assert_eq!(
            metadata["kernelspec"],
            json!({"display_name": display, "language": kernel_language, "name": kernel})
        );
        assert_eq!(
            metadata["language_info"]["file_extension"],
            format!(".{}", language.extension)
        );
        assert_eq!(
            metadata["jupytext"],
            json!({
                "cell_metadata_filter": "-all,lang,slide_id,tags",
                "main_language": language.main_language,
                "notebook_metadata_filter": "-all",
            })
        );
    }
}
