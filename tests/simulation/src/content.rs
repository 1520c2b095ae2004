//! Bodies whose every byte says whose it is and where it stands.

use bytes::Bytes;

/// Returns the bytes from `start` to `end` of the body with this number.
pub(crate) fn bytes(number: usize, start: usize, end: usize) -> Bytes {
    (start..end).map(|at| byte(number, at)).collect()
}

/// Returns true if the bytes are those at `start` of the body with this number.
pub(crate) fn is(number: usize, start: usize, data: &[u8]) -> bool {
    data.iter()
        .enumerate()
        .all(|(at, found)| *found == byte(number, start + at))
}

fn byte(number: usize, at: usize) -> u8 {
    (number.wrapping_mul(37) ^ at ^ (at >> 8)) as u8
}
