//! Where a course is, for commands to which the options about outputs make no difference.

use std::ops::Deref;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use super::session::CourseArgs;

/// The options of [`CourseArgs`] that are about outputs.
const OF_OUTPUTS: [&str; 5] = [
    "output_dir",
    "image_mode",
    "image_format",
    "inline_images",
    "beside",
];

/// [`CourseArgs`], of which `--help` lists only SPEC and `--data-dir`. The others are accepted, so that the same options
/// can be given to all commands.
#[derive(Debug, Clone, Default)]
pub(super) struct PlaceArgs(CourseArgs);

impl Deref for PlaceArgs {
    type Target = CourseArgs;

    fn deref(&self) -> &CourseArgs {
        &self.0
    }
}

fn with_hidden(command: Command) -> Command {
    let hide = |command: Command, name| command.mut_arg(name, |arg| arg.hide(true));
    OF_OUTPUTS.into_iter().fold(command, hide)
}

impl FromArgMatches for PlaceArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        CourseArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for PlaceArgs {
    fn augment_args(command: Command) -> Command {
        with_hidden(CourseArgs::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        with_hidden(CourseArgs::augment_args_for_update(command))
    }
}
