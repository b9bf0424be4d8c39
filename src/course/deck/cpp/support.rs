//! Headers for exported programs that are not part of any compiler.

/// A header that is written beside the programs that include it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SupportHeader {
    /// Its path in `#include` lines.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The headers that clm bundles.
pub(crate) const SUPPORT_HEADERS: [SupportHeader; 2] = [
    SupportHeader {
        path: super::program::DISPLAY_HEADER,
        text: include_str!("include/display.hpp"),
    },
    SupportHeader {
        path: "xcpp/xdisplay.hpp",
        text: include_str!("include/xdisplay.hpp"),
    },
];
