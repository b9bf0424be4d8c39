//! Settings of the pool: the number of workers of each kind, and their limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::events::ActionKind;

/// One value for each kind of worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    /// Kernels that run code cells.
    pub execute: T,
    /// HTML pages.
    pub html: T,
    /// PlantUML diagrams.
    pub plantuml: T,
    /// draw.io diagrams.
    pub drawio: T,
}

impl<T> PerKind<T> {
    /// Returns the value of a kind; `None` for kinds without workers.
    pub fn get(&self, kind: ActionKind) -> Option<&T> {
        match kind {
            ActionKind::Execute => Some(&self.execute),
            ActionKind::Html => Some(&self.html),
            ActionKind::Plantuml => Some(&self.plantuml),
            ActionKind::Drawio => Some(&self.drawio),
            ActionKind::Deck | ActionKind::Copy => None,
        }
    }

    /// Returns all values with their kinds.
    pub fn iter(&self) -> impl Iterator<Item = (ActionKind, &T)> {
        [
            (ActionKind::Execute, &self.execute),
            (ActionKind::Html, &self.html),
            (ActionKind::Plantuml, &self.plantuml),
            (ActionKind::Drawio, &self.drawio),
        ]
        .into_iter()
    }

    /// Applies a function to each value.
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
    /// The course root, the only directory that PlantUML may read. All requests of the pool belong to this course.
    pub root: PathBuf,
    /// A directory of this user for the workers' own programs, each named by its digest.
    pub runtime_dir: PathBuf,
    /// How many requests of a kind run at once.
    pub slots: PerKind<usize>,
    /// The time limit for one request; `None` means no limit (cells have their own).
    pub timeouts: PerKind<Option<Duration>>,
    /// How long an idle worker is kept.
    pub idle_ttl: Duration,
    /// The memory limit in bytes: a worker that uses more after a request is replaced.
    pub memory_ceiling: u64,
    /// Whether more executions are expected: while true, the kernel for the next one is started as soon as a result is
    /// complete. The engine sets it while executions wait.
    pub kernels_ahead: Arc<AtomicBool>,
    /// Whether Python kernels are forked from processes that have already imported their modules. On Linux only.
    pub zygote: bool,
    /// A file of this course that records the imports of decks for later processes, if any.
    pub imports_file: Option<PathBuf>,
    /// For tests: the program and arguments to start as PlantUML worker, for example one that misbehaves.
    pub plantuml_command: Option<Vec<String>>,
}

impl PoolConfig {
    /// Returns settings that suit this machine.
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

/// Returns the number of cores, or fewer if half of the memory cannot hold as many workers of this size; at least one.
fn fitting_slots(cores: usize, worker_mb: u64, available_mb: Option<u64>) -> usize {
    let by_memory = available_mb.map_or(cores, |available| {
        usize::try_from(available / 2 / worker_mb).unwrap_or(cores)
    });
    cores.min(by_memory).max(1)
}

/// Returns the memory that can be used without swapping, if the system reports it.
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
