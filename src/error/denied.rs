//! Addresses that a policy denies to direct connections.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// An address that an [`IpPolicy`](crate::IpPolicy) denies, and the reason.
///
/// [`ConnectError::denied`](crate::ConnectError::denied) returns it for a connection that failed for this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedError {
    /// `host:port`, or `host` if the port is unknown.
    pub(crate) target: String,
    pub(crate) address: IpAddr,
    pub(crate) reason: DenyReason,
}

/// The reason why an address is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DenyReason {
    pub(crate) network: IpNet,
    /// The network's purpose and the document that defines it; `None` for a network of the caller's own list.
    pub(crate) purpose: Option<(&'static str, &'static str)>,
    /// The address in the network, if the denied address only stands for it.
    pub(crate) stands_for: Option<IpAddr>,
}

impl DeniedError {
    /// Returns the target: `host:port`, or `host` if only a resolver was asked.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the address that would have been dialled. An IPv4-mapped IPv6 address is its IPv4 address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the denied network that contains the address, or the address that it
    /// [stands for](crate::IpPolicy#embedded-ipv4-addresses).
    #[must_use]
    pub fn network(&self) -> IpNet {
        self.reason.network
    }

    /// Returns the special purpose of the network, for instance `private use`; `None` for a network of the caller's own
    /// list.
    #[must_use]
    pub fn purpose(&self) -> Option<&'static str> {
        self.reason.purpose.map(|(name, _)| name)
    }
}

/// `origin.test:80: the address 10.0.0.1 is denied for direct connections: 10.0.0.0/8 is private use (RFC 1918)`
impl fmt::Display for DeniedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            address,
            reason,
        } = self;
        write!(f, "{target}: the address {address} is denied for direct connections: ")?;
        if let Some(other) = reason.stands_for {
            write!(f, "it leads to {other}, and ")?;
        }
        match reason.purpose {
            Some((name, source)) => write!(f, "{} is {name} ({source})", reason.network),
            None => write!(f, "{} is on the deny list", reason.network),
        }
    }
}

impl std::error::Error for DeniedError {}
