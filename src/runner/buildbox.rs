//! The calling convention of `buildbox-run`: the program is given an action in a file and the address of a storage, and
//! writes the result into another file.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::protobuf::Timestamp;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use crate::farm::order::{Answer, OUT};
use crate::farm::tree::{Blob, digest_of};
use crate::owner::Owner;
use crate::remote::{Connection, Credentials, FarmAddress};
use crate::worker::request::OutcomeStatus;

use super::slot::{Slot, told};

/// How long the storage, which is on the same machine or near, may take to answer.
const WAIT: Duration = Duration::from_secs(60);
/// The largest input root, in files and directories.
const MOST: usize = 100_000;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Job {
    /// The storage.
    pub remote: String,
    /// Its instance.
    pub instance: String,
    /// The file with the action.
    pub action: PathBuf,
    /// The file for the result.
    pub result: PathBuf,
}

impl Job {
    /// Returns what the arguments say. Others are ignored: they concern programs that isolate an action.
    ///
    /// # Errors
    ///
    /// Which one is missing.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let value = |name: &str| {
            let mut values = arguments.iter();
            values.find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))
        };
        let needed = |name: &str| {
            let value = value(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("the argument `{name}=` is missing"))
        };
        if let Some(function) = value("--digest-function")
            && function != "SHA256"
        {
            return Err(format!("the storage uses {function}, and clm uses SHA256"));
        }
        Ok(Self {
            remote: needed("--remote")?.to_owned(),
            instance: value("--instance").unwrap_or_default().to_owned(),
            action: needed("--action")?.into(),
            result: needed("--action-result")?.into(),
        })
    }

    /// Returns the connection to the storage.
    pub(super) fn connection(&self) -> Result<Connection, String> {
        let (authority, is_secure) = match self.remote.split_once("://") {
            Some(("http" | "grpc", rest)) => (rest.trim_end_matches('/'), false),
            Some(("https" | "grpcs", rest)) => (rest.trim_end_matches('/'), true),
            _ if self.remote.starts_with("unix:") => (&*self.remote, false),
            _ => return Err(format!("`{}` is no address of a storage", self.remote)),
        };
        let address = FarmAddress {
            authority: authority.to_owned(),
            is_secure,
            instance: self.instance.clone(),
        };
        Connection::new(&address, &Credentials::default(), WAIT).map_err(|error| error.to_string())
    }
}

/// Runs an action in a slot. Returns its result, as a message.
///
/// # Errors
///
/// Why there is no result: the farm must not take that for one of the action.
pub(super) async fn run(
    slot: &Slot,
    connection: &Connection,
    action: &[u8],
    cancel: CancellationToken,
) -> Result<Vec<u8>, String> {
    let began = SystemTime::now();
    let action = api::Action::decode(action).map_err(|error| format!("no action: {error}"))?;
    let remote = |status: tonic::Status| format!("the storage: {}", connection.failure(&status));
    let digests = [action.command_digest, action.input_root_digest];
    let [Some(command), Some(root)] = digests else {
        return Err("the action names no command or no input root".to_owned());
    };
    let command = connection.files(&[command]).await.map_err(remote)?;
    let command =
        api::Command::decode(&*command.concat()).map_err(|error| format!("no command: {error}"))?;
    if !is_ours(&command.arguments) {
        return Err(format!(
            "this worker runs `clm runner` only, and not `{}`",
            command.arguments.join(" ")
        ));
    }
    slot.clear()
        .map_err(|error| format!("the directory of the action: {error}"))?;
    stage(connection, root, slot.root()).await?;
    let staged = SystemTime::now();
    let answer = slot.run(cancel).await;
    if let Answer::Made(made) = &answer
        && made.status == OutcomeStatus::Cancelled
    {
        return Err("cancelled".to_owned());
    }
    let done = SystemTime::now();
    let mut files = Vec::new();
    for path in command.output_paths {
        // Only what an order can ask for.
        if Path::new(&path).parent() != Some(Path::new(OUT)) {
            continue;
        }
        match std::fs::read(slot.root().join(&path)) {
            Ok(bytes) => files.push((path, Blob::new(bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("the output `{path}`: {error}")),
        }
    }
    let blobs: Vec<_> = files
        .iter()
        .map(|(_, blob)| (&blob.digest, &*blob.bytes))
        .collect();
    connection.send_all(&blobs).await.map_err(remote)?;
    let files = files.into_iter().map(|(path, blob)| api::OutputFile {
        path,
        digest: Some(blob.digest),
        ..Default::default()
    });
    let result = api::ActionResult {
        output_files: files.collect(),
        exit_code: answer.exit_code(),
        stderr_raw: told(&answer).into_bytes(),
        execution_metadata: Some(api::ExecutedActionMetadata {
            worker: Owner::current().host_name().to_owned(),
            worker_start_timestamp: Some(timestamp(began)),
            execution_start_timestamp: Some(timestamp(staged)),
            execution_completed_timestamp: Some(timestamp(done)),
            worker_completed_timestamp: Some(timestamp(SystemTime::now())),
            ..Default::default()
        }),
        ..Default::default()
    };
    Ok(result.encode_to_vec())
}

/// Returns whether the storage has the files of a result.
pub(super) async fn is_whole(connection: &Connection, result: &[u8]) -> bool {
    let Ok(result) = api::ActionResult::decode(result) else {
        return false;
    };
    let files = result.output_files.into_iter();
    let missing = connection
        .missing(files.filter_map(|file| file.digest).collect())
        .await;
    missing.is_ok_and(|missing| missing.is_empty())
}

/// Returns whether these are the arguments of a farm's action of clm.
fn is_ours(arguments: &[String]) -> bool {
    matches!(arguments, [_, runner, _, params] if runner == "runner" && params.starts_with('@'))
}

/// Writes an input root into a directory.
async fn stage(connection: &Connection, root: api::Digest, dir: &Path) -> Result<(), String> {
    let remote = |status: tonic::Status| format!("the storage: {}", connection.failure(&status));
    let local = |error: std::io::Error| format!("the input root: {error}");
    let mut dirs = vec![(root, dir.to_owned())];
    let mut files = Vec::new();
    let mut count = 0;
    while !dirs.is_empty() {
        let digests: Vec<api::Digest> = dirs.iter().map(|(digest, _)| digest.clone()).collect();
        let messages = connection.files(&digests).await.map_err(remote)?;
        let mut below = Vec::new();
        for ((_, path), bytes) in dirs.into_iter().zip(messages) {
            let directory = api::Directory::decode(&*bytes)
                .map_err(|error| format!("a directory of the input root: {error}"))?;
            std::fs::create_dir_all(&path).map_err(local)?;
            for node in directory.directories {
                below.push((
                    node.digest.unwrap_or_default(),
                    path.join(plain(&node.name)?),
                ));
            }
            for node in directory.files {
                let target = path.join(plain(&node.name)?);
                files.push((node.digest.unwrap_or_default(), target, node.is_executable));
            }
            if !directory.symlinks.is_empty() {
                return Err("the input root has symbolic links".to_owned());
            }
        }
        count += below.len();
        if count + files.len() > MOST {
            return Err(format!("the input root has more than {MOST} entries"));
        }
        dirs = below;
    }
    let digests: Vec<api::Digest> = files.iter().map(|(digest, ..)| digest.clone()).collect();
    let contents = connection.files(&digests).await.map_err(remote)?;
    for ((digest, path, is_executable), bytes) in files.into_iter().zip(contents) {
        if digest_of(&bytes).hash != digest.hash {
            return Err("the storage has other bytes than the name of a file says".to_owned());
        }
        write(&path, &bytes, is_executable).map_err(local)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], is_executable: bool) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes)?;
    match is_executable {
        true => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)),
        false => Ok(()),
    }
}

/// Checks the name of an entry of a directory.
fn plain(name: &str) -> Result<&str, String> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name => Ok(name),
        _ => Err(format!("`{name}` is no name of a file of the input root")),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or_default(),
        nanos: since.subsec_nanos() as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(arguments: &[&str]) -> Result<Job, String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        Job::parse(&arguments)
    }

    #[test]
    fn arguments_of_the_convention_are_understood() {
        let all = [
            "--remote=http://127.0.0.1:1",
            "--retry-limit=4",
            "--ra-remote=http://other",
            "--action=/tmp/a.action",
            "--action-result=/tmp/a.result",
            "--stdout-file=/tmp/a.out",
            "--digest-function=SHA256",
        ];
        let found = job(&all).unwrap();
        assert_eq!(found.remote, "http://127.0.0.1:1");
        assert_eq!(found.result, Path::new("/tmp/a.result"));
        assert_eq!(found.instance, "");
        for missing in [0, 3, 4] {
            let mut fewer = all.to_vec();
            fewer.remove(missing);
            assert!(job(&fewer).is_err(), "{}", all[missing]);
        }
        let mut other = all.to_vec();
        other.push("--digest-function=BLAKE3");
        other.remove(6);
        assert!(job(&other).unwrap_err().contains("BLAKE3"));
    }

    #[test]
    fn names_of_entries_do_not_leave_the_input_root() {
        assert_eq!(plain("a b.py"), Ok("a b.py"));
        for name in ["", ".", "..", "/", "/etc", "a/b", "../a", "a/"] {
            assert!(plain(name).is_err(), "{name}");
        }
    }
}
