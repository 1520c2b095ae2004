//! [`Pipe`]: one direction of a connection.

use std::{collections::VecDeque, task::Waker};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// One direction: what is on its way, in order.
#[derive(Default)]
pub(super) struct Pipe {
    segments: VecDeque<Segment>,
    /// Bytes that were written and not read.
    pub(super) buffered: usize,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// True if nobody will read.
    pub(super) abandoned: bool,
    /// True once the writer has ended it.
    pub(super) ended: bool,
}

struct Segment {
    due: Instant,
    /// Polls by which it is put off within its millisecond.
    polls: u8,
    content: Content,
}

pub(super) enum Content {
    Data(Bytes),
    End,
    Reset,
}

/// The result of a look at the first segment.
pub(super) enum Look<'a> {
    Nothing,
    Later(Instant),
    /// After another poll.
    Soon,
    Data(&'a [u8]),
    End,
    Reset,
}

impl Pipe {
    pub(super) fn push(&mut self, due: Instant, polls: u8, content: Content) {
        if let Content::Data(data) = &content {
            self.buffered += data.len();
        }
        // Nothing overtakes within a direction.
        let due = self.segments.back().map_or(due, |last| last.due.max(due));
        self.segments.push_back(Segment { due, polls, content });
        self.wake_reader();
    }

    /// Resets the direction for its reader. A reset that overtakes destroys what was not read.
    pub(super) fn reset(&mut self, due: Instant, overtakes: bool) {
        if overtakes {
            self.segments.clear();
            self.buffered = 0;
        }
        self.push(due, 0, Content::Reset);
        self.wake_writer();
    }

    pub(super) fn look(&mut self) -> Look<'_> {
        let Some(first) = self.segments.front_mut() else {
            return Look::Nothing;
        };
        if first.due > Instant::now() {
            return Look::Later(first.due);
        }
        if first.polls > 0 {
            first.polls -= 1;
            return Look::Soon;
        }
        match &first.content {
            Content::Data(data) => Look::Data(data),
            Content::End => Look::End,
            Content::Reset => Look::Reset,
        }
    }

    /// Removes bytes of the first segment.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.buffered -= bytes;
        if let Some(Segment {
            content: Content::Data(data),
            ..
        }) = self.segments.front_mut()
        {
            data.advance(bytes);
            if data.is_empty() {
                self.segments.pop_front();
            }
        }
        self.wake_writer();
    }

    /// Returns true if its reader knows of a reset, whatever comes before it.
    pub(super) fn is_reset(&self) -> bool {
        let last = self.segments.back();
        last.is_some_and(|last| matches!(last.content, Content::Reset) && last.due <= Instant::now())
    }

    /// Nobody will read: what is on its way is lost.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
        self.segments.clear();
        self.buffered = 0;
        self.wake_writer();
    }

    /// Loses what is on its way, as a dead network does. It still counts as written and not read.
    pub(super) fn lose(&mut self) {
        self.segments.clear();
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}
