//! The location of installed renderers.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::env;

/// Returns the directory of installed renderers: `CLM_TOOLS_DIR`, or one in the user's data directory.
pub(super) fn tools_dir(variables: &HashMap<OsString, OsString>) -> PathBuf {
    let var = |name: &str| {
        variables
            .get(&OsString::from(name))
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    var(env::TOOLS_DIR)
        .or_else(|| var("XDG_DATA_HOME").map(|data| data.join("clm/tools")))
        .or_else(|| var("HOME").map(|home| home.join(".local/share/clm/tools")))
        .unwrap_or_else(|| std::env::temp_dir().join("clm-tools"))
}

/// Returns whether a file exists and is executable.
pub(super) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
