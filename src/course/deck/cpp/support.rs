//! Headers that exported programs include and that no compiler has.

/// A header that goes beside the programs that include it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportHeader {
    /// Its path as programs include it.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Our headers.
pub const SUPPORT_HEADERS: [SupportHeader; 2] = [
    SupportHeader {
        path: super::program::DISPLAY_HEADER,
        text: include_str!("include/display.hpp"),
    },
    SupportHeader {
        path: "xcpp/xdisplay.hpp",
        text: include_str!("include/xdisplay.hpp"),
    },
];
