//! What the layer does around a service and around a connector, and what its types and errors promise. One file per
//! promise.

mod connector;
mod errors;
mod handshake;
mod order;
mod proxy_tls;
mod request;
mod secrets;
mod statics;
