//! Connections to proxies over HTTP/2, which carry many tunnels.
//!
//! - [`registry`]: the connections to all proxies; serves those who want a stream; [`entry`]: the connections to one proxy,
//!   and the waiters for a stream;
//! - [`connection`]: the handshake and the task of a connection; [`link`]: the facts about it; [`facts`]: those that a
//!   `Client`'s pool has as well;
//! - [`lease`]: one stream of a connection;
//! - [`sending`], [`receiving`]: the halves of a stream; [`frames`]: what is read, without frames that would hurt other
//!   streams;
//! - [`settings`]: the version for proxies, and the settings of HTTP/2.
//!
//! No lock is held while anything is polled, woken, spawned or dropped, except that a stream of h2 is polled, which
//! polls nothing itself.

mod connection;
mod entry;
mod facts;
mod frames;
mod lease;
mod link;
mod receiving;
mod registry;
mod sending;
mod settings;

use std::time::Duration;

pub(crate) use self::{
    connection::handshake,
    entry::Use,
    lease::Lease,
    receiving::Receiving,
    registry::{Connections, Key, Permit, Turn, Wish},
    sending::{MOST_DATA, OF_HTTP1, poll_room},
};
#[cfg(feature = "client")]
pub(crate) use self::{
    facts::{LastRead, StreamLimit},
    registry::ProxyStats,
    sending::is_unprocessed,
};
pub use self::{
    lease::ProxyConnection,
    settings::{Http2Settings, ProxyVersion},
};

/// The longest head of a response: the same as hyper accepts over HTTP/1.1 (its default for HTTP/2 is 16 KiB).
pub(crate) const MAX_HEAD: u32 = 408 * 1024;

/// The time after which a peer counts as late: another attempt starts beside one that connects, a CONNECT is sent over
/// another connection as well, and a silent connection takes no more requests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The time for which a proxy's refusal to speak HTTP/2 is remembered.
const MEMORY: Duration = Duration::from_secs(600);
