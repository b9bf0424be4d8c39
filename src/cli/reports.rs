//! How a build reports, and the files with its results.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Ci, Place};
use crate::error::{Error, Result};
use crate::files::{self, Access};
use crate::profile;
use crate::ui::{self, MessageFormat, PAGE_LIMIT, Results, ResultsFormat};

use super::session;

/// The variable with the file whose Markdown GitHub shows on the page of a job.
const PAGE: &str = "GITHUB_STEP_SUMMARY";
/// A page with less room than this gets nothing.
const LEAST_ROOM: usize = 16 << 10;

/// How to report.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ReportArgs {
    /// Report as in a pipeline: no progress bars, groups, paths relative to the repository [default: as the environment
    /// says]
    #[arg(long)]
    ci: bool,
    /// How to report: text for people, JSON lines, annotations and groups of GitHub, sections of GitLab, or one line for
    /// each error with an absolute path (`short`, for editors)
    #[arg(long, value_enum, value_name = "FORMAT")]
    message_format: Option<MessageFormat>,
    /// Write a summary of the run to this file: Markdown if its name ends with `.md`, else JSON. Can be repeated
    #[arg(long, value_name = "FILE")]
    summary: Vec<PathBuf>,
    /// Write the results as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl ReportArgs {
    /// Returns the format: what is asked for, or what the environment says.
    pub(super) fn format(&self) -> MessageFormat {
        self.message_format.unwrap_or_else(|| match self.ci {
            true => MessageFormat::of_pipeline(Ci::detect().as_ref()),
            false => MessageFormat::detect(),
        })
    }

    /// Returns the files to write. Fails if one of them could not be written later, or is no report. `others` are files
    /// that other options name.
    pub(super) fn begin(&self, others: &[PathBuf]) -> Result<Reports> {
        if self.ci {
            ui::in_pipeline();
        }
        let cwd = session::current_dir()?;
        let mut files: Vec<(PathBuf, ResultsFormat)> = Vec::new();
        let summaries = self.summary.iter().map(|file| (file, summary_format(file)));
        let junit = self.junit.iter().map(|file| (file, ResultsFormat::Junit));
        for (file, format) in summaries.chain(junit) {
            profile::check_place(file)?;
            check_content(file, format)?;
            // Of a link its target is replaced.
            let path = file.canonicalize().unwrap_or_else(|_| cwd.join(file));
            let is_taken = files.iter().any(|(other, _)| *other == path)
                || others.iter().any(|other| cwd.join(other) == path);
            if is_taken && !is_device(file) {
                return Err(Error::usage(format!(
                    "two options name the same file `{}`",
                    file.display()
                ))
                .hint("give each a file of its own"));
            }
            files.push((if is_device(file) { file.clone() } else { path }, format));
        }
        let page = std::env::var_os(PAGE).filter(|file| !file.is_empty());
        Ok(Reports {
            files,
            page: page.map(PathBuf::from),
        })
    }
}

fn summary_format(file: &Path) -> ResultsFormat {
    let is_markdown = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("md"));
    match is_markdown {
        true => ResultsFormat::Markdown,
        false => ResultsFormat::Json,
    }
}

/// Returns whether a file is a stream such as `/dev/stdout` or a pipe, which is written to and not replaced.
fn is_device(file: &Path) -> bool {
    // `/dev/shm` is a disk in memory.
    let is_system = file.starts_with("/dev") && !file.starts_with("/dev/shm");
    let is_special = |found: std::fs::Metadata| !found.is_file() && !found.is_dir();
    is_system || std::fs::metadata(file).is_ok_and(is_special)
}

/// Fails if there is a file that is no report: a specification that was named by mistake must not be lost.
fn check_content(file: &Path, format: ResultsFormat) -> Result<()> {
    if is_device(file) {
        return Ok(());
    }
    let bytes = match files::read(file) {
        Ok(bytes) => bytes,
        Err(error) if files::is_gone(&error) => return Ok(()),
        Err(error) => return Err(Error::io("replace", file, &error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let is_report = match format {
        ResultsFormat::Json => text.starts_with('{') && text.contains("\"failed_actions\""),
        ResultsFormat::Markdown => text.starts_with("## clm: "),
        ResultsFormat::Junit => text.contains("<testsuites"),
    };
    if text.trim().is_empty() || is_report {
        return Ok(());
    }
    Err(Error::usage(format!(
        "cannot write `{}`: there is a file that is no earlier report",
        file.display()
    ))
    .hint("name another file, or remove that one"))
}

/// The files that get the results of a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Reports {
    files: Vec<(PathBuf, ResultsFormat)>,
    page: Option<PathBuf>,
}

impl Reports {
    /// Returns whether there are any.
    pub(super) fn are_wanted(&self) -> bool {
        self.page.is_some() || !self.files.is_empty()
    }

    /// Writes all of them, even if one cannot be written. Returns the first error. That the page of the job has no room,
    /// or cannot be written, is only said: the build does not depend on it.
    pub(super) fn write(&self, results: &Results, place: Option<&Place>) -> Result<()> {
        let mut result = Ok(());
        for (file, format) in &self.files {
            let text = ui::results(results, *format, place, PAGE_LIMIT);
            let written = write(file, &text).map_err(|error| Error::io("write", file, &error));
            result = result.and(written);
        }
        if let Some(file) = &self.page {
            match append(file, results, place) {
                Ok(true) => {}
                Ok(false) => ui::print("warning: the page of the job is full, and gets no summary"),
                Err(error) => ui::print(&format!(
                    "warning: the page of the job, `{}`, cannot be written: {error}",
                    file.display()
                )),
            }
        }
        result
    }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if !is_device(file) {
        return files::replace(file, Access::Shared, |file| file.write_all(text.as_bytes()));
    }
    match file.to_str() {
        // Opened again, a regular file would be written to at its begin.
        Some("/dev/stdout" | "/dev/fd/1") => std::io::stdout().write_all(text.as_bytes()),
        Some("/dev/stderr" | "/dev/fd/2") => std::io::stderr().write_all(text.as_bytes()),
        _ => OpenOptions::new()
            .append(true)
            .open(file)?
            .write_all(text.as_bytes()),
    }
}

/// Appends to the page of the job, which other commands of the step write to as well. Returns whether there was room.
fn append(file: &Path, results: &Results, place: Option<&Place>) -> std::io::Result<bool> {
    let mut page = files::create(file, OpenOptions::new().append(true))?;
    let there = usize::try_from(page.metadata()?.len()).unwrap_or(usize::MAX);
    let room = PAGE_LIMIT.saturating_sub(there);
    if room < LEAST_ROOM {
        return Ok(false);
    }
    let start = if there == 0 { "" } else { "\n\n" };
    let room = room - start.len();
    let text = ui::results(results, ResultsFormat::Markdown, place, room);
    // In one call, so that another command does not write into the middle.
    page.write_all(format!("{start}{text}").as_bytes())?;
    Ok(true)
}
