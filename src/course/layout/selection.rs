//! The selected part of a course.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::course::languages::listed;
use crate::course::spec::{Section, Spec, Target};
use crate::course::{Format, Kind, Lang};
use crate::diagnostic::Diagnostic;

/// The selected part of a course. `None` means no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Languages.
    pub languages: Option<Vec<Lang>>,
    /// Kinds.
    pub kinds: Option<Vec<Kind>>,
    /// Formats.
    pub formats: Option<Vec<Format>>,
    /// Output targets by name.
    pub targets: Option<Vec<String>>,
    /// Sections by id, number or part of the name.
    pub sections: Option<Vec<String>>,
}

type Applied = (Vec<Target>, Option<BTreeSet<usize>>);

impl Selection {
    /// Returns the selected targets, restricted to the selection, and the indices of the selected sections (`None` for
    /// all).
    pub fn apply(&self, spec: &Spec) -> Result<Applied, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        if let Some(names) = &self.targets {
            let known: Vec<&str> = spec
                .targets
                .iter()
                .map(|target| target.name.as_str())
                .collect();
            for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
                errors.push(
                    Diagnostic::error(format!("there is no output target `{name}`"))
                        .hint(format!("there are `{}`", known.join("`, `"))),
                );
            }
        }
        let known = spec.languages();
        let wanted = self.languages.iter().flatten();
        for lang in wanted.filter(|lang| !known.contains(lang)) {
            let hint = match known.as_slice() {
                [one] => format!("its only language is `{one}`"),
                _ => format!(
                    "its languages are {}",
                    listed(&known, |lang| format!("`{lang}`"))
                ),
            };
            errors.push(
                Diagnostic::error(format!(
                    "the course has no outputs in the language `{lang}`"
                ))
                .hint(format!(
                    "{hint}; `<languages>` of an output target adds another"
                )),
            );
        }
        let mut sections = None;
        if let Some(tokens) = &self.sections {
            let mut wanted = BTreeSet::new();
            for token in tokens {
                match find_section(&spec.sections, token) {
                    Ok(index) => {
                        wanted.insert(index);
                    }
                    Err(diagnostic) => errors.push(diagnostic),
                }
            }
            sections = Some(wanted);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let targets = spec
            .targets
            .iter()
            .filter(|target| {
                self.targets
                    .as_ref()
                    .is_none_or(|names| names.contains(&target.name))
            })
            .map(|target| Target {
                kinds: common(&target.kinds, self.kinds.as_deref()),
                formats: common(&target.formats, self.formats.as_deref()),
                languages: common(&target.languages, self.languages.as_deref()),
                ..target.clone()
            })
            .collect();
        Ok((targets, sections))
    }
}

fn common<W: Copy + PartialEq>(all: &[W], wanted: Option<&[W]>) -> Vec<W> {
    all.iter()
        .copied()
        .filter(|word| wanted.is_none_or(|wanted| wanted.contains(word)))
        .collect()
}

/// Finds a section by its id, by its number, or by an unambiguous part of its name.
fn find_section(sections: &[Section], token: &str) -> Result<usize, Diagnostic> {
    let (prefix, value) = match token.split_once(':') {
        Some((prefix @ ("id" | "idx" | "name"), value)) => (prefix, value),
        _ => ("", token),
    };
    let value = value.trim();
    let may = |kind: &str| prefix.is_empty() || prefix == kind;
    let by_id = || {
        sections
            .iter()
            .position(|section| section.id.as_deref() == Some(value))
    };
    if may("id")
        && let Some(index) = by_id()
    {
        return Ok(index);
    }
    if may("idx")
        && let Ok(number) = value.parse::<usize>()
        && let Some(index) = sections.iter().position(|section| section.number == number)
    {
        return Ok(index);
    }
    let lower = value.to_lowercase();
    let named: Vec<usize> = sections
        .iter()
        .enumerate()
        .filter(|(_, section)| {
            may("name")
                && !lower.is_empty()
                && (section.name.texts()).any(|name| name.to_lowercase().contains(&lower))
        })
        .map(|(index, _)| index)
        .collect();
    match named.as_slice() {
        [index] => Ok(*index),
        [] => {
            let names: Vec<String> = sections
                .iter()
                .map(|section| format!("{} `{}`", section.number, section.name.get(Lang::EN)))
                .collect();
            Err(Diagnostic::error(format!("there is no section `{token}`"))
                .hint(format!("there are {}", names.join(", "))))
        }
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|index| sections[*index].name.get(Lang::EN))
                .collect();
            Err(
                Diagnostic::error(format!("`{token}` is part of several sections' names"))
                    .hint(format!("choose one of `{}`", names.join("`, `"))),
            )
        }
    }
}
