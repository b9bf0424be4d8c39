//! Measures the load of the processors: by this process and its descendants, and in total.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::owner::children;
use crate::parallel::lock;

use super::recorder::Recorder;

/// The time between two samples.
const INTERVAL: Duration = Duration::from_millis(100);
/// One tick of the processor times in `/proc`: on every common machine, Linux reports 100 of them per second.
const TICK_MS: u64 = 10;

/// Processor times at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// The time since the recorder was started.
    pub at: Duration,
    /// The time used by this process and its descendants, as far as they are running or were waited for.
    pub own: Duration,
    /// The time used by all processes, over all processors.
    pub all: Duration,
}

/// Takes samples in its own thread until it is dropped.
pub(super) struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts a thread that takes samples while the recorder has open spans. Without `/proc` there are no samples.
    pub(super) fn start(recorder: Recorder) -> Self {
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let taken = Arc::clone(&samples);
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("cpu sampler".to_owned())
            .spawn(move || {
                loop {
                    if recorder.is_busy()
                        && let Some((own, all)) = own().zip(all())
                    {
                        let at = recorder.now();
                        let mut taken = lock(&taken);
                        taken.push(Sample { at, own, all });
                    }
                    if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
        Self {
            samples,
            stop: Some(stop),
            // If the thread cannot be started, there are no samples, but everything else is measured.
            thread: thread.ok(),
        }
    }

    /// Returns the samples that were taken since the last call.
    pub(super) fn take(&self) -> Vec<Sample> {
        let mut samples = lock(&self.samples);
        std::mem::take(&mut samples)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the time that all processors together were busy.
fn all() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    // user nice system idle iowait irq softirq steal; the times of guests are included in the first two.
    let times: Vec<u64> = text
        .lines()
        .next()?
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|time| time.parse().ok())
        .collect();
    let busy = times.iter().take(8).enumerate();
    let busy = busy.filter(|(place, _)| ![3, 4].contains(place));
    Some(time(busy.map(|(_, ticks)| ticks).sum()))
}

/// Returns the time used by this process, its descendants, and those of their children that were waited for.
fn own() -> Option<Duration> {
    let mut next = vec![std::process::id()];
    let mut used = time_of(next[0])?;
    while let Some(pid) = next.pop() {
        for child in children(pid) {
            used += time_of(child).unwrap_or_default();
            next.push(child);
        }
    }
    Some(used)
}

/// Returns the sum of the times in `/proc/PID/stat`: user and system, of the process and of the children that were
/// waited for.
fn time_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name in parentheses may contain anything.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let times = after_name.split_ascii_whitespace().skip(11).take(4);
    Some(time(
        times.filter_map(|time| time.parse::<u64>().ok()).sum(),
    ))
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * TICK_MS)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_of_this_process_and_of_its_children_is_seen() {
        let before = own().unwrap();
        let begun = Instant::now();
        while own().unwrap() < before + time(5) {
            assert!(begun.elapsed() < Duration::from_secs(60));
        }
        let mut child = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        assert!(children(std::process::id()).contains(&child.id()));
        while time_of(child.id()).unwrap() < time(3) {
            assert!(begun.elapsed() < Duration::from_secs(60));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own().unwrap() >= before + time(8));
        assert!(all().unwrap() > time(1));
    }
}
