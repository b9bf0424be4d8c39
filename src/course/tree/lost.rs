//! Which links of a folder's notebooks are worth a warning if they lead nowhere.

use crate::course::RelPath;
use crate::course::deck::plain::Link;
use crate::diagnostic::Diagnostic;

use super::Listing;
use super::folder::may_be_source;

/// The extensions of pages and pictures; those of notebooks and diagrams are known elsewhere.
const SHOWN: [&str; 11] = [
    "avif", "bmp", "gif", "htm", "html", "jpeg", "jpg", "pdf", "png", "svg", "webp",
];

/// Texts of which site generators make pages.
const TEXTS: [&str; 6] = ["md", "rst", "adoc", "txt", "ipynb", "markdown"];

/// Pages that site generators make of nothing.
const GENERATED: [&str; 6] = [
    "genindex",
    "modindex",
    "py-modindex",
    "search",
    "404",
    "tags",
];

/// Returns the warning about a link that leads to no file of the folder; `path` is what it names, or `None` if it leads
/// out of the folder. Links of which a site generator may know more are not reported.
pub(super) fn warning(
    listing: &Listing,
    from: &RelPath,
    link: &Link,
    path: Option<&RelPath>,
) -> Option<Diagnostic> {
    let Link {
        url,
        is_shown,
        cell,
        line,
    } = link;
    let (message, hint) = match is_shown {
        true => (
            format!("`{url}` does not exist, but is shown here"),
            "images are looked for relative to their notebook, below the folder",
        ),
        false => {
            let is_expected = path.is_some_and(|path| is_of_folder(listing, path));
            if !is_expected || url.contains(['{', '}', '$']) {
                return None;
            }
            (
                format!("the link `{url}` leads to no file of the folder"),
                "links are relative to their notebook; what is excluded or ignored is not in the folder",
            )
        }
    };
    let warning = Diagnostic::warning(message).at(from.as_str(), *line);
    Some(warning.cell(*cell).hint(hint))
}

/// Returns whether a path is one of a notebook, a page or a picture that only the folder could have.
fn is_of_folder(listing: &Listing, path: &RelPath) -> bool {
    let extension = path.extension().to_ascii_lowercase();
    if !may_be_source(path) && !SHOWN.contains(&extension.as_str()) {
        // A label, a directory with an index, or a page without its extension.
        return false;
    }
    let is_page = matches!(extension.as_str(), "htm" | "html");
    let stem = path.as_str().rsplit_once('.').map_or("", |(stem, _)| stem);
    let may_be_made = || {
        let texts = TEXTS.iter();
        let mut texts = texts.filter_map(|end| RelPath::new(&format!("{stem}.{end}")).ok());
        GENERATED.contains(&path.stem()) || texts.any(|text| listing.files.contains(&text))
    };
    !(is_page && may_be_made())
}
