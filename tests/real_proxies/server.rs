//! The differences between the servers that a client can see.

use http::{StatusCode, Version};
use tower_outbound_proxy_lab::servers::{RealProxy, Setup, StartError};

/// One of the proxy servers, and the way to reach it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    program: Program,
    /// True if it is reached over TLS, as an `https://` proxy.
    pub tls: bool,
    /// Two names that it resolves to this machine.
    pub names: [&'static str; 2],
    /// A password that the server accepts and that a URL cannot contain as it is.
    pub special_password: &'static str,
    /// True if it opens tunnels and reads their content.
    pub intercepts: bool,
    /// The version of its answer to CONNECT.
    pub connect_version: Version,
    /// Its answer to a wrong password. (Its answer to none is always 407.)
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
    Tinyproxy,
    Mitmproxy,
}

impl Server {
    pub fn squid() -> Self {
        Self {
            program: Program::Squid,
            tls: false,
            names: ["origin.test", "other.test"],
            special_password: "p@ss:w/rd% ?#ü",
            intercepts: false,
            connect_version: Version::HTTP_11,
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

    pub fn over_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    pub async fn start(self, setup: &Setup) -> Result<RealProxy, StartError> {
        match self.program {
            Program::Squid => RealProxy::squid(setup).await,
            Program::Apache => RealProxy::apache(setup).await,
            Program::Tinyproxy => RealProxy::tinyproxy(setup).await,
            Program::Mitmproxy => RealProxy::mitmproxy(setup).await,
        }
    }
}
