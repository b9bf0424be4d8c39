//! Resolves topic ids to directories and files.

use std::collections::BTreeMap;

use crate::course::RelPath;
use crate::course::spec::{TopicRef, located};
use crate::course::words::nearest;
use crate::diagnostic::Diagnostic;

use super::Listing;
use super::ignore::is_ignored_dir;

/// The topics of all modules: `slides/<module>/<topic>`.
pub(super) struct Modules {
    by_id: BTreeMap<String, Vec<RelPath>>,
}

impl Modules {
    /// Collects the topics of all modules, ordered by module and name.
    pub(super) fn find(listing: &Listing) -> Self {
        let mut by_id: BTreeMap<String, Vec<RelPath>> = BTreeMap::new();
        let mut entries: Vec<&RelPath> = listing
            .dirs
            .iter()
            .chain(&listing.files)
            .filter(|path| is_topic_place(path))
            .collect();
        // Sorted by components: comparing whole paths would sort `/` after some other characters.
        entries.sort_by_key(|path| path.components().map(str::to_owned).collect::<Vec<_>>());
        for path in entries {
            if let Some(id) = simplified(path.file_name()) {
                by_id.entry(id).or_default().push(path.clone());
            }
        }
        Self { by_id }
    }

    /// Returns the path of a topic. If there are several, it is the first.
    pub(super) fn resolve(&self, reference: &TopicRef) -> Option<&RelPath> {
        self.all(reference).first().copied()
    }

    fn all(&self, reference: &TopicRef) -> Vec<&RelPath> {
        let in_module = |path: &&RelPath| {
            let module = reference.module.as_deref();
            module.is_none_or(|module| path.components().nth(1) == Some(module))
        };
        let all = self.by_id.get(&reference.id).into_iter().flatten();
        all.filter(in_module).collect()
    }

    /// Returns the warning about a topic with several paths.
    pub(super) fn ambiguous(&self, reference: &TopicRef) -> Option<Diagnostic> {
        let all = self.all(reference);
        let (first, others) = all.split_first().filter(|(_, others)| !others.is_empty())?;
        let others: Vec<String> = others.iter().map(|path| format!("`{path}`")).collect();
        let warning = Diagnostic::warning(format!(
            "there is more than one topic `{}`: `{first}` is used, not {}",
            reference.id,
            others.join(", ")
        ));
        let hint = "rename one of them, or choose with `module=\"…\"`";
        Some(at(reference, warning).hint(hint))
    }

    /// Returns the error about a topic that does not exist.
    pub(super) fn not_found(&self, reference: &TopicRef) -> Diagnostic {
        let elsewhere = self.by_id.get(&reference.id);
        let id = &reference.id;
        if let (Some(module), Some(other)) =
            (&reference.module, elsewhere.and_then(|all| all.first()))
        {
            let message = format!("there is no topic `{id}` in the module `{module}`");
            return at(reference, Diagnostic::error(message))
                .hint(format!("there is one at `{other}`"));
        }
        let hint = match nearest(id, self.by_id.keys()) {
            Some(known) => format!("did you mean `{known}`?"),
            None if self.by_id.is_empty() => {
                "there are no topics at all: they lie in `slides/<module>/topic_<number>_<id>`"
                    .to_owned()
            }
            None => format!("a topic `{id}` lies in `slides/<module>/topic_<number>_{id}`"),
        };
        let message = format!("there is no topic `{id}`");
        at(reference, Diagnostic::error(message)).hint(hint)
    }
}

fn at(reference: &TopicRef, diagnostic: Diagnostic) -> Diagnostic {
    located(diagnostic, reference.line, reference.column)
}

/// Returns whether a path is `slides/<module>/<entry>`, with neither of them hidden or ignored.
fn is_topic_place(path: &RelPath) -> bool {
    let mut components = path.components();
    let (Some("slides"), Some(module), Some(entry), None) = (
        components.next(),
        components.next(),
        components.next(),
        components.next(),
    ) else {
        return false;
    };
    let is_hidden = |name: &str| name.starts_with(['_', '.']);
    !is_hidden(module) && !is_ignored_dir(module) && !is_hidden(entry)
}

/// Returns the id in a name such as `topic_100_my_id.py`: the part after the second `_`, up to the last dot.
pub(crate) fn simplified(name: &str) -> Option<String> {
    let stem = name.rfind('.').map_or(name, |dot| &name[..dot]);
    let id = stem.splitn(3, '_').nth(2)?;
    (!id.is_empty()).then(|| id.to_owned())
}
