//! The layer around a service and around a connector, and the promises of its types and errors. One file per promise.

mod addresses;
mod connector;
mod errors;
mod first_bytes;
mod handshake;
mod heads;
mod modules;
mod order;
mod proxy_tls;
mod raw;
mod request;
mod request_target;
mod secrets;
mod statics;
mod upgrade;
