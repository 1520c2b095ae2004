//! The content of responses and uploads, by which each side sees that no tunnel carries another's bytes.

use bytes::Bytes;

use crate::BoxError;

/// The largest piece.
const PIECE: usize = 64 << 10;

/// A host's content: its name and a line feed, over and over.
#[derive(Clone)]
pub(crate) struct Content {
    /// Some repetitions, one more than the largest piece needs.
    block: Bytes,
    period: usize,
    length: u64,
    at: u64,
}

impl Content {
    /// Returns the beginning of a host's content, of this length.
    pub(crate) fn of(host: &str, length: u64) -> Self {
        let line = format!("{host}\n");
        let most = usize::try_from(length).map_or(PIECE, |length| length.min(PIECE));
        Self {
            block: line.repeat(most / line.len() + 2).into(),
            period: line.len(),
            length,
            at: 0,
        }
    }

    /// Returns the number of bytes that are left.
    pub(crate) fn left(&self) -> u64 {
        self.length - self.at
    }

    /// Takes the next piece. It is empty at the end.
    pub(crate) fn piece(&mut self) -> Bytes {
        self.piece_of(PIECE)
    }

    fn piece_of(&mut self, most: usize) -> Bytes {
        let length = usize::try_from(self.left()).unwrap_or(usize::MAX).min(most).min(PIECE);
        let start = (self.at % self.period as u64) as usize;
        self.at += length as u64;
        self.block.slice(start..start + length)
    }

    /// Compares received bytes with the next ones.
    pub(crate) fn expect(&mut self, mut received: &[u8]) -> Result<(), BoxError> {
        while !received.is_empty() {
            let piece = self.piece_of(received.len());
            if piece.is_empty() || received[..piece.len()] != piece {
                return Err(format!("other content than expected before byte {}", self.at).into());
            }
            received = &received[piece.len()..];
        }
        Ok(())
    }

    /// Fails if content is missing.
    pub(crate) fn end(&self) -> Result<(), BoxError> {
        match self.left() {
            0 => Ok(()),
            left => Err(format!("{left} bytes are missing").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, PIECE};

    #[test]
    fn content_is_what_is_expected_of_it() {
        for length in [0, 1, 7, PIECE as u64, 3 * PIECE as u64 + 5] {
            let (mut sent, mut received) = (Content::of("h1.test", length), Content::of("h1.test", length));
            while sent.left() > 0 {
                received.expect(&sent.piece()).expect("the same content");
            }
            received.end().expect("all of it");
        }
    }

    #[test]
    fn other_content_is_not() {
        let mut received = Content::of("h1.test", 20);
        assert!(received.expect(&Content::of("h2.test", 20).piece()).is_err());
        let mut received = Content::of("h1.test", 20);
        assert!(received.expect(&Content::of("h1.test", 21).piece()).is_err());
        let mut received = Content::of("h1.test", 20);
        received.expect(&Content::of("h1.test", 19).piece()).expect("the same");
        assert!(received.end().is_err());
    }
}
