//! `clm check-spec`: reports all errors in a specification and in the files it names at once.

use clap::Args;

use crate::diagnostic::Severity;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::ui::{self, MessageFormat, Verbosity};

use super::session::CourseArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm check-spec                         what is wrong in `course.xml`\n\
    \x20 clm check-spec courses/b.xml --strict  fail on warnings, too")]
pub(super) struct CheckSpecArgs {
    #[command(flatten)]
    pub course: CourseArgs,
    /// How to report: text for people, JSON lines, GitHub annotations, or one line for each error with an absolute path
    /// (`short`, for editors)
    #[arg(long, value_enum, value_name = "FORMAT")]
    message_format: Option<MessageFormat>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

/// Runs the command. Returns the exit code: 0, or 2 if there are errors.
pub(super) fn run(args: &CheckSpecArgs) -> Result<u8> {
    let found = match args.course.course().and_then(|course| course.check()) {
        Ok(found) => found,
        // A specification that cannot be read at all is reported like any other error.
        Err(Error { diagnostics, .. }) => diagnostics,
    };
    let format = args.message_format.unwrap_or_else(MessageFormat::detect);
    let mut reporter = ui::reporter(
        format,
        args.course.place().ok().as_ref(),
        Verbosity::default(),
    );
    for diagnostic in &found {
        reporter.event(&Event::Diagnostic(diagnostic.clone().into()));
    }
    reporter.finish();
    let count = |severity| {
        let all = found.iter().filter(|found| found.severity == severity);
        all.count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if format != MessageFormat::Json {
        ui::print(&match (errors, warnings) {
            (0, 0) => "Nothing is wrong".to_owned(),
            _ => format!(
                "{errors} {}, {warnings} {}",
                if errors == 1 { "error" } else { "errors" },
                if warnings == 1 { "warning" } else { "warnings" },
            ),
        });
    }
    let fails = errors > 0 || (args.strict && warnings > 0);
    Ok(if fails { 2 } else { 0 })
}
