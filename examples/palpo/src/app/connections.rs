//! The kinds of connections that Palpo's "Using Forward/Outbound Proxies" lists, in its order, with its rule for each.
//!
//! A kind is the purpose of a request. The compiler requires each kind in every `match`, so a new kind cannot be
//! forgotten and go through the proxy, or around it, by accident.

use tower_outbound_proxy::{PurposePolicy, purpose::ProxyUse};

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Notifications for push gateways.
    Push,
    /// Pages named in messages.
    UrlPreview,
    /// Phone-home statistics.
    Statistics,
    /// Verification of a reCAPTCHA's answer.
    Recaptcha,
    /// CAS authentication.
    Cas,
    /// OpenID Connect.
    OpenIdConnect,
    /// Outbound federation.
    Federation,
    /// Federation: checks for revoked public keys.
    KeyRevocation,
    /// The public keys of other servers.
    ServerKeys,
    /// Media of other servers.
    RemoteMedia,
    /// Events for application services.
    ApplicationService,
    /// Look-ups at identity servers.
    IdentityServer,
    /// Connections between workers.
    Worker,
    /// Connections from workers to Redis.
    Redis,
}

impl Connection {
    /// All kinds: ten that use the proxy, and four that do not.
    pub const ALL: [Self; 14] = [
        Self::Push,
        Self::UrlPreview,
        Self::Statistics,
        Self::Recaptcha,
        Self::Cas,
        Self::OpenIdConnect,
        Self::Federation,
        Self::KeyRevocation,
        Self::ServerKeys,
        Self::RemoteMedia,
        Self::ApplicationService,
        Self::IdentityServer,
        Self::Worker,
        Self::Redis,
    ];

    /// Returns the name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::UrlPreview => "url-preview",
            Self::Statistics => "statistics",
            Self::Recaptcha => "recaptcha",
            Self::Cas => "cas",
            Self::OpenIdConnect => "openid-connect",
            Self::Federation => "federation",
            Self::KeyRevocation => "key-revocation",
            Self::ServerKeys => "server-keys",
            Self::RemoteMedia => "remote-media",
            Self::ApplicationService => "application-service",
            Self::IdentityServer => "identity-server",
            Self::Worker => "worker",
            Self::Redis => "redis",
        }
    }

    /// Returns the kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|connection| connection.name() == name)
    }

    /// Returns all names, for an operator to choose from.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Returns the use of the proxy, from Palpo's lists "these use the proxy" and "these do not".
    pub fn proxy_use(self) -> ProxyUse {
        match self {
            Self::Push
            | Self::UrlPreview
            | Self::Statistics
            | Self::Recaptcha
            | Self::Cas
            | Self::OpenIdConnect
            | Self::Federation
            | Self::KeyRevocation
            | Self::ServerKeys
            | Self::RemoteMedia => ProxyUse::Settings,
            Self::ApplicationService | Self::IdentityServer | Self::Worker | Self::Redis => ProxyUse::Never,
        }
    }

    /// Returns true if direct connections must not reach internal addresses. The answer depends on who names the
    /// target:
    ///
    /// - Strangers: users set their push gateways and choose the identity server of a request, messages name pages,
    ///   other servers name themselves, their keys and their media.
    /// - The operator: statistics, reCAPTCHA, CAS and OpenID Connect are in the settings and may well be internal, like
    ///   application services, workers and Redis.
    pub fn is_named_by_strangers(self) -> bool {
        match self {
            Self::Push
            | Self::UrlPreview
            | Self::Federation
            | Self::KeyRevocation
            | Self::ServerKeys
            | Self::RemoteMedia
            | Self::IdentityServer => true,
            Self::Statistics
            | Self::Recaptcha
            | Self::Cas
            | Self::OpenIdConnect
            | Self::ApplicationService
            | Self::Worker
            | Self::Redis => false,
        }
    }

    /// Returns the schemes that a target's URL can have.
    pub fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["redis"],
            _ => &["https", "http"],
        }
    }
}

/// Returns Palpo's list as a policy.
pub fn policy() -> PurposePolicy {
    PurposePolicy::new(|connection: &Connection, _| connection.proxy_use())
}
