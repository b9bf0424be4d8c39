//! The licences of everything that clm installs.

use super::install::Component;

/// The licences of the packages of the Python environment.
const REQUIREMENTS: &str = include_str!("requirements.licences");

/// A package that clm installs, and its licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Licence {
    /// The component that it belongs to.
    pub component: &'static str,
    /// Its name in its registry.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its licence, as its metadata has it.
    pub licence: &'static str,
}

/// Returns the licences of all packages, by component. Of the Python environment all packages are listed, although each
/// Python needs only some.
pub(crate) fn all() -> Vec<Licence> {
    let mut all = Vec::new();
    for component in Component::ALL {
        all.extend(component.pins().iter().map(|pin| Licence {
            component: component.name(),
            name: pin.name,
            version: pin.version,
            licence: pin.licence,
        }));
        if component == Component::Python {
            all.extend(requirements());
        }
    }
    all
}

fn requirements() -> impl Iterator<Item = Licence> {
    REQUIREMENTS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            let (version, licence) = rest.split_once(' ')?;
            Some(Licence {
                component: Component::Python.name(),
                name,
                version,
                licence,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::requirements;

    #[test]
    fn everything_that_is_installed_has_a_licence() {
        let listed: Vec<(&str, &str)> = super::requirements()
            .map(|licence| (licence.name, licence.version))
            .collect();
        let locked: Vec<(&str, &str)> = requirements::all()
            .iter()
            .map(|entry| (entry.name, entry.version))
            .collect();
        assert_eq!(listed, locked);
        let all = all();
        for component in Component::ALL {
            let of = all
                .iter()
                .filter(|entry| entry.component == component.name());
            assert!(of.count() >= component.pins().len().max(1) || component == Component::Deno);
        }
        assert!(all.iter().all(|entry| !entry.licence.is_empty()));
    }
}
