//! Profiling of runs: spans of the engine and of workers are recorded, and written as a page (`--timings`) or as a
//! trace for Perfetto (`--trace`). Without these options nothing is recorded.

mod bars;
mod cpu;
mod critical;
mod lanes;
mod page;
mod recorder;
mod timeline;
mod trace;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::events::{Counts, Event, Status};
use crate::files::{self, Access};

use cpu::Sampler;
pub(crate) use recorder::Recorder;
use timeline::{Measured, Timeline};

/// The files to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// A page for people.
    pub timings: Option<PathBuf>,
    /// A trace in Chrome's trace event format.
    pub trace: Option<PathBuf>,
}

/// Measures runs and writes the results.
pub(crate) struct Profile {
    files: Files,
    recorder: Recorder,
    sampler: Sampler,
    tally: Tally,
}

/// Counts from the events of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    counts: Counts,
    is_over: bool,
    /// Whether anything was made or restored, in interrupted runs as well.
    did_something: bool,
}

impl Profile {
    /// Starts to measure; returns `None` if no file was requested. Fails early if a file could not be written later.
    pub(crate) fn begin(files: Files) -> Result<Option<Self>> {
        if files == Files::default() {
            return Ok(None);
        }
        for file in files.all() {
            check_place(file)?;
        }
        if files.timings == files.trace {
            return Err(Error::usage("`--timings` and `--trace` name the same file")
                .hint("give each a file of its own"));
        }
        let recorder = Recorder::start();
        Ok(Some(Self {
            sampler: Sampler::start(recorder.clone()),
            recorder,
            files,
            tally: Tally::default(),
        }))
    }

    /// Returns the recorder, which must receive the spans.
    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Counts an event.
    pub(crate) fn event(&mut self, event: &Event) {
        self.tally.event(event);
    }

    /// Writes the files about everything since the beginning.
    pub(crate) fn finish(mut self) -> Result<()> {
        let end = self.recorder.now();
        self.write(Duration::ZERO, end)
    }

    /// Counts an event of a watch. After a run that made something, writes the files about that run.
    pub(crate) fn watch(&mut self, event: &Event) -> Result<()> {
        self.event(event);
        let Event::RunFinished {
            interrupted: false, ..
        } = event
        else {
            return Ok(());
        };
        if !self.tally.did_something {
            // The files of the last run that made something are more useful than those of an idle one.
            self.forget();
            return Ok(());
        }
        let start = self.recorder.first_run().unwrap_or_default();
        self.write(start, self.recorder.now())
    }

    fn write(&mut self, start: Duration, end: Duration) -> Result<()> {
        let measured = Measured {
            start,
            end,
            records: self.recorder.take(),
            samples: self.sampler.take(),
            counts: self.tally.counts,
            is_over: self.tally.is_over,
        };
        self.tally = Tally::default();
        let timeline = Timeline::of(measured);
        if let Some(file) = &self.files.timings {
            replace(file, &page::html(&timeline))?;
        }
        if let Some(file) = &self.files.trace {
            replace(file, &trace::json(&timeline))?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.recorder.take();
        self.sampler.take();
        self.tally = Tally::default();
    }
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.timings, &self.trace]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }
}

impl Tally {
    fn event(&mut self, event: &Event) {
        match event {
            Event::ActionFinished { status, .. } => {
                self.counts.add(*status);
                self.did_something |= !matches!(status, Status::Fresh | Status::Superseded);
            }
            Event::RunFinished {
                counts,
                interrupted,
                ..
            } => {
                self.counts = *counts;
                self.is_over = !interrupted;
            }
            _ => {}
        }
    }
}

/// Checks that the directory of a file exists, so that a typing error is reported before a long run and not after it.
pub(crate) fn check_place(file: &Path) -> Result<()> {
    let dir = directory(file);
    if !dir.is_dir() {
        return Err(Error::usage(format!(
            "cannot write `{}`: there is no directory `{}`",
            file.display(),
            dir.display()
        ))
        .hint("create it first"));
    }
    if file.is_dir() {
        return Err(Error::usage(format!(
            "cannot write `{}`: it is a directory",
            file.display()
        ))
        .hint("name a file"));
    }
    Ok(())
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Replaces a file atomically.
fn replace(file: &Path, text: &str) -> Result<()> {
    files::replace(file, Access::Shared, |file| file.write_all(text.as_bytes()))
        .map_err(|error| Error::io("write", file, &error))
}
