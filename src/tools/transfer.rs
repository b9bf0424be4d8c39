//! One package over HTTP, into a directory of downloads.

use std::path::PathBuf;

use crate::error::{Dir, Error, Result, hint_in_text};

use super::downloads::Downloads;
use super::http::{self, Failure, Http};
use super::package::Package;

/// Downloads the file of a package, or the rest of it, and checks it. `progress` is called with the bytes that are here.
pub(super) fn fetch(
    http: &Http,
    url: &str,
    name: &str,
    package: &Package<'_>,
    to: &Downloads,
    progress: &mut dyn FnMut(u64),
) -> Result<PathBuf, TransferError> {
    let place = to.dir().join(name);
    loop {
        let (part, is_continued) = http
            .fetch(url, &place, progress)
            .map_err(TransferError::Failed)?;
        if package.has_content(&part).map_err(TransferError::Other)? {
            std::fs::rename(&part, &place)
                .map_err(|error| TransferError::Failed(Failure::Local(place.clone(), error)))?;
            http::forget(&place);
            return Ok(place);
        }
        http::forget(&place);
        // The beginning may be of another version, where the server has no tags.
        if !is_continued {
            return Err(TransferError::Other(
                Error::internal(format!(
                    "what was downloaded as {} {} does not have the expected checksum",
                    package.name, package.version
                ))
                .hint("the mirror may be damaged or tampered with; nothing was installed"),
            ));
        }
    }
}

/// Why a package was not downloaded.
#[derive(Debug)]
pub(super) enum TransferError {
    /// It did not arrive.
    Failed(Failure),
    /// It arrived, and something is wrong.
    Other(Error),
}

impl From<Failure> for TransferError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Returns the error for people; `from` names the server.
pub(super) fn error(from: &str, failure: impl Into<TransferError>) -> Error {
    let (message, hint) = match failure.into() {
        TransferError::Other(error) => return error,
        TransferError::Failed(Failure::Local(path, error)) => {
            return Error::io_in(Dir::Tools, "write", &path, &error);
        }
        TransferError::Failed(Failure::Status(status)) => (
            format!("`{from}` answers with the status {status}"),
            "check the address, and what its server logs".to_owned(),
        ),
        TransferError::Failed(Failure::Unreachable(reason)) => {
            let hint = hint_in_text(&reason);
            let hint = hint.unwrap_or("check the address, the network and its proxy settings");
            (
                format!("`{from}` cannot be reached: {reason}"),
                hint.to_owned(),
            )
        }
        TransferError::Failed(Failure::Interrupted(reason)) => (
            format!("the download from `{from}` was interrupted: {reason}"),
            "what has arrived is kept: run the command again to continue".to_owned(),
        ),
    };
    Error::internal(message).hint(hint)
}
