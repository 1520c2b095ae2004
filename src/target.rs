//! [`Target`]: the scheme, host and port of a request.
//!
//! A decision is made for a target. A target borrows from its URI, and allocates only if the host must be rewritten
//! (upper case, or Unicode in [`Target::from_str`]).

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use http::{Uri, uri};

use crate::{
    host::{
        ByteKinds, Host, HostPort, WrittenPort, parse_ipv4, parse_ipv6, split_authority, split_scheme, strip_brackets,
        url_host,
    },
    scheme::Scheme,
};

/// The scheme, host and port of a request.
///
/// The host is parsed by the WHATWG URL rules: lower case, Unicode as A-label, and every spelling that a resolver reads
/// as an IPv4 address *is* that address. A zone id is dropped, since it means nothing to another machine (RFC 6874).
///
/// ```
/// # use tower_outbound_proxy::Target;
/// let uri = "http://Example.COM/path".parse::<http::Uri>()?;
/// let target = Target::try_from(&uri)?;
/// assert_eq!(target.to_string(), "http://example.com:80");
///
/// // A string may contain Unicode.
/// assert_eq!("https://bücher.example".parse::<Target>()?.name(), Some("xn--bcher-kva.example"));
/// assert_eq!("http://0x7f.1".parse::<Target>()?.ip(), Some([127, 0, 0, 1].into()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target<'a> {
    scheme: Scheme,
    /// The host in lower case, without brackets or zone. Otherwise as written: a trailing dot and an address's spelling
    /// stay.
    host: Cow<'a, str>,
    ip: Option<IpAddr>,
    port: Option<u16>,
    upper_case: bool,
    written: Written,
}

/// The spelling of a target, as far as only dialects see it. Targets that differ in nothing else are equal.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    /// The number of digits of the port in the URI; 0 if it has none.
    port_digits: u8,
    /// True if the host is an IPv6 address with a zone id.
    zone: bool,
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl Hash for Written {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<'a> Target<'a> {
    fn new(scheme: Scheme, host: Cow<'a, str>, port: Option<WrittenPort>) -> Result<Self, TargetError> {
        let seen = ByteKinds::in_text(&host);
        let number = port.map(|port| port.number);
        let mut target = match strip_brackets(&host) {
            Some(_) => Self::in_brackets(scheme, host, number, seen),
            None if seen.is_within(ByteKinds::REG_NAME) => Self::of_reg_name(scheme, host, number, seen),
            None => Err(TargetError::new(
                "the host contains a character that is not allowed in a host",
            )),
        }?;
        target.written.port_digits = port.map_or(0, |port| port.digits);
        Ok(target)
    }

    /// Creates a target from an IPv6 address in brackets.
    fn in_brackets(
        scheme: Scheme,
        host: Cow<'a, str>,
        port: Option<u16>,
        seen: ByteKinds,
    ) -> Result<Self, TargetError> {
        let inner = &host[1..host.len() - 1];
        // The zone may contain anything, even a domain name (CVE-2025-22870). It is not part of the address.
        let address = inner.split('%').next().unwrap_or_default();
        let zone = address.len() < inner.len();
        let ip = parse_ipv6(address).map_err(TargetError::new)?;
        let upper_case = seen.has(ByteKinds::UPPER) && address.bytes().any(|b| b.is_ascii_uppercase());
        let host = match host {
            _ if upper_case => Cow::Owned(address.to_ascii_lowercase()),
            Cow::Borrowed(host) => Cow::Borrowed(&host[1..=address.len()]),
            Cow::Owned(_) => Cow::Owned(address.to_owned()),
        };
        Ok(Self {
            scheme,
            host,
            ip: Some(ip.into()),
            port: port.or(scheme.default_port()),
            upper_case,
            written: Written { port_digits: 0, zone },
        })
    }

    /// Creates a target from a host that has nothing but the characters of a `reg-name`.
    fn of_reg_name(
        scheme: Scheme,
        host: Cow<'a, str>,
        port: Option<u16>,
        seen: ByteKinds,
    ) -> Result<Self, TargetError> {
        if host.is_empty() || host == "." {
            return Err(TargetError::NO_HOST);
        }
        let ip = match seen.has(ByteKinds::DIGIT) {
            true => parse_ipv4(&host).map(IpAddr::V4),
            false => None,
        };
        let upper_case = seen.has(ByteKinds::UPPER);
        Ok(Self {
            scheme,
            ip,
            port: port.or(scheme.default_port()),
            host: match upper_case {
                true => Cow::Owned(host.to_ascii_lowercase()),
                false => host,
            },
            upper_case,
            written: Written::default(),
        })
    }

    /// Returns true if the target speaks TLS: `https` and `wss`.
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme.is_tls()
    }

    /// Returns the scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host's name in lower case and without a trailing dot; `None` for an address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.ip {
            Some(_) => None,
            None => Some(self.host.strip_suffix('.').unwrap_or(&self.host)),
        }
    }

    /// Returns the host's address; `None` for a name. An IPv4-mapped IPv6 address stays one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Returns the port: the one in the URI, which may be 0, else 80 for `http` and `ws` and 443 for `https` and `wss`.
    /// `None` only for other schemes.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the target with this address in place of its host, as after resolving its name.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Target<'static> {
        Target {
            host: Cow::Owned(ip.to_string()),
            ip: Some(ip),
            upper_case: false,
            written: Written {
                zone: false,
                ..self.written
            },
            ..*self
        }
    }

    /// Creates a target of any other scheme. The host may be an IPv6 address without brackets, and contain Unicode.
    pub(crate) fn of_host_port(host: &str, port: u16) -> Result<Target<'static>, TargetError> {
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        let host = match is_bare_ipv6 {
            true => format!("[{host}]"),
            false => url_host(host).map_err(TargetError::new)?,
        };
        if port == 0 {
            return Err(TargetError::new("the port is 0"));
        }
        let target = Target::new(Scheme::Other, Cow::Owned(host), Some(WrittenPort::plain(port)));
        target.map_err(|error| match is_bare_ipv6 {
            true => TargetError::new("the host contains a `:` and is not an IPv6 address"),
            false => error,
        })
    }

    /// Creates a target from a host alone, as a resolver receives it.
    pub(crate) fn of_host(host: &str) -> Result<Target<'static>, TargetError> {
        Target::new(Scheme::Other, Cow::Owned(host.to_owned()), None)
    }

    /// Returns the URI that a connector has to dial to reach this target, if it is not the given one.
    ///
    /// - A connector that knows only `http` and `https` dials port 80 for any scheme but `https`. To
    ///   `http::uri::Scheme`, an upper-case `HTTPS` is another scheme. The port is then written out.
    /// - A connector or its resolver takes some spellings of an IPv4 address for a name that does not exist
    ///   (`127.0.0.1.`, `0x`). The address is then written as usual.
    pub(crate) fn uri_to_dial(&self, uri: &Uri) -> Result<Option<Uri>, TargetError> {
        let is_taken_for_80 = match self.scheme {
            Scheme::Https => uri.scheme() != Some(&uri::Scheme::HTTPS),
            Scheme::Wss => true,
            Scheme::Http | Scheme::Ws | Scheme::Other => false,
        };
        match (is_taken_for_80 && uri.port().is_none()) || self.is_odd_ipv4() {
            true => self.in_uri(uri).map(Some),
            false => Ok(None),
        }
    }

    /// Returns the URI's authority as a request names it: without user information, which a request must not carry (RFC
    /// 9110 4.2.4, RFC 9113 8.3.1), and without a port that is empty or the scheme's default (RFC 9110 4.2.3).
    pub(crate) fn authority_in_request<'u>(&self, uri: &'u Uri) -> &'u str {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
        match split_authority(host_port) {
            Ok((host, port)) if port.is_none_or(|port| Some(port.number) == self.scheme.default_port()) => host,
            _ => host_port,
        }
    }

    /// Returns the target on another port.
    pub(crate) fn on_port(&self, port: u16) -> Target<'_> {
        Target {
            host: Cow::Borrowed(&self.host),
            port: Some(port),
            written: Written {
                port_digits: WrittenPort::plain(port).digits,
                ..self.written
            },
            ..*self
        }
    }

    /// Returns the URI with the target's host, and its port if it has one.
    pub(crate) fn in_uri(&self, uri: &Uri) -> Result<Uri, TargetError> {
        with_authority(uri, &self.authority().to_string())
    }

    /// Returns the host in normal form: an address, or a name in lower case with any trailing dot it had.
    pub(crate) fn host(&self) -> Host<'_> {
        match self.ip {
            Some(ip) => Host::Ip(ip),
            None => Host::Name(Cow::Borrowed(&self.host)),
        }
    }

    /// Returns true if the other target has the same scheme, host and port, however they are written.
    pub(crate) fn is_same(&self, other: &Target<'_>) -> bool {
        (self.scheme, self.host(), self.port) == (other.scheme, other.host(), other.port)
    }

    /// Returns the host with its port, or alone if no port is known.
    pub(crate) fn authority(&self) -> HostPort<'_> {
        HostPort(self.host(), self.port)
    }

    /// Returns the host in lower case but otherwise as written, for dialects that normalise less.
    pub(crate) fn written(&self) -> &str {
        &self.host
    }

    /// Returns the port as it was written, if it was.
    pub(crate) fn written_port(&self) -> Option<WrittenPort> {
        let number = self.port.filter(|_| self.written.port_digits > 0)?;
        Some(WrittenPort {
            number,
            digits: self.written.port_digits,
        })
    }

    /// Returns true if the host was an IPv6 address with a zone id.
    pub(crate) fn had_zone(&self) -> bool {
        self.written.zone
    }

    /// Returns true if the host was written with upper-case letters.
    pub(crate) fn had_upper_case(&self) -> bool {
        self.upper_case
    }

    /// Returns true if the host was written in the normal form of [`host`](Self::host) (zone ids aside).
    pub(crate) fn is_written_normally(&self) -> bool {
        !self.upper_case
            && match self.ip {
                None => true,
                Some(IpAddr::V4(_)) => !self.is_odd_ipv4(),
                Some(IpAddr::V6(ip)) => self.host == ip.to_string(),
            }
    }

    /// Returns true for an IPv4 address that was not written in its one usual spelling, which alone the parser accepts.
    fn is_odd_ipv4(&self) -> bool {
        matches!(self.ip, Some(IpAddr::V4(_))) && self.host.parse::<Ipv4Addr>().is_err()
    }

    /// Returns the same target without borrowing.
    #[must_use]
    pub fn into_owned(self) -> Target<'static> {
        Target {
            host: Cow::Owned(self.host.into_owned()),
            ..self
        }
    }
}

/// Returns the URI with another authority.
pub(crate) fn with_authority(uri: &Uri, authority: &str) -> Result<Uri, TargetError> {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(authority.parse().map_err(|_| TargetError::HOST_NOT_IN_URI)?);
    Uri::from_parts(parts).map_err(|_| TargetError::HOST_NOT_IN_URI)
}

/// Writes `scheme://host:port`, without user information, path or query. Omits an unknown scheme.
impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme != Scheme::Other {
            write!(f, "{}://", self.scheme.as_str())?;
        }
        self.authority().fmt(f)
    }
}

impl<'a> TryFrom<&'a Uri> for Target<'a> {
    type Error = TargetError;

    fn try_from(uri: &'a Uri) -> Result<Self, TargetError> {
        let scheme = uri
            .scheme_str()
            .ok_or(TargetError::new("no scheme (expected an absolute URI)"))?;
        let authority = uri.authority().ok_or(TargetError::NO_HOST)?;
        let (scheme, authority) = (Scheme::new(scheme), authority.as_str());
        let seen = ByteKinds::in_text(authority);
        if seen.is_within(ByteKinds::REG_NAME) {
            // Without user information, brackets or port, the authority is the host.
            return Self::of_reg_name(scheme, Cow::Borrowed(authority), None, seen);
        }
        let (host, port) = split_authority(authority).map_err(TargetError::new)?;
        Self::new(scheme, Cow::Borrowed(host), port)
    }
}

/// Parses an absolute URL, whose host may contain Unicode.
impl FromStr for Target<'static> {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = split_scheme(url.trim());
        let scheme = scheme.ok_or(TargetError::new("no scheme (expected an absolute URL)"))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = split_authority(authority).map_err(TargetError::new)?;
        let host = url_host(host).map_err(TargetError::new)?;
        Self::new(Scheme::new(scheme), Cow::Owned(host), port)
    }
}

/// A URI that does not identify a target, or not the one that a request's route was chosen for.
///
/// [`Target`]'s conversions return it. The services of [`Proxy`](crate::Proxy) return it inside a
/// [`BoxError`](crate::error::BoxError) or a [`ConnectError`](crate::ConnectError), and do not call the service they
/// wrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError {
    reason: &'static str,
}

impl TargetError {
    pub(crate) const NO_HOST: Self = Self::new("no host");
    /// Other programs decide about it, but nobody can connect to it.
    pub(crate) const PORT_ZERO: Self = Self::new("port 0 cannot be connected to");
    pub(crate) const HOST_NOT_IN_URI: Self = Self::new("the host is not valid in a URI");
    pub(crate) const OF_ANOTHER_ROUTE: Self = Self::new(
        "the destination in the request's extensions is another target (was the request redirected? a layer that decides \
         routes belongs inside of the one that follows redirects)",
    );

    pub(crate) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid target: {}", self.reason)
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> String {
        url.parse::<Target<'_>>()
            .map_or_else(|e| e.to_string(), |t| t.authority().to_string())
    }

    #[test]
    fn hosts_are_normalised() {
        for (url, expected) in [
            ("http://Example.COM", "example.com:80"),
            ("https://example.com./x", "example.com.:443"),
            ("ws://example.com:8080?q", "example.com:8080"),
            ("wss://example.com:#f", "example.com:443"),
            ("http://user:p@ss@example.com/", "example.com:80"),
            ("HTTPS://[2001:DB8::1]", "[2001:db8::1]:443"),
            ("http://[fe80::1%25eth0]:8080", "[fe80::1]:8080"),
            ("http://[::1%25.example.com]/", "[::1]:80"),
            ("http://[::ffff:1.2.3.4]/", "[::ffff:1.2.3.4]:80"),
            ("http://bücher.example", "xn--bcher-kva.example:80"),
            ("http://b%C3%BCcher.example", "xn--bcher-kva.example:80"),
            ("http://１２７.1", "127.0.0.1:80"),
            ("http://under_score.test", "under_score.test:80"),
            ("ftp://example.com", "example.com"),
            ("http://host:0", "host:0"),
            ("http://host:080", "host:80"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_not_a_target_is_an_error() {
        for url in [
            "example.com",
            "/path",
            "http://",
            "http:///path",
            "http://:80",
            "http://.",
            "http://user@",
            "http://host:65536",
            "http://host:+80",
            "http://host:http",
            "http://a:1:2",
            "http://[::1",
            "http://[::1]x",
            "http://[example.com]",
            "http://[]",
            "http://[1.2.3.4]",
            "http://a b",
            "http://a\tb",
            "http://a\\b",
            "http://a\u{0}",
            "http://a%00b",
            "http://a%2Fb",
            "http://[v1.x]",
        ] {
            assert!(url.parse::<Target<'_>>().is_err(), "{url}");
        }
    }

    #[test]
    fn a_uri_and_its_text_are_the_same_target_and_the_uri_is_borrowed() {
        for url in [
            "http://example.com/x",
            "https://[::1]:8443/",
            "http://user@127.1",
            "http://A.example.",
        ] {
            let uri = url.parse::<Uri>().unwrap();
            let target = Target::try_from(&uri).unwrap();
            assert_eq!(target.clone().into_owned(), url.parse().unwrap());
            assert_eq!(matches!(target.host, Cow::Borrowed(_)), !url.contains('A'), "{url}");
        }
        assert!(Target::try_from(&Uri::from_static("/path")).is_err());
        assert!(Target::try_from(&Uri::from_static("example.com:443")).is_err());
    }
}
