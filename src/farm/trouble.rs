//! What is wrong with a farm, and whether it is used any more.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::diagnostic::Diagnostic;
use crate::parallel::lock;
use crate::remote::{Breaker, Failure, Trouble};

use super::NotMade;
use super::order::Refusal;

/// The number of accidents in a row after which the farm is not given work of a renderer for some time.
const ACCIDENTS: u32 = 3;
/// How long it is not.
const PAUSE: Duration = Duration::from_secs(300);

/// The state of a farm.
pub(super) struct Troubles {
    /// The address, for messages.
    shown: String,
    breaker: Breaker,
    refused: Mutex<BTreeMap<String, OfRenderer>>,
    warnings: Mutex<Vec<Diagnostic>>,
}

/// What became of the work of a renderer.
#[derive(Debug, Default)]
struct OfRenderer {
    accidents: u32,
    refused_since: Option<Instant>,
    has_told: bool,
}

impl Troubles {
    /// Returns the state of a farm with this address, of which nothing is known.
    pub(super) fn new(shown: String) -> Self {
        Self {
            shown,
            breaker: Breaker::new(true),
            refused: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// Returns whether the farm is used.
    pub(super) fn is_usable(&self) -> bool {
        self.breaker.is_readable()
    }

    /// Returns whether the farm did not do such work, so that it is not given any for some time.
    pub(super) fn refuses(&self, renderer: &str) -> bool {
        let refused = lock(&self.refused);
        let since = refused.get(renderer).and_then(|state| state.refused_since);
        since.is_some_and(|since| since.elapsed() < PAUSE)
    }

    /// Records a failure of the farm.
    pub(super) fn failed(&self, failure: Failure) -> NotMade {
        let reason = failure.to_string();
        self.breaker.failed(failure);
        NotMade(reason)
    }

    /// Records a failure after which the farm is not used for some time.
    pub(super) fn given_up(&self, failure: &Failure) -> NotMade {
        self.breaker.open(Trouble::Broken(failure.to_string()));
        NotMade(failure.to_string())
    }

    /// Records that the farm executed an action.
    pub(super) fn succeeded(&self) {
        self.breaker.succeeded();
    }

    /// Records that work of a renderer was done.
    pub(super) fn worked(&self, renderer: &str) {
        lock(&self.refused).remove(renderer);
    }

    /// Records that a worker did not do some work.
    pub(super) fn refused(&self, renderer: &str, refusal: Refusal) -> NotMade {
        let mut refused = lock(&self.refused);
        let state = refused.entry(renderer.to_owned()).or_default();
        state.accidents += 1;
        if !refusal.is_accident || state.accidents >= ACCIDENTS {
            state.refused_since = Some(Instant::now());
            if !std::mem::replace(&mut state.has_told, true) {
                let message = format!(
                    "the farm `{}` cannot do the work of `{renderer}`: {}",
                    self.shown, refusal.reason
                );
                let hint = refusal
                    .hint
                    .unwrap_or_else(|| "look at the log of a worker".to_owned());
                let warning = Diagnostic::warning(message).hint(format!("{hint}; it is done here"));
                lock(&self.warnings).push(warning);
            }
        }
        NotMade(refusal.reason)
    }

    /// Returns warnings that were not reported yet.
    pub(super) fn take_warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = std::mem::take(&mut *lock(&self.warnings));
        let shown = &self.shown;
        let warning = match self.breaker.take_trouble() {
            Some(Trouble::Refused(status)) => Diagnostic::warning(format!(
                "the farm `{shown}` refuses access (status {status})"
            ))
            .hint("check CLM_FARM_TOKEN or CLM_FARM_HEADERS; everything is made here"),
            Some(Trouble::Broken(reason) | Trouble::Unwritable(reason)) => {
                Diagnostic::warning(format!("the farm `{shown}` cannot be used: {reason}")).hint(
                    "the work is done here; it is tried again from time to time, and `clm farm check` tests it",
                )
            }
            Some(Trouble::Slow(_) | Trouble::Unsent(_)) | None => return warnings,
        };
        warnings.push(warning);
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_concerns_one_renderer_and_is_reported_once() {
        let troubles = Troubles::new("grpc://farm".to_owned());
        let refusal = || {
            Refusal::new(
                "the worker has no renderer `plantuml`".to_owned(),
                "do that",
            )
        };
        troubles.refused("plantuml", refusal());
        troubles.refused("plantuml", refusal());
        assert!(troubles.refuses("plantuml") && !troubles.refuses("html"));
        assert!(troubles.is_usable());
        let warnings = troubles.take_warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].message.contains("no renderer `plantuml`"));
        assert_eq!(
            warnings[0].hint.as_deref(),
            Some("do that; it is done here")
        );
        assert!(troubles.take_warnings().is_empty());
    }

    #[test]
    fn accidents_are_refusals_only_in_a_row() {
        let troubles = Troubles::new(String::new());
        let accident = || Refusal::accident("killed".to_owned());
        for _ in 0..2 {
            troubles.refused("html", accident());
        }
        troubles.worked("html");
        for _ in 0..2 {
            troubles.refused("html", accident());
        }
        assert!(!troubles.refuses("html") && troubles.take_warnings().is_empty());
        troubles.refused("html", accident());
        assert!(troubles.refuses("html"));
        assert_eq!(troubles.take_warnings().len(), 1);
    }

    #[test]
    fn a_farm_that_is_gone_is_reported_once() {
        let troubles = Troubles::new("grpc://farm".to_owned());
        for _ in 0..5 {
            troubles.failed(Failure::Unreachable("connection refused".to_owned()));
        }
        assert!(!troubles.is_usable());
        let warnings = troubles.take_warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].message.contains("connection refused"));
        troubles.failed(Failure::TimedOut);
        assert!(troubles.take_warnings().is_empty());
    }
}
