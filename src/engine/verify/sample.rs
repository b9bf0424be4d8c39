//! Which of the known actions are verified. Pure.

use std::str::FromStr;

use crate::digest::Digest;

/// A part of all actions, which follows from their keys: the same keys give the same sample on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// How many.
    pub size: SampleSize,
    /// Another seed gives another sample.
    pub seed: u64,
}

/// The size of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum SampleSize {
    /// All.
    #[default]
    All,
    /// So many, or all if there are fewer.
    Number(usize),
    /// So many of a hundred, but at least one.
    Percent(f64),
}

impl FromStr for SampleSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a sample is a number of actions, such as `20`, or a part, such as `10%`";
        let size = match text.strip_suffix('%') {
            Some(number) => number
                .parse()
                .ok()
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(Self::Percent),
            None => {
                let number = text.parse().ok();
                number.filter(|number| *number > 0).map(Self::Number)
            }
        };
        size.ok_or_else(|| wrong().to_owned())
    }
}

impl Sample {
    /// Returns the positions of the keys in the sample, in order.
    pub(super) fn of(&self, keys: &[Digest]) -> Vec<usize> {
        let number = match self.size {
            SampleSize::All => keys.len(),
            SampleSize::Number(number) => number.min(keys.len()),
            SampleSize::Percent(percent) => {
                let part = (keys.len() as f64 * percent / 100.0).ceil() as usize;
                part.min(keys.len())
            }
        };
        let place = |index: &usize| Digest::of(format!("{} {}", self.seed, keys[*index]));
        let mut all: Vec<usize> = (0..keys.len()).collect();
        all.sort_by_cached_key(|index| place(index).to_string());
        all.truncate(number);
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> Vec<Digest> {
        (0..count).map(|n| Digest::of(n.to_string())).collect()
    }

    fn sample(size: SampleSize, seed: u64) -> Sample {
        Sample { size, seed }
    }

    #[test]
    fn a_sample_has_its_size() {
        let keys = keys(30);
        let count = |size| sample(size, 0).of(&keys).len();
        assert_eq!(count(SampleSize::All), 30);
        assert_eq!(count(SampleSize::Number(7)), 7);
        assert_eq!(count(SampleSize::Number(70)), 30);
        assert_eq!(count(SampleSize::Percent(10.0)), 3);
        assert_eq!(count(SampleSize::Percent(0.1)), 1);
        assert_eq!(count(SampleSize::Percent(100.0)), 30);
        assert!(sample(SampleSize::Percent(10.0), 0).of(&[]).is_empty());
    }

    #[test]
    fn it_follows_from_keys_and_seed_and_not_from_their_order() {
        let keys = keys(30);
        let chosen = |keys: &[Digest], seed| {
            let chosen = sample(SampleSize::Number(5), seed).of(keys);
            let mut chosen: Vec<String> = chosen.iter().map(|at| keys[*at].to_string()).collect();
            chosen.sort();
            chosen
        };
        let reversed: Vec<Digest> = keys.iter().rev().copied().collect();
        assert_eq!(chosen(&keys, 1), chosen(&reversed, 1));
        assert_ne!(chosen(&keys, 1), chosen(&keys, 2));
    }

    #[test]
    fn sizes_are_numbers_and_percentages() {
        assert_eq!("20".parse(), Ok(SampleSize::Number(20)));
        assert_eq!("10%".parse(), Ok(SampleSize::Percent(10.0)));
        assert_eq!("0.5%".parse(), Ok(SampleSize::Percent(0.5)));
        for wrong in [
            "", "0", "-1", "0%", "101%", "%", "1.5", "nan%", "inf%", "ten", "1e",
        ] {
            assert!(wrong.parse::<SampleSize>().is_err(), "{wrong}");
        }
    }
}
