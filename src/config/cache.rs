//! `[cache]`: how many results the store retains, for how long, and the cache that machines share.

use std::ffi::OsString;
use std::time::Duration;

use clap::ValueEnum as _;
use serde::{Deserialize, Deserializer, de};

use crate::error::Error;

use super::env;

/// `[cache]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSettings {
    /// How many bytes of results are retained, such as `"500 MB"`; the default is 2 GB, or a tenth of a smaller disk.
    #[serde(deserialize_with = "size")]
    pub max_size: Option<u64>,
    /// How long an unused result is retained, such as `"30 days"`, which is the default.
    #[serde(deserialize_with = "age")]
    pub max_age: Option<Duration>,
    /// The address of the cache that machines share: `https://`, `http://` or `file:///`. The empty text means none.
    pub remote: Option<String>,
    /// How the shared cache is used; the default is `read-write`, and `read` for pull requests in known pipelines.
    pub mode: Option<CacheMode>,
    /// How long a build may wait for the shared cache in vain, such as `"2 s"`, which is the default.
    #[serde(deserialize_with = "wait")]
    pub max_wait: Option<Duration>,
}

impl CacheSettings {
    /// Takes values from environment variables.
    pub(super) fn apply_env(
        &mut self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        let text = |name: &str| lookup(name).map(|value| value.to_string_lossy().into_owned());
        let wrong = |name: &str, why: &str| Error::usage(format!("{name}: {why}"));
        if let Some(remote) = text(env::CACHE_REMOTE) {
            self.remote = Some(remote);
        }
        if let Some(mode) = text(env::CACHE_MODE).filter(|mode| !mode.is_empty()) {
            let parsed = CacheMode::from_str(&mode, true);
            let known = || format!("`{mode}` is none of `read`, `read-write`, `off`");
            self.mode = Some(parsed.map_err(|_| wrong(env::CACHE_MODE, &known()))?);
        }
        if let Some(wait) = text(env::CACHE_MAX_WAIT).filter(|wait| !wait.is_empty()) {
            let parsed = parse_wait(&wait);
            self.max_wait = Some(parsed.map_err(|why| wrong(env::CACHE_MAX_WAIT, &why))?);
        }
        Ok(())
    }
}

/// How the shared cache is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    /// Results of others are used.
    Read,
    /// Results of others are used, and those made here are added.
    ReadWrite,
    /// It is not used.
    Off,
}

/// The default of `max_wait`.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(2);

/// The default of `max_size`.
pub(crate) const MAX_SIZE: u64 = 2_000_000_000;
/// The default of `max_age`.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(30 * 86_400);

const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

const AGES: &[(&str, u64)] = &[
    ("s", 1),
    ("second", 1),
    ("seconds", 1),
    ("min", 60),
    ("minute", 60),
    ("minutes", 60),
    ("h", 3_600),
    ("hour", 3_600),
    ("hours", 3_600),
    ("d", 86_400),
    ("day", 86_400),
    ("days", 86_400),
    ("week", 7 * 86_400),
    ("weeks", 7 * 86_400),
];

/// Parses a size such as `500 MB`, in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    scaled(text, SIZES)
        .ok_or_else(|| format!("`{text}` is not a size; write it like `500 MB` or `2 GB`"))
}

/// Parses a time such as `30 days`.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    scaled(text, AGES)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is not a time; write it like `12 hours` or `30 days`"))
}

const WAITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("second", 1_000),
    ("seconds", 1_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
];

/// Parses a time such as `2 s` or `500 ms`. It is at least one millisecond: a cache that may never be waited for is of no
/// use, and `mode = "off"` says so.
pub(crate) fn parse_wait(text: &str) -> Result<Duration, String> {
    scaled(text, WAITS)
        .filter(|ms| (1..=LONGEST_WAIT_MS).contains(ms))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("`{text}` is not a time from 1 ms to 60 min; write it like `2 s` or `500 ms`")
        })
}

const LONGEST_WAIT_MS: u64 = 60 * 60_000;

/// Parses a number with a unit and converts it to the smallest unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    match number.parse::<u64>() {
        Ok(number) => number.checked_mul(*factor),
        Err(_) => {
            let number: f64 = number.parse().ok()?;
            let scaled = number * *factor as f64;
            (scaled.is_finite() && scaled < 1e18).then_some(scaled as u64)
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match NumberOrText::deserialize(deserializer) {
        Ok(NumberOrText::Number(bytes)) => Ok(Some(bytes)),
        Ok(NumberOrText::Text(text)) => parse_size(&text).map(Some).map_err(de::Error::custom),
        Err(_) => Err(de::Error::custom(
            "a size is a number of bytes, or a text such as \"500 MB\"",
        )),
    }
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match NumberOrText::deserialize(deserializer) {
        Ok(NumberOrText::Text(text)) => parse_age(&text).map(Some).map_err(de::Error::custom),
        Ok(NumberOrText::Number(_)) | Err(_) => Err(de::Error::custom(
            "a time is a text with its unit, such as \"30 days\"",
        )),
    }
}

fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match NumberOrText::deserialize(deserializer) {
        Ok(NumberOrText::Text(text)) => parse_wait(&text).map(Some).map_err(de::Error::custom),
        Ok(NumberOrText::Number(_)) | Err(_) => Err(de::Error::custom(
            "a time is a text with its unit, such as \"2 s\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(parse_size("500 MB"), Ok(500_000_000));
        assert_eq!(parse_size("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_age("2 weeks"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse_age("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(parse_wait("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_wait("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["0 s", "2", "2 days", "100 min", "-1 s"] {
            assert!(parse_wait(wrong).is_err(), "{wrong}");
        }
        for bad in ["", "many", "1 parsec", "-1 GB", "1e99 GB", "99999999999 TB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
            assert!(parse_age(bad).is_err(), "{bad}");
        }
        assert!(parse_age("30").is_err(), "thirty what");
    }

    #[test]
    fn the_settings_file_names_them() {
        let settings: CacheSettings =
            toml::from_str("max_size = \"1 GB\"\nmax_age = \"7 days\"").unwrap();
        assert_eq!(settings.max_size, Some(1_000_000_000));
        assert_eq!(settings.max_age, Some(Duration::from_secs(7 * 86_400)));
        assert!(toml::from_str::<CacheSettings>("max_age = 30").is_err());
        assert!(toml::from_str::<CacheSettings>("max_size = \"big\"").is_err());
    }
}
