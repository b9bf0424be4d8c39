//! How many workers of each kind, and what they may use.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::events::ActionKind;

/// One value for each kind of worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    /// For kernels that run code cells.
    pub execute: T,
    /// For HTML pages.
    pub html: T,
    /// For PlantUML diagrams.
    pub plantuml: T,
    /// For draw.io diagrams.
    pub drawio: T,
}

impl<T> PerKind<T> {
    /// The value of a kind; none for kinds without workers.
    pub fn get(&self, kind: ActionKind) -> Option<&T> {
        match kind {
            ActionKind::Execute => Some(&self.execute),
            ActionKind::Html => Some(&self.html),
            ActionKind::Plantuml => Some(&self.plantuml),
            ActionKind::Drawio => Some(&self.drawio),
            ActionKind::Deck | ActionKind::Copy => None,
        }
    }

    /// All values with their kinds.
    pub fn iter(&self) -> impl Iterator<Item = (ActionKind, &T)> {
        [
            (ActionKind::Execute, &self.execute),
            (ActionKind::Html, &self.html),
            (ActionKind::Plantuml, &self.plantuml),
            (ActionKind::Drawio, &self.drawio),
        ]
        .into_iter()
    }

    /// Another value for each kind.
    pub fn map<U>(&self, mut make: impl FnMut(&T) -> U) -> PerKind<U> {
        PerKind {
            execute: make(&self.execute),
            html: make(&self.html),
            plantuml: make(&self.plantuml),
            drawio: make(&self.drawio),
        }
    }
}

/// Settings of a pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The course root: the one that PlantUML may read. All requests of the pool are about this course.
    pub root: PathBuf,
    /// A directory of this user where workers' own programs are kept, each under its digest.
    pub runtime_dir: PathBuf,
    /// How many requests of a kind run at once.
    pub slots: PerKind<usize>,
    /// The longest time for one request; none is no limit (cells have their own).
    pub timeouts: PerKind<Option<Duration>>,
    /// How long a worker is kept without work.
    pub idle_ttl: Duration,
    /// A worker that uses more bytes of memory after a request is replaced.
    pub memory_ceiling: u64,
    /// Whether more executions are expected: while it is true, the kernel for the next one starts as soon as a result
    /// is out. The engine sets it while executions wait.
    pub kernels_ahead: Arc<AtomicBool>,
    /// Whether kernels of Python are forked from processes that have done their imports already. On Linux only.
    pub zygote: bool,
    /// A file of this course where what decks import is kept between processes, if anywhere.
    pub imports_file: Option<PathBuf>,
    /// For tests: the program and arguments to start as PlantUML worker, such as one that misbehaves.
    pub plantuml_command: Option<Vec<String>>,
}

impl PoolConfig {
    /// Settings that suit this machine.
    pub fn new(root: impl Into<PathBuf>, runtime_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let fitting = |most, megabytes| fitting_slots(cores.min(most), megabytes, available_mb());
        Self {
            root: root.into(),
            runtime_dir: runtime_dir.into(),
            slots: PerKind {
                execute: fitting(8, 500),
                html: fitting(2, 250),
                plantuml: fitting(4, 200),
                drawio: fitting(2, 300),
            },
            timeouts: PerKind {
                execute: None,
                html: Some(Duration::from_secs(300)),
                plantuml: Some(Duration::from_secs(60)),
                drawio: Some(Duration::from_secs(60)),
            },
            idle_ttl: Duration::from_secs(600),
            memory_ceiling: 1500 << 20,
            kernels_ahead: Arc::default(),
            zygote: true,
            imports_file: None,
            plantuml_command: None,
        }
    }
}

/// As many slots as there are cores for, when half of the memory holds workers of this size; at least one.
fn fitting_slots(cores: usize, worker_mb: u64, available_mb: Option<u64>) -> usize {
    let by_memory = available_mb.map_or(cores, |available| {
        usize::try_from(available / 2 / worker_mb).unwrap_or(cores)
    });
    cores.min(by_memory).max(1)
}

/// Memory that can be used without swapping, where the system tells.
fn available_mb() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fit_cores_and_memory() {
        for (cores, available, slots) in [
            (8, None, 8),
            (8, Some(64_000), 8),
            (8, Some(4_000), 4),
            (8, Some(100), 1),
            (1, Some(64_000), 1),
        ] {
            assert_eq!(fitting_slots(cores, 500, available), slots);
        }
        let config = PoolConfig::new("/course", "/run");
        assert!(config.slots.iter().all(|(_, slots)| *slots >= 1));
    }
}
