//! [`Port`]: a port as a dialect compares it.

use std::num::NonZeroU32;

use crate::{dialect::TargetPort, host::WrittenPort, target::Target};

/// A port as a dialect compares it: its number, and the count of its digits if they are compared as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port(NonZeroU32);

impl Port {
    /// Makes the value other than zero, so that an `Option` needs no more room.
    const BASE: u32 = 1 << 31;

    pub(crate) const fn number(number: u16) -> Self {
        match NonZeroU32::new(Self::BASE | number as u32) {
            Some(port) => Self(port),
            None => unreachable!(),
        }
    }

    pub(super) fn text(port: WrittenPort) -> Self {
        Self(Self::number(port.number).0 | u32::from(port.digits) << 16)
    }

    /// Returns the port of a target.
    #[inline]
    pub(crate) fn of(target: &Target<'_>, column: TargetPort) -> Option<Self> {
        match column {
            TargetPort::Effective => target.port().map(Self::number),
            column => Self::as_written(target, column),
        }
    }

    fn as_written(target: &Target<'_>, column: TargetPort) -> Option<Self> {
        let (written, default) = (target.written_port(), target.scheme().default_port());
        match column {
            TargetPort::Effective => target.port().map(Self::number),
            TargetPort::EffectiveNotZero => target.port().filter(|port| *port != 0).or(default).map(Self::number),
            TargetPort::EffectiveText => written.or(default.map(WrittenPort::plain)).map(Self::text),
            TargetPort::Written => {
                let number = written.map(|port| port.number).filter(|port| *port != 0);
                number.map(Self::number)
            }
            TargetPort::WrittenText => written.map(Self::text),
        }
    }

    /// Returns the part of a hash that follows from the port.
    pub(super) fn bits(self) -> u64 {
        u64::from(self.0.get())
    }
}
