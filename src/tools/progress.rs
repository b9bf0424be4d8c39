//! What an installation reports.

use std::fmt;

use super::sizes::megabytes;

/// Progress of an installation.
#[derive(Clone, Debug, PartialEq)]
pub enum SetupEvent {
    /// Another process installs; this one waits for it.
    Waiting,
    /// A component is being installed.
    Installing {
        /// The name of the component.
        component: &'static str,
        /// The size of its download.
        bytes: u64,
    },
    /// A part of a component has arrived.
    Progress {
        /// The name of the component.
        component: &'static str,
        /// The bytes that are here.
        done: u64,
        /// The expected bytes.
        total: u64,
    },
    /// A component is installed.
    Installed {
        /// The name of the component.
        component: &'static str,
        /// The bytes that were downloaded for it; `None` without network.
        bytes: Option<u64>,
        /// The duration, in seconds.
        seconds: u64,
    },
    /// A component is being downloaded into a directory.
    Fetching {
        /// The name of the component.
        component: &'static str,
        /// Its size.
        bytes: u64,
    },
    /// A component is in the directory.
    Fetched {
        /// The name of the component.
        component: &'static str,
        /// The bytes that were downloaded now.
        bytes: u64,
        /// The duration, in seconds.
        seconds: f64,
    },
}

impl SetupEvent {
    /// Returns the progress of a component. The expected bytes are only about right.
    pub(super) fn progress(component: &'static str, done: u64, total: u64) -> Self {
        Self::Progress {
            component,
            done: done.min(total),
            total,
        }
    }
}

impl fmt::Display for SetupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => write!(f, "Waiting for another clm that installs renderers"),
            Self::Installing { component, bytes } => {
                write!(f, "Installing {component} ({})", about(*bytes))
            }
            Self::Progress {
                component,
                done,
                total,
            } => {
                let (done, total) = (megabytes(*done), megabytes(*total));
                write!(f, "{component}: {done} of {total}")
            }
            Self::Installed {
                component,
                bytes,
                seconds,
            } => {
                write!(f, "Installed {component} in {seconds} s")?;
                match bytes {
                    Some(0) => write!(f, " (all of it was downloaded before)"),
                    Some(bytes) => write!(f, " ({} downloaded)", megabytes(*bytes)),
                    None => Ok(()),
                }
            }
            Self::Fetching { component, bytes } => {
                write!(f, "Downloading {component} ({})", about(*bytes))
            }
            Self::Fetched {
                component,
                bytes: 0,
                ..
            } => write!(f, "Downloaded {component}: everything is there already"),
            Self::Fetched {
                component,
                bytes,
                seconds,
            } => {
                let speed = *bytes as f64 / seconds.max(0.1);
                let (bytes, speed) = (megabytes(*bytes), megabytes(speed as u64));
                write!(
                    f,
                    "Downloaded {component}: {bytes} in {seconds:.1} s ({speed}/s)"
                )
            }
        }
    }
}

fn about(bytes: u64) -> String {
    format!("about {:.0} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_say_how_much_and_how_long() {
        let component = "plantuml";
        for (event, expected) in [
            (
                SetupEvent::Installing {
                    component,
                    bytes: 28_362_665,
                },
                "Installing plantuml (about 28 MB)",
            ),
            (
                SetupEvent::Installed {
                    component,
                    bytes: Some(28_362_665),
                    seconds: 3,
                },
                "Installed plantuml in 3 s (28.4 MB downloaded)",
            ),
            (
                SetupEvent::Installed {
                    component,
                    bytes: Some(0),
                    seconds: 3,
                },
                "Installed plantuml in 3 s (all of it was downloaded before)",
            ),
            (
                SetupEvent::Installed {
                    component,
                    bytes: None,
                    seconds: 3,
                },
                "Installed plantuml in 3 s",
            ),
            (
                SetupEvent::Fetched {
                    component,
                    bytes: 28_362_665,
                    seconds: 2.0,
                },
                "Downloaded plantuml: 28.4 MB in 2.0 s (14.2 MB/s)",
            ),
            (
                SetupEvent::Fetched {
                    component,
                    bytes: 0,
                    seconds: 0.0,
                },
                "Downloaded plantuml: everything is there already",
            ),
            (
                SetupEvent::Progress {
                    component,
                    done: 1_000_000,
                    total: 28_362_665,
                },
                "plantuml: 1.0 MB of 28.4 MB",
            ),
        ] {
            assert_eq!(event.to_string(), expected);
        }
    }
}
