//! Tests a shared cache step by step: whether it answers, and whether what is sent can be fetched.

use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::events::ActionKind;

use super::entry::{Entry, Name, Sha, SharedFile};
use super::transport::Failure;
use super::{LARGEST_ENTRY, Remote};

/// The sizes of the files that are sent, in bytes: servers and gateways have limits between them.
const FILES: [(&str, usize); 2] = [("a file of 1 kB", 1 << 10), ("a file of 8 MB", 8 << 20)];

/// A step of the test and its result. A step is not tried after one that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    /// What was done, such as `send and fetch a file of 1 kB`.
    pub what: String,
    /// How long it took, or what is wrong.
    pub result: Result<Duration, Wrong>,
}

/// What is wrong with a shared cache, and what may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The problem.
    pub problem: String,
    /// Advice.
    pub hint: Option<&'static str>,
}

impl Remote {
    /// Tests the cache. What it sends is always the same, and stays there. Blocks.
    pub(crate) fn probe(&self) -> Vec<Probed> {
        let mut steps: Vec<Probed> = Vec::new();
        let mut step = |what: String, act: &dyn Fn() -> Result<(), Failure>| {
            if steps.last().is_some_and(|step| step.result.is_err()) {
                return;
            }
            let began = Instant::now();
            let result = act().map(|()| began.elapsed()).map_err(Wrong::from);
            steps.push(Probed { what, result });
        };
        step("ask for a result".to_owned(), &|| self.probe_absent());
        if self.0.options.writes {
            for (what, size) in FILES {
                let bytes = vec![b'c'; size];
                step(format!("send and fetch {what}"), &|| {
                    self.probe_file(&bytes)
                });
            }
            step("send and fetch a result".to_owned(), &|| self.probe_entry());
        }
        steps
    }

    /// Asks for an entry that nobody has written.
    fn probe_absent(&self) -> Result<(), Failure> {
        let name = Name::Action(Digest::of(uuid::Uuid::new_v4().to_string()));
        let found = self.0.transport.get(&name, LARGEST_ENTRY, self.longest())?;
        match found {
            None => Ok(()),
            // A web server with a page for everything.
            Some(_) => Err(Failure::Wrong(
                "it has a result that nobody made: it answers everything".to_owned(),
            )),
        }
    }

    fn probe_file(&self, bytes: &[u8]) -> Result<(), Failure> {
        let name = Name::Content(Sha::of(bytes), bytes.len() as u64);
        self.0.transport.put(&name, bytes)?;
        let wait = self.longest() + Duration::from_secs(10);
        let found = self.0.transport.get(&name, bytes.len() as u64, wait)?;
        same(found.as_deref(), bytes)
    }

    fn probe_entry(&self) -> Result<(), Failure> {
        let key = Digest::of("clm cache check");
        let bytes = vec![b'c'; FILES[0].1];
        let mut file = SharedFile::new("file".to_owned(), Digest::of(&bytes), bytes.len() as u64);
        file.sha = Sha::of(&bytes);
        let entry = Entry {
            kind: ActionKind::Copy,
            has_failed: false,
            files: vec![file],
            discovered: Vec::new(),
            diagnostics: Vec::new(),
            duration_ms: 0,
            machine: String::new(),
            made_ms: 0,
            run: None,
        };
        let name = Name::Action(key);
        self.0.transport.put(&name, &entry.encode(&key))?;
        let found = self.0.transport.get(&name, LARGEST_ENTRY, self.longest())?;
        let found = found.map(|found| Entry::decode(&found, &key));
        match found.transpose().map_err(Failure::Wrong)? {
            Some(found) if found == entry => Ok(()),
            found => same(found.map(|_| &b""[..]), b"entry"),
        }
    }

    fn longest(&self) -> Duration {
        self.0.options.max_wait
    }
}

/// Fails if these are not the bytes that were sent.
fn same(found: Option<&[u8]>, sent: &[u8]) -> Result<(), Failure> {
    match found {
        Some(found) if found == sent => Ok(()),
        Some(_) => Err(Failure::Wrong(
            "it has other bytes than were sent".to_owned(),
        )),
        None => Err(Failure::Wrong(
            "it took what was sent, and does not have it".to_owned(),
        )),
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        let hint = match &failure {
            Failure::Status(401 | 403 | 407) => Some(
                "the secrets are CLM_CACHE_TOKEN, or CLM_CACHE_USER and CLM_CACHE_PASSWORD, or CLM_CACHE_HEADERS; \
                 `--cache-mode read` does not send",
            ),
            Failure::Status(404 | 405 | 409 | 501) => Some(
                "the path of the address may be wrong, or the server takes no `PUT`; contrib/ci/nginx.conf of clm shows \
                 one that does",
            ),
            Failure::Status(413) => {
                Some("raise the limit for uploads of the server (nginx: `client_max_body_size`)")
            }
            Failure::TimedOut => Some(
                "a firewall may drop the connection; `max_wait` of `[cache]` in `clm.toml` gives it more time",
            ),
            Failure::Unreachable(_) => Some("look at the host and the port of the address"),
            Failure::Status(_) | Failure::Wrong(_) | Failure::Full(_) => None,
        };
        Self {
            problem: failure.to_string(),
            hint,
        }
    }
}
