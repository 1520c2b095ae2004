//! The clients that call out, and what they follow.
//!
//! There are two, since pools are not shared between what strangers name and what the operator names: the first is
//! guarded, the second reaches the own network. Redis speaks no HTTP and has the connector to itself. All follow the same
//! settings, which are replaced for all at once.

use bytes::Bytes;
use http::{Extensions, Uri};
use http_body_util::Empty;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_outbound_proxy::{
    Client, ConfigError, ConnectError, IpPolicy, ProxyConfig, ProxyLayer, PurposePolicy, Route, Target, TlsConfig,
    client::{ClientBuilder, ClientConnector},
    connector::{Destination, ProxyStream, Split},
    error::BoxError,
    guard::{Guard, GuardLayer},
};

use super::{
    connections::{Connection, policy},
    settings::Settings,
};

pub(super) type HttpClient = Client<Empty<Bytes>>;

/// A connection without HTTP, and how it was made.
pub(super) type Opened = (Route, Box<dyn Stream>);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// All ways out.
#[derive(Debug)]
pub struct Outbound {
    of_strangers: HttpClient,
    of_operator: HttpClient,
    pub(super) connector: BoxCloneSyncService<Destination, Opened, ConnectError>,
    policy: PurposePolicy,
}

/// How a call goes, and why.
#[derive(Debug)]
pub struct Decided {
    pub route: Route,
    pub reason: String,
}

/// Over the operating system's network.
///
/// # Errors
///
/// A setting that cannot be used.
pub fn over_the_network(settings: &Settings) -> Result<Outbound, ConfigError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let guarded = Client::builder().guard(IpPolicy::special_purpose());
    build(settings, guarded, connector)
}

/// Over another network: a resolver, and a connector, which the guard asks for addresses only.
///
/// # Errors
///
/// A setting that cannot be used.
pub fn over<N>(settings: &Settings, network: N) -> Result<Outbound, ConfigError>
where
    N: ClientConnector,
    Split<Guard<N, N>, N>: ClientConnector,
{
    let guard = GuardLayer::new(IpPolicy::special_purpose()).with_resolver(network.clone());
    let guarded = Client::builder().connector(guard.layer(network.clone()));
    build(settings, guarded, network)
}

fn build<G, C>(settings: &Settings, guarded: ClientBuilder<G>, connector: C) -> Result<Outbound, ConfigError>
where
    G: ClientConnector,
    C: ClientConnector,
{
    let layer = ProxyLayer::new(settings.config()?);
    let target_tls = settings.target_tls()?;
    let opened = |stream: ProxyStream<C::Stream>| -> Opened {
        let route = stream.route().clone();
        (route, Box::new(TokioIo::new(stream)))
    };
    let without_http = ServiceExt::<Destination>::map_response(layer.layer(connector.clone()), opened);
    Ok(Outbound {
        of_strangers: client(guarded, &layer, target_tls.clone())?,
        of_operator: client(Client::builder().connector(connector), &layer, target_tls)?,
        connector: BoxCloneSyncService::new(without_http),
        policy: policy(),
    })
}

fn client<C>(
    builder: ClientBuilder<C>,
    layer: &ProxyLayer,
    target_tls: Option<TlsConfig>,
) -> Result<HttpClient, ConfigError>
where
    C: ClientConnector,
{
    let builder = builder.layer(layer.clone()).purposes(policy());
    match target_tls {
        Some(tls) => builder.target_tls(tls).build(),
        None => builder.build(),
    }
}

impl Outbound {
    /// The client for this kind of connection.
    pub(super) fn client(&self, connection: Connection) -> HttpClient {
        match connection.is_named_by_strangers() {
            true => self.of_strangers.clone(),
            false => self.of_operator.clone(),
        }
    }

    /// The settings that hold.
    pub fn config(&self) -> ProxyConfig {
        self.of_operator.config()
    }

    /// How a call goes, and why.
    ///
    /// # Errors
    ///
    /// A URI that names no target.
    pub fn decide(&self, connection: Connection, uri: &Uri) -> Result<Decided, BoxError> {
        let mut extensions = Extensions::new();
        extensions.insert(connection);
        let (config, target) = (self.config(), Target::try_from(uri)?);
        let decision = self.policy.decide(&config, &extensions, &target)?;
        Ok(Decided {
            reason: decision.reason().to_string(),
            route: decision.into_route(),
        })
    }

    /// How the document says that a call goes, by these settings: its list of what never uses the proxy, told once more
    /// and in other words, so that the policy is measured by something that is not itself.
    ///
    /// # Errors
    ///
    /// A URI that names no target.
    pub fn documented(&self, connection: Connection, uri: &Uri) -> Result<Route, BoxError> {
        let never = ["application-service", "identity-server", "worker", "redis"];
        Ok(match never.contains(&connection.name()) {
            true => Route::Direct,
            false => self.config().route(&Target::try_from(uri)?),
        })
    }

    /// Reads the settings again, for both clients or, if they cannot be used, for neither.
    ///
    /// # Errors
    ///
    /// A setting that cannot be used. Those before stay.
    pub fn reload(&self, settings: &Settings) -> Result<(), ConfigError> {
        let config = settings.config()?;
        for client in [&self.of_strangers, &self.of_operator] {
            client.config_handle().replace(config.clone());
        }
        Ok(())
    }
}
