//! Bodies whose bytes follow from a request's number.

use std::sync::LazyLock;

use bytes::Bytes;
use tower_outbound_proxy_lab::Dice;

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
