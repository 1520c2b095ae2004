//! Bodies whose bytes follow from a request's number.

use std::sync::LazyLock;

use bytes::Bytes;

/// The longest body.
pub(crate) const LONGEST: usize = 200_000;
const OFFSETS: usize = 4096;

static BYTES: LazyLock<Bytes> = LazyLock::new(|| {
    let mut dice = Dice::new(0x5eed);
    (0..LONGEST + OFFSETS).map(|_| dice.roll(256) as u8).collect()
});

/// Returns a request's body of this length.
pub(crate) fn body(number: u64, length: usize) -> Bytes {
    let offset = (number.wrapping_mul(2_654_435_761) % OFFSETS as u64) as usize;
    BYTES.slice(offset..offset + length)
}

/// Numbers that look random and follow from a seed (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}
