//! [`ProxyServer`]: a proxy's address and its credentials.

use std::{borrow::Cow, fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

use http::Uri;

use crate::{
    auth::{Account, Authenticator, Credentials},
    dialect::Dialect,
    error::{ConfigError, Problem},
    host::{
        Host, HostPort, QUOTED, dns_name, ends_in_a_number, is_quoted, parse_ipv4, parse_ipv6, parse_port,
        split_brackets, split_scheme,
    },
    scheme::Scheme,
};

/// A proxy's address and its credentials: `[scheme://][user[:password]@]host[:port][/]`.
///
/// | part | rule |
/// |---|---|
/// | scheme | `http` or `https` (TLS to the proxy), in any case; `http` if there is none |
/// | user, password | percent-decoded; split at the last `@` and the first `:` |
/// | host | DNS name (Unicode becomes its A-label), IPv4, `[IPv6]` |
/// | port | 1 to 65535; 1080 if there is none (see [`DefaultPort`](super::DefaultPort)) |
///
/// `Display` and `Debug` show the user name, never the password, which only
/// [`url_with_password`](Self::url_with_password) discloses:
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
    /// `http`, or `https` for TLS to the proxy.
    scheme: Scheme,
    host: Host<'static>,
    port: u16,
    /// The URI that an inner connector dials. It is always `http://host:port/`, because this crate itself adds TLS to
    /// the proxy.
    dial: Uri,
    auth: Authenticator,
}

impl ProxyServer {
    /// Parses an address. `default_port` returns the port of a proxy with a scheme whose address has none.
    pub(crate) fn parse(raw: &str, default_port: impl Fn(Scheme) -> u16) -> Result<Self, ConfigError> {
        parse(raw.trim(), default_port)
            .map(|server| Self(Arc::new(server)))
            .map_err(|error| error.with_value(raw.trim()))
    }

    /// Parses an address in a settings file. The password `***` is an error: written settings have it in place of a
    /// password.
    pub(crate) fn parse_in_file(raw: &str, default_port: impl Fn(Scheme) -> u16) -> Result<Self, ConfigError> {
        let (_, rest) = split_scheme(raw.trim());
        match rest.rsplit_once('@') {
            Some((userinfo, _))
                if userinfo == "***" || userinfo.split_once(':').is_some_and(|(_, word)| word == "***") =>
            {
                let reason = "the password is `***`, which stands for a password in settings that were written out";
                Err(ConfigError::text(reason).with_value(raw.trim()))
            }
            _ => Self::parse(raw, default_port),
        }
    }

    /// Returns true if the text is a number, or a word that switches something on or off. It is a valid host, and
    /// hardly a proxy's.
    pub(crate) fn is_unlikely(raw: &str) -> bool {
        const WORDS: [&str; 19] = [
            "-",
            "auto",
            "direct",
            "disable",
            "disabled",
            "enable",
            "enabled",
            "false",
            "nil",
            "no",
            "none",
            "null",
            "off",
            "on",
            "system",
            "true",
            "undefined",
            "unset",
            "yes",
        ];
        let raw = raw.trim();
        raw.bytes().all(|b| b.is_ascii_digit()) || WORDS.iter().any(|word| word.eq_ignore_ascii_case(raw))
    }

    /// Returns true if the connection to the proxy uses TLS (`https://`).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme == Scheme::Https
    }

    /// Returns the host: a name in lower case, or an address (IPv6 in brackets).
    #[must_use]
    pub fn host(&self) -> String {
        self.0.host.to_string()
    }

    /// Returns the port, 1 to 65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Returns the user name and password, if the address has them.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.0.auth.credentials()
    }

    /// Returns the address without credentials, always with its port.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.0.scheme.as_str(), self.authority())
    }

    /// Returns the address with the user name and the **password**, percent-encoded, for a library that takes a proxy's
    /// URL in place of a connector.
    ///
    /// Nothing else in this crate discloses a password. The URL is for that library alone, and for no log. This crate
    /// wipes passwords from memory; this one is the caller's.
    /// [`FromStr`](#impl-FromStr-for-ProxyServer) reads the same server from it.
    ///
    /// ```
    /// # use tower_outbound_proxy::ProxyServer;
    /// let proxy: ProxyServer = "user:pass%40word@proxy.example".parse()?;
    /// assert_eq!(proxy.url_with_password(), "http://user:pass%40word@proxy.example:1080");
    /// assert_eq!(proxy.url_with_password().parse::<ProxyServer>()?, proxy);
    /// # Ok::<_, tower_outbound_proxy::ConfigError>(())
    /// ```
    ///
    /// | library | place of the URL | without it, reads the environment | proxy by target |
    /// |---|---|---|---|
    /// | reqwest | the closure of `Proxy::custom` | yes | yes, with [`ProxyConfig::route`](crate::ProxyConfig::route) |
    /// | ureq | `Proxy::new`, in `ConfigBuilder::proxy` | yes | no: an agent for each route |
    /// | AWS SDK | `ProxyConfig::all` of `aws-smithy-http-client` | no | no: a client for each route |
    /// | kube, feature `http-proxy` | `Config::proxy_url` | yes, with a kubeconfig | no: a client has one API server |
    ///
    /// As of reqwest 0.13, ureq 3.5, aws-smithy-http-client 1.5 and kube 5.0. The example
    /// `examples/adapters/reqwest.rs` runs the first row. The AWS SDK and kube also take this crate's client or
    /// connector, and with it all of its rules: see `aws_s3.rs` and `kube.rs` there.
    #[must_use]
    pub fn url_with_password(&self) -> String {
        let (scheme, authority) = (self.0.scheme.as_str(), self.authority().to_string());
        let userinfo = self.credentials().map(Credentials::to_userinfo);
        let (userinfo, at) = userinfo.as_ref().map_or(("", ""), |userinfo| (userinfo, "@"));
        // At its full length: nothing of it stays behind while it grows.
        let parts = [scheme, "://", userinfo, at, &authority];
        parts.concat()
    }

    fn authority(&self) -> HostPort<'_> {
        HostPort(self.0.host.borrowed(), Some(self.0.port))
    }

    pub(crate) fn dial_uri(&self) -> &Uri {
        &self.0.dial
    }

    /// Returns the account of the credentials in the address, for requests to this proxy and to no other.
    pub(crate) fn account(&self) -> &Account {
        self.0.auth.account()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn host_name(&self) -> &Host<'static> {
        &self.0.host
    }
}

/// Parses an address by the Standard dialect.
impl FromStr for ProxyServer {
    type Err = ConfigError;

    fn from_str(raw: &str) -> Result<Self, ConfigError> {
        let default_port = Dialect::Standard.rules().default_port;
        Self::parse(raw, |scheme| default_port.of(scheme, None))
    }
}

/// Writes the address with its user name. A password is written as `***`.
impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.0.scheme.as_str())?;
        if let Some(credentials) = self.credentials() {
            write!(f, "{credentials}@")?;
        }
        self.authority().fmt(f)
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyServer({self})")
    }
}

fn parse(raw: &str, default_port: impl Fn(Scheme) -> u16) -> Result<Server, ConfigError> {
    if is_quoted(raw) {
        return Err(ConfigError::text(QUOTED));
    }
    let (scheme, rest) = split_scheme(raw);
    let scheme = match scheme {
        None => Scheme::Http,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        Some(scheme) => return Err(ConfigError::new(Problem::Scheme(scheme.to_owned()))),
    };
    #[cfg(not(feature = "tls"))]
    if scheme == Scheme::Https {
        return Err(ConfigError::new(Problem::TlsNotBuilt));
    }
    let (userinfo, address) = match rest.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, rest),
    };
    let credentials = userinfo.map(parse_userinfo).transpose().map_err(ConfigError::text)?;
    let (host, port) = parse_address(address).map_err(ConfigError::text)?;
    let port = port.unwrap_or_else(|| default_port(scheme));
    let dial = Uri::try_from(format!("http://{host}:{port}/"))
        .map_err(|_| ConfigError::text("the address is not valid in a URI"))?;
    Ok(Server {
        scheme,
        host,
        port,
        dial,
        auth: Authenticator::new(credentials.flatten()),
    })
}

fn parse_userinfo(userinfo: &str) -> Result<Option<Credentials>, &'static str> {
    if userinfo.contains(['/', '?', '#']) {
        return Err("a `/`, `?` or `#` in the user name or password must be percent-encoded (%2F, %3F, %23)");
    }
    if userinfo.contains(is_blank_or_control) {
        return Err("white space or a control character in the user name or password must be percent-encoded");
    }
    match userinfo.is_empty() {
        true => Ok(None),
        false => Credentials::parse(userinfo).map(Some),
    }
}

/// Parses `host[:port][/]`.
fn parse_address(address: &str) -> Result<(Host<'static>, Option<u16>), &'static str> {
    if address.contains(is_blank_or_control) {
        return Err("the address contains white space or a control character");
    }
    let (authority, rest) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
    match rest.as_bytes() {
        [] | [b'/'] => {}
        [b'/', ..] => return Err("a proxy's address cannot have a path"),
        [b'?', ..] => return Err("a proxy's address cannot have a query"),
        _ => return Err("a proxy's address cannot have a fragment"),
    }
    let (host, port) = if let Some(split) = split_brackets(authority) {
        let (inner, rest) = split?;
        let ip = parse_ipv6(inner)?;
        let port = match rest {
            "" => None,
            _ => Some(
                rest.strip_prefix(':')
                    .ok_or("only a port can follow the closing bracket")?,
            ),
        };
        (Host::Ip(ip.into()), port)
    } else {
        if authority.parse::<Ipv6Addr>().is_ok() {
            return Err("an IPv6 address must be in brackets");
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        (parse_host(host)?, port)
    };
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_host(host: &str) -> Result<Host<'static>, &'static str> {
    let name = dns_name(host)?;
    match parse_ipv4(&name) {
        Some(ip) => Ok(Host::Ip(ip.into())),
        None if ends_in_a_number(&name) => Err("the host is not a valid IPv4 address"),
        None => Ok(Host::Name(Cow::Owned(name.into_owned()))),
    }
}

fn is_blank_or_control(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}
