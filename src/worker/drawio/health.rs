//! The essential processes of a browser, and how its pages end.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::parallel::lock;
use crate::worker::process::ChildTree;

/// The interval between checks of the processes while a diagram is drawn.
const PAUSE: Duration = Duration::from_millis(250);
/// The end of a page is reported to its window and to the browser at nearly the same time.
const MOMENT: Duration = Duration::from_millis(200);
/// Parts of the command lines of the processes that a browser keeps as long as it runs: those that start pages, load
/// files and paint.
const HELPERS: [&str; 3] = [
    "--type=zygote",
    "network.mojom.NetworkService",
    "--type=gpu-process",
];

/// The processes without which a browser does not work properly, although it continues or starts another one.
///
/// If a page's file was not loaded, or a page waits for a missing process, its document is not the cause.
#[derive(Default)]
pub(super) struct Helpers(Mutex<BTreeSet<u32>>);

impl Helpers {
    /// Records those that exist now, after a page has been loaded.
    pub(super) fn learn(&self, tree: &ChildTree) {
        let found = tree.descendants().into_iter().filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            HELPERS.iter().any(|part| line.contains(part))
        });
        lock(&self.0).extend(found);
    }

    /// Returns whether one of them has ended.
    pub(super) fn have_ended(&self) -> bool {
        lock(&self.0).iter().any(|pid| !is_running(*pid))
    }

    /// Waits until one of them has ended.
    pub(super) async fn ended(&self) {
        while !self.have_ended() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Returns whether a process is running; a zombie is not.
fn is_running(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let stat = String::from_utf8_lossy(&stat);
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.starts_with(['Z', 'X'])
    })
}

/// How the processes of pages have ended, by page, in the browser's own words.
#[derive(Clone)]
pub(super) struct Crashes(watch::Receiver<HashMap<String, String>>);

impl Crashes {
    /// Collects what a browser reports from now on.
    pub(super) fn of(mut events: mpsc::UnboundedReceiver<Value>) -> Self {
        let (sender, receiver) = watch::channel(HashMap::new());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if event["method"] == "Target.targetCrashed" {
                    let word =
                        |key: &str| event["params"][key].as_str().unwrap_or_default().to_owned();
                    sender.send_modify(|all| drop(all.insert(word("targetId"), word("status"))));
                }
            }
        });
        Self(receiver)
    }

    /// Waits until the process of a page ends. Never returns if the browser itself ends.
    pub(super) async fn of_page(&mut self, target: &str) -> Crash {
        let ended = self.0.wait_for(|all| all.contains_key(target)).await;
        match ended.ok().and_then(|all| all.get(target).cloned()) {
            Some(status) => Crash(status),
            None => std::future::pending().await,
        }
    }

    /// Returns how the process of a page ended, which must have ended already.
    pub(super) async fn now_of_page(&mut self, target: &str) -> Crash {
        let answer = tokio::time::timeout(MOMENT, self.of_page(target)).await;
        answer.unwrap_or_else(|_| Crash(String::new()))
    }
}

/// How the process of a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crash(String);

impl Crash {
    /// Returns whether the page caused it, for example by using too much memory.
    pub(super) fn is_own_doing(&self) -> bool {
        !matches!(self.0.as_str(), "" | "killed" | "failed to launch")
    }

    /// Returns whether the browser can start no pages at all.
    pub(super) fn is_of_browser(&self) -> bool {
        self.0 == "failed to launch"
    }

    /// Returns a description for the user.
    pub(super) fn reason(&self) -> String {
        match self.0.as_str() {
            "" => "the page of the browser crashed".to_owned(),
            status => format!("the page of the browser ended: {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn crashes_of_pages_are_told_apart() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut crashes = Crashes::of(receiver);
        let crash = |target: &str, status: &str| json!({"method": "Target.targetCrashed", "params": {"targetId": target, "status": status}});
        sender
            .send(json!({"method": "Target.targetCreated"}))
            .unwrap();
        for (target, status, is_own_doing) in [
            ("a", "killed", false),
            ("b", "oom", true),
            ("c", "crashed", true),
            ("d", "failed to launch", false),
        ] {
            sender.send(crash(target, status)).unwrap();
            let found = crashes.of_page(target).await;
            assert_eq!(found.is_own_doing(), is_own_doing, "{status}");
            assert!(found.reason().contains(status));
        }
        assert_eq!(crashes.now_of_page("never").await, Crash(String::new()));
    }

    #[tokio::test]
    async fn helpers_that_end_are_noticed() {
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            "sleep 60 --type=zygote 2>/dev/null || sleep 60 & wait",
        ]);
        let tree = ChildTree::spawn("test", command).await.unwrap();
        let helpers = Helpers::default();
        helpers.learn(&tree);
        assert!(!helpers.have_ended());
        lock(&helpers.0).insert(u32::MAX);
        helpers.ended().await;
    }
}
