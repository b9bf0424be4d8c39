//! The preview: shows the course in a browser, and each change as soon as it is built.
//!
//! [`Preview`] receives each event and updates its state (`model`). [`serve`] sends the state to
//! browsers: an index of the course, its outputs, and a script in the pages of decks that reloads them.

#[doc(hidden)]
pub mod address;
mod answer;
mod catalog;
mod files;
#[doc(hidden)]
pub(crate) mod guard;
#[doc(hidden)]
pub mod inject;
mod listen;
mod model;
mod peer;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod view;
mod visits;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::clock;
use crate::events::Event;
use crate::parallel::lock;

use catalog::Catalog;
use model::{Made, Model};

pub use listen::bind;
pub use server::serve;

/// Who may read the preview.
#[derive(Clone)]
pub enum Access {
    /// The current user, on this machine.
    Loopback,
    /// Everyone with the token.
    Network {
        /// The secret in the address of the first request (`/?token=…`): letters and digits.
        token: String,
    },
}

/// The state of the preview: the engine updates it, and the server reads it.
pub struct Preview {
    root: PathBuf,
    /// When it was created. This identifies the server among earlier ones at the same address.
    epoch: u64,
    model: Mutex<Model>,
    changed: watch::Sender<u64>,
    log: OnceLock<Log>,
}

/// A function that writes a line to the log.
type Log = Box<dyn Fn(&str) + Send + Sync>;

impl Preview {
    /// Creates the preview of a course. It is empty until the first index.
    pub fn new(course_root: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            root: course_root,
            epoch: now_ms(),
            model: Mutex::default(),
            changed: watch::Sender::new(0),
            log: OnceLock::new(),
        })
    }

    /// Sets the log of refused requests. Without it they are not logged. Later calls have no effect.
    pub fn log_to(&self, log: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.log.set(Box::new(log));
    }

    fn log(&self, line: &str) {
        if let Some(log) = self.log.get() {
            log(line);
        }
    }

    /// Applies an event. Must be called for every event of every run, in their order. Never waits for a browser.
    pub fn event(&self, event: &Event) {
        let now_ms = now_ms();
        self.update(|model| model.apply(event, now_ms));
    }

    fn update(&self, change: impl FnOnce(&mut Model)) {
        let mut model = self.model();
        change(&mut model);
        self.changed.send_replace(model.change);
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    /// Returns a receiver that is notified of every change.
    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Returns everything that has changed since a change, or the whole state without one.
    async fn state(self: &Arc<Self>, since: Option<u64>) -> view::State {
        self.look().await;
        self.model().since(since, self.epoch, now_ms())
    }

    /// Reads the modification times of outputs that are unknown.
    async fn look(self: &Arc<Self>) {
        let (catalog, unseen) = {
            let model = self.model();
            (model.catalog.clone(), model.unseen())
        };
        let Some(catalog) = catalog.filter(|_| !unseen.is_empty()) else {
            return;
        };
        let root = self.root.clone();
        let looked = Arc::clone(&catalog);
        let found = tokio::task::spawn_blocking(move || {
            let made = |position: usize| {
                let (file, _) = looked.file(&root, position);
                (position, made(&file))
            };
            unseen.into_iter().map(made).collect::<Vec<_>>()
        });
        if let Ok(found) = found.await {
            self.model().seen(&catalog, &found);
        }
    }

    /// Returns the state of the page at an address. Its assets are those that changed after `since`.
    async fn page(self: &Arc<Self>, address: &str, since: u64) -> view::Page {
        let (mut page, catalog) = {
            let model = self.model();
            (
                model.page(address, since, self.epoch),
                model.catalog.clone(),
            )
        };
        page.version = match catalog {
            Some(catalog) => self
                .open(catalog, address)
                .await
                .map(|opened| opened.version),
            None => None,
        };
        page
    }

    /// Opens the file at an address.
    async fn open(&self, catalog: Arc<Catalog>, address: &str) -> Option<files::Opened> {
        let position = catalog.by_address(address)?;
        let (file, root) = catalog.file(&self.root, position);
        tokio::task::spawn_blocking(move || files::open(&file, &root))
            .await
            .ok()?
    }
}

fn made(file: &std::path::Path) -> Made {
    let modified = std::fs::metadata(file).and_then(|metadata| metadata.modified());
    modified.map_or(Made::Missing, |time| Made::At(millis(time)))
}

fn now_ms() -> u64 {
    clock::now_ms().unsigned_abs()
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
