//! English.

use super::{CoolingTexts, CourseTexts, DiagramTexts, ReadmeTexts, TaskTexts, Texts, TopicTexts};

pub(super) const TEXTS: Texts = Texts {
    course: CourseTexts {
        section: "First steps",
        not_executed: "evaluate=\"no\": pages show the code without results. Remove it once a kernel for LANGUAGE is installed.",
    },
    cooling: CoolingTexts {
        title: "How coffee cools",
        cup: "\
## A cup of coffee

- Fresh coffee is 90 °C hot; the room is at 20 °C.
- Every minute, the coffee loses a tenth of the difference.
- The smaller the difference, the less it loses.",
        cup_notes: "\
Ask before you show the curve: does the coffee lose the same number of degrees every minute?
Collect the guesses on the board.",
        heat: "## Where the heat goes",
        heat_alt: "Heat goes from the coffee into the room",
        minutes: "\
## Minute by minute

A list keeps the temperature after every minute.",
        after_ten: "After 10 minutes:",
        curve: "## The curve",
        curve_notes: "\
The curve gets ever closer to the temperature of the room, and never reaches it.
Come back to the guesses on the board.",
        minute_axis: "minutes",
        room: "room",
    },
    task: TaskTexts {
        title: "When can you drink it?",
        plan: "\
## Wait, and look again

Nobody counts the minutes in advance: we wait until the coffee is cool enough.",
        plan_alt: "Wait a minute, and repeat that as long as the coffee is too hot",
        task: "\
## Your turn

Coffee above 60 °C is too hot. Complete `FUNCTION`:
it returns the number of minutes until the coffee has cooled down to a limit.",
        begin: "Let a minute pass, as long as the coffee is too hot.",
        answer: "You can drink it after 6 minutes.",
        notes: "\
Ten minutes are enough. A question for those who are done early: how long does it take outside, at 0 °C?
(4 minutes)",
    },
    diagrams: DiagramTexts {
        coffee: "coffee\n90 °C",
        room: "room\n20 °C",
        heat: "heat",
        steps: [
            "pour the coffee",
            "wait a minute",
            "a tenth of the difference is lost",
            "too hot?",
            "yes",
            "no",
            "drink",
        ],
    },
    topic: TopicTexts {
        about: "- What this topic is about",
        notes: "A note to yourself: only the trainer's pages show it.",
        hello: "Hello!",
        task: "\
## Your turn

What is to be done",
        begin: "Your code",
        solution: "The solution",
    },
    readme: ReadmeTexts {
        intro: "A course that clm builds: notebooks, scripts and pages for participants and for the trainer.",
        commands: [
            (
                "clm watch --serve",
                "shows the course in the browser, and builds what you save",
            ),
            ("clm build", "builds what is not up to date"),
            ("clm new topic ID", "adds a topic"),
        ],
        files: "What is where",
        places: [
            (
                "`course.xml`",
                "the title, the author, the sections with their topics, and what is built",
            ),
            (
                "`slides/MODULE/TOPIC/slides_*`",
                "the decks; the comments before their cells say who sees what",
            ),
            ("`pu/`, `drawio/` of a topic", "its diagrams"),
            ("`img/`, `data/` of a topic", "its images and data"),
            ("`output/students`", "what participants get"),
            ("`output/trainer`", "the same with the trainer's notes"),
        ],
        not_executed: "The pages show the code without results, since clm brings no kernel for LANGUAGE. Once you have installed one, remove `evaluate=\"no\"` from `course.xml`.",
    },
};
