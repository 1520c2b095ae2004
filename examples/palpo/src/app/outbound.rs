//! The clients for outbound calls, and their settings.
//!
//! There are two clients, because targets named by strangers and targets named by the operator must not share a pool.
//! The first is guarded, the second reaches internal addresses. Redis does not speak HTTP and uses the connector alone.
//! All use the same settings, which are replaced for all at once.

use bytes::Bytes;
use http::{Extensions, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_outbound_proxy::{
    Client, ConfigError, ConnectError, IpPolicy, ProxyConfig, ProxyLayer, PurposePolicy, Route, Target, TlsConfig,
    client::{ClientBuilder, ClientConnector},
    connector::{Destination, HappyEyeballs, ProxyStream, Split},
    error::BoxError,
    guard::{Guard, GuardLayer},
};

use super::{
    connections::{Connection, policy},
    settings::Settings,
};

pub(super) type HttpClient = Client<Empty<Bytes>>;

/// A connection without HTTP, and its route.
pub(super) type Opened = (Route, Box<dyn Stream>);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// All clients.
#[derive(Debug)]
pub struct Outbound {
    of_strangers: HttpClient,
    of_operator: HttpClient,
    pub(super) connector: BoxCloneSyncService<Destination, Opened, ConnectError>,
    policy: PurposePolicy,
}

/// The route of a call, and the reason.
#[derive(Debug)]
pub struct Decided {
    pub route: Route,
    pub reason: String,
}

/// Creates the clients over the operating system's network.
///
/// # Errors
///
/// A setting that cannot be used.
pub fn over_the_network(settings: &Settings) -> Result<Outbound, ConfigError> {
    let guarded = Client::builder().guard(IpPolicy::special_purpose());
    build(settings, guarded, HappyEyeballs::default())
}

/// Creates the clients over another network: a resolver, and a connector, which the guard asks for addresses only.
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
    /// Returns the client for this kind of connection.
    pub(super) fn client(&self, connection: Connection) -> HttpClient {
        match connection.is_named_by_strangers() {
            true => self.of_strangers.clone(),
            false => self.of_operator.clone(),
        }
    }

    /// Returns the effective settings.
    pub fn config(&self) -> ProxyConfig {
        self.of_operator.config()
    }

    /// Returns the route of a call, and the reason.
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

    /// Returns the route that Palpo's "Using Forward/Outbound Proxies" requires by these settings. This restates its
    /// list of calls that never use the proxy, so that the policy is checked against an independent source.
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

    /// Reads the settings again, for both clients, or for neither if they cannot be used.
    ///
    /// # Errors
    ///
    /// A setting cannot be used. The old settings stay.
    pub fn reload(&self, settings: &Settings) -> Result<(), ConfigError> {
        let config = settings.config()?;
        for client in [&self.of_strangers, &self.of_operator] {
            client.config_handle().replace(config.clone());
        }
        Ok(())
    }
}
