//! `clm build --verify`: runs known actions again, and shows which of them are not deterministic.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::engine::verify::{Sample, SampleSize, Verdict, Verified};
use crate::ui::{self, MessageFormat};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct VerifyArgs {
    /// Build nothing: run known actions again and compare the results; all, a number of them (`20`) or a part (`10%`)
    #[arg(
        long,
        num_args = 0..=1,
        value_name = "SAMPLE",
        default_missing_value = "100%",
        value_parser = parse_size,
        conflicts_with_all = ["check", "dry_run", "saved", "force"]
    )]
    verify: Option<SizeOrSpec>,
    /// Another number gives another sample of `--verify`
    #[arg(long, value_name = "NUMBER", requires = "verify", default_value_t = 0)]
    seed: u64,
}

/// The value of `--verify`. `--verify course.xml` names the course after an option that may have a value.
#[derive(Debug, Clone)]
enum SizeOrSpec {
    Size(SampleSize),
    Spec(PathBuf),
}

fn parse_size(text: &str) -> Result<SizeOrSpec, String> {
    if text.ends_with(".xml") {
        return Ok(SizeOrSpec::Spec(text.into()));
    }
    text.parse().map(SizeOrSpec::Size)
}

impl VerifyArgs {
    /// Returns whether actions are verified instead of a build.
    pub(super) fn is_wanted(&self) -> bool {
        self.verify.is_some()
    }

    /// Returns what is verified, if anything is.
    pub(super) fn sample(&self) -> Option<Sample> {
        let size = match self.verify.as_ref()? {
            SizeOrSpec::Size(size) => *size,
            SizeOrSpec::Spec(_) => SampleSize::All,
        };
        Some(Sample {
            size,
            seed: self.seed,
        })
    }

    /// Returns the specification if it was written after `--verify`, and takes it for no sample from now on.
    pub(super) fn take_spec(&mut self) -> Option<PathBuf> {
        let Some(SizeOrSpec::Spec(spec)) = &self.verify else {
            return None;
        };
        let spec = spec.clone();
        self.verify = Some(SizeOrSpec::Size(SampleSize::All));
        Some(spec)
    }
}

/// What is said if no action could be verified.
const IN_VAIN: &str = "nothing could be verified: build before, with the renderers installed";

/// Returns the exit code of a verification.
pub(super) fn code(verified: &Verified) -> u8 {
    let differs = |verdict: &Verdict| matches!(verdict, Verdict::Differs(_));
    let any_differs = verified
        .actions
        .iter()
        .any(|action| differs(&action.verdict));
    u8::from(any_differs || verified.has_errors || is_in_vain(verified))
}

/// Returns whether there are actions to verify, and none was: success would say that they are deterministic.
fn is_in_vain(verified: &Verified) -> bool {
    let is_skipped = |verdict: &Verdict| matches!(verdict, Verdict::Skipped(_));
    let mut actions = verified.actions.iter();
    verified.known + verified.unknown > 0 && actions.all(|action| is_skipped(&action.verdict))
}

/// Shows the result of a verification. Differences have been reported already.
pub(super) fn show(verified: &Verified, format: MessageFormat) {
    let (mut same, mut differs, mut skipped) = (0, 0, 0);
    for action in &verified.actions {
        let (verdict, differences, reason) = match &action.verdict {
            Verdict::Same => ("same", &[][..], None),
            Verdict::Differs(differences) => ("differs", &differences[..], None),
            Verdict::Skipped(reason) => ("skipped", &[][..], Some(reason)),
        };
        match action.verdict {
            Verdict::Same => same += 1,
            Verdict::Differs(_) => differs += 1,
            Verdict::Skipped(_) => skipped += 1,
        }
        if format == MessageFormat::Json {
            let line = json!({
                "event": "verified",
                "action": action.id,
                "kind": action.kind,
                "source": action.source,
                "verdict": verdict,
                "differences": differences,
                "reason": reason,
            });
            ui::data(&format!("{line}\n"));
        }
    }
    if format == MessageFormat::Json {
        let line = json!({
            "event": "verification",
            "known": verified.known,
            "unknown": verified.unknown,
            "sample": verified.actions.len(),
            "same": same,
            "differs": differs,
            "skipped": skipped,
        });
        ui::data(&format!("{line}\n"));
        if is_in_vain(verified) {
            ui::print(IN_VAIN);
        }
        return;
    }
    for (reason, count) in reasons(verified) {
        ui::print(&format!("skipped {count}: {reason}"));
    }
    ui::print(&format!(
        "Verified {} of {} known actions: {same} gave the same result, {differs} another one; {skipped} skipped, \
         {} without a known result",
        same + differs,
        verified.known,
        verified.unknown,
    ));
    if is_in_vain(verified) {
        ui::print(IN_VAIN);
    }
}

/// Returns why actions were skipped, with the number of actions.
fn reasons(verified: &Verified) -> Vec<(&str, usize)> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for action in &verified.actions {
        let Verdict::Skipped(reason) = &action.verdict else {
            continue;
        };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons
}
