//! `clm new topic`: adds a topic to a course.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::Place;
use crate::course::ProgLang;
use crate::course::spec::{Spec, parse_leniently};
use crate::course::tree::is_ignored_dir;
use crate::error::{Error, Result};
use crate::files;
use crate::scaffold::{
    self, ModuleChoice, Modules, Settings, TopicEntry, has_kernel, identifier_hint, insert_topic,
    is_identifier, title_of,
};
use crate::ui;

use super::super::session::{CourseArgs, current_dir};
use super::{checked_title, half_done, prog_lang_parser, write_all};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm new topic for_loops                        after the last topic\n\
    \x20 clm new topic for_loops --module control_flow  in this module")]
pub(super) struct NewTopicArgs {
    /// The id of the topic, such as `for_loops`
    id: String,
    /// The course specification [default: the nearest `course.xml` upward]
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// Course root, which holds `slides/` [default: the specification's directory, or its parent]
    #[arg(short = 'd', long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The module that gets the topic, by its directory or the end of that; another name makes a module with a section of
    /// its own [default: the module of the working directory, or else that of the last topic]
    #[arg(long, value_name = "MODULE")]
    module: Option<String>,
    /// The programming language of the deck [default: that of the course]
    #[arg(long, value_name = "LANG", value_parser = prog_lang_parser())]
    prog_lang: Option<ProgLang>,
    /// The title of the deck [default: made of the id]
    #[arg(long)]
    title: Option<String>,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &NewTopicArgs) -> Result<u8> {
    let id = args.id.as_str();
    if !is_identifier(id) {
        return Err(
            Error::usage(format!("`{id}` cannot be the id of a topic")).hint(identifier_hint(id))
        );
    }
    let course = CourseArgs {
        spec: args.spec.clone(),
        data_dir: args.data_dir.clone(),
        ..CourseArgs::default()
    };
    let place = course.place()?;
    let name = place.spec_name();
    let text = files::read_to_string(&place.spec)
        .map_err(|error| Error::io("read", &place.spec, &error))?;
    let (spec, diagnostics) = parse_leniently(&text, &name);
    let Some(spec) = spec else {
        return Err(Error::from_diagnostics(diagnostics));
    };
    let modules = modules(&place)?;
    if let Some(path) = modules.path_of(id) {
        return Err(exists(id, &path, &spec, &name));
    }
    // A topic that an author wrote there before it exists.
    let mut topics = spec.sections.iter().flat_map(|section| &section.topics);
    let named = topics.find(|topic| topic.id == id);
    let bound = named.and_then(|topic| topic.module.clone());
    let choice = match (&args.module, bound) {
        (None, Some(module)) => ModuleChoice::Existing(module),
        _ => chosen_module(args, &place, &spec, &modules)?,
    };
    let (module, section) = match &choice {
        ModuleChoice::Existing(module) => (module, None),
        ModuleChoice::New { directory, title } => (directory, Some(title.as_str())),
    };
    let settings = settings(args, &spec)?;
    let entry = TopicEntry {
        id,
        module,
        neighbours: modules.topics_of(module),
        attributes: match is_executed(settings.prog_lang, &spec) {
            true => Vec::new(),
            false => vec![("evaluate", "no")],
        },
        section: section.into_iter().map(|title| (None, title)).collect(),
    };
    let inserted = match named {
        Some(_) => None,
        None => {
            let inserted = insert_topic(&text, &name, &entry);
            Some(inserted.map_err(|error| Error::from_diagnostics(vec![error]))?)
        }
    };
    let is_new = !place.root.join("slides").join(module).exists();
    let deck = scaffold::topic(&settings, &modules.directory_of(module, id), id);
    write_all(&place.root, std::slice::from_ref(&deck), &place.root)?;
    if let Some(inserted) = &inserted {
        replace_spec(&place, &inserted.text)
            .map_err(|error| half_done(error, std::slice::from_ref(&deck), Path::new("")))?;
    }
    if is_new {
        ui::print(&format!("The module `{module}` is new"));
    }
    ui::print(&format!("The topic `{id}` is in:"));
    ui::print(&format!("  {}", deck.path));
    match (&inserted, named) {
        (Some(inserted), _) => ui::print(&format!("  {name}, line {}", inserted.line)),
        (None, Some(named)) => ui::print(&format!("  {name}, line {}, as before", named.line)),
        (None, None) => {}
    }
    if inserted.is_some_and(|inserted| inserted.is_disabled) {
        ui::print("note: its section is disabled, so it is not built");
    }
    Ok(0)
}

/// Returns the module that the user named, or the usual one.
fn chosen_module(
    args: &NewTopicArgs,
    place: &Place,
    spec: &Spec,
    modules: &Modules,
) -> Result<ModuleChoice> {
    if let Some(module) = &args.module {
        return modules
            .named(module)
            .map_err(|hint| Error::usage(format!("there is no module `{module}`")).hint(hint));
    }
    let topics = spec.sections.iter().flat_map(|section| &section.topics);
    let in_order: Vec<&str> = topics.map(|topic| topic.id.as_str()).collect();
    let usual = modules.usual(module_here(place)?.as_deref(), &in_order);
    let usual = usual.map(ModuleChoice::Existing);
    usual.ok_or_else(|| {
        Error::usage("the course has no module yet")
            .hint("name one for the topic: `--module intro`")
    })
}

/// Returns what the deck is made for.
fn settings(args: &NewTopicArgs, spec: &Spec) -> Result<Settings> {
    Ok(Settings {
        title: match &args.title {
            Some(title) => checked_title(title)?,
            None => title_of(&args.id),
        },
        languages: spec.languages(),
        prog_lang: args.prog_lang.unwrap_or(spec.prog_lang),
        author: spec.author.clone(),
        organization: String::new(),
    })
}

/// Returns whether a new deck is executed: in languages without a kernel of clm's, if the others of the course are. Their
/// author has a kernel.
fn is_executed(prog_lang: ProgLang, spec: &Spec) -> bool {
    let mut topics = spec.sections.iter().flat_map(|section| &section.topics);
    has_kernel(prog_lang) || (prog_lang == spec.prog_lang && topics.any(|topic| topic.evaluate))
}

/// Returns the error that a topic exists. It says whether the specification names it.
fn exists(id: &str, path: &str, spec: &Spec, file: &str) -> Error {
    let error = Error::usage(format!("there is a topic `{id}` already: `{path}`"));
    let mut topics = spec.sections.iter().flat_map(|section| &section.topics);
    error.hint(match topics.any(|topic| topic.id == id) {
        true => "choose another id".to_owned(),
        false => format!("choose another id, or add `<topic>{id}</topic>` to `{file}`"),
    })
}

/// Replaces the specification as a whole; its permissions stay.
pub(in crate::cli) fn replace_spec(place: &Place, text: &str) -> Result<()> {
    let permissions = std::fs::metadata(&place.spec).map(|metadata| metadata.permissions());
    files::replace(&place.spec, files::Access::Shared, |file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions?)
    })
    .map_err(|error| Error::io("write", &place.spec, &error))
}

/// Returns the modules of a course.
pub(in crate::cli) fn modules(place: &Place) -> Result<Modules> {
    let slides = place.root.join("slides");
    let mut modules = Vec::new();
    for module in names_in(&slides)? {
        let path = slides.join(&module);
        if !module.starts_with(['_', '.']) && !is_ignored_dir(&module) && path.is_dir() {
            let mut entries = names_in(&path)?;
            entries.retain(|name| !name.starts_with(['_', '.']));
            modules.push((module, entries));
        }
    }
    Ok(Modules::new(modules))
}

fn names_in(dir: &Path) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| Error::io("list", dir, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Returns the module that the working directory lies in.
pub(in crate::cli) fn module_here(place: &Place) -> Result<Option<String>> {
    let cwd = current_dir()?;
    let cwd = cwd.canonicalize().unwrap_or(cwd);
    let below = cwd.strip_prefix(place.root.join("slides")).ok();
    let module = below.and_then(|below| below.components().next());
    Ok(module.map(|module| module.as_os_str().to_string_lossy().into_owned()))
}
