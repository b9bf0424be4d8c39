//! What `clm setup` shows about what it would install, what it has installed, and what licences that has.

use crate::tools::Context;
use crate::tools::inventory::{Inventory, Item, Kind};
use crate::tools::licences::Licence;
use crate::tools::planned::Plan;
use crate::ui;

/// Returns the lines about what would be done: one for each component, and one with the sums.
pub(super) fn plan(context: &Context, plan: &[(&'static str, Plan)], from: Option<&str>) -> String {
    let mut text = String::new();
    let (mut to_get, mut to_write, mut installed) = (0, 0, 0);
    for (name, plan) in plan {
        let says = match plan {
            Plan::Installed(bytes) => {
                installed += bytes;
                format!("is installed ({})", ui::size(*bytes))
            }
            Plan::NotNeeded(reason) => format!("is not needed: {reason}"),
            Plan::Unavailable => "is missing; there is no package for this system".to_owned(),
            Plan::Install {
                download,
                downloaded,
                disk,
            } => {
                to_get += download.saturating_sub(*downloaded);
                to_write += disk;
                let here = match downloaded {
                    0 => String::new(),
                    bytes => format!(" ({} of it are here)", ui::size(*bytes)),
                };
                let verb = if from.is_some() { "read" } else { "download" };
                format!(
                    "is missing: {} to {verb}{here}, {} on disk",
                    ui::size(*download),
                    ui::size(*disk)
                )
            }
        };
        text += &format!("{name:9} {says}\n");
    }
    if installed > 0 {
        text += &format!("Installed: {}\n", ui::size(installed));
    }
    text += &match (to_write, from) {
        (0, _) => "Nothing would be installed\n".to_owned(),
        (_, Some(from)) => format!(
            "About {} would be taken from `{from}`, and {} written to `{}`",
            ui::size(to_get),
            ui::size(to_write),
            context.tools_dir.display()
        ),
        (_, None) => format!(
            "About {} would be downloaded, and {} written to `{}`",
            ui::size(to_get),
            ui::size(to_write),
            context.tools_dir.display()
        ),
    };
    if to_write > 0 {
        if let Some(free) = context.free_bytes() {
            text += &format!(", which has {} free", ui::size(free));
        }
        text.push('\n');
    }
    text
}

/// Returns the lines about what would be removed.
pub(super) fn removable(inventory: &Inventory) -> String {
    let mut text = String::new();
    let mut total = 0;
    for item in &inventory.items {
        let bytes = item.bytes();
        total += bytes;
        text += &format!("would remove {}\n", removed(item, bytes));
    }
    text + &format!("Would free {}\n", ui::size(total))
}

/// Returns what is said about a directory.
pub(super) fn removed(item: &Item, bytes: u64) -> String {
    let what = match item.kind {
        Kind::Current => "",
        Kind::Other => ", of another version of clm",
        Kind::Unfinished => ", unfinished",
        Kind::Cache => ", what it has stored",
    };
    format!(
        "{} ({}{what}), `{}`",
        item.name(),
        ui::size(bytes),
        item.dir.display()
    )
}

/// Returns the lines about what is not removed, because clm cannot know that it has made it.
pub(super) fn foreign(inventory: &Inventory) -> Vec<String> {
    let foreign = inventory.foreign.iter();
    foreign
        .map(|(_, path)| {
            format!(
                "note: `{}` stays: nothing in it says that clm has made it",
                path.display()
            )
        })
        .collect()
}

/// Returns a table of licences, of components of these names, or of all.
pub(super) fn licences(all: &[Licence], names: &[String]) -> String {
    let is_selected =
        |licence: &&Licence| names.is_empty() || names.iter().any(|name| name == licence.component);
    let selected: Vec<&Licence> = all.iter().filter(is_selected).collect();
    let package = |licence: &Licence| format!("{} {}", licence.name, licence.version);
    let width = selected.iter().map(|licence| package(licence).len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for licence in selected {
        text += &format!(
            "{:9} {:width$}  {}\n",
            licence.component,
            package(licence),
            licence.licence
        );
    }
    text
}
