//! Sizes: of what is downloaded, and of what is installed.

use std::path::Path;

use super::install::Component;
use super::pins;

impl Component {
    /// Returns the bytes of its download.
    pub(super) fn download_bytes(self) -> u64 {
        match self {
            Self::Python => pins::REQUIREMENTS_BYTES,
            _ => self.pins().iter().map(|pin| pin.bytes).sum(),
        }
    }

    /// Returns the bytes that it takes on disk: the sum of its files, as `clm setup --dry-run` shows them after an
    /// installation of everything on Linux, x86-64, with Python 3.11. On other platforms it is about the same.
    pub(super) fn disk_bytes(self) -> u64 {
        match self {
            Self::Python => 361_000_000,
            Self::Plantuml => 29_900_000,
            Self::Graphviz => 13_500_000,
            Self::Java => 105_000_000,
            Self::Drawio => 50_200_000,
            Self::Fonts => 46_200_000,
            Self::Chromium => 220_500_000,
            Self::Deno => 95_600_000,
            Self::Node => 197_800_000,
        }
    }
}

/// Returns the sum of the sizes of all files below a directory. Links are not followed.
pub(super) fn of_tree(dir: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += match metadata.is_dir() {
            true => of_tree(&entry.path()),
            false if metadata.is_file() => metadata.len(),
            false => 0,
        };
    }
    bytes
}

/// Formats a number of bytes in megabytes.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_has_sizes_that_are_possible() {
        for component in Component::ALL {
            let (download, disk) = (component.download_bytes(), component.disk_bytes());
            // There are platforms without Deno.
            assert!(download > 1_000_000 || component == Component::Deno);
            // What is left out of a package does not outweigh what is unpacked, and nothing is packed that well.
            assert!(disk > download / 3, "{}: {disk}", component.name());
            assert!(disk < 10 * download.max(40_000_000), "{}", component.name());
        }
        assert_eq!(megabytes(28_362_665), "28.4 MB");
    }

    #[test]
    fn the_size_of_a_directory_is_that_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a"), "abc").unwrap();
        std::fs::write(dir.path().join("b"), "de").unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        assert_eq!(of_tree(dir.path()), 5);
        assert_eq!(of_tree(&dir.path().join("none")), 0);
    }
}
