//! One proxy: its address and the credentials for it.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::{
    dialect::{DefaultPort, Dialect},
    error::{ConfigError, Problem, redact::split_scheme},
    target::{dns_name, ends_in_a_number, ipv4, parse_port},
};

/// A proxy's address and the credentials for it: `[scheme://][user[:password]@]host[:port][/]`.
///
/// | part | rule |
/// |---|---|
/// | scheme | `http` or `https` (TLS to the proxy), any case; none means `http` |
/// | user, password | percent-decoded; split at the last `@` and the first `:` |
/// | host | DNS name (Unicode becomes its A-label), IPv4, `[IPv6]` |
/// | port | 1 to 65535; none means 1080 (see [`DefaultPort`]) |
///
/// `Display` and `Debug` show the user, never the password:
///
/// ```
/// # use tower_outbound_proxy::ProxyServer;
/// let proxy: ProxyServer = "http://user:pass%40word@Proxy.Example".parse()?;
/// assert_eq!(proxy.to_string(), "http://user:***@proxy.example:1080");
/// assert_eq!(proxy.url(), "http://proxy.example:1080");
/// # Ok::<_, tower_outbound_proxy::ConfigError>(())
/// ```
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyServer(Arc<Server>);

#[derive(PartialEq, Eq, Hash)]
struct Server {
    tls: bool,
    host: ProxyHost,
    port: u16,
    /// What an inner connector dials: always `http://host:port/`, since TLS to the proxy is this crate's.
    dial: Uri,
    credentials: Option<Credentials>,
}

/// A proxy's host in normal form.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum ProxyHost {
    Name(String),
    Ip(IpAddr),
}

impl fmt::Display for ProxyHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl ProxyServer {
    /// Reads an address; `default_port` is for one without a port.
    pub(crate) fn parse(raw: &str, default_port: DefaultPort) -> Result<Self, ConfigError> {
        parse(raw.trim(), default_port)
            .map(|server| Self(Arc::new(server)))
            .map_err(|error| error.with_value(raw.trim()))
    }

    /// Reads an address in a settings file, where `***` stands for a password that was not written out.
    pub(crate) fn parse_in_file(raw: &str, default_port: DefaultPort) -> Result<Self, ConfigError> {
        let (_, rest) = split_scheme(raw.trim());
        match rest.rsplit_once('@') {
            Some((userinfo, _))
                if userinfo == "***" || userinfo.split_once(':').is_some_and(|(_, word)| word == "***") =>
            {
                let reason = "the password is `***`, which is what stands for a password in what was written out";
                Err(ConfigError::text(reason).with_value(raw.trim()))
            }
            _ => Self::parse(raw, default_port),
        }
    }

    /// Whether the connection to the proxy is TLS (`https://`).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.tls
    }

    /// The host: a name in lower case, or an address, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.host.to_string()
    }

    /// The port, 1 to 65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The user name and password, if the address has them.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.0.credentials.as_ref()
    }

    /// The address without credentials, always with its port.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme(), self.0.host, self.0.port)
    }

    fn scheme(&self) -> &'static str {
        match self.0.tls {
            true => "https",
            false => "http",
        }
    }

    pub(crate) fn dial_uri(&self) -> &Uri {
        &self.0.dial
    }

    #[cfg(feature = "tls")]
    pub(crate) fn proxy_host(&self) -> &ProxyHost {
        &self.0.host
    }
}

/// Reads an address of the Standard dialect.
impl FromStr for ProxyServer {
    type Err = ConfigError;

    fn from_str(raw: &str) -> Result<Self, ConfigError> {
        Self::parse(raw, Dialect::Standard.rules().default_port)
    }
}

/// The address with its user; a password is shown as `***`.
impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        if let Some(credentials) = &self.0.credentials {
            write!(f, "{credentials}@")?;
        }
        write!(f, "{}:{}", self.0.host, self.0.port)
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyServer({self})")
    }
}

/// A user name and a password, for HTTP Basic authentication (RFC 7617).
///
/// `Display` and `Debug` never show the password.
#[derive(Clone)]
pub struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Option<Vec<u8>>,
    /// `Basic base64(user:password)`, marked sensitive.
    header: HeaderValue,
}

impl Credentials {
    /// Percent-decodes both parts of `user[:password]`.
    fn parse(userinfo: &str) -> Result<Self, &'static str> {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        let user: Vec<u8> = percent_decode_str(user).collect();
        let password: Option<Vec<u8>> = password.map(|password| percent_decode_str(password).collect());
        if user.contains(&b':') {
            return Err("the user name has a `:` in it, which Basic authentication cannot carry (RFC 7617)");
        }
        if user.iter().chain(password.iter().flatten()).any(u8::is_ascii_control) {
            return Err("the user name or password has a control character in it (RFC 7617)");
        }
        let mut pair = user.clone();
        pair.push(b':');
        pair.extend(password.iter().flatten());
        let mut header = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(&pair)))
            .map_err(|_| "the credentials do not fit into a header field")?;
        header.set_sensitive(true);
        Ok(Self { user, password, header })
    }

    /// The value of `Proxy-Authorization`, marked sensitive.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Replaces the credentials, encoded or not, in what a proxy sent back.
    pub(crate) fn redact(&self, text: &[u8]) -> Vec<u8> {
        // Of a password of one or two letters, every word of an explanation would lose letters.
        let password = self.password.as_deref().filter(|password| password.len() > 2);
        let token = self.header.as_bytes().strip_prefix(b"Basic ");
        let mut text = text.to_vec();
        for secret in [token, password].into_iter().flatten() {
            let mut from = 0;
            while let Some(at) = text[from..].windows(secret.len()).position(|window| window == secret) {
                text.splice(from + at..from + at + secret.len(), *b"***");
                from += at + 3;
            }
            // What was cut off within them still gives a part of them away.
            let part = (4..secret.len())
                .rev()
                .find(|length| text.ends_with(&secret[..*length]));
            if let Some(length) = part {
                text.truncate(text.len() - length);
                text.extend_from_slice(b"***");
            }
        }
        text
    }
}

/// Equal when they are the same to the proxy.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header
    }
}

impl Eq for Credentials {}

impl Hash for Credentials {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.header.hash(state);
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.user).escape_debug())?;
        match self.password {
            Some(_) => f.write_str(":***"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({self})")
    }
}

fn parse(raw: &str, default_port: DefaultPort) -> Result<Server, ConfigError> {
    let (scheme, rest) = split_scheme(raw);
    let tls = match scheme {
        None => false,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
        Some(scheme) => return Err(ConfigError::new(Problem::Scheme(scheme.to_owned()))),
    };
    #[cfg(not(feature = "tls"))]
    if tls {
        return Err(ConfigError::new(Problem::TlsNotBuilt));
    }
    let (userinfo, address) = match rest.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, rest),
    };
    let credentials = userinfo.map(parse_userinfo).transpose().map_err(ConfigError::text)?;
    let (host, port) = parse_address(address).map_err(ConfigError::text)?;
    let port = port.unwrap_or(match default_port {
        DefaultPort::Fixed(port) => port,
        DefaultPort::ByScheme if tls => 443,
        DefaultPort::ByScheme => 80,
    });
    let dial = Uri::try_from(format!("http://{host}:{port}/"))
        .map_err(|_| ConfigError::text("the address does not make a URI"))?;
    Ok(Server {
        tls,
        host,
        port,
        dial,
        credentials: credentials.flatten(),
    })
}

fn parse_userinfo(userinfo: &str) -> Result<Option<Credentials>, &'static str> {
    if userinfo.contains(['/', '?', '#']) {
        return Err("a `/`, `?` or `#` in the user name or password has to be percent-encoded (%2F, %3F, %23)");
    }
    if userinfo.contains(is_blank_or_control) {
        return Err("a blank or control character in the user name or password has to be percent-encoded");
    }
    match userinfo.is_empty() {
        true => Ok(None),
        false => Credentials::parse(userinfo).map(Some),
    }
}

/// Reads `host[:port][/]`.
fn parse_address(address: &str) -> Result<(ProxyHost, Option<u16>), &'static str> {
    if address.contains(is_blank_or_control) {
        return Err("the address has a blank or a control character in it");
    }
    let (authority, rest) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
    match rest.as_bytes() {
        [] | [b'/'] => {}
        [b'/', ..] => return Err("a proxy's address has no path"),
        [b'?', ..] => return Err("a proxy's address has no query"),
        _ => return Err("a proxy's address has no fragment"),
    }
    let (host, port) = if let Some(v6) = authority.strip_prefix('[') {
        let (v6, port) = v6
            .split_once(']')
            .ok_or("the bracket around the IPv6 address is not closed")?;
        let ip: Ipv6Addr = v6
            .parse()
            .map_err(|_| "what stands in brackets is not an IPv6 address")?;
        let port = match port {
            "" => None,
            _ => Some(
                port.strip_prefix(':')
                    .ok_or("after the bracket only a port can follow")?,
            ),
        };
        (ProxyHost::Ip(ip.into()), port)
    } else {
        if authority.parse::<Ipv6Addr>().is_ok() {
            return Err("an IPv6 address has to stand in brackets");
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        (parse_host(host)?, port)
    };
    let port = port
        .map(|port| parse_port(port).ok_or("the port is not a number from 1 to 65535"))
        .transpose()?;
    Ok((host, port))
}

fn parse_host(host: &str) -> Result<ProxyHost, &'static str> {
    let name = dns_name(host)?;
    match ipv4(&name) {
        Some(ip) => Ok(ProxyHost::Ip(ip.into())),
        None if ends_in_a_number(&name) => Err("the host ends in a number, but is not an IPv4 address"),
        None => Ok(ProxyHost::Name(name.into_owned())),
    }
}

fn is_blank_or_control(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}
