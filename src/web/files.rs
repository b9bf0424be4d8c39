//! Access to the files of outputs: they are opened without leaving their directory, and have a content type and a
//! version.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::digest::Stamp;

/// An open file that may be sent.
pub(super) struct Opened {
    /// The file.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// A text that changes when the content changes.
    pub version: String,
}

/// Opens a regular file in a directory. Symbolic links are followed. Returns `None` if there is no such file or it lies
/// outside of the directory.
pub(super) fn open(path: &Path, root: &Path) -> Option<Opened> {
    try_open(path, root).ok().flatten()
}

fn try_open(path: &Path, root: &Path) -> io::Result<Option<Opened>> {
    let real = path.canonicalize()?;
    if !real.starts_with(root.canonicalize()?) {
        tracing::warn!(path = %path.display(), "an output leads out of its target's directory, and is not shown");
        return Ok(None);
    }
    // A link that has replaced the file since then is not followed, and opening a pipe does not block.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(real)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let stamp = Stamp::of(&metadata);
    Ok(Some(Opened {
        file,
        size: stamp.size,
        version: format!(
            "{:x}-{:x}-{:x}-{:x}-{:x}",
            stamp.mtime_ns, stamp.ctime_ns, stamp.size, stamp.inode, stamp.device
        ),
    }))
}

/// Returns the content type for the name of a file. Source code is shown as text, notebooks as JSON.
pub(super) fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "ipynb" | "geojson" => "application/json; charset=utf-8",
        "xml" | "drawio" => "application/xml; charset=utf-8",
        "txt" | "md" | "csv" | "tsv" | "py" | "cpp" | "c" | "h" | "hpp" | "cs" | "java" | "ts"
        | "toml" | "yaml" | "yml" | "ini" | "cfg" | "sh" | "sql" | "pu" | "puml" | "iuml"
        | "cmake" | "rs" | "log" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "ico" => "image/x-icon",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "wasm" => "application/wasm",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("out");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("sub/page"), "p").unwrap();
        symlink(dir.path().join("secret"), root.join("leak")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        symlink("sub/page", root.join("inside")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let opens = |name: &str| open(&root.join(name), &root).is_some();
        assert!(opens("sub/page") && opens("inside"));
        for bad in ["leak", "up/secret", "pipe", "sub", "missing", "../secret"] {
            assert!(!opens(bad), "{bad}");
        }
        // The directory itself may be a link, since the author chooses where outputs are stored.
        let other = dir.path().join("elsewhere");
        symlink(&root, &other).unwrap();
        assert!(open(&other.join("sub/page"), &other).is_some());
    }

    #[test]
    fn versions_follow_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let version = || open(&file, dir.path()).unwrap().version;
        std::fs::write(&file, "1").unwrap();
        let first = version();
        assert_eq!(first, version());
        std::fs::write(&file, "12").unwrap();
        assert_ne!(first, version());
    }

    #[test]
    fn types() {
        assert_eq!(content_type("a/b.HTML"), "text/html; charset=utf-8");
        assert_eq!(content_type("a.html/b"), "application/octet-stream");
        assert_eq!(content_type("deck.ts"), "text/plain; charset=utf-8");
    }
}
