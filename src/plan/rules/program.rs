//! The code format of C++ decks: a program, possibly with a header and with separate files for its workshops.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::deck::cpp::{self, Program};
use crate::course::layout::{DeckOutput, Destination, OutputClass, Place, Placed};
use crate::course::tree::DeckFile;
use crate::course::{Format, Kind, Lang, RelPath};
use crate::digest::Digest;
use crate::plan::Context;
use crate::plan::action::{Make, Output, Recipe};

use super::deck::notebook_of;

/// The programs of a course, or of one of its decks.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Programs {
    /// The programs, one entry for each place.
    pub files: Vec<ProgramFile>,
    /// Outputs besides the decks' own.
    pub placed: Vec<ProgramPlace>,
}

/// The place of a header or workshop file of a program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProgramPlace {
    destination: Destination,
    deck: RelPath,
    /// The section (its index in the specification) and the id of the topic.
    topic: (usize, Arc<str>),
    lang: Lang,
    kind: Kind,
}

impl ProgramPlace {
    /// Returns the output's place, source and class.
    pub(crate) fn placed(&self) -> Placed<'_> {
        Placed {
            destination: &self.destination,
            source: &self.deck,
            topic: Some((self.topic.0, &self.topic.1)),
            lang: self.lang,
            class: OutputClass::Deck(Format::Code, self.kind),
        }
    }
}

impl Programs {
    /// Returns whether there are neither programs nor outputs.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.placed.is_empty()
    }

    /// Adds the programs of a deck.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.files.extend_from_slice(&other.files);
        self.placed.extend_from_slice(&other.placed);
    }

    /// Adds a program in each place of its output.
    fn add_files(
        &mut self,
        source: &Source<'_>,
        output: &DeckOutput,
        inputs: &[(RelPath, Digest)],
        program: &Program,
    ) {
        let text: Arc<str> = whole_text(program).into();
        let workshops = program.workshops.iter().map(|(number, _)| *number);
        let is_excluded = is_excluded(source.bytes.map_or(&[][..], |bytes| bytes));
        for place in &output.destinations {
            self.files.push(ProgramFile {
                destination: place.at.clone(),
                deck: source.file.path.clone(),
                action_inputs: inputs.to_vec(),
                kind: output.kind,
                workshops: workshops.clone().collect(),
                text: Arc::clone(&text),
                is_excluded,
            });
        }
    }
}

/// A program in one place.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ProgramFile {
    /// The place of the main source file.
    pub destination: Destination,
    /// The deck.
    pub deck: RelPath,
    /// The inputs of the action that writes it.
    pub action_inputs: Vec<(RelPath, Digest)>,
    /// The audience.
    pub kind: Kind,
    /// The numbers of its workshops.
    pub workshops: Vec<usize>,
    /// The text of all its files.
    pub text: Arc<str>,
    /// Whether the author marked it as one that does not compile.
    pub is_excluded: bool,
}

/// A deck whose programs are planned.
pub(crate) struct Source<'a> {
    /// The course.
    pub context: &'a Context<'a>,
    /// Its file.
    pub file: &'a DeckFile,
    /// The section (its index in the specification) and the id of its topic.
    pub topic: (usize, &'a str),
    /// Its bytes.
    pub bytes: Option<&'a Arc<[u8]>>,
}

/// Makes the action of a code output write a program, and adds the actions for its further files.
pub(crate) fn make(
    source: &Source<'_>,
    output: &DeckOutput,
    action: &mut Recipe,
    actions: &mut Vec<Recipe>,
    programs: &mut Programs,
) {
    let Make::Deck(work) = &action.make else {
        return;
    };
    let Some(Place { at: first, .. }) = output.destinations.first() else {
        return;
    };
    let notebook = notebook_of(work, work.kind, &work.surroundings);
    let stem = first.stem();
    let program = cpp::program(&work.deck, &notebook, work.kind, work.lang, stem);
    let parts = action.parts.clone().with("name", stem);
    // Every file has the whole key as its own, since its content depends on all cells of the deck.
    action.parts = parts.clone().with("file", "main");
    programs.add_files(source, output, &action.inputs, &program);
    action.make = Make::Text(program.main.into());
    let header = program
        .header
        .map(|text| ("header".to_owned(), ".hpp".to_owned(), text));
    let workshops = program.workshops.into_iter().map(|(number, text)| {
        let ending = format!("_workshop_{number}.cpp");
        (format!("workshop {number}"), ending, text)
    });
    for (name, ending, text) in header.into_iter().chain(workshops) {
        let destinations: Vec<Destination> = output
            .destinations
            .iter()
            .filter_map(|place| place.at.beside(&format!("{stem}{ending}")))
            .collect();
        let placed = destinations.iter().map(|destination| ProgramPlace {
            destination: destination.clone(),
            deck: source.file.path.clone(),
            topic: (source.topic.0, source.topic.1.into()),
            lang: output.lang,
            kind: output.kind,
        });
        programs.placed.extend(placed);
        actions.push(Recipe {
            id: format!("{} {name}", action.id),
            kind: action.kind,
            source: action.source.clone(),
            inputs: action.inputs.clone(),
            parts: parts.clone().with("file", &name),
            after: Vec::new(),
            make: Make::Text(text.into()),
            outputs: vec![Output {
                name: (source.context.names).of(&format!("{}{ending}", output.kind)),
                destinations: source.context.destinations(&destinations),
            }],
            warnings: Vec::new(),
        });
    }
}

fn whole_text(program: &Program) -> String {
    let workshops = program.workshops.iter().map(|(_, text)| text.as_str());
    let header = program.header.as_deref().into_iter();
    let texts: Vec<&str> = header
        .chain([program.main.as_str()])
        .chain(workshops)
        .collect();
    texts.concat()
}

/// Returns whether the lines before the first cell contain `// clm: no-compile`.
fn is_excluded(deck: &[u8]) -> bool {
    let text = String::from_utf8_lossy(deck);
    text.lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("// %%") && !line.starts_with("//%%"))
        .filter_map(|line| line.strip_prefix("//"))
        .any(|line| {
            let words: String = line.split_whitespace().collect();
            words == "clm:no-compile"
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_before_the_first_cell() {
        for (deck, excluded) in [
            ("// clm: no-compile\n// %%\nf();", true),
            ("// {{ header('a', 'b') }}\n//clm:no-compile\n// %%\n", true),
            ("// %%\nf();\n// clm: no-compile\n", false),
            ("// clm: no-compile because\n// %%\n", false),
        ] {
            assert_eq!(is_excluded(deck.as_bytes()), excluded, "{deck}");
        }
    }
}
