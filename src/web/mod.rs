//! The preview: the course in the browser, which shows a change as soon as it is built.
//!
//! [`Preview`] receives each plan and each event and keeps the current state (`model`); [`serve`] shows that to
//! browsers: an index of the course, its outputs, and a program in the pages of decks that reloads them.

#[doc(hidden)]
pub mod address;
mod answer;
mod catalog;
mod files;
#[doc(hidden)]
pub mod guard;
#[doc(hidden)]
pub mod inject;
mod listen;
mod model;
mod peer;
mod problems;
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

use crate::engine::index::Index;
use crate::events::Event;
use crate::parallel::lock;

use catalog::Catalog;
use model::{Made, Model};

pub use listen::{Listener, bind};
pub use server::serve;

/// Who may look.
#[derive(Clone)]
pub enum Access {
    /// This user on this machine.
    Loopback,
    /// Whoever knows the token.
    Network {
        /// The secret that the first address of a visit brings (`/?token=…`): letters and digits.
        token: String,
    },
}

/// What the preview shows, fed by the engine and read by the server.
pub struct Preview {
    root: PathBuf,
    /// When it began: names this server among those that were at this address before.
    epoch: u64,
    model: Mutex<Model>,
    changed: watch::Sender<u64>,
    log: OnceLock<Log>,
}

/// Takes a line of the log.
type Log = Box<dyn Fn(&str) + Send + Sync>;

impl Preview {
    /// The preview of a course; it is empty until the first index.
    pub fn new(course_root: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            root: course_root,
            epoch: now_ms(),
            model: Mutex::default(),
            changed: watch::Sender::new(0),
            log: OnceLock::new(),
        })
    }

    /// Where is logged that somebody was refused; nowhere without. The first call counts.
    pub fn log_to(&self, log: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.log.set(Box::new(log));
    }

    fn log(&self, line: &str) {
        if let Some(log) = self.log.get() {
            log(line);
        }
    }

    /// What the course consists of now; to be called after each planning, before its diagnostics are told.
    pub fn set_index(&self, index: Arc<Index>) {
        self.update(|model| model.set_index(index));
    }

    /// Something happened; to be called for every event of every run, in their order. Never waits for a browser.
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

    /// Wakes when anything changes.
    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What has changed since a change; everything without one.
    async fn state(self: &Arc<Self>, since: Option<u64>) -> view::State {
        self.look().await;
        self.model().since(since, self.epoch, now_ms())
    }

    /// Looks at files of outputs that nobody has looked at.
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

    /// What the page at an address shows about itself. Assets are those that changed after `since`.
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
    millis(SystemTime::now())
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
