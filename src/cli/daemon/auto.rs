//! Leaves a daemon behind after a build of a course that nobody watches, so that the next save is answered by workers
//! that have started.

use std::path::Path;

use crate::config::{AutoDaemon, Ci};
use crate::daemon::{Reason, running};
use crate::engine::course::Course;
use crate::store::network_file_system;

use super::super::session::CourseArgs;
use super::{background, replace_automatic};

/// How long such a daemon waits for another request before it ends, in minutes.
const IDLE_MINUTES: u64 = 30;

/// Starts a daemon for the course if its settings and the machine allow that, without waiting until it is ready. A
/// failure only means that the next build works alone again, so it is logged and not reported.
pub(in crate::cli) fn leave_behind(args: &CourseArgs, course: &Course, reason: Reason) {
    let is_wanted = match course.settings.daemon.auto {
        AutoDaemon::Off => false,
        AutoDaemon::Editor => reason == Reason::Editor,
        AutoDaemon::Always => true,
    };
    let state_dir = course.place.state_dir();
    if !is_wanted
        || Ci::detect().is_some()
        || is_battery_low(Path::new("/sys/class/power_supply"))
        // Another machine may use the records, and no events tell of its changes.
        || network_file_system(&course.place.root).is_some()
    {
        return;
    }
    match running(&state_dir) {
        None => {}
        // It did not do this build, because its tools or its version are others than those of the editor.
        Some(info) if info.reason.is_some() && reason == Reason::Editor => {
            if let Err(error) = replace_automatic(&state_dir) {
                tracing::debug!(%error, "a daemon does not end");
                return;
            }
        }
        Some(_) => return,
    }
    let minutes = IDLE_MINUTES.to_string();
    let options = ["--background", &minutes, "--on-request", reason.name()];
    if let Err(error) = background(args, course, options) {
        tracing::debug!(%error, "no daemon was left behind");
    }
}

/// Returns whether the machine runs on a battery whose charge the system calls low. `supplies` is the directory in
/// which Linux lists its power supplies; elsewhere there is none, and nothing is known.
fn is_battery_low(supplies: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(supplies) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let value = |name: &str| {
            let text = std::fs::read_to_string(entry.path().join(name));
            text.unwrap_or_default().trim().to_owned()
        };
        // Batteries of mice and keyboards have the scope `Device`.
        value("type") == "Battery"
            && value("scope") != "Device"
            && value("status") == "Discharging"
            && matches!(&*value("capacity_level"), "Low" | "Critical")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_battery_is_low_when_the_system_calls_it_low_and_it_discharges() {
        let low = [
            ("type", "Battery\n"),
            ("status", "Discharging\n"),
            ("capacity_level", "Low\n"),
        ];
        let changed = |name: &'static str, value: &'static str| {
            let mut files = low.to_vec();
            files.retain(|(known, _)| *known != name);
            files.push((name, value));
            files
        };
        for (files, expected) in [
            (low.to_vec(), true),
            (changed("capacity_level", "Critical\n"), true),
            (changed("capacity_level", "Normal\n"), false),
            (changed("status", "Charging\n"), false),
            (changed("type", "Mains\n"), false),
            (changed("scope", "Device\n"), false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let supply = dir.path().join("BAT0");
            std::fs::create_dir(&supply).unwrap();
            for (name, value) in &files {
                std::fs::write(supply.join(name), value).unwrap();
            }
            assert_eq!(is_battery_low(dir.path()), expected, "{files:?}");
        }
        assert!(!is_battery_low(Path::new("/no/such/directory")));
    }
}
