//! An address that a policy keeps direct connections from.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// An address that an [`IpPolicy`](crate::IpPolicy) denies, and why.
///
/// [`ConnectError::denied`](crate::ConnectError::denied) gives it for a connection that failed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// `host:port`, the port where it is known.
    pub(crate) target: String,
    pub(crate) address: IpAddr,
    pub(crate) ground: Ground,
}

/// What an address is denied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ground {
    pub(crate) network: IpNet,
    /// The purpose of the network and the document that says so; `None` for the caller's own list.
    pub(crate) purpose: Option<(&'static str, &'static str)>,
    /// The address in the network, where it is not the denied address itself but one that it stands for.
    pub(crate) stands_for: Option<IpAddr>,
}

impl Denied {
    /// What was to be reached: `host:port`; without the port where a resolver was asked by itself.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The address that would have been dialled. An IPv4-mapped IPv6 address is its IPv4 address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The network that is denied and has the address in it, or the one that it
    /// [stands for](crate::IpPolicy#embedded-ipv4-addresses).
    #[must_use]
    pub fn network(&self) -> IpNet {
        self.ground.network
    }

    /// The special purpose of the network, `private use` for instance; `None` where it is on the caller's own list.
    #[must_use]
    pub fn purpose(&self) -> Option<&'static str> {
        self.ground.purpose.map(|(name, _)| name)
    }
}

/// `origin.test:80: the address 10.0.0.1 is refused on direct connections: 10.0.0.0/8 is private use (RFC 1918)`
impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            address,
            ground,
        } = self;
        write!(f, "{target}: the address {address} is refused on direct connections: ")?;
        if let Some(other) = ground.stands_for {
            write!(f, "it stands for {other}, and ")?;
        }
        match ground.purpose {
            Some((name, source)) => write!(f, "{} is {name} ({source})", ground.network),
            None => write!(f, "{} is on the deny list", ground.network),
        }
    }
}

impl std::error::Error for Denied {}
