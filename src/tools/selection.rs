//! What is to be installed: the renderers that somebody needs, or parts by their names.

use super::Needs;
use super::install::Component;
use super::locate::{HAS_CHROMIUM, HAS_GRAPHVIZ};

/// The names of everything that can be installed.
pub(crate) const NAMES: [&str; 9] = [
    "python", "plantuml", "graphviz", "java", "drawio", "fonts", "chromium", "deno", "node",
];

/// What is to be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Renderers, with all that they need on this machine.
    pub needs: Needs,
    /// Components for themselves, also where the system has its own.
    pub(super) parts: Vec<Component>,
}

impl From<Needs> for Selection {
    fn from(needs: Needs) -> Self {
        Self {
            needs,
            parts: Vec::new(),
        }
    }
}

impl Selection {
    /// Returns the selection of these names. The name of a renderer stands for all that it needs.
    pub(crate) fn of_names(names: &[String]) -> Self {
        let mut selection = Self::default();
        for component in components(names) {
            let needs = &mut selection.needs;
            match component {
                Component::Python => {
                    needs.html = true;
                    needs.python_kernel = true;
                }
                Component::Deno => needs.typescript_kernel = true,
                Component::Plantuml => needs.plantuml = true,
                Component::Drawio => needs.drawio = true,
                Component::Graphviz
                | Component::Java
                | Component::Fonts
                | Component::Chromium
                | Component::Node => selection.parts.push(component),
            }
        }
        selection
    }

    /// Returns all components that it consists of on a machine that has nothing, in the order of their installation.
    /// What is not available for this system is left out.
    pub(super) fn components(&self) -> Vec<Component> {
        let needs = &self.needs;
        let is_linux = cfg!(target_os = "linux");
        let of_needs = [
            (needs.html || needs.python_kernel, Component::Python),
            (needs.typescript_kernel, Component::Deno),
            (needs.plantuml, Component::Plantuml),
            (needs.plantuml, Component::Java),
            (needs.plantuml, Component::Graphviz),
            (needs.drawio, Component::Drawio),
            (needs.drawio, Component::Chromium),
            (needs.drawio && is_linux, Component::Fonts),
        ];
        let of_needs = of_needs.into_iter().filter(|(is_needed, _)| *is_needed);
        let mut all: Vec<Component> = of_needs.map(|(_, component)| component).collect();
        for part in &self.parts {
            if !all.contains(part) {
                all.push(*part);
            }
        }
        all.retain(|component| component.is_available());
        all
    }
}

impl Component {
    /// Returns whether there is a package for this system.
    pub(super) fn is_available(self) -> bool {
        match self {
            Self::Chromium => HAS_CHROMIUM,
            Self::Graphviz => HAS_GRAPHVIZ,
            Self::Python => true,
            _ => !self.pins().is_empty(),
        }
    }
}

/// Returns the components of these names, each once.
pub(super) fn components(names: &[String]) -> Vec<Component> {
    let mut all = Vec::new();
    for component in Component::ALL {
        if names.iter().any(|name| name == component.name()) {
            all.push(component);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_can_be_named() {
        assert_eq!(Component::ALL.map(Component::name), NAMES);
        let all: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(components(&all), Component::ALL);
    }

    #[test]
    fn a_renderer_stands_for_all_that_it_needs_and_a_part_for_itself() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Selection::of_names(&names)
        };
        assert_eq!(of(&["java"]).components(), [Component::Java]);
        assert_eq!(of(&["java"]).needs, Needs::default());
        let plantuml = of(&["plantuml", "java"]).components();
        assert_eq!(plantuml[..2], [Component::Plantuml, Component::Java]);
        assert_eq!(plantuml.len(), 2 + usize::from(HAS_GRAPHVIZ));
        let everything = of(&["python", "deno", "plantuml", "drawio"]);
        assert_eq!(everything.needs, Needs::everything());
        assert!(!everything.components().contains(&Component::Node));
    }
}
