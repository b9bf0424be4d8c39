//! The decks of a new course, and that of a new topic.

use super::code::{self, Code};
use super::deck::{Deck, image};
use super::{NewFile, Settings, diagrams};

/// The ids of the topics of a new course, in order.
pub(super) const COOLING: &str = "cooling";
pub(super) const TASK: &str = "drinkable";

/// The directory of the module of a new course.
const MODULE: &str = "slides/module_010_coffee";

/// Returns the decks and the diagrams that they show.
pub(super) fn files(settings: &Settings) -> Vec<NewFile> {
    let extension = settings.prog_lang.extension();
    let place = |number: u32, id: &str| format!("{MODULE}/topic_{number:03}_{id}");
    let (first, second) = (place(10, COOLING), place(20, TASK));
    let deck = |dir: &str, id: &str| format!("{dir}/slides_{id}.{extension}");
    let mut files = vec![NewFile::new(deck(&first, COOLING), cooling(settings))];
    for (lang, texts) in settings.texts() {
        let name = settings.marked("heat.drawio", lang);
        let path = format!("{first}/drawio/{name}");
        files.push(NewFile::new(path, diagrams::heat(&texts.diagrams)));
    }
    files.push(NewFile::new(deck(&second, TASK), task(settings)));
    for (lang, texts) in settings.texts() {
        let name = settings.marked("plan.pu", lang);
        let path = format!("{second}/pu/{name}");
        files.push(NewFile::new(path, diagrams::plan(&texts.diagrams)));
    }
    files
}

/// The deck with the plot.
fn cooling(settings: &Settings) -> String {
    let code = |texts| Code::of(settings.prog_lang, texts);
    let own = |text: &str| text.to_owned();
    Deck::new(settings, |texts| texts.cooling.title)
        .text(&["slide"], |_, texts| own(texts.cooling.cup))
        .text(&["notes"], |_, texts| own(texts.cooling.cup_notes))
        .text(&["subslide"], |lang, texts| {
            let name = settings.marked("heat.png", lang);
            let image = image(&name, texts.cooling.heat_alt, 60);
            format!("{}\n\n{image}", texts.cooling.heat)
        })
        .code(&["keep"], |texts| code(texts).given)
        .text(&["slide"], |_, texts| own(texts.cooling.minutes))
        .code(&[], |texts| code(texts).series)
        .text(&["slide"], |_, texts| own(texts.cooling.curve))
        .code(&[], |texts| code(texts).plot)
        .text(&["notes"], |_, texts| own(texts.cooling.curve_notes))
        .finish()
}

/// The deck with the task.
fn task(settings: &Settings) -> String {
    let code = |texts| Code::of(settings.prog_lang, texts);
    let own = |text: &str| text.to_owned();
    let function = code::function(settings.prog_lang);
    Deck::new(settings, |texts| texts.task.title)
        .text(&["slide"], |lang, texts| {
            let name = settings.marked("plan.png", lang);
            let image = image(&name, texts.task.plan_alt, 35);
            format!("{}\n\n{image}", texts.task.plan)
        })
        .code(&["keep"], |texts| code(texts).given)
        .text(&["slide"], |_, texts| {
            texts.task.task.replace("FUNCTION", function)
        })
        .code(&["start"], |texts| code(texts).start)
        .code(&["completed"], |texts| code(texts).completed)
        .code(&["keep"], |texts| code(texts).call)
        .text(&["answer"], |_, texts| own(texts.task.answer))
        .text(&["notes"], |_, texts| own(texts.task.notes))
        .finish()
}

/// The deck of a new topic: one of each cell that authors need to know.
pub(super) fn of_topic(settings: &Settings) -> String {
    let code = |texts| Code::of(settings.prog_lang, texts);
    let own = |text: &str| text.to_owned();
    Deck::new(settings, |_| &settings.title)
        .text(&["slide"], |_, texts| {
            format!("## {}\n\n{}", settings.title, texts.topic.about)
        })
        .text(&["notes"], |_, texts| own(texts.topic.notes))
        .code(&["keep"], |texts| code(texts).hello)
        .text(&["slide"], |_, texts| own(texts.topic.task))
        .code(&["start"], |texts| code(texts).own_start)
        .code(&["completed"], |texts| code(texts).own_completed)
        .finish()
}
