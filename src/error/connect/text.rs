//! The text of a [`ConnectError`], for an operator.

use std::fmt;

use crate::auth::{Answered, Challenge};

use super::{ConnectError, Failure, InvalidHead, Stage};

/// The usual cause of a TLS handshake that fails.
const TLS_HINT: &str = " (does the proxy speak TLS on this port?)";

/// Returns true if a user name and password may answer one of these challenges.
fn takes_password(challenges: &[Challenge]) -> bool {
    let is_known = |one: &Challenge| {
        ["Basic", "Digest"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(one.scheme()))
    };
    challenges.is_empty() || challenges.iter().any(is_known)
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (&inner.failure, &inner.proxy) {
            (Failure::Target(error), _) => return error.fmt(f),
            // A `DeniedError` names the target itself.
            (Failure::Denied(denied), None) => return denied.fmt(f),
            _ => {}
        }
        match (&inner.proxy, &inner.target) {
            (Some(proxy), Some(target)) => write!(f, "proxy {proxy}, to {target}: ")?,
            (Some(proxy), None) => write!(f, "proxy {proxy}: ")?,
            (None, Some(target)) => write!(f, "{target}: ")?,
            (None, None) => {}
        }
        match &inner.failure {
            Failure::Target(_) => Ok(()),
            Failure::UnusableProxy(error) => write!(f, "no connection, since the proxy cannot be used: {error}"),
            Failure::NeedsTunnel => f.write_str(
                "the request asks for an upgrade (to WebSocket, for instance), which a proxy that forwards does not pass \
                 on: set `always_tunnel`, so that http targets are reached through a tunnel",
            ),
            Failure::Denied(denied) => denied.fmt(f),
            Failure::Dial(_) if inner.proxy.is_some() => f.write_str("connecting to the proxy failed"),
            Failure::Dial(_) => f.write_str("connecting failed"),
            Failure::HttpOnly(_) => f.write_str(
                "the connector under the layer connects to `http` targets only: use `connector::HappyEyeballs::default()` \
                 in its place, or call `enforce_http(false)` on the `HttpConnector`",
            ),
            #[cfg(feature = "tls")]
            Failure::Tls(_) if self.is_certificate() => match self.certificate() {
                Some(certificate) => certificate.fmt(f),
                None => f.write_str("the certificate does not verify"),
            },
            Failure::Tls(_) => write!(f, "the TLS handshake failed{TLS_HINT}"),
            Failure::Io(_) => f.write_str("the connection broke during CONNECT"),
            Failure::Refused {
                response,
                challenges,
                answered,
            } => {
                let refused = match inner.stage {
                    Stage::Forward => "request",
                    _ => "tunnel",
                };
                write!(f, "the {refused} was refused: {response}")?;
                if response.is_auth() {
                    match challenges.split_first() {
                        None => f.write_str("; the proxy offers no authentication scheme")?,
                        Some((first, rest)) => {
                            write!(f, "; the proxy asks for {first}")?;
                            rest.iter().try_for_each(|other| write!(f, " or {other}"))?;
                        }
                    }
                    f.write_str(match answered {
                        Answered::Value => ", and rejected the configured credentials",
                        Answered::NotProvided => ", and the credentials provider has none for it",
                        _ if !takes_password(challenges) => {
                            ", which a user name and password do not answer (a provider can: \
                             `ProxyLayer::with_credentials`)"
                        }
                        Answered::Password => ", and rejected the configured credentials",
                        Answered::Nothing => {
                            ", and no credentials are configured for it (`user:password@` in its address)"
                        }
                        Answered::NotPossible => {
                            ", and no scheme that it offers may be used (`ProxyLayer::with_auth_schemes`)"
                        }
                    })?;
                }
                Ok(())
            }
            Failure::Provider(_) => f.write_str("the credentials provider failed"),
            Failure::InvalidHead(invalid) => f.write_str(match invalid {
                InvalidHead::TooLarge => "the head of the response to CONNECT is longer than 64 KiB",
                InvalidHead::TooManyFields => "the response to CONNECT has more than 100 header fields",
                InvalidHead::NotHttp => "the response to CONNECT is not HTTP/1",
                InvalidHead::Field => "the head of the response to CONNECT has a line that is not a header field",
                InvalidHead::Tls => "the response to CONNECT is TLS, not HTTP/1 (is it an `https://` proxy?)",
                InvalidHead::Eof { mid_head: false } => "the proxy closed the connection without a response to CONNECT",
                InvalidHead::Eof { mid_head: true } => {
                    "the proxy closed the connection before its response to CONNECT was complete"
                }
            }),
            Failure::NotTls => f.write_str(
                "HTTP came through the tunnel in answer to TLS: the proxy answered in the target's place (with a block \
                 page?), or the target does not speak TLS on this port",
            ),
            Failure::Cleartext => f.write_str(
                "cleartext was written to an `https` or `wss` target, and nothing of it was sent: there is no TLS \
                 connector around the layer (one inside, `Proxy<HttpsConnector<..>>`, does not count); use \
                 `ProxyLayer::https_connector`, or put the TLS connector outside, `HttpsConnector<Proxy<..>>`",
            ),
            Failure::NotHttp1(protocol) => write!(
                f,
                "{protocol} was written on a forward route, and nothing of it was sent: this connection is for requests \
                 of HTTP/1 only; set `always_tunnel` (`ProxyLayer::with_always_tunnel(true)`), as gRPC to `http` targets needs"
            ),
            Failure::NotHttp2 => f.write_str(
                "the proxy did not choose HTTP/2 in TLS (ALPN), and `ProxyVersion::Http2` allows nothing else",
            ),
            Failure::NeedsHttp1 => f.write_str(
                "requests to `http` targets are forwarded in HTTP/1.1, which `ProxyVersion::Http2` does not allow: set \
                 `always_tunnel`, or use a `Client`, which forwards them in HTTP/2",
            ),
            Failure::NoStream { waited, limit } => write!(
                f,
                "none of the {limit} connections that `max_connections` allows had room for another tunnel within {waited:?}"
            ),
            Failure::Timeout(after) => {
                let doing = match inner.stage {
                    Stage::Credentials => "asking the credentials provider",
                    Stage::Target | Stage::Dial => "connecting to the proxy",
                    Stage::Tls => "the TLS handshake",
                    Stage::Tunnel | Stage::FirstWrite | Stage::Forward => "waiting for the response to CONNECT",
                };
                write!(f, "{doing} took longer than {after:?}")?;
                match inner.stage {
                    Stage::Tls => f.write_str(TLS_HINT),
                    _ => Ok(()),
                }
            }
        }
    }
}
