//! A cache of results that machines share: looks results up there, fetches them, and adds those made here.
//!
//! Whatever a cache does, it never makes a result wrong and never fails a build: everything is verified by digest when it
//! arrives, and any failure is a miss. The module has no notion of courses, plans or the local store.

mod address;
mod breaker;
#[cfg(feature = "farm")]
mod connection;
mod credentials;
mod entry;
mod probe;
mod transport;
mod uploads;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::parallel::lock;

pub(crate) use address::Address;
#[cfg(feature = "farm")]
pub(crate) use address::FarmAddress;
pub(crate) use breaker::{Breaker, Trouble};
#[cfg(feature = "farm")]
pub(crate) use connection::Connection;
pub(crate) use credentials::{Credentials, Unusable};
pub(crate) use entry::{Entry, SharedFile, next_key};
#[cfg(feature = "farm")]
pub(crate) use probe::Wrong;
pub(crate) use uploads::{Upload, Uploads};

use entry::{Name, Sha};
pub(crate) use transport::Failure;
use transport::Transport;

/// The largest file that is exchanged, in bytes: files are held in memory while they are verified.
const LARGEST: u64 = 512 << 20;
/// Files of up to so many bytes are sent without asking whether they are there.
const SMALL: u64 = 64 * 1024;
/// The largest entry, in bytes.
const LARGEST_ENTRY: u64 = 4 << 20;

/// How a shared cache is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether results made here are added.
    pub writes: bool,
    /// How long a build may wait for the cache in vain.
    pub max_wait: Duration,
    /// The label of this machine, for those who get its results.
    pub machine: String,
    /// The run, such as the address of a pipeline's job.
    pub run: Option<String>,
}

/// A shared cache. Clones share its connections and what is known about its state.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Inner>);

struct Inner {
    transport: Box<dyn Transport>,
    breaker: Breaker,
    /// Files that the cache has with other bytes than their names say: they are written again.
    damaged: Mutex<HashSet<Sha>>,
    options: Options,
    /// The address for messages, without credentials.
    shown: String,
}

impl Remote {
    /// Returns the cache at an address. Nothing is connected yet.
    pub(crate) fn new(address: &Address, credentials: Credentials, options: Options) -> Self {
        Self(Arc::new(Inner {
            transport: transport::of(address, credentials, options.max_wait),
            breaker: Breaker::new(options.writes),
            damaged: Mutex::default(),
            shown: address.to_string(),
            options,
        }))
    }

    /// Returns how it is used.
    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    /// Returns its address for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.0.shown
    }

    /// Returns whether it is to be asked now. After failures it is not, for some time.
    pub(crate) fn is_readable(&self) -> bool {
        self.0.breaker.is_readable()
    }

    /// Returns whether results are to be sent now.
    pub(crate) fn is_writable(&self) -> bool {
        self.0.options.writes && self.0.breaker.is_writable()
    }

    /// Returns a problem that the user was not told of yet.
    pub(crate) fn take_trouble(&self) -> Option<Trouble> {
        self.0.breaker.take_trouble()
    }

    /// Records that so many results could not be sent in time.
    fn left_unsent(&self, results: usize) {
        self.0.breaker.left_unsent(results);
    }

    /// Stops using it for some time, since it kept the build waiting.
    pub(crate) fn give_up(&self) {
        self.0.breaker.open(Trouble::Slow(self.0.options.max_wait));
    }

    /// Returns the entry with a key, if there is one. Blocks for at most twice the longest wait.
    pub(crate) fn find(&self, key: &Digest) -> Option<Entry> {
        let limit = self.0.options.max_wait;
        let bytes = self.get(&Name::Action(*key), LARGEST_ENTRY, limit)??;
        match Entry::decode(&bytes, key) {
            Ok(entry) => Some(entry),
            Err(reason) => {
                tracing::debug!(%key, reason, "an entry of the remote cache is not used");
                self.0.breaker.failed(Failure::Wrong(reason));
                None
            }
        }
    }

    /// Fetches the files of an entry that the local store does not have, and passes the bytes of each to `store`, which
    /// returns their digest. Returns the number of bytes; `None` if any of them cannot be had or is not what the entry says. Blocks for at most the longest
    /// wait longer than the work that it saves took.
    pub(crate) fn fetch(
        &self,
        entry: &Entry,
        has: impl Fn(&Digest) -> bool,
        mut store: impl FnMut(&[u8]) -> Option<Digest>,
    ) -> Option<u64> {
        let mut total = 0;
        for file in entry.files.iter().filter(|file| !has(&file.digest)) {
            let name = file.content();
            let limit = self.0.options.max_wait + Duration::from_millis(entry.duration_ms);
            if file.size > LARGEST {
                return None;
            }
            let bytes = self.get(&name, file.size, limit)??;
            let is_right = bytes.len() as u64 == file.size && Sha::of(&bytes) == file.sha;
            if !is_right {
                lock(&self.0.damaged).insert(file.sha.clone());
                let reason = format!("a file of {} bytes is not what its name says", bytes.len());
                self.0.breaker.failed(Failure::Wrong(reason));
                return None;
            }
            if store(&bytes)? != file.digest {
                let reason = "an entry gives a file two names".to_owned();
                self.0.breaker.failed(Failure::Wrong(reason));
                return None;
            }
            total += bytes.len() as u64;
        }
        Some(total)
    }

    /// Sends an entry with its files: files that are there already are not sent again. Returns the number of bytes sent;
    /// `None` if it failed. `read` returns the bytes of a file.
    pub(crate) fn put(
        &self,
        key: &Digest,
        entry: &mut Entry,
        read: impl Fn(&Digest) -> Option<Vec<u8>>,
    ) -> Option<u64> {
        let mut sent = 0;
        for file in &mut entry.files {
            let bytes = read(&file.digest)?;
            file.size = bytes.len() as u64;
            file.sha = Sha::of(&bytes);
            if file.size > LARGEST {
                return None;
            }
            let name = file.content();
            // A small file is sent as quickly as it is asked for.
            if file.size <= SMALL || !self.has(&name)? {
                let send = || self.0.transport.put(&name, &bytes);
                self.written(&send)?;
                lock(&self.0.damaged).remove(&file.sha);
                sent += bytes.len() as u64;
            }
        }
        let bytes = entry.encode(key);
        let send = || self.0.transport.put(&Name::Action(*key), &bytes);
        self.written(&send)?;
        Some(sent + bytes.len() as u64)
    }

    /// Returns whether the cache has something; `None` after a failure.
    fn has(&self, name: &Name) -> Option<bool> {
        if let Name::Content(sha, _) = name
            && lock(&self.0.damaged).contains(sha)
        {
            return Some(false);
        }
        self.tried(&|| self.0.transport.has(name, self.0.options.max_wait))
    }

    /// Returns the bytes of a name: `None` after a failure, `Some(None)` if there are none.
    fn get(&self, name: &Name, limit: u64, wait: Duration) -> Option<Option<Vec<u8>>> {
        self.tried(&|| self.0.transport.get(name, limit, wait))
    }

    /// Reads something. Returns `None` if that fails.
    fn tried<T>(&self, read: &dyn Fn() -> Result<T, Failure>) -> Option<T> {
        if !self.is_readable() {
            return None;
        }
        let breaker = &self.0.breaker;
        let result = once_more(read, || self.is_readable());
        result
            .inspect(|_| breaker.succeeded())
            .map_err(|failure| breaker.failed(failure))
            .ok()
    }

    /// Writes something. Returns `None` if that fails.
    fn written(&self, write: &dyn Fn() -> Result<(), Failure>) -> Option<()> {
        if !self.is_writable() {
            return None;
        }
        let result = once_more(write, || self.is_writable());
        result
            .inspect(|()| self.0.breaker.wrote())
            .map_err(|failure| self.0.breaker.failed_to_write(failure))
            .ok()
    }
}

/// Does something, and once more after a failure that may be temporary, if it `may_go_on`.
fn once_more<T>(
    act: &dyn Fn() -> Result<T, Failure>,
    may_go_on: impl Fn() -> bool,
) -> Result<T, Failure> {
    match act() {
        Err(failure) if failure.may_be_temporary() && may_go_on() => {
            std::thread::sleep(PAUSE);
            act()
        }
        result => result,
    }
}

/// The pause before the second attempt.
const PAUSE: Duration = Duration::from_millis(50);

impl Sha {
    /// Returns the SHA-256 of bytes.
    fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

/// Returns the SHA-256 of bytes, as 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests;
