//! Inputs that look like those of the corpus, but are wrong in some places.

/// Numbers that look random, the same ones for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % limit.max(1) as u64) as usize
    }
}

/// No input is longer: what is wrong shows in short ones.
pub const LONGEST: usize = 4096;

/// One of the inputs, changed in one to six places.
pub fn mutated(corpus: &[Vec<u8>], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let to = (at + 1 + random.below(40)).min(input.len());
        match random.below(12) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 => input.insert(at, random.below(256) as u8),
            2 => drop(input.drain(at.min(to)..to)),
            3 => {
                // Again, and once more: what nests or repeats.
                let piece = input[at.min(to)..to].to_vec();
                let most = if random.below(20) == 0 { 200 } else { 3 };
                let count = 1 + random.below(most);
                input.splice(at..at, piece.repeat(count));
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let end = (from + 1 + random.below(60)).min(other.len());
                input.splice(at..at, other[from.min(end)..end].iter().copied());
            }
            6 => input.truncate(at),
            7 => {
                let word = words[random.below(words.len())].as_bytes();
                input.splice(at.min(to)..to, word.iter().copied());
            }
            _ => {
                let word = words[random.below(words.len())].as_bytes();
                let most = if random.below(30) == 0 { 100 } else { 2 };
                let count = 1 + random.below(most);
                input.splice(at..at, word.repeat(count));
            }
        }
        input.truncate(LONGEST);
    }
    input
}
