//! The kinds of connections that the document lists, in its order, and what it says of each.
//!
//! A kind is the purpose of a request. That the compiler wants each in every `match` is what keeps a new one from being
//! forgotten, and from going through the proxy, or around it, by accident.

use tower_outbound_proxy::{PurposePolicy, purpose::ProxyUse};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Notifications for push gateways.
    Push,
    /// Pages that are named in messages.
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
    /// Federation: whether a public key was revoked.
    KeyRevocation,
    /// The public keys of other servers.
    ServerKeys,
    /// Media of other servers.
    RemoteMedia,
    /// Events for application services.
    ApplicationService,
    /// Look-ups at identity servers.
    IdentityServer,
    /// From worker to worker.
    Worker,
    /// From workers to Redis.
    Redis,
}

impl Connection {
    /// All of them: ten that use the proxy, and four that do not.
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

    /// The name on the command line and in tables.
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

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|connection| connection.name() == name)
    }

    /// All names, for an operator to choose from.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// How the settings apply. The document: "these use the proxy", "these do not".
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

    /// Whether direct connections are kept from addresses of the own network. What decides is who names the target:
    ///
    /// - strangers do: users set their push gateways and choose the identity server a request is about, messages name
    ///   pages, other servers name themselves, their keys and their media;
    /// - the operator does: statistics, reCAPTCHA, CAS and OpenID Connect are in the settings, and may well be in the own
    ///   network, as application services, workers and Redis are.
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

    /// What a target's URL can begin with.
    pub fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["redis"],
            _ => &["https", "http"],
        }
    }
}

/// The document's list as a policy.
pub fn policy() -> PurposePolicy {
    PurposePolicy::new(|connection: &Connection, _| connection.proxy_use())
}
