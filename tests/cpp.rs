//! C++ decks as programs: what is written, that it compiles, and the CMake projects around it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Course;

fn course(decks: &[(&str, &str)]) -> Course {
    let names: Vec<&str> = decks.iter().map(|(name, _)| *name).collect();
    let course = Course::with_topics(&names);
    course.edit("course.xml", "<prog-lang>python", "<prog-lang>cpp");
    for (index, (name, text)) in decks.iter().enumerate() {
        let number = (index + 1) * 10;
        course.write(
            &format!("slides/m/topic_{number:03}_{name}/slides_{name}.cpp"),
            text,
        );
    }
    course
}

fn built(course: &Course, args: &[&str]) {
    let mut all = vec!["--formats", "code"];
    all.extend(args);
    let run = course.build(&all);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
}

fn output(course: &Course, kind: &str, file: &str) -> String {
    let target = match kind {
        "Recording" => "speaker",
        _ => "trainer",
    };
    course.read(&format!(
        "output/{target}/course-en/Slides/Cpp/{kind}/{file}"
    ))
}

const VALUES: &str = r#"// j2 from 'macros.j2' import header
// {{ header("Werte", "Values: first") }}

// %% [markdown] lang="en" tags=["slide"] slide_id="brace-init"
//
// ## Variables
//
// <ul><li>one</li></ul>

// %% tags=["keep"]
#include <vector>

// %%
int x = 1;
std::vector<int> v{1, 2};

// %%
std::cout << x << "\n";

// %%
int square(int a) {
    return a * a;
}

// %%
square(x) + 1

// %% [markdown]
// In between

// %% tags=["slide", "keep"]
v.size() // how many

// %% tags=["keep"]
struct Point { int px; int py; };
Point p{1, 2};
p.px;
"#;

#[test]
fn a_deck_is_a_program_with_a_function_for_each_slide() {
    let course = course(&[("one", VALUES)]);
    built(&course, &[]);
    // As CLM 1.35.0 writes it.
    assert_eq!(
        output(&course, "Completed", "Part/01 Values first.cpp"),
        r#"#include <vector>
#include <iostream>
#include <clm/display.hpp>

// # Values: first
//
// Dr. Matthias Hölzl — Coding-Academy Munich

// ## Variables
//
// - one
std::vector<int> v{1, 2};

int square(int a) {
    return a * a;
}

void slide_brace_init() {
    std::cout << "== Variables ==\n";
    int x = 1;

    std::cout << x << "\n";

    CLM_DISPLAY(square(x) + 1);

    // In between
}

struct Point { int px; int py; };

void slide_03() {
    std::cout << "== slide_03 ==\n";
    CLM_DISPLAY(
        v.size() // how many
    );

    Point p{1, 2};
    p.px;
}

int main() {
    slide_brace_init();
    slide_03();
}
"#
    );
}

const WORKSHOP: &str = r#"// %% [markdown] tags=["slide"] slide_id="lecture"
// # Lecture

// %% tags=["keep", "global"]
#include <string>
using namespace std::string_literals;
int shared() { return 4; }

// %%
int local = shared();
local

// %% tags=["completed"]
int solution() { return 1; }

// %% tags=["keep"]
solution()

// %% [markdown] tags=["slide", "workshop"] slide_id="workshop-sums"
// # Workshop: sums

// %%
int sum(int a, int b) { return a + b; }

// %% tags=["keep"]
sum(shared(), 2)

// %% [markdown] tags=["end-workshop"]
// Done
"#;

#[test]
fn workshops_are_files_of_their_own_that_participants_complete() {
    let course = course(&[("one", WORKSHOP)]);
    built(&course, &[]);
    let file =
        |kind: &str, ending: &str| output(&course, kind, &format!("Part/01 slides_one{ending}"));
    // As CLM 1.35.0 writes them, but for the note above commented code.
    assert_eq!(
        file("Code-Along", ".hpp"),
        "#pragma once\n\n#include <string>\n#include <iostream>\n#include <clm/display.hpp>\n\n\
         using namespace std::string_literals;\nint shared() { return 4; }\n"
    );
    assert_eq!(
        file("Code-Along", ".cpp"),
        r#"#include "01 slides_one.hpp"

// # Lecture
void slide_lecture() {
    std::cout << "== Lecture ==\n";
    // TODO: define local

    // needs code that is still to be written: remove the comment signs then
    // CLM_DISPLAY(solution());
}

// Done

int main() {
    slide_lecture();
}
"#
    );
    assert_eq!(
        file("Code-Along", "_workshop_1.cpp"),
        r#"#include "01 slides_one.hpp"

// # Workshop: sums
// TODO: define sum

void slide_workshop_sums() {
    std::cout << "== Workshop: sums ==\n";
    // needs code that is still to be written: remove the comment signs then
    // CLM_DISPLAY(sum(shared(), 2));
}

int main() {
    slide_workshop_sums();
}
"#
    );
    let solved = file("Completed", "_workshop_1.cpp");
    assert!(
        solved.contains("\nint sum(int a, int b) { return a + b; }\n"),
        "{solved}"
    );
    assert!(
        solved.contains("\n    CLM_DISPLAY(sum(shared(), 2));\n"),
        "{solved}"
    );

    // Without its workshop the deck is one file again.
    course.edit(
        "slides/m/topic_010_one/slides_one.cpp",
        ", \"workshop\"] slide_id=\"workshop-sums\"",
        "]",
    );
    course.edit("slides/m/topic_010_one/slides_one.cpp", ", \"global\"", "");
    built(&course, &[]);
    let left: Vec<String> = course
        .outputs()
        .into_keys()
        .filter(|path| path.contains("slides_one"))
        .collect();
    assert_eq!(left.len(), 12, "{left:?}");
    assert!(
        left.iter().all(|path| path.ends_with("slides_one.cpp")),
        "{left:?}"
    );
}

/// Decks with what makes C++ hard to sort: each is a program that compiles in every kind.
const SAMPLES: &[(&str, &str)] = &[
    ("values", VALUES),
    ("workshop", WORKSHOP),
    (
        "types",
        r#"// %% tags=["slide"]
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>
#define LIMIT 3

// %%
template <typename T>
    requires std::is_arithmetic_v<T>
T twice(T value) {
    return 2 * value;
}
template <> int twice<int>(int value) { return value + value; }
struct Point {
    int x{}, y{};
    void move(int by);
    friend std::ostream& operator<<(std::ostream& out, const Point& p) { return out << '<' << p.x << '>'; }
};
void Point::move(int by) { x += by; }
Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
enum class Color { red, green };
using Points = std::vector<Point>;
namespace geo { int area(int a) { return a * a; } }

// %% tags=["slide"]
Points points{Point{1, 2}, Point{3, 4}};
std::map<std::string, Points> named;
named["a"] = points;
auto [first, second] = std::pair{1, 2.5};

// %%
named

// %%
points[0] + points[1]

// %% tags=["subslide"]
first + second

// %%
std::tuple{1, 'c', std::string{"d"}, std::optional<int>{}}

// %%
Color::green

// %%
if (first > LIMIT) { points.clear(); } else if (first == 1) points[0].move(2);
else { points.pop_back(); }
for (const auto& [name, all] : named) std::cout << name << all.size() << '\n';
do { first--; } while (first > 0);
try { throw std::string{"x"}; } catch (const std::string& text) { std::cout << text; } catch (...) {}

// %%
int n = 3;
std::vector<int> zeros(n);
std::vector<int> more(3, 4);
auto lambda = [&](int a) { return a + n; };
lambda(2)

// %%
auto owner = std::make_unique<Point>();
owner->move(3);
*owner

// %%
int numbers[] = {1, 2, 3};
numbers

// %%
#ifdef UNKNOWN
this is not C++
#endif
geo::area(n);
twice(1.5)

// %%
std::string raw = R"(a; b { "c")";
char quote = '"';  // not the start of a text: "
raw

// %%
void nothing() {}
nothing()
"#,
    ),
    (
        "own_main",
        "// %%\n#include <iostream>\nint main() {\n    std::cout << \"own\";\n    return 0;\n}\n",
    ),
    (
        "empty",
        "// %% [markdown]\n// Only words, and a backslash \\\n",
    ),
    (
        "classes",
        r#"// %% tags=["slide"]
#include <cstddef>
class Stack {
public:
    Stack(int first, int second) : first_{first}, size_(second) { ++size_; }
    ~Stack();
    bool operator==(const Stack& other) const { return size_ == other.size_; }
    static int count;
private:
    int first_;
    std::size_t size_;
};
Stack::~Stack() {}
int Stack::count = 0;
constinit int counter = 1;
struct Pair { int a; int b; } pair{1, 2};

// %% tags=["keep"]
Stack one{1, 2}, two(1, 3);
one == two

// %%
pair.a + Stack::count

// %% tags=["slide"]
static int calls = 0;
++calls;
int (*function)(int) = [](int x) { return x; };
function(calls)
"#,
    ),
];

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "cpp") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn programs_compile_for_every_audience_and_show_their_values() {
    if !has("g++") {
        eprintln!("skipped: there is no g++");
        return;
    }
    let course = course(SAMPLES);
    course.edit(
        "course.xml",
        "<sections>",
        "<output-targets><output-target><path>output</path><languages><language>en</language></languages>\
         <kinds><kind>code-along</kind><kind>completed</kind><kind>partial</kind></kinds></output-target></output-targets><sections>",
    );
    built(&course, &[]);
    let root = course.path("output/course-en/Slides/Cpp");
    let programs = sources(&root);
    assert_eq!(programs.len(), 3 * (SAMPLES.len() + 1), "{programs:#?}");
    for program in &programs {
        let kind_dir = program.ancestors().nth(2).unwrap();
        let output = Command::new("g++")
            .args([
                "-std=c++20",
                "-fsyntax-only",
                "-Wall",
                "-Wno-unused-value",
                "-Wno-unused",
                "-I",
            ])
            .arg(kind_dir.join("include"))
            .arg(program)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let text = std::fs::read_to_string(program).unwrap();
        assert!(
            output.status.success(),
            "{}\n{said}\n{text}",
            program.display()
        );
    }
    let binary = course.path("program");
    let completed = root.join("Completed");
    let compiled = Command::new("g++")
        .args(["-std=c++20", "-I"])
        .arg(completed.join("include"))
        .arg("-o")
        .arg(&binary)
        .arg(completed.join("Part/03 slides_types.cpp"))
        .status()
        .unwrap();
    assert!(compiled.success());
    let output = Command::new(&binary).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for line in [
        "named = {\"a\": {<1>, <3>}}",
        "points[0] + points[1] = <4>",
        "first + second = 3.5",
        "std::tuple{1, 'c', std::string{\"d\"}, std::optional<int>{}} = (1, 'c', \"d\", nullopt)",
        "Color::green = 1",
        "lambda(2) = 5",
        "*owner = <3>",
        "numbers = {1, 2, 3}",
        "twice(1.5) = 3",
        "raw = a; b { \"c\"",
    ] {
        assert!(shown.contains(&format!("{line}\n")), "{line}\n{shown}");
    }
}

#[test]
fn projects_list_the_programs_of_their_directories() {
    let course = course(&[
        ("one", WORKSHOP),
        (
            "two",
            "// clm: no-compile\n// %%\n#include <xcpp/xdisplay.hpp>\nxcpp::display(1);\n",
        ),
    ]);
    built(&course, &[]);
    let commands = |file: &str| -> Vec<String> {
        let text = output(&course, "Completed", file);
        let is_command = |line: &&str| line.starts_with("add_") || line.starts_with("project(");
        text.lines().filter(is_command).map(str::to_owned).collect()
    };
    assert_eq!(
        commands("CMakeLists.txt"),
        [
            "project(course_en_completed LANGUAGES CXX)",
            "add_subdirectory(\"Part\")"
        ]
    );
    assert_eq!(
        commands("Part/CMakeLists.txt"),
        [
            "project(course_en_completed_part LANGUAGES CXX)",
            "add_executable(part_01_slides_one \"01 slides_one.cpp\")",
            "add_executable(part_01_slides_one_workshop_1 \"01 slides_one_workshop_1.cpp\")",
            "add_executable(part_02_slides_two EXCLUDE_FROM_ALL \"02 slides_two.cpp\")",
        ]
    );
    let include = |header: &str| {
        course.path(&format!(
            "output/trainer/course-en/Slides/Cpp/Completed/include/{header}"
        ))
    };
    assert!(include("clm/display.hpp").exists() && include("xcpp/xdisplay.hpp").exists());

    // Any order of builds gives the same, and nothing is done twice.
    let whole = course.outputs();
    let run = course.build(&["--formats", "code"]);
    assert_eq!(run.started(), Vec::<&str>::new());
    built(&course, &["--kinds", "completed"]);
    built(&course, &["--only-sections", "1"]);
    assert_eq!(course.outputs(), whole);
    let other = self::course(&[
        ("one", WORKSHOP),
        (
            "two",
            "// clm: no-compile\n// %%\n#include <xcpp/xdisplay.hpp>\nxcpp::display(1);\n",
        ),
    ]);
    for args in [
        &["--kinds", "trainer,recording"][..],
        &["--only-sections", "1", "--languages", "de"],
        &["--languages", "en"],
        &[],
    ] {
        built(&other, args);
    }
    assert_eq!(other.outputs(), whole);

    // What is no longer needed goes.
    course.remove("slides/m/topic_020_two/slides_two.cpp");
    course.edit("course.xml", "<topic>two</topic>", "");
    built(&course, &[]);
    assert!(!include("xcpp/xdisplay.hpp").exists());
    assert_eq!(commands("Part/CMakeLists.txt").len(), 3);
    course.edit("course.xml", "<prog-lang>cpp", "<prog-lang>java");
    built(&course, &[]);
    let left: Vec<String> = course
        .outputs()
        .into_keys()
        .filter(|path| path.contains("/Cpp/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn projects_are_configured_by_cmake() {
    if !has("cmake") || !has("g++") {
        eprintln!("skipped: there is no cmake");
        return;
    }
    let course = course(&[("one", WORKSHOP)]);
    built(&course, &[]);
    let project = course.path("output/trainer/course-en/Slides/Cpp/Completed");
    for (dir, builds) in [(project.clone(), true), (project.join("Part"), false)] {
        let build = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let output = Command::new("cmake").args(args).output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        let (dir, build) = (dir.to_str().unwrap(), build.path().to_str().unwrap());
        run(&["-S", dir, "-B", build]);
        if builds {
            run(&["--build", build]);
        }
    }
}
