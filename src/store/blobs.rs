//! Results by digest: small ones are stored in the database, larger ones as files. They are verified whenever they are
//! read.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use crate::digest::{CopyError, Digest};
use crate::files::{self, Access};

use super::{Result, Store, StoreError, now_ms};

/// The size of the largest result that is stored in the database, in bytes.
pub(super) const SMALL: u64 = 16 * 1024;

impl Store {
    /// Stores bytes and returns their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if bytes.len() as u64 <= SMALL {
            if self.has_young(&digest, bytes)? {
                return Ok(digest);
            }
            let bytes = bytes.to_vec();
            self.write(move |connection| {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO blobs (digest, bytes, stored_ms) VALUES (?1, ?2, ?3)")?
                    .execute(params![digest.to_string(), bytes, now_ms()])?;
                Ok(())
            })?;
        } else if !self.keep_file(&digest)? {
            let path = self.blob_file(&digest);
            let dir = path.parent().unwrap_or(&self.0.blobs);
            crate::private::create_dir_all(dir)
                .map_err(|error| StoreError::io("create", dir, error))?;
            let io = |error: std::io::Error| StoreError::io("write", &path, error);
            // Not synced: what a power failure leaves of it is noticed when it is read, and is made again.
            files::replace(&path, Access::Private, |file| file.write_all(bytes)).map_err(io)?;
        }
        Ok(digest)
    }

    /// Stores the content of a file and returns its digest and size.
    pub fn put_file(&self, path: &Path) -> Result<(Digest, u64)> {
        let bytes = files::read(path).map_err(|error| StoreError::io("read", path, error))?;
        Ok((self.put(&bytes)?, bytes.len() as u64))
    }

    /// Returns whether a result is stored (its bytes are verified only when they are read).
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        if self.blob_file(digest).is_file() {
            return Ok(true);
        }
        let key = digest.to_string();
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?;
            Ok(statement.exists([key])?)
        })
    }

    /// Opens a result; `None` if it is not stored. The bytes are not verified.
    pub(super) fn blob_reader(&self, digest: &Digest) -> Result<Option<Box<dyn Read>>> {
        let path = self.blob_file(digest);
        match files::open(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let bytes = self.small_blob(digest)?;
                Ok(bytes.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read>))
            }
            Err(error) => Err(StoreError::io("read", &path, error)),
        }
    }

    /// Returns the size of a result; `None` if it is not stored, or is damaged.
    pub(super) fn verified_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(bytes) = self.blob_reader(digest)? else {
            return Ok(None);
        };
        match Digest::of_copy(bytes, &mut std::io::sink()) {
            Ok((found, size)) => Ok((found == *digest).then_some(size)),
            Err(CopyError::Reading(error) | CopyError::Writing(error)) => {
                Err(StoreError::io("read", &self.blob_file(digest), error))
            }
        }
    }

    /// Returns the bytes of a result; `None` if it is not stored, or was damaged and is now removed.
    pub fn read_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.blob_file(digest);
        let bytes = match files::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.small_blob(digest)?
            }
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        match bytes {
            Some(bytes) if Digest::of(&bytes) == *digest => Ok(Some(bytes)),
            Some(_) => {
                tracing::warn!(%digest, "a damaged result is dropped");
                self.drop_blob(digest)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Writes a result to a new file; returns false if it is not stored, or was damaged and is now removed.
    pub fn copy_to(&self, digest: &Digest, to: &Path) -> Result<bool> {
        let path = self.blob_file(digest);
        let io = |error: std::io::Error| StoreError::io("write", to, error);
        if !path.is_file() {
            let Some(bytes) = self.read_blob(digest)? else {
                return Ok(false);
            };
            std::fs::write(to, bytes).map_err(io)?;
            return Ok(true);
        }
        // Copied inside the kernel (a reflink if the file system supports it), never a hard link: editing an output
        // must not change the store.
        if let Err(error) = files::copy(&path, to) {
            // Another process may have found it damaged and removed it meanwhile.
            return if path.is_file() {
                Err(io(error))
            } else {
                Ok(false)
            };
        }
        // Blobs are private files; outputs have ordinary permissions.
        let permissions = ordinary_permissions();
        if let Some(permissions) = permissions {
            std::fs::set_permissions(to, permissions).map_err(io)?;
        }
        if Digest::of_file(to).map_err(io)? == *digest {
            return Ok(true);
        }
        tracing::warn!(%digest, "a damaged result is dropped");
        self.drop_blob(digest)?;
        Ok(false)
    }

    /// Returns whether a small result is stored, is undamaged, and was stored so recently that it will not be collected
    /// soon.
    fn has_young(&self, digest: &Digest, bytes: &[u8]) -> Result<bool> {
        let key = digest.to_string();
        let since = now_ms() - super::garbage::YOUNG_MS / 2;
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT 1 FROM blobs WHERE digest = ?1 AND bytes = ?2 AND stored_ms > ?3",
            )?;
            Ok(statement.exists(params![key, bytes, since])?)
        })
    }

    /// Returns whether a larger result is stored and undamaged. Its time is then set to now, so that it is not
    /// collected before its use is recorded. A damaged one has to be written again.
    pub(super) fn keep_file(&self, digest: &Digest) -> Result<bool> {
        let path = self.blob_file(digest);
        match Digest::of_file(&path) {
            Ok(found) if found == *digest => Ok(std::fs::File::options()
                .append(true)
                .open(&path)
                .and_then(|file| file.set_modified(SystemTime::now()))
                .is_ok()),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("read", &path, error)),
        }
    }

    fn small_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let key = digest.to_string();
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT bytes FROM blobs WHERE digest = ?1")?;
            Ok(statement.query_row([key], |row| row.get(0)).optional()?)
        })
    }

    fn drop_blob(&self, digest: &Digest) -> Result<()> {
        let path = self.blob_file(digest);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &path, error));
            }
            _ => {}
        }
        let key = digest.to_string();
        self.write(move |connection| {
            connection.execute("DELETE FROM blobs WHERE digest = ?1", [key])?;
            Ok(())
        })
    }

    fn blob_file(&self, digest: &Digest) -> PathBuf {
        file_of(&self.0.blobs, digest)
    }
}

/// Returns the file of a larger result below the directory of blobs.
pub(super) fn file_of(blobs: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    blobs.join(&name[..2]).join(&name[2..])
}

/// Returns `rw-rw-rw-` without the bits of the process's umask: the permissions of an ordinary new file.
fn ordinary_permissions() -> Option<std::fs::Permissions> {
    use std::os::unix::fs::PermissionsExt;
    static MASK: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
    let mask = MASK.get_or_init(|| {
        // Reading the umask with the system call would change it for a moment; `/proc` shows it as well.
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    mask.map(|mask| std::fs::Permissions::from_mode(0o666 & !mask))
}
