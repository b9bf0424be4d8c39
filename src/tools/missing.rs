//! What has to be installed on this machine.

use super::downloads::Downloads;
use super::install::Component;
use super::locate::{HAS_GRAPHVIZ, locate, system_browser};
use super::pins::Registry;
use super::selection::Selection;
use super::{Context, Needs};

/// Returns the components to be installed, ordered by their dependencies. If `is_offline`, everything comes from a
/// directory, so that nothing is needed for downloading.
pub(super) fn missing(
    context: &Context,
    selection: &Selection,
    is_offline: bool,
) -> Vec<Component> {
    let has = |component: Component| component.path(context).is_some();
    let mut components = of_needs(context, &selection.needs);
    for part in &selection.parts {
        if !has(*part) && !components.contains(part) {
            components.push(*part);
        }
    }
    if is_offline {
        return components;
    }
    let registries: Vec<Registry> = components
        .iter()
        .flat_map(|component| to_download(context, *component))
        .collect();
    // Packages are downloaded with the environment's own pip, and so is npm if there is none.
    let needs_npm = registries.contains(&Registry::Node) && context.program("npm").is_none();
    let needs_node = needs_npm && !has(Component::Node);
    if needs_node && !components.contains(&Component::Node) {
        components.insert(0, Component::Node);
    }
    let needs_pip = registries.contains(&Registry::Python) || needs_npm;
    if needs_pip && !has(Component::Python) && !components.contains(&Component::Python) {
        components.push(Component::Python);
    }
    // First what the others are downloaded with.
    components.sort_by_key(|component| match component {
        Component::Python => 0,
        Component::Node => 1,
        _ => 2,
    });
    components
}

/// Returns the registries of the packages that are not downloaded yet.
fn to_download(context: &Context, component: Component) -> Vec<Registry> {
    let downloads = Downloads::of(component, &context.tools_dir);
    let is_there = |found| matches!(found, Ok(Some(_)));
    let pins = component.pins().iter();
    pins.filter(|pin| !is_there(downloads.find(&pin.package(), None)))
        .map(|pin| pin.registry)
        .collect()
}

fn of_needs(context: &Context, needs: &Needs) -> Vec<Component> {
    let (renderers, _) = locate(context);
    let has = |component: Component| component.path(context).is_some();
    let mut components = Vec::new();
    let has_kernel = renderers.kernels.specs.contains_key("python3");
    if (needs.html && renderers.html.is_none()) || (needs.python_kernel && !has_kernel) {
        components.push(Component::Python);
    }
    if needs.typescript_kernel && !renderers.kernels.specs.contains_key("deno") {
        components.push(Component::Deno);
    }
    if needs.plantuml && renderers.plantuml.is_none() {
        if context.var("PLANTUML_JAR").is_none() && !has(Component::Plantuml) {
            components.push(Component::Plantuml);
        }
        let needs_java = !super::locate::has_java(context);
        if needs_java {
            components.push(Component::Java);
        }
    }
    // Checked even if PlantUML was found: PlantUML works without Graphviz, which only Graphviz diagrams need.
    if needs.plantuml
        && HAS_GRAPHVIZ
        && context.program("dot").is_none()
        && !has(Component::Graphviz)
    {
        components.push(Component::Graphviz);
    }
    let is_browser = matches!(
        renderers.drawio,
        Some(crate::worker::renderers::DrawioTool::Browser { .. })
    );
    if needs.drawio && !is_browser && context.var("DRAWIO_EXECUTABLE").is_none() {
        if !has(Component::Drawio) {
            components.push(Component::Drawio);
        }
        if !has(Component::Chromium) && system_browser(context).is_none() {
            components.push(Component::Chromium);
        }
    }
    // On other systems the browser uses the system's fonts and no fontconfig.
    let is_desktop = context.var("DRAWIO_EXECUTABLE").is_some() && !is_browser;
    if needs.drawio && cfg!(target_os = "linux") && !is_desktop && !has(Component::Fonts) {
        components.push(Component::Fonts);
    }
    components
}
