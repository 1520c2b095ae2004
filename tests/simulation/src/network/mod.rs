//! The network: connections in memory, with delays, limits and faults.
//!
//! All delays are whole milliseconds, since that is what tokio's clock can tell apart. What shall happen in another
//! order within a millisecond is put off by some polls instead.

mod dialer;
mod end;
mod link;
mod pipe;

pub(crate) use self::{
    dialer::{Dialer, dial},
    end::End,
    link::Link,
};
