//! Numbers that are drawn from a seed, the same each time (SplitMix64: Steele, Lea and Flood, OOPSLA 2014). It must not know what for.

use crate::distinct::mix;

/// A sequence of draws.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many of so many, each with this chance.
    pub fn hits(&mut self, draws: u64, share: f64) -> u64 {
        (0..draws).filter(|_| self.unit() < share).count() as u64
    }

    /// How many hits are among `wanted` of `draws` that have `hits` of them, taken without putting back; `wanted` is at most `draws`.
    pub fn hits_without_return(&mut self, (hits, draws): (u64, u64), wanted: u64) -> u64 {
        let (mut left, mut hits_left) = (draws, hits);
        for _ in 0..wanted.min(draws) {
            hits_left -= u64::from(self.bits() % left < hits_left);
            left -= 1;
        }
        hits - hits_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_the_paper_and_none_is_returned() {
        // The first three for the seed 1234567.
        let mut draws = Draws::new(1_234_567);
        let first = [draws.bits(), draws.bits(), draws.bits()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!(draws.hits_without_return((3, 10), 10), 3);
        let mean =
            (0..10_000).map(|_| draws.hits_without_return((30, 100), 10)).sum::<u64>() as f64 / 10_000.0;
        assert!((mean - 3.0).abs() < 0.1, "{mean}");
    }
}
