//! Requests through independent proxy servers: Squid, Apache httpd, tinyproxy and mitmproxy, over plain connections and
//! over TLS.
//!
//! The list of tests is a matrix, `server::case`. [`server`] has the differences between the servers, [`cases`] the
//! cases for each of them, and [`secrets`] the one test that looks for leaked secrets. The client is always the stack
//! in the crate's documentation: `ProxyLayer` around hyper-util's client, around `ProxyLayer::https_connector_with`.
//!
//! [`nginx`] is the one real origin, and its client is a `Client`. `negotiate` has a real KDC.
//!
//! The tests are ignored because the servers have to be installed. `cargo test --test promises -- --ignored` runs them,
//! and fails if a server is missing.

mod cases;
mod lab;
#[cfg(feature = "negotiate")]
mod negotiate;
mod nginx;
mod secrets;
mod server;

/// A module for each server, and in it a test for each case.
macro_rules! matrix {
    ($($server:ident = $make:expr, $needs:literal $(, also $($also:ident)+)?;)+) => {$(
        mod $server {
            tests! {
                $make, $needs:
                get
                get_through_tunnel
                https
                post_10_mib
                post_10_mib_https
                ipv6_target
                ipv6_target_https
                two_origins_in_a_row
                proxy_named_by_its_address
                no_proxy_goes_around_it
                no_credentials
                wrong_password
                refused_target
                $($($also)+)?
            }
        }
    )+};
}

macro_rules! tests {
    ($make:expr, $needs:literal: $($case:ident)+) => {$(
        #[tokio::test]
        #[ignore = $needs]
        async fn $case() {
            use super::server::Server;
            super::cases::$case($make).await;
        }
    )+};
}

matrix! {
    squid = Server::squid(), "needs squid (Debian package squid-openssl)",
        also credentials_with_special_characters raw_tunnel;
    squid_tls = Server::squid().over_tls(), "needs squid (Debian package squid-openssl)",
        also credentials_with_special_characters untrusted_proxy raw_tunnel;
    apache = Server::apache(), "needs apache2 (Debian package apache2)",
        also credentials_with_special_characters raw_tunnel;
    apache_tls = Server::apache().over_tls(), "needs apache2 (Debian package apache2)",
        also credentials_with_special_characters untrusted_proxy raw_tunnel;
    tinyproxy = Server::tinyproxy(), "needs tinyproxy (Debian package tinyproxy)",
        also raw_tunnel;
    mitmproxy = Server::mitmproxy(), "needs mitmdump (PyPI package mitmproxy)",
        also credentials_with_special_characters interception_needs_its_root;
    mitmproxy_tls = Server::mitmproxy().over_tls(), "needs mitmdump (PyPI package mitmproxy)",
        also credentials_with_special_characters interception_needs_its_root untrusted_proxy;
}
