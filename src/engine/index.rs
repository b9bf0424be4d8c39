//! What previews and status pages show of a plan: sections, topics and outputs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use crate::course::layout::{Layout, OutputClass, Placed};
use crate::course::spec::FOLDER_LANG;
use crate::course::tree::Tree;
use crate::course::{Format, Localized, RelPath};
use crate::events::{
    Index, IndexClass, IndexFolder, IndexOutput, IndexSection, IndexTarget, PlannedCourse,
};
use crate::plan::{IndexPage, Plan, ProgramPlace};

use super::course::Specified;
use super::load::Loaded;

/// An index that is made when it is first asked for.
pub(super) type LazyIndex = Arc<OnceLock<Arc<Index>>>;

/// The plan of a whole course.
pub(super) struct WholePlan {
    specified: Arc<Specified>,
    targets: Vec<(String, String)>,
    layout: Arc<Layout>,
    tree: Arc<Tree>,
    plan: Arc<Plan>,
    index: LazyIndex,
}

impl WholePlan {
    /// Returns the plan of a loaded course. `index` is shared with earlier plans that have the same index.
    pub(super) fn new(specified: &Arc<Specified>, loaded: &Loaded, index: LazyIndex) -> Self {
        Self {
            specified: Arc::clone(specified),
            targets: loaded.targets(),
            layout: Arc::clone(&loaded.layout),
            tree: Arc::clone(&loaded.tree),
            plan: Arc::clone(&loaded.plan),
            index,
        }
    }

    fn make_index(&self) -> Index {
        let spec = &self.specified.spec;
        let sections = spec.sections.iter().map(|section| IndexSection {
            name: section.name.clone(),
            topics: section
                .topics
                .iter()
                .map(|topic| topic.id.clone())
                .collect(),
        });
        let targets = self.targets.iter().cloned();
        Index {
            title: spec.name.clone(),
            sections: sections.collect(),
            targets: targets
                .map(|(name, root)| IndexTarget { name, root })
                .collect(),
            outputs: outputs(placed(&self.layout, &self.tree, &self.plan), &self.plan),
            folder: None,
        }
    }

    /// Returns the index of a folder: its directories are the sections, and pages have the titles of their notebooks.
    fn make_folder_index(&self, index: Index) -> Index {
        let topics = self
            .tree
            .sections
            .iter()
            .flat_map(|section| &section.topics);
        let decks = topics.flat_map(|topic| &topic.decks);
        let titles = decks.map(|deck| (deck.path.clone(), deck.title.get(FOLDER_LANG).to_owned()));
        let mut titles: BTreeMap<RelPath, String> = titles.collect();
        if let Some(page) = &self.plan.index {
            titles.insert(page.placed().source.clone(), "Index".to_owned());
        }
        let dir_of = |output: &IndexOutput| output.source.parent();
        // The folder itself comes first.
        let dirs: BTreeSet<Option<RelPath>> = index.outputs.iter().map(dir_of).collect();
        let dirs: Vec<Option<RelPath>> = dirs.into_iter().collect();
        let section = |dir: &Option<RelPath>| IndexSection {
            name: Localized::same(dir.as_ref().map_or("", RelPath::as_str)),
            topics: Vec::new(),
        };
        let sections = dirs.iter().map(section).collect();
        let mut outputs = index.outputs;
        for output in &mut outputs {
            output.section = dirs.binary_search(&dir_of(output)).ok();
        }
        outputs.sort_by_key(|output| output.section);
        Index {
            sections,
            outputs,
            folder: Some(IndexFolder { titles }),
            ..index
        }
    }
}

impl PlannedCourse for WholePlan {
    fn index(&self) -> Arc<Index> {
        let is_folder = self.specified.spec.folder.is_some();
        let make = || {
            Arc::new(match (self.make_index(), is_folder) {
                (index, true) => self.make_folder_index(index),
                (index, false) => index,
            })
        };
        Arc::clone(self.index.get_or_init(make))
    }

    fn actions(&self) -> HashSet<&str> {
        let actions = self.plan.actions.iter();
        actions.map(|action| &*action.id).collect()
    }
}

/// Returns every selected output, with its origin and class.
pub(super) fn placed<'l>(
    layout: &'l Layout,
    tree: &'l Tree,
    plan: &'l Plan,
) -> impl Iterator<Item = Placed<'l>> {
    let of_programs = plan.placed.iter().map(ProgramPlace::placed);
    let index = plan.index.iter().map(IndexPage::placed);
    layout.placed(tree).chain(of_programs).chain(index)
}

/// Returns the outputs in the order of targets, sections and paths, each with the action that makes it.
fn outputs<'p>(placed: impl Iterator<Item = Placed<'p>>, plan: &Plan) -> Vec<IndexOutput> {
    let actions = plan.actions.iter().flat_map(|action| {
        let outputs = action.outputs.iter();
        let destinations = outputs.flat_map(|output| &output.destinations);
        destinations.map(|destination| (&**destination, &action.id))
    });
    let actions: HashMap<&str, &Arc<str>> = actions.collect();
    let mut outputs: Vec<IndexOutput> = placed
        .map(|placed| {
            let path = placed.destination.output();
            let (class, kind) = match placed.class {
                OutputClass::Deck(Format::Html, kind) => (IndexClass::Html, Some(kind)),
                OutputClass::Deck(Format::Notebook, kind) => (IndexClass::Notebook, Some(kind)),
                OutputClass::Deck(Format::Code, kind) => (IndexClass::Code, Some(kind)),
                OutputClass::Image => (IndexClass::Image, None),
                OutputClass::Data => (IndexClass::Data, None),
                OutputClass::DirGroup => (IndexClass::DirGroup, None),
            };
            IndexOutput {
                source: placed.source.clone(),
                action: actions.get(&**path).map(|action| Arc::clone(action)),
                target: placed.destination.target(),
                section: placed.topic.map(|(section, _)| section),
                topic: placed.topic.map(|(_, topic)| topic.into()),
                lang: placed.lang,
                class,
                kind,
                path: Arc::clone(path),
            }
        })
        .collect();
    outputs.sort_by(|one, other| {
        let order = |output: &IndexOutput| (output.target, output.section);
        order(one)
            .cmp(&order(other))
            .then_with(|| one.path.cmp(&other.path))
    });
    outputs.dedup_by(|one, other| one.path == other.path);
    outputs
}
