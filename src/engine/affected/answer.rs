//! What touched files concern in one course, without building it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::course::RelPath;
use crate::course::layout::Selection;
use crate::error::Result;
use crate::store::{FileRecord, Latest, Store};
use crate::worker::Renderers;

use super::super::course::{Course, Specified};
use super::super::publish::WrittenBack;
use super::super::sources::Sources;
use super::{Asked, Basis, Found, find};

/// What earlier builds recorded, as far as it matters here. There may be nothing.
#[derive(Default)]
pub(crate) struct Records {
    latest: HashMap<Arc<str>, Latest>,
    files: HashMap<String, FileRecord>,
}

/// What files concern.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The outputs that depend on them.
    pub outputs: BTreeSet<String>,
    /// The outputs that depended on them, and that nothing makes any more.
    pub removed: BTreeSet<String>,
    /// Why all outputs are concerned, if they are.
    pub everything: Option<String>,
    /// The sources of these outputs.
    pub sources: BTreeSet<RelPath>,
    /// The touched files that concern the course.
    pub causes: BTreeSet<RelPath>,
    /// The touched files that nothing is known to read.
    pub unknown: BTreeSet<RelPath>,
    /// Whether anything of the course is concerned.
    pub is_affected: bool,
}

impl Records {
    /// Reads the records.
    pub(crate) fn read(store: &Store) -> Result<Self> {
        Ok(Self {
            latest: store.latest()?,
            files: store.files()?,
        })
    }
}

impl Course {
    /// Returns what touched files concern, by the plan of the course and by what is recorded. Nothing is started or
    /// written.
    pub(crate) fn concerned(
        &self,
        specified: &Specified,
        asked: &Asked,
        records: &Records,
    ) -> Result<Answer> {
        let root = &self.place.root;
        let mut sources = Sources::new(root, records.files.clone(), Arc::default());
        let selection = Selection::default();
        let written_back = WrittenBack::default();
        let loaded = self.load(
            specified,
            &mut sources,
            &written_back,
            &selection,
            &Renderers::default(),
        )?;
        let Found {
            mut marked,
            causes,
            unknown,
            gone,
            everything,
        } = find(
            &Basis {
                course: self,
                specified,
                sources: &sources,
                written_back: &written_back,
                selection: &selection,
                loaded: &loaded,
                latest: &|action| Ok(records.latest.get(action).map(Cow::Borrowed)),
            },
            &asked.affected,
        )?;
        let everything = asked.everything.clone().or(everything);
        if everything.is_some() {
            marked.fill(true);
        }
        let mut answer = Answer {
            is_affected: everything.is_some() || !causes.is_empty() || marked.contains(&true),
            everything,
            causes,
            unknown,
            ..Answer::default()
        };
        for (action, _) in loaded
            .plan
            .actions
            .iter()
            .zip(marked)
            .filter(|(_, marked)| *marked)
        {
            answer.sources.insert(action.source.clone());
            for output in &action.outputs {
                let paths = output.destinations.iter();
                answer.outputs.extend(paths.map(ToString::to_string));
            }
        }
        let all = &loaded.all_destinations;
        let gone = gone.into_iter().filter(|path| !all.contains(path));
        answer.removed = gone.map(|path| path.to_string()).collect();
        Ok(answer)
    }
}
