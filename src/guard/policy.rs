//! [`IpPolicy`]: the addresses that may be dialled directly.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

use super::special_purpose;
use crate::{
    cidr::NetSet,
    config::{NoProxySetting, SettingName},
    dialect::Dialect,
    error::{ConfigError, DeniedError, DenyReason},
    no_proxy::NoProxy,
    target::Target,
    trace,
};

/// A policy for the addresses of direct connections: denied networks, and exceptions.
///
/// A [`Guard`](crate::guard::Guard) around a connector enforces it. [`http_connector`](Self::http_connector),
/// [`GuardLayer`](crate::guard::GuardLayer) and `ClientBuilder::guard` create such a guard.
///
/// ```
/// # use tower_outbound_proxy::{IpPolicy, Target};
/// let policy = IpPolicy::builder()
///     .special_purpose()
///     .deny(["198.41.0.0/24".parse::<ipnet::IpNet>()?])
///     .allow([std::net::IpAddr::from([10, 0, 0, 7])])
///     .allow_hosts("jira.internal.example:443, 10.1.0.0/16")
///     .build()?;
///
/// let stranger: Target = "https://attacker.example/".parse()?;
/// assert_eq!(
///     policy.check(&stranger, [10, 0, 0, 1].into()).unwrap_err().to_string(),
///     "attacker.example:443: the address 10.0.0.1 is denied for direct connections: 10.0.0.0/8 is private use (RFC 1918)",
/// );
/// policy.check(&stranger, [10, 0, 0, 7].into())?;
/// policy.check(&"https://jira.internal.example/".parse()?, [10, 0, 0, 1].into())?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Embedded IPv4 addresses
///
/// An IPv4-mapped IPv6 address (`::ffff:0:0/96`) is its IPv4 address, in denied networks and in exceptions. Some other
/// addresses lead to the IPv4 address in them: those of the well-known NAT64 prefix `64:ff9b::/96` (RFC 6052), of 6to4
/// (`2002::/16`, RFC 3056), the IPv4-translated ones (`::ffff:0:0:0/96`, RFC 2765) and the IPv4-compatible ones
/// (`::/96`, RFC 4291 2.5.5.1). They are denied if the IPv4 address is denied. An exception for the IPv4 address does
/// not cover them, but an exception can name them. A policy knows a network's *own* NAT64 prefix only if it
/// [denies](IpPolicyBuilder::deny) that prefix.
///
/// Likewise, the unspecified addresses `0.0.0.0` and `::` reach this machine when dialled. They are denied if
/// `127.0.0.1` and `::1` are denied.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct IpPolicy(Arc<Rules>);

struct Rules {
    special_purpose: bool,
    denied: NetSet,
    allowed: NetSet,
    hosts: Vec<NoProxy>,
}

impl IpPolicy {
    /// Creates a policy that denies all addresses that are not globally reachable: private, loopback, link-local,
    /// reserved, documentation, multicast and so on.
    ///
    /// The source is IANA's [IPv4] and [IPv6 Special-Purpose Address Registries][IPv6], both as of 2025-10-09. The most
    /// specific entry decides. Multicast (RFC 5771, RFC 4291), site-local (RFC 3879) and IPv4-compatible addresses (RFC
    /// 4291) come from other documents. The denied addresses include `169.254.169.254`, the metadata service of clouds,
    /// which holds their machines' credentials.
    ///
    /// [IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry/
    /// [IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry/
    #[must_use]
    pub fn special_purpose() -> Self {
        Self(Arc::new(Rules {
            special_purpose: true,
            denied: NetSet::default(),
            allowed: NetSet::default(),
            hosts: Vec::new(),
        }))
    }

    /// Creates a builder of a policy that denies nothing.
    pub fn builder() -> IpPolicyBuilder {
        IpPolicyBuilder::default()
    }

    /// Checks an address that is about to be dialled directly to reach this target.
    ///
    /// The target is the request's. It matters only for [exceptions by host](IpPolicyBuilder::allow_hosts).
    ///
    /// # Errors
    ///
    /// The address is denied.
    pub fn check(&self, target: &Target<'_>, address: IpAddr) -> Result<(), DeniedError> {
        let address = address.to_canonical();
        match self.0.deny_reason(address) {
            Some(reason) if !self.0.excepts(target, address) => Err(DeniedError {
                target: target.authority().to_string(),
                address,
                reason,
            }),
            _ => Ok(()),
        }
    }
}

impl IpPolicy {
    /// Checks an address, and logs a refusal.
    pub(super) fn enforce(&self, target: &Target<'_>, address: IpAddr) -> Result<(), DeniedError> {
        self.check(target, address)
            .inspect_err(|denied| trace::denied(denied.target(), &denied.address(), denied))
    }
}

impl Rules {
    /// Returns the reason why the address is denied to targets without an exception.
    fn deny_reason(&self, ip: IpAddr) -> Option<DenyReason> {
        if self.allowed.find(ip).is_some() {
            return None;
        }
        self.deny_reason_of(ip).or_else(|| {
            let other = stands_for(ip)?;
            let reason = self.deny_reason_of(other)?;
            Some(DenyReason {
                stands_for: Some(other),
                ..reason
            })
        })
    }

    fn deny_reason_of(&self, ip: IpAddr) -> Option<DenyReason> {
        let listed = self.denied.find(ip).map(|network| DenyReason {
            network,
            purpose: None,
            stands_for: None,
        });
        listed.or_else(|| match self.special_purpose {
            true => special_purpose::deny_reason(ip),
            false => None,
        })
    }

    fn excepts(&self, target: &Target<'_>, ip: IpAddr) -> bool {
        if self.hosts.is_empty() {
            return false;
        }
        let at = target.at(ip);
        let named = target.name().is_some();
        self.hosts
            .iter()
            .any(|list| (named && list.matches(target)) || list.matches(&at))
    }
}

/// Returns the other address that dialling this one reaches.
fn stands_for(ip: IpAddr) -> Option<IpAddr> {
    let ip = match ip {
        IpAddr::V6(ip) => ip,
        // On Linux and the BSDs, `connect` takes the unspecified address for this machine.
        IpAddr::V4(ip) => return ip.is_unspecified().then_some(Ipv4Addr::LOCALHOST.into()),
    };
    let last_32_bits = Ipv4Addr::from_bits(ip.to_bits() as u32);
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => Some(last_32_bits.into()),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()),
        // These two are not IPv4-compatible addresses (RFC 4291 2.5.2, 2.5.3).
        _ if ip == Ipv6Addr::UNSPECIFIED => Some(Ipv6Addr::LOCALHOST.into()),
        _ if ip == Ipv6Addr::LOCALHOST => None,
        [0, 0, 0, 0, 0, 0, _, _] => Some(last_32_bits.into()),
        _ => None,
    }
}

impl fmt::Debug for IpPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpPolicy")
            .field("special_purpose", &self.0.special_purpose)
            .field("denied", &self.0.denied)
            .field("allowed", &self.0.allowed)
            .field("allowed_hosts", &self.0.hosts)
            .finish()
    }
}

/// Builds an [`IpPolicy`]. By default nothing is denied.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct IpPolicyBuilder {
    special_purpose: bool,
    denied: Vec<IpNet>,
    allowed: Vec<IpNet>,
    hosts: Vec<NoProxySetting>,
}

impl IpPolicyBuilder {
    /// Denies all addresses that [`IpPolicy::special_purpose`] denies.
    pub fn special_purpose(mut self) -> Self {
        self.special_purpose = true;
        self
    }

    /// Denies these networks or addresses as well. Host bits may be set. Can be called repeatedly.
    pub fn deny(mut self, networks: impl IntoIterator<Item = impl Into<IpNet>>) -> Self {
        self.denied.extend(networks.into_iter().map(Into::into));
        self
    }

    /// Allows these networks or addresses even if they are denied. Can be called repeatedly.
    pub fn allow(mut self, networks: impl IntoIterator<Item = impl Into<IpNet>>) -> Self {
        self.allowed.extend(networks.into_iter().map(Into::into));
        self
    }

    /// Allows the targets on a list, which is written like a [`NoProxy`] list and read strictly. Can be called
    /// repeatedly.
    ///
    /// An entry that matches the target's name allows all addresses of that name. An entry that matches the address
    /// allows that address. If an entry has a port, the target's port must match as well. The entry `*` allows
    /// everything. Mattermost calls such exceptions "allowed untrusted internal connections".
    ///
    /// The owner of a listed name's DNS zone chooses the addresses that the name reaches.
    pub fn allow_hosts(mut self, list: impl Into<NoProxySetting>) -> Self {
        self.hosts.push(list.into());
        self
    }

    /// Builds the policy from the lists.
    ///
    /// # Errors
    ///
    /// An entry given to [`allow_hosts`](Self::allow_hosts) that matches nothing.
    pub fn build(self) -> Result<IpPolicy, ConfigError> {
        let read = |list: &NoProxySetting| list.read(Dialect::Standard, &SettingName::code("allow_hosts"));
        Ok(IpPolicy(Arc::new(Rules {
            special_purpose: self.special_purpose,
            denied: NetSet::new(self.denied),
            allowed: NetSet::new(self.allowed),
            hosts: self.hosts.iter().map(read).collect::<Result<_, _>>()?,
        })))
    }
}
