//! What renderers are that are not installed, so that results of other machines are found.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::worker::{Renderers, renderers};

use super::install::Component;
use super::locate::{deno_fingerprint, drawio_after_setup, html_fingerprint, plantuml_after_setup};
use super::{Context, pins};

/// Adds to `renderers` what those are that are not installed: what the lock of the course says; else what they were when
/// this clm last made results that the records have; else what `clm setup` would install. `recorded` is called if the lock
/// does not name all.
pub(crate) fn expect(
    context: &Context,
    renderers: &mut Renderers,
    lock: BTreeMap<String, String>,
    recorded: impl FnOnce() -> BTreeMap<String, String>,
) {
    let installed = renderers.installed();
    let mut expected = lock;
    let names = [
        renderers::HTML.to_owned(),
        renderers::kernel("python3"),
        renderers::kernel("deno"),
        renderers::PLANTUML.to_owned(),
        renderers::DRAWIO.to_owned(),
    ];
    let is_known = |name: &String| installed.contains_key(name) || expected.contains_key(name);
    if !names.iter().all(is_known) {
        let suffix = suffix();
        for (name, fingerprint) in recorded() {
            if let Some(name) = name.strip_suffix(&suffix) {
                expected.entry(name.to_owned()).or_insert(fingerprint);
            }
        }
        for name in names {
            if !installed.contains_key(&name) && !expected.contains_key(&name) {
                expected.extend(after_setup(context, &name).map(|print| (name, print)));
            }
        }
    }
    expected.retain(|name, _| !installed.contains_key(name));
    renderers.expected = expected;
}

/// Returns the records of the installed renderers, for [`expect`].
pub(crate) fn to_record(renderers: &Renderers) -> BTreeMap<String, String> {
    let suffix = suffix();
    let installed = renderers.installed().into_iter();
    installed
        .map(|(name, fingerprint)| (format!("{name}{suffix}"), fingerprint))
        .collect()
}

/// Returns the end of recorded names: other pins are other renderers, although none of them may be installed here.
fn suffix() -> String {
    let digests = Component::ALL.map(|component| component.digest().to_string());
    format!(" of {}", Digest::of(digests.concat()).short())
}

/// Returns the fingerprint that a renderer would have after `clm setup`; `None` if that depends on the machine.
fn after_setup(context: &Context, name: &str) -> Option<String> {
    match name {
        renderers::HTML => Some(html_fingerprint(pinned)),
        renderers::PLANTUML => plantuml_after_setup(context),
        renderers::DRAWIO => drawio_after_setup(context),
        name if name == renderers::kernel("deno") => {
            (!Component::Deno.pins().is_empty()).then(deno_fingerprint)
        }
        _ => None,
    }
}

/// Returns the version of a package of clm's Python environment.
fn pinned(package: &str) -> Option<&'static str> {
    pins::REQUIREMENTS.lines().find_map(|line| {
        let (name, rest) = line.split_once("==")?;
        let version = rest.split([' ', ';']).next()?;
        (name == package).then_some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Context {
        Context {
            tools_dir: "/nowhere".into(),
            ..Context::default()
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn the_lock_counts_before_the_records_and_these_before_the_pins() {
        let mut renderers = Renderers::default();
        let recorded = || {
            let mut recorded = map(&[("plantuml of other-pins", "old")]);
            for name in ["html", "kernel python3"] {
                recorded.insert(format!("{name}{}", suffix()), "recorded".to_owned());
            }
            recorded
        };
        expect(
            &bare(),
            &mut renderers,
            map(&[("html", "locked")]),
            recorded,
        );
        let expected = &renderers.expected;
        assert_eq!(expected["html"], "locked");
        assert_eq!(expected["kernel python3"], "recorded");
        assert!(
            expected["plantuml"].contains(pins::PLANTUML.version),
            "{expected:?}"
        );
    }

    #[test]
    fn the_versions_of_pages_are_those_of_the_requirements() {
        let mut renderers = Renderers::default();
        expect(&bare(), &mut renderers, BTreeMap::new(), BTreeMap::new);
        let html = &renderers.expected["html"];
        assert!(html.starts_with("nbconvert 7."), "{html}");
        assert!(!html.contains('?'), "{html}");
        assert_eq!(renderers.expected.get("kernel python3"), None);
    }

    #[test]
    fn an_installed_renderer_is_what_it_is() {
        let mut renderers = Renderers {
            html: Some(crate::worker::renderers::HtmlTool {
                python: "/python".into(),
                fingerprint: "here".to_owned(),
            }),
            ..Renderers::default()
        };
        expect(
            &bare(),
            &mut renderers,
            map(&[("html", "locked")]),
            BTreeMap::new,
        );
        assert_eq!(renderers.expected.get("html"), None);
        assert_eq!(renderers.identities()["html"], "here");
    }
}
