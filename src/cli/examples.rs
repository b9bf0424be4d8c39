//! The examples in `--help` are accepted, and options that make no difference are not listed.

use clap::{Command, CommandFactory as _};

use super::Cli;

/// All commands with their names, such as `clm cache gc`.
fn commands(command: &Command, name: &str, found: &mut Vec<(String, Command)>) {
    found.push((name.to_owned(), command.clone()));
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            commands(inner, &format!("{name} {}", inner.get_name()), found);
        }
    }
}

fn all() -> Vec<(String, Command)> {
    let mut found = Vec::new();
    let mut definition = Cli::command();
    definition.build();
    commands(&definition, "clm", &mut found);
    assert!(found.len() > 20, "{}", found.len());
    found
}

#[test]
fn the_help_of_every_command_has_examples_that_are_accepted() {
    for (name, command) in all() {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_else(|| panic!("`{name} --help` has no example"));
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let mut count = 0;
        for line in lines {
            // What is after two blanks says what the example is for.
            let example = line.split("  ").next().unwrap();
            assert!(
                example == name || example.starts_with(&format!("{name} ")),
                "`{name} --help`: {example}"
            );
            let accepted = Cli::command().try_get_matches_from(example.split(' '));
            if let Err(error) = accepted {
                assert!(
                    error.exit_code() == 0,
                    "`{name} --help`: {example}\n{error}"
                );
            }
            assert!(line.len() < 78, "`{name} --help`: {line}");
            count += 1;
        }
        assert!(count > 0, "`{name} --help` has no example");
    }
}

#[test]
fn the_help_lists_only_what_applies() {
    for (name, command) in all() {
        let listed = |id: &str| {
            let mut args = command.get_arguments();
            args.any(|arg| arg.get_id() == id && !arg.is_hide_set())
        };
        let has_outputs = matches!(
            name.as_str(),
            "clm build"
                | "clm watch"
                | "clm daemon start"
                | "clm check-spec"
                | "clm explain"
                | "clm cache export"
                | "clm cache key"
        );
        for id in [
            "output_dir",
            "image_mode",
            "image_format",
            "inline_images",
            "beside",
        ] {
            assert_eq!(listed(id), has_outputs, "`{name}`: {id}");
        }
    }
    // They are accepted all the same, so that the same options can be given to all commands.
    let line = "clm status course.xml -d . -o out --image-mode shared --inline-images";
    let accepted = Cli::command().try_get_matches_from(line.split(' '));
    assert!(accepted.is_ok());
}
