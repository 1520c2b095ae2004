//! The networks of the examples: a proxy that requires a password, and servers behind it.
//!
//! An example runs through the lab's proxy, or through a real Squid if its argument is `--squid`. Either fails it if
//! the requests that the proxy saw are not the expected ones.

mod origin;
mod outbound;
mod redis;

pub use origin::serve;
pub use outbound::Outbound;
pub use redis::Redis;
