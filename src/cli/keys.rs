//! The keyboard of `clm watch`.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use console::{Key, Term};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::resident::Ask;
use crate::parallel::lock;

use super::watch::Screen;

/// What keys do.
pub struct Keyboard {
    /// The way to the engine.
    pub ask: mpsc::UnboundedSender<Ask>,
    /// What is shown.
    pub screen: Arc<Mutex<Screen>>,
    /// The address of the preview.
    pub preview: Option<String>,
    /// Whether nothing is executed.
    pub is_fast: bool,
    /// Ends the watch.
    pub cancel: CancellationToken,
}

impl Keyboard {
    /// Listens on a thread of its own, which ends with the process.
    pub fn listen(mut self) {
        std::thread::spawn(move || {
            let terminal = Term::stderr();
            while let Ok(key) = terminal.read_key() {
                if !self.press(&key) {
                    return;
                }
            }
        });
    }

    /// Does what a key asks for; false when that is the end.
    fn press(&mut self, key: &Key) -> bool {
        match key {
            Key::Char('q') | Key::CtrlC => {
                self.cancel.cancel();
                return false;
            }
            Key::Char('r') => return self.ask.send(Ask::Rebuild).is_ok(),
            Key::Char('f') => {
                self.is_fast = !self.is_fast;
                if let Screen::Watch(watch) = &mut *lock(&self.screen) {
                    watch.set_fast(self.is_fast);
                }
                return self.ask.send(Ask::Fast(self.is_fast)).is_ok();
            }
            Key::Char('e') => {
                if let Screen::Watch(watch) = &mut *lock(&self.screen) {
                    watch.say_errors();
                }
            }
            Key::Char('o') => self.open(),
            _ => {}
        }
        true
    }

    fn open(&self) {
        let Some(address) = &self.preview else {
            lock(&self.screen).say("There is no preview: start `clm watch` with `--serve`");
            return;
        };
        let opener = if cfg!(target_os = "macos") {
            "open"
        } else {
            "xdg-open"
        };
        let opened = Command::new(opener)
            .arg(address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match opened {
            // Reaped when it ends, which may be much later.
            Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
            Err(_) => lock(&self.screen).say(&format!("Open {address} in your browser")),
        }
    }
}
