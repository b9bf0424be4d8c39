//! The keyboard of `clm watch`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use console::{Key, Term};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::driver::Ask;
use crate::parallel::lock;
use crate::private;

use super::watch::Screen;

/// The handler of key presses.
pub(super) struct Keyboard {
    /// Sends requests to the engine.
    pub ask: mpsc::UnboundedSender<Ask>,
    /// The display.
    pub screen: Arc<Mutex<Screen>>,
    /// The URL of the preview.
    pub preview: Option<String>,
    /// The state directory of the course.
    pub state_dir: PathBuf,
    /// Whether decks are not executed.
    pub is_fast: bool,
    /// Ends the watch.
    pub cancel: CancellationToken,
}

impl Keyboard {
    /// Reads keys on a new thread, which ends with the process.
    pub(super) fn listen(mut self) {
        std::thread::spawn(move || {
            let terminal = Term::stderr();
            while let Ok(key) = terminal.read_key() {
                if !self.press(&key) {
                    return;
                }
            }
        });
    }

    /// Performs the action of a key. Returns false if the watch is to end.
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
                    watch.print_errors();
                }
            }
            Key::Char('o') => self.open(),
            _ => {}
        }
        true
    }

    fn open(&self) {
        let Some(address) = &self.preview else {
            lock(&self.screen).print("There is no preview: start `clm watch` with `--serve`");
            return;
        };
        let opener = if cfg!(target_os = "macos") {
            "open"
        } else {
            "xdg-open"
        };
        let opened = Command::new(opener)
            .arg(to_open(address, &self.state_dir))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match opened {
            // Waits for the browser's exit, which may be much later, so that it does not remain a zombie.
            Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
            Err(_) => lock(&self.screen).print(&format!("Open {address} in your browser")),
        }
    }
}

/// Returns what to open in a browser. An address with a token must not be on the command line, which all users of the
/// machine can see: it is replaced by a page that only this user can read and that redirects to the address.
fn to_open(address: &str, state_dir: &Path) -> PathBuf {
    let page = state_dir.join("preview.html");
    let text = format!(
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0; url={address}\"><a href=\"{address}\">Preview</a>\n"
    );
    let is_secret = address.contains("?token=");
    match is_secret && private::write(&page, text.as_bytes()).is_ok() {
        true => page,
        false => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_in_the_command_line_of_a_browser() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let open = "http://127.0.0.1:8000/";
        assert_eq!(to_open(open, dir.path()), Path::new(open));
        let secret = "http://192.0.2.1:8000/?token=0123456789abcdef";
        let page = to_open(secret, dir.path());
        assert!(page.starts_with(dir.path()));
        assert!(std::fs::read_to_string(&page).unwrap().contains(secret));
        let mode = std::fs::metadata(&page).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
