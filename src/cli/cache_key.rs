//! `clm cache key`: what the cache step of a pipeline needs.

use std::path::{Component, Path, PathBuf};

use clap::Args;

use crate::engine::CacheKey;
use crate::error::Result;
use crate::ui;

use super::session::{self, CourseArgs};

/// What ends a value of several lines in the files of GitHub's workflows.
const END: &str = "END_OF_KEYS";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm cache key\n\
    \x20 clm cache key --github  lines for the file of a step")]
pub(super) struct KeyArgs {
    #[command(flatten)]
    course: CourseArgs,
    /// Print lines for the file `$GITHUB_OUTPUT` of a workflow
    #[arg(long, conflicts_with = "json")]
    github: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &KeyArgs) -> Result<u8> {
    let mut key = args.course.course()?.cache_key()?;
    key.path = relative(&session::current_dir()?, &key.path);
    let text = match (args.json, args.github) {
        (true, _) => serde_json::to_string_pretty(&key).unwrap_or_default() + "\n",
        (_, true) => for_github(&key),
        _ => lines(&key),
    };
    ui::data(&text);
    Ok(0)
}

fn lines(key: &CacheKey) -> String {
    let restore = key.restore_keys.iter();
    let restore: String = restore
        .map(|prefix| format!("restore-keys={prefix}\n"))
        .collect();
    format!("key={}\n{restore}path={}\n", key.key, key.path.display())
}

/// Returns the same with all older names as one value: of several lines with one name, GitHub uses the last one.
fn for_github(key: &CacheKey) -> String {
    format!(
        "key={}\nrestore-keys<<{END}\n{}\n{END}\npath={}\n",
        key.key,
        key.restore_keys.join("\n"),
        key.path.display()
    )
}

/// Returns a path relative to a directory: caches of pipelines depend on the text of the path, and checkouts lie in
/// different directories. Paths that have only the root in common stay as they are.
fn relative(dir: &Path, path: &Path) -> PathBuf {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let common = dir
        .ancestors()
        .find(|ancestor| path.starts_with(ancestor) && ancestor.parent().is_some());
    let Some(common) = common else {
        return path.to_owned();
    };
    let below = |path: &Path| path.strip_prefix(common).unwrap_or(path).to_owned();
    let up = below(&dir).components().count();
    let up = std::iter::repeat_n(Component::ParentDir, up);
    up.chain(below(path).components()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_same_in_every_checkout() {
        let of = |dir: &str, path: &str| relative(Path::new(dir), Path::new(path));
        for root in ["/none/a", "/none/b/c"] {
            let state = format!("{root}/course/.clm");
            assert_eq!(of(root, &state), Path::new("course/.clm"));
            assert_eq!(of(&format!("{root}/course"), &state), Path::new(".clm"));
            let specs = format!("{root}/course/course-specs");
            assert_eq!(of(&specs, &state), Path::new("../.clm"));
        }
        assert_eq!(of("/none/a", "/var/clm"), Path::new("/var/clm"));
        assert_eq!(of("/none/a", "state"), Path::new("state"));
    }
}
