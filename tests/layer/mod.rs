//! The layer around a service and around a connector, and the promises of its types and errors. One file per promise.

mod addresses;
mod certificates;
mod connector;
mod documents;
mod errors;
mod first_bytes;
mod first_write;
mod handshake;
mod heads;
mod modules;
mod multiplexed;
mod order;
mod proxy_tls;
mod raw;
mod redirect;
mod request;
mod request_target;
mod secrets;
mod shown;
mod statics;
mod upgrade;
