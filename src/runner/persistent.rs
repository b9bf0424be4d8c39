//! Many actions in one process, by Bazel's protocol for persistent workers.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::farm::order::{Answer, COURSE, ORDER, OUT, Refusal};

use super::renderers;
use super::slot::{Slot, told};
use super::wire::{WorkRequest, WorkResponse, read, write};

/// Answers requests until the input ends. Their directories are below `dir`.
///
/// # Errors
///
/// Why the slot cannot be made, or the messages not be read or written.
pub(crate) async fn persistent(
    dir: &Path,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let own = tempfile::tempdir()?;
    let slot = Slot::new(
        &own.path().join("slot"),
        &own.path().join("run"),
        renderers(),
    )?;
    let mut next = read::<WorkRequest>(&mut input).await?;
    while let Some(request) = next {
        if request.cancel {
            // What it names has ended.
            next = read(&mut input).await?;
            continue;
        }
        let cancel = CancellationToken::new();
        let working = work(&slot, dir.join(&request.sandbox_dir), cancel.clone());
        tokio::pin!(working);
        let mut following = None;
        let answer = tokio::select! {
            answer = &mut working => answer,
            message = read::<WorkRequest>(&mut input) => {
                let message = message?;
                let ends_it = message.as_ref().is_none_or(|message| {
                    message.cancel && message.request_id == request.request_id
                });
                if ends_it {
                    cancel.cancel();
                }
                following = Some(message);
                working.await
            }
        };
        let response = WorkResponse {
            exit_code: answer.exit_code(),
            output: told(&answer),
            request_id: request.request_id,
            was_cancelled: cancel.is_cancelled(),
        };
        write(&mut output, &response).await?;
        next = match following {
            Some(message) => message,
            None => read(&mut input).await?,
        };
    }
    slot.shutdown().await;
    Ok(())
}

/// Runs the action in `dir`, and writes its result there.
async fn work(slot: &Slot, dir: PathBuf, cancel: CancellationToken) -> Answer {
    let failed = |error: io::Error| {
        Answer::Refused(Refusal::accident(format!(
            "the files of the action in `{}` cannot be used: {error}",
            dir.display()
        )))
    };
    let taken = slot.clear().and_then(|()| {
        std::fs::copy(dir.join(ORDER), slot.root().join(ORDER))?;
        copy_all(&dir.join(COURSE), &slot.root().join(COURSE))
    });
    if let Err(error) = taken {
        return failed(error);
    }
    let answer = slot.run(cancel).await;
    match copy_all(&slot.root().join(OUT), &dir.join(OUT)) {
        Ok(()) => answer,
        Err(error) => failed(error),
    }
}

/// Copies a directory and everything in it. One that does not exist is empty. Permissions are retained; links are followed,
/// as farms put links to their storage into the directory of an action.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match source.is_dir() {
            true => copy_all(&source, &target)?,
            false => drop(std::fs::copy(&source, &target)?),
        }
    }
    Ok(())
}
