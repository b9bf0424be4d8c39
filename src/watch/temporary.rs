//! The names of temporary files of editors and tools, and of files that exist only while another file is open.

/// Returns whether a file of this name is a lock, swap, backup or partially written file of an editor or a tool. Such a
/// file is no source: authors do not use such names, and its contents get their real name by a rename.
pub(crate) fn is_temporary(name: &str) -> bool {
    is_lock_or_swap(name) || is_half_written(name) || is_of_the_desktop(name)
}

fn is_lock_or_swap(name: &str) -> bool {
    let is_hidden = name.starts_with('.');
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    // Vim: `.a.py.swp`, and `.swo`, `.swn`… when several are open.
    let is_vim_swap = is_hidden
        && extension.len() == 3
        && extension.starts_with("sw")
        && extension.ends_with(|last: char| last.is_ascii_lowercase());
    is_vim_swap
        // Emacs locks and LibreOffice locks.
        || name.starts_with(".#")
        || name.starts_with(".~lock.")
        // Jupyter writes `.~a.ipynb` and renames it.
        || name.starts_with(".~")
        // Office owner files.
        || name.starts_with("~$")
        || (is_hidden && (extension == "kate-swp" || name.contains(".kak.")))
        // Emacs autosaves.
        || (name.len() > 2 && name.starts_with('#') && name.ends_with('#'))
        // Backups and undo files of Vim, Emacs, Kate, gedit and others.
        || (name.len() > 1 && name.ends_with('~'))
}

fn is_half_written(name: &str) -> bool {
    // Vim tests whether a directory is writable with a file `4913`, then 5036, 5159…
    let is_vim_probe = name
        .parse::<u32>()
        .is_ok_and(|number| (4913..=10_000).contains(&number) && (number - 4913) % 123 == 0);
    is_vim_probe
        || name.ends_with("___jb_tmp___")
        || name.ends_with("___jb_old___")
        || name.to_ascii_lowercase().ends_with(".tmp")
        || name.ends_with(".vsctmp")
        || name.ends_with(".crswap")
        || (name.starts_with('.') && name.ends_with(".bck"))
        || name.starts_with(".goutputstream-")
        || random_suffix(name, "sed")
        // clm's own, beside an output on another file system than the state directory.
        || random_suffix(name, ".clm-")
        // A file that was removed while it was open.
        || name.starts_with(".nfs0")
        || name.starts_with(".fuse_hidden")
}

fn is_of_the_desktop(name: &str) -> bool {
    matches!(name, ".DS_Store" | "Thumbs.db" | ".directory")
}

/// Returns whether `prefix` is followed by six random letters and digits. Six lower-case letters are taken for a word
/// (`sediment` has five, but others have six): a needless check is better than a lost change.
fn random_suffix(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == 6
            && rest.chars().all(|c| c.is_ascii_alphanumeric())
            && !rest.chars().all(|c| c.is_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_leave_no_trace() {
        for name in [
            ".slides_a.py.swp",
            ".slides_a.py.swo",
            ".slides_a.py.swx",
            "4913",
            "5036",
            "slides_a.py~",
            ".slides_a.py.un~",
            ".#slides_a.py",
            "#slides_a.py#",
            "slides_a.py___jb_tmp___",
            "slides_a.py___jb_old___",
            "sedAb3xYz",
            "a.tmp",
            "A.TMP",
            ".~lock.a.odt#",
            "~$a.docx",
            ".~slides_a.ipynb",
            ".slides_a.py.kate-swp",
            ".slides_a.py.kak.x1Y2z3",
            ".goutputstream-1ABC2Z",
            ".clm-a1B2c3",
            ".DS_Store",
            ".nfs000000000123",
        ] {
            assert!(is_temporary(name), "{name}");
        }
    }

    #[test]
    fn sources_are_no_temporary_files() {
        for name in [
            "slides_a.py",
            "sed.txt",
            "sediment",
            "sediments",
            "4914",
            "4913.py",
            "05036x",
            "swap.swp",
            ".env",
            ".gitignore",
            ".clmignore",
            ".clm-include",
            "tmp",
            "tmp.py",
            "#",
            "~",
            "c#",
            "a.swf",
        ] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
