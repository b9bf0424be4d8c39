//! The rule for data files, images and dir-groups: they are copied unchanged.

use crate::course::deck::first_marker;
use crate::course::layout::CopyOutput;
use crate::course::tree::is_called_like_deck;
use crate::course::{ProgLang, RelPath};
use crate::diagnostic::{Diagnostic, Severity};
use crate::events::ActionKind;
use crate::plan::action::{Make, Output, Recipe};
use crate::plan::{Context, KeyParts, lfs_pointer, unreadable};

/// Returns the action that copies one file to all its destinations.
pub(crate) fn action(context: &Context<'_>, copy: &CopyOutput) -> Recipe {
    let digest = context.files.digest(&copy.source);
    Recipe {
        id: format!("copy {}", copy.source),
        kind: ActionKind::Copy,
        source: copy.source.clone(),
        inputs: digest
            .map(|digest| (copy.source.clone(), digest))
            .into_iter()
            .collect(),
        parts: KeyParts::default().with("file", digest.map_or_else(String::new, |d| d.to_string())),
        after: Vec::new(),
        make: match digest {
            Some(_) => Make::Copy,
            None => Make::Invalid(vec![unreadable(context.files, &copy.source)]),
        },
        outputs: vec![Output {
            name: context.names.of("file"),
            destinations: context.destinations_of(&copy.destinations),
        }],
        // A pointer can be copied, but the file that it points to is missing in the output.
        warnings: lfs_pointer(context.files, &copy.source)
            .map(|pointer| Diagnostic {
                severity: Severity::Warning,
                ..pointer
            })
            .into_iter()
            .chain(script(context, &copy.source))
            .collect(),
    }
}

/// Returns the warning about a script with cells that lies in a topic beside decks, and is not called like one.
fn script(context: &Context<'_>, path: &RelPath) -> Option<Diagnostic> {
    let prog_lang = ProgLang::of_extension(path.extension())?;
    let is_in_topic = path.parent()?.file_name().starts_with("topic_");
    if !is_in_topic || is_called_like_deck(path.file_name()) {
        return None;
    }
    let source = context.files.read(path)?;
    let line = first_marker(std::str::from_utf8(&source.bytes).ok()?, prog_lang)?;
    let (name, comment) = (path.file_name(), prog_lang.comment());
    let warning = "the script has cells, but is copied as data: decks are called `slides_*`";
    Some(
        Diagnostic::warning(warning)
            .at(path.as_str(), Some(line))
            .hint(format!(
                "rename it to `slides_{name}`, or remove the markers `{comment} %%` if decks import it"
            )),
    )
}
