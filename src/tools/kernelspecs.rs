//! Installed kernels, found by their kernelspecs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::digest::Digest;
use crate::files;
use crate::worker::renderers::KernelSpec;

use super::Context;

#[derive(Deserialize)]
struct KernelJson {
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    interrupt_mode: String,
}

/// Returns all kernelspecs on the machine by name; earlier directories take precedence.
pub(super) fn find(context: &Context, environments: &[PathBuf]) -> BTreeMap<String, KernelSpec> {
    let mut specs = BTreeMap::new();
    for dir in data_dirs(context, environments) {
        let Ok(entries) = std::fs::read_dir(dir.join("kernels")) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            let Ok(text) = files::read(&entry.path().join("kernel.json")) else {
                continue;
            };
            match serde_json::from_slice::<KernelJson>(&text) {
                Ok(json) => {
                    let spec = spec(json, &text, &entry.path());
                    specs.entry(name).or_insert(spec);
                }
                Err(error) => tracing::warn!(%name, %error, "the kernelspec cannot be read"),
            }
        }
    }
    specs
}

fn spec(json: KernelJson, text: &[u8], dir: &std::path::Path) -> KernelSpec {
    let resources = dir.display().to_string();
    KernelSpec {
        argv: json
            .argv
            .iter()
            .map(|argument| argument.replace("{resource_dir}", &resources))
            .collect(),
        env: json.env,
        interrupt_by_message: json.interrupt_mode == "message",
        fingerprint: format!("kernelspec {}", Digest::of(text).short()),
    }
}

/// Returns the data directories of Jupyter, in its order.
fn data_dirs(context: &Context, environments: &[PathBuf]) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Some(path) = context.var("JUPYTER_PATH") {
        dirs.extend(std::env::split_paths(path));
    }
    dirs.extend(environments.iter().map(|base| base.join("share/jupyter")));
    if let Some(data) = context.var("JUPYTER_DATA_DIR") {
        dirs.push(PathBuf::from(data));
    } else if let Some(home) = context.var("HOME") {
        let home = PathBuf::from(home);
        dirs.push(home.join(".local/share/jupyter"));
        dirs.push(home.join("Library/Jupyter"));
    }
    dirs.push(PathBuf::from("/usr/local/share/jupyter"));
    dirs.push(PathBuf::from("/usr/share/jupyter"));
    dirs
}
