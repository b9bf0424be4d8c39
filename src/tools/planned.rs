//! What an installation would do: nothing is changed, and no network is used.

use super::Context;
use super::downloads::Downloads;
use super::install::Component;
use super::locate::{has_java, system_browser};
use super::missing::missing;
use super::package::Package;
use super::requirements;
use super::selection::Selection;
use super::sizes;

/// What would be done about a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is installed, with so many bytes.
    Installed(u64),
    /// It would be installed.
    Install {
        /// The bytes of all its files.
        download: u64,
        /// The bytes of those that are downloaded already.
        downloaded: u64,
        /// The bytes that it would take on disk.
        disk: u64,
    },
    /// It is not needed, for this reason.
    NotNeeded(String),
    /// There is no package for this system.
    Unavailable,
}

/// Returns what would be done about every component of a selection.
pub(crate) fn plan(
    context: &Context,
    selection: &Selection,
    is_offline: bool,
) -> Vec<(&'static str, Plan)> {
    let missing = missing(context, selection, is_offline);
    let mut components = missing.clone();
    for component in selection.components() {
        if !components.contains(&component) {
            components.push(component);
        }
    }
    components.sort();
    let plan = |component: &Component| {
        let plan = match component.path(context) {
            _ if missing.contains(component) => match component.is_available() {
                true => Plan::Install {
                    download: component.download_bytes(),
                    downloaded: downloaded(context, *component),
                    disk: component.disk_bytes(),
                },
                false => Plan::Unavailable,
            },
            Some(dir) => Plan::Installed(sizes::of_tree(&dir)),
            None => Plan::NotNeeded(reason(context, *component)),
        };
        (component.name(), plan)
    };
    components.iter().map(plan).collect()
}

fn downloaded(context: &Context, component: Component) -> u64 {
    let packages: Vec<Package<'_>> = match component {
        Component::Python => requirements::all()
            .iter()
            .map(|entry| entry.package())
            .collect(),
        _ => component.pins().iter().map(|pin| pin.package()).collect(),
    };
    let downloads = Downloads::of(component, &context.tools_dir);
    downloads
        .received(&packages)
        .min(component.download_bytes())
}

/// Returns why a component that a selection consists of is not missing.
fn reason(context: &Context, component: Component) -> String {
    let named = |variable: &str| {
        let value = context.var(variable);
        value.map(|_| format!("{variable} names another one"))
    };
    let on_path = |program: &str| {
        let path = context.program(program)?;
        Some(format!("`{}` is used", path.display()))
    };
    let reason = match component {
        Component::Plantuml => named("PLANTUML_JAR"),
        Component::Java if has_java(context) => Some("the system has one".to_owned()),
        Component::Graphviz => on_path("dot"),
        Component::Chromium => system_browser(context)
            .map(|browser| format!("`{}` is used", browser.display()))
            .or_else(|| named("DRAWIO_EXECUTABLE")),
        Component::Drawio | Component::Fonts => named("DRAWIO_EXECUTABLE"),
        Component::Deno => Some("there is a kernel `deno`".to_owned()),
        Component::Python => Some("there is another environment".to_owned()),
        Component::Java | Component::Node => None,
    };
    reason.unwrap_or_else(|| "the system has one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_is_there_and_how_large_the_rest_is() {
        let dir = tempfile::tempdir().unwrap();
        let context = Context {
            tools_dir: dir.path().join("tools"),
            ..Context::default()
        };
        let selection = Selection::of_names(&["fonts".to_owned(), "java".to_owned()]);
        let install = |component: Component, downloaded| Plan::Install {
            download: component.download_bytes(),
            downloaded,
            disk: component.disk_bytes(),
        };
        assert_eq!(
            plan(&context, &selection, true),
            [
                ("java", install(Component::Java, 0)),
                ("fonts", install(Component::Fonts, 0)),
            ]
        );
        assert!(!context.tools_dir.exists());
        // With network, pip and npm are needed as well.
        let with_network = plan(&context, &selection, false);
        let names: Vec<&str> = with_network.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["python", "java", "fonts", "node"]);

        let downloads = context.tools_dir.join("downloads/fonts");
        std::fs::create_dir_all(&downloads).unwrap();
        std::fs::write(downloads.join("expo-google-fonts-tinos-0.4.2.tgz"), "abc").unwrap();
        let java = Component::Java.dir(&context.tools_dir);
        std::fs::create_dir(&java).unwrap();
        std::fs::write(java.join("java"), "abc").unwrap();
        assert_eq!(
            plan(&context, &selection, true),
            [
                ("java", Plan::Installed(3)),
                ("fonts", install(Component::Fonts, 3)),
            ]
        );
    }
}
