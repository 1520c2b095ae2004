//! Connections to proxies over HTTP/2, which carry many tunnels.
//!
//! - [`registry`]: the connections to each proxy; gives their streams to those who connect, or lets them connect;
//! - [`entry`]: those of one proxy, and who waits for a stream of them;
//! - [`connection`]: the handshake and the task of a connection; [`link`]: the facts about it;
//! - [`lease`]: one stream of a connection;
//! - [`sending`]: room in the window, and fields;
//! - [`receiving`], [`frames`]: what is received, without those frames that would hurt other streams;
//! - [`settings`]: the version for proxies, and the settings of HTTP/2.
//!
//! No lock is held while anything is polled (but a stream of h2, which polls nothing itself), woken, spawned or dropped.

mod connection;
mod entry;
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
pub use self::{
    lease::ProxyConnection,
    settings::{Http2Settings, ProxyVersion},
};
#[cfg(feature = "client")]
pub(crate) use self::{link::STREAMS_UNKNOWN, registry::ProxyStats, sending::is_unprocessed};

/// The time after which an attempt to connect gets company, and a CONNECT without an answer a second way.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The time for which a proxy's refusal to speak HTTP/2 is remembered.
const MEMORY: Duration = Duration::from_secs(600);
