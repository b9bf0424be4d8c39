//! The texts of new courses, by language. All of them say the same.

mod de;
mod en;
mod es;
mod fr;

use crate::course::Lang;

/// What a new course and a new topic say in one language.
#[derive(Debug)]
pub(super) struct Texts {
    /// The first course.
    pub course: CourseTexts,
    /// Its first deck.
    pub cooling: CoolingTexts,
    /// Its second deck.
    pub task: TaskTexts,
    /// The diagrams of both decks.
    pub diagrams: DiagramTexts,
    /// The deck of a new topic.
    pub topic: TopicTexts,
    /// `README.md`.
    pub readme: ReadmeTexts,
}

/// Texts in `course.xml`.
#[derive(Debug)]
pub(super) struct CourseTexts {
    /// The name of the first section.
    pub section: &'static str,
    /// A comment: why nothing is executed, with `LANGUAGE` in the place of the programming language.
    pub not_executed: &'static str,
}

/// Texts of the deck with the plot.
#[derive(Debug)]
pub(super) struct CoolingTexts {
    /// The title.
    pub title: &'static str,
    /// The first slide.
    pub cup: &'static str,
    /// What the trainer says there.
    pub cup_notes: &'static str,
    /// The heading above the diagram.
    pub heat: &'static str,
    /// What the diagram shows, for those who do not see it.
    pub heat_alt: &'static str,
    /// The slide before the computation.
    pub minutes: &'static str,
    /// What is printed before a temperature.
    pub after_ten: &'static str,
    /// The heading above the plot.
    pub curve: &'static str,
    /// What the trainer says about the plot.
    pub curve_notes: &'static str,
    /// The name of the axis, and of a line in a table.
    pub minute_axis: &'static str,
    /// The name of the line of the room's temperature.
    pub room: &'static str,
}

/// Texts of the deck with the task.
#[derive(Debug)]
pub(super) struct TaskTexts {
    /// The title.
    pub title: &'static str,
    /// The first slide, before the diagram.
    pub plan: &'static str,
    /// What the diagram shows.
    pub plan_alt: &'static str,
    /// The task, with `FUNCTION` in the place of the function's name.
    pub task: &'static str,
    /// The comment where participants write.
    pub begin: &'static str,
    /// The result, in a cell of the kind `answer`.
    pub answer: &'static str,
    /// What the trainer does meanwhile.
    pub notes: &'static str,
}

/// Texts in the diagrams.
#[derive(Debug)]
pub(super) struct DiagramTexts {
    /// The hot end.
    pub coffee: &'static str,
    /// The cold end.
    pub room: &'static str,
    /// What goes from one to the other.
    pub heat: &'static str,
    /// The steps of the plan: the first one, the repeated ones, the question with its answers, the last one.
    pub steps: [&'static str; 7],
}

/// Texts of the deck of a new topic.
#[derive(Debug)]
pub(super) struct TopicTexts {
    /// What the first slide says below the title.
    pub about: &'static str,
    /// What the trainer's note says.
    pub notes: &'static str,
    /// What the first code prints.
    pub hello: &'static str,
    /// The slide with a task.
    pub task: &'static str,
    /// The comment where participants write.
    pub begin: &'static str,
    /// The comment of the solution.
    pub solution: &'static str,
}

/// Texts of `README.md`.
#[derive(Debug)]
pub(super) struct ReadmeTexts {
    /// What builds the course.
    pub intro: &'static str,
    /// What each command does.
    pub commands: [(&'static str, &'static str); 3],
    /// The heading above the files.
    pub files: &'static str,
    /// What is where.
    pub places: [(&'static str, &'static str); 6],
    /// Why nothing is executed, with `LANGUAGE` in the place of the programming language.
    pub not_executed: &'static str,
}

impl Texts {
    /// Returns the texts of a language; those of English if there are none.
    pub(super) fn of(lang: Lang) -> &'static Self {
        match lang.name() {
            "de" => &de::TEXTS,
            "es" => &es::TEXTS,
            "fr" => &fr::TEXTS,
            _ => &en::TEXTS,
        }
    }
}
