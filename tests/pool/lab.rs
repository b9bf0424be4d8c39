//! A pool of fake workers, and what can be asked of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clm::testing::course::RelPath;
use clm::testing::worker::pool::{Pool, PoolConfig, WorkerEvent, WorkerState};
use clm::testing::worker::request::{ImageFormat, PlantumlWork};
use clm::testing::worker::{Outcome, Progress, Renderers, Request, Work, WorkerError};
use tokio_util::sync::CancellationToken;

/// A pool of fake workers and what it did.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub pool: Pool,
    pub events: Arc<Mutex<Vec<WorkerEvent>>>,
    pub progress: Arc<Mutex<Vec<Progress>>>,
}

impl Lab {
    pub fn new(arguments: &[&str], adjust: impl FnOnce(&mut PoolConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = PoolConfig::new(dir.path(), dir.path().join("run"));
        config.slots.plantuml = 2;
        let log = dir.path().join("log");
        let mut command = vec![env!("CARGO_BIN_EXE_clm-fake-worker").to_owned()];
        command.extend(["--log".to_owned(), log.display().to_string()]);
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        config.plantuml_command = Some(command);
        adjust(&mut config);
        let events: Arc<Mutex<Vec<WorkerEvent>>> = Arc::default();
        let seen = Arc::clone(&events);
        let observer = Arc::new(move |event| seen.lock().unwrap().push(event));
        Self {
            pool: Pool::new(Arc::new(Renderers::default()), config, observer),
            dir,
            events,
            progress: Arc::default(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn request(&self, id: u64, text: &str) -> Request {
        let out = self.path(&format!("out-{id}"));
        std::fs::create_dir_all(&out).unwrap();
        Request {
            id,
            source: RelPath::new(&format!("topic/{id}.pu")).unwrap(),
            root: self.dir.path().to_owned(),
            out,
            work: Work::Plantuml(PlantumlWork {
                text: text.to_owned(),
                format: ImageFormat::Svg,
                dpi: 96,
                limit: 4096,
            }),
        }
    }

    pub async fn run(&self, id: u64, text: &str) -> Result<Outcome, WorkerError> {
        self.run_until(id, text, CancellationToken::new()).await
    }

    pub async fn run_until(
        &self,
        id: u64,
        text: &str,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let progress = Arc::clone(&self.progress);
        let sink = Arc::new(move |step| progress.lock().unwrap().push(step));
        self.pool.run(&self.request(id, text), sink, cancel).await
    }

    /// How many events of a state there were.
    pub fn count(&self, state: WorkerState) -> usize {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| event.state == state).count()
    }

    /// Lines of the workers' log that start with a word, without the process id.
    pub fn logged(&self, word: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, words)| words.starts_with(word))
            .map(|(_, words)| words.to_owned())
            .collect()
    }

    /// Process ids of all workers that were started.
    pub fn pids(&self) -> Vec<u32> {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| line.strip_suffix(" start")?.parse().ok())
            .collect()
    }
}

/// Waits until something is so, for up to 20 seconds.
pub async fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..1000 {
        if is_so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// A process that is gone, or only waits to be reaped.
pub fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// Runs futures at the same time on one thread.
pub async fn futures_of<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    use std::task::Poll;
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                *result = Some(output);
            }
        }
        match results.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}
