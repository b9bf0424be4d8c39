//! The packages of the Python environment, and which of them a Python needs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::error::{Error, Result};

use super::package::Package;
use super::pins::{REQUIREMENTS, Registry};

/// An entry of `requirements.lock`.
#[derive(Debug)]
pub(super) struct Requirement {
    /// The name of the package.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The condition under which it is needed.
    marker: Option<&'static str>,
    sha256: Vec<&'static str>,
}

impl Requirement {
    /// Returns what identifies its file.
    pub(super) fn package(&self) -> Package<'_> {
        Package {
            registry: Registry::Python,
            name: self.name,
            version: self.version,
            sha256: &self.sha256,
        }
    }

    /// Returns whether a Python needs it. What is not understood applies: pip decides in the end.
    fn applies(&self, python: &Interpreter) -> bool {
        self.marker
            .is_none_or(|marker| holds(marker, python).unwrap_or(true))
    }
}

/// Returns all entries, of which every Python needs only some.
pub(super) fn all() -> &'static [Requirement] {
    static ALL: OnceLock<Vec<Requirement>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<Requirement> = Vec::new();
        for line in REQUIREMENTS.lines() {
            let line = line.trim().trim_end_matches('\\').trim_end();
            if let Some(sum) = line.strip_prefix("--hash=sha256:") {
                if let Some(last) = all.last_mut() {
                    last.sha256.push(sum);
                }
            } else if let Some((name, rest)) = line.split_once("==") {
                let (version, marker) = match rest.split_once(';') {
                    Some((version, marker)) => (version.trim(), Some(marker.trim())),
                    None => (rest, None),
                };
                all.push(Requirement {
                    name,
                    version,
                    marker,
                    sha256: Vec::new(),
                });
            }
        }
        all
    })
}

/// Returns the entries that a Python needs.
pub(super) fn of(python: &Interpreter) -> Vec<&'static Requirement> {
    let all = all().iter();
    all.filter(|entry| entry.applies(python)).collect()
}

/// What conditions can ask about a Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// Its version in three numbers, of which the first is 3.
    pub version: [u32; 3],
    /// Its implementation, such as `cpython`.
    implementation: String,
    /// Its name of the system, such as `linux`.
    platform: String,
}

impl Interpreter {
    /// Asks an interpreter.
    pub(super) fn of(python: &Path) -> Result<Self> {
        let question =
            "import sys; print(*sys.version_info[:3], sys.implementation.name, sys.platform)";
        let output = Command::new(python)
            .args(["-I", "-c", question])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Error::system(&format!("start `{}`", python.display()), &error))?;
        Self::parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
            Error::internal(format!("`{}` does not say its version", python.display()))
                .hint("check with `python3 --version` whether it works")
        })
    }

    fn parse(said: &str) -> Option<Self> {
        let mut words = said.split_whitespace();
        let mut number = || words.next()?.parse().ok();
        let version = [number()?, number()?, number()?];
        Some(Self {
            version,
            implementation: words.next()?.to_owned(),
            platform: words.next()?.to_owned(),
        })
    }
}

/// Evaluates a condition; `None` if it is not understood.
fn holds(marker: &str, python: &Interpreter) -> Option<bool> {
    let spaced = marker.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let result = any(&mut rest, python)?;
    rest.is_empty().then_some(result)
}

fn any(words: &mut &[&str], python: &Interpreter) -> Option<bool> {
    let mut result = all_of(words, python)?;
    while let ["or", rest @ ..] = *words {
        *words = rest;
        result |= all_of(words, python)?;
    }
    Some(result)
}

fn all_of(words: &mut &[&str], python: &Interpreter) -> Option<bool> {
    let mut result = term(words, python)?;
    while let ["and", rest @ ..] = *words {
        *words = rest;
        result &= term(words, python)?;
    }
    Some(result)
}

fn term(words: &mut &[&str], python: &Interpreter) -> Option<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let result = any(words, python)?;
            let (&")", rest) = words.split_first()? else {
                return None;
            };
            *words = rest;
            Some(result)
        }
        [name, operator, value, rest @ ..] => {
            *words = rest;
            compare(name, operator, value.trim_matches(['\'', '"']), python)
        }
        _ => None,
    }
}

fn compare(name: &str, operator: &str, value: &str, python: &Interpreter) -> Option<bool> {
    let text = match name {
        "python_full_version" => return compare_version(operator, value, python.version),
        "sys_platform" => &python.platform,
        "implementation_name" => &python.implementation,
        _ => return None,
    };
    match operator {
        "==" => Some(text == value),
        "!=" => Some(text != value),
        _ => None,
    }
}

fn compare_version(operator: &str, value: &str, version: [u32; 3]) -> Option<bool> {
    let (value, is_prefix) = match value.strip_suffix(".*") {
        Some(value) => (value, true),
        None => (value, false),
    };
    let numbers: Option<Vec<u32>> = value.split('.').map(|part| part.parse().ok()).collect();
    let mut numbers = numbers.filter(|numbers| numbers.len() <= 3)?;
    if is_prefix {
        let is_equal = version.starts_with(&numbers);
        return match operator {
            "==" => Some(is_equal),
            "!=" => Some(!is_equal),
            _ => None,
        };
    }
    numbers.resize(3, 0);
    let order = version.as_slice().cmp(numbers.as_slice());
    match operator {
        "==" => Some(order.is_eq()),
        "!=" => Some(order.is_ne()),
        "<" => Some(order.is_lt()),
        "<=" => Some(order.is_le()),
        ">" => Some(order.is_gt()),
        ">=" => Some(order.is_ge()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(said: &str) -> Interpreter {
        Interpreter::parse(said).unwrap()
    }

    #[test]
    fn the_lock_file_is_understood_for_every_python() {
        let all = all();
        let listed = REQUIREMENTS.lines().filter(|line| line.contains("=="));
        assert_eq!(all.len(), listed.count());
        for entry in all {
            assert!(!entry.sha256.is_empty(), "{}", entry.name);
            assert!(entry.sha256.iter().all(|sum| sum.len() == 64));
            if let Some(marker) = entry.marker {
                let answer = holds(marker, &python("3 11 7 cpython linux"));
                assert!(answer.is_some(), "{marker}");
            }
        }
        // Every Python gets each package once.
        for said in [
            "3 10 4 cpython linux",
            "3 11 2 cpython linux",
            "3 11 7 cpython linux",
            "3 13 1 cpython darwin",
            "3 12 0 pypy linux",
        ] {
            let mut names: Vec<&str> = of(&python(said)).iter().map(|entry| entry.name).collect();
            let count = names.len();
            assert!(count > 50 && names.contains(&"numpy"), "{said}: {names:?}");
            names.dedup();
            assert_eq!(names.len(), count, "{said}");
        }
    }

    #[test]
    fn conditions_are_evaluated() {
        let linux = python("3 11 7 cpython linux");
        for (marker, expected) in [
            ("python_full_version < '3.11'", Some(false)),
            ("python_full_version == '3.11.*'", Some(true)),
            ("python_full_version >= '3.11.5'", Some(true)),
            ("sys_platform == 'darwin'", Some(false)),
            (
                "sys_platform == 'win32' or (sys_platform != 'a' and sys_platform != 'b')",
                Some(true),
            ),
            (
                "(sys_platform == 'linux' or sys_platform == 'a') and implementation_name == 'pypy'",
                Some(false),
            ),
            ("os_name == 'posix'", None),
            ("sys_platform == 'linux' )", None),
            ("( sys_platform == 'linux'", None),
            ("", None),
        ] {
            assert_eq!(holds(marker, &linux), expected, "{marker}");
        }
    }
}
