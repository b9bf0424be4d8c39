//! Small courses that several stories begin with.

use std::time::{Duration, Instant};

use super::Course;

/// The first deck of [`two_decks`], and the other one.
pub const DECK: &str = "slides/m/topic_010_a/slides_a.py";
pub const OTHER: &str = "slides/m/topic_020_b/slides_b.py";

/// A deck with a title and one cell of code.
pub fn deck(code: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"Titel\", \"Title\") }}}}\n\n\
         # %% tags=[\"keep\"]\n{code}\n"
    )
}

/// A course with a deck that runs this code, another deck and a data file.
pub fn two_decks(code: &str) -> Course {
    let course = Course::with_topics(&["a", "b"]);
    course.write(DECK, deck(code));
    course.write(OTHER, deck("print('other')"));
    course.write("slides/m/topic_020_b/data.csv", "1,2\n");
    course
}

/// The deck of [`one_deck`], its data file, and the copy of that among the outputs.
pub const ONLY_DECK: &str = "slides/m/topic_010_one/slides_one.py";
pub const DATA: &str = "slides/m/topic_010_one/data/numbers.csv";
pub const COPIES: &str = "output/shared/course-en/Slides/Notebooks/Completed/Part/data";

/// A course with one deck, which has these cells after its title, and a data file.
pub fn one_deck(cells: &str) -> Course {
    let course = Course::with_topics(&["one"]);
    let header = "# j2 from 'macros.j2' import header\n# {{ header(\"Eins\", \"One\") }}\n\n";
    course.write(ONLY_DECK, format!("{header}{cells}"));
    course.write(DATA, "10\n20\n30\n");
    course
}

/// Makes notebooks and scripts alone, which need no worker.
pub fn without_pages(course: &Course) {
    course.edit(
        "course.xml",
        "</course>",
        "<output-targets><output-target name=\"shared\"><path>output/shared</path>\
         <formats><format>notebook</format><format>code</format></formats></output-target></output-targets></course>",
    );
}

/// Waits for something that will happen.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
