//! The differences between the servers that a client can see.

use http::{StatusCode, Version};
use tower_outbound_proxy_lab::servers::{Http2, Nonces, RealProxy, Setup, StartError};

/// One of the proxy servers, and the way to reach it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    program: Program,
    /// True if it is reached over TLS, as an `https://` proxy.
    pub tls: bool,
    /// True if it is spoken to in HTTP/2 where it takes CONNECT over it.
    pub http2: bool,
    /// True if it asks for Digest, and not for Basic.
    pub digest: bool,
    /// Two names that it resolves to this machine.
    pub names: [&'static str; 2],
    /// A password that the server accepts and that a URL cannot contain as it is.
    pub special_password: &'static str,
    /// True if it opens tunnels and reads their content.
    pub intercepts: bool,
    /// The version of its answer to CONNECT.
    pub connect_version: Version,
    /// The version of CONNECT in its log.
    pub logged_version: &'static str,
    /// Its answer to no password.
    pub no_password: StatusCode,
    /// Its answer to a wrong password.
    pub wrong_password: StatusCode,
    /// Its explanation that it does not serve a host.
    pub explanation: &'static str,
    /// The explanation in the header field that `ConnectError` shows, if it has one.
    pub x_squid_error: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Program {
    Squid,
    Apache,
    Nghttpx,
    Envoy,
    Tinyproxy,
    Mitmproxy,
}

impl Server {
    pub fn squid() -> Self {
        Self {
            program: Program::Squid,
            tls: false,
            http2: false,
            digest: false,
            names: ["origin.test", "other.test"],
            special_password: "p@ss:w/rd% ?#ü",
            intercepts: false,
            connect_version: Version::HTTP_11,
            logged_version: "HTTP/1.1",
            no_password: StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            wrong_password: StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            explanation: "Access Denied",
            x_squid_error: Some("ERR_ACCESS_DENIED 0"),
        }
    }

    pub fn apache() -> Self {
        Self {
            program: Program::Apache,
            connect_version: Version::HTTP_10,
            explanation: "this proxy does not serve denied.test",
            x_squid_error: None,
            ..Self::squid()
        }
    }

    /// With Squid behind it.
    pub fn nghttpx() -> Self {
        Self {
            program: Program::Nghttpx,
            ..Self::squid()
        }
    }

    pub fn envoy() -> Self {
        Self {
            program: Program::Envoy,
            no_password: StatusCode::UNAUTHORIZED,
            wrong_password: StatusCode::UNAUTHORIZED,
            explanation: "this proxy does not serve denied.test",
            x_squid_error: None,
            ..Self::squid()
        }
    }

    pub fn tinyproxy() -> Self {
        Self {
            program: Program::Tinyproxy,
            names: ["localhost", "127.0.0.1"],
            special_password: "",
            connect_version: Version::HTTP_10,
            wrong_password: StatusCode::UNAUTHORIZED,
            explanation: "The request you made has been filtered",
            x_squid_error: None,
            ..Self::squid()
        }
    }

    pub fn mitmproxy() -> Self {
        Self {
            program: Program::Mitmproxy,
            special_password: "p@ssw/rd% ?#ü",
            intercepts: true,
            explanation: "this proxy does not serve denied.test",
            x_squid_error: None,
            ..Self::squid()
        }
    }

    pub fn with_digest(self) -> Self {
        Self { digest: true, ..self }
    }

    pub fn over_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    pub fn over_http2(self) -> Self {
        Self {
            http2: true,
            connect_version: Version::HTTP_2,
            logged_version: match self.program {
                Program::Apache => "HTTP/2.0",
                _ => "HTTP/2",
            },
            ..self.over_tls()
        }
    }

    /// Returns the tunnels of one connection over HTTP/2 to one host that it serves at a time, if it has such a limit.
    pub fn tunnels_at_a_time(self) -> Option<usize> {
        match self.program {
            Program::Apache => Some(6),
            Program::Nghttpx => Some(8),
            _ => None,
        }
    }

    /// Returns the tunnels that it has to serve, a tenth of a second apart, before it serves 200 of one connection at a
    /// time. Apache httpd begins with 6, and doubles that as tunnels end well.
    pub fn tunnels_before_more_at_a_time(self) -> usize {
        match self.program {
            Program::Apache => 8,
            _ => 0,
        }
    }

    /// Returns the connections that a first tunnel takes. mitmproxy chooses HTTP/2 and drops CONNECT.
    pub fn connections_for_a_tunnel(self) -> usize {
        match self.program {
            Program::Mitmproxy if self.tls => 2,
            _ => 1,
        }
    }

    /// Returns true if it tells one side of a tunnel over HTTP/2 that the other one has said all, while it goes on with
    /// the other direction. nghttpx does not tell the target, and Apache httpd does not tell the client.
    pub fn passes_end_on(self, is_by_client: bool) -> bool {
        match self.program {
            Program::Nghttpx => !is_by_client,
            Program::Apache => is_by_client,
            _ => true,
        }
    }

    /// Sets the server up for this protocol.
    pub fn prepare(self, setup: &mut Setup) {
        if self.http2 && setup.http2 == Http2::Off {
            setup.http2 = Http2::On;
        }
        if self.digest && setup.digest.is_none() {
            setup.digest = Some(Nonces::Lasting);
        }
    }

    pub async fn start(self, setup: &Setup) -> Result<RealProxy, StartError> {
        match self.program {
            Program::Squid => RealProxy::squid(setup).await,
            Program::Apache => RealProxy::apache(setup).await,
            Program::Nghttpx => RealProxy::nghttpx(setup).await,
            Program::Envoy => RealProxy::envoy(setup).await,
            Program::Tinyproxy => RealProxy::tinyproxy(setup).await,
            Program::Mitmproxy => RealProxy::mitmproxy(setup).await,
        }
    }
}
