//! The contenders: this crate's `Client`, and hyper-util's `legacy::Client`.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Body;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ProxyConfig};

use crate::{BoxError, canned::CannedConnector};

pub(crate) type NoBody = Empty<Bytes>;

/// A client's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Ours,
    HyperUtil,
}

impl Contender {
    /// Returns its word on a command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::HyperUtil => "hyper-util",
        }
    }

    pub(crate) fn from_word(word: &str) -> Result<Self, BoxError> {
        match word {
            "ours" => Ok(Self::Ours),
            "hyper-util" => Ok(Self::HyperUtil),
            _ => Err(format!("there is no contender `{word}`").into()),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "this crate",
            Self::HyperUtil => "hyper-util",
        })
    }
}

/// The limits of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    None,
    IdleTimeout(Duration),
    MaxIdlePerKey,
    MaxIdle,
    MaxConnectionsPerKey(usize),
    All,
}

/// A limit that is set and is not reached.
const FAR: usize = 1 << 20;

impl Limits {
    /// The rows of the table, as words of a command line.
    pub(crate) const WORDS: [&str; 6] = [
        "none",
        "idle_timeout",
        "max_idle_per_key",
        "max_idle",
        "max_connections_per_key",
        "all",
    ];

    /// Returns true if hyper-util has such a limit.
    pub(crate) fn has_peer(self) -> bool {
        matches!(self, Self::None | Self::IdleTimeout(_) | Self::MaxIdlePerKey)
    }
}

impl FromStr for Limits {
    type Err = BoxError;

    fn from_str(word: &str) -> Result<Self, BoxError> {
        Ok(match word {
            "none" => Self::None,
            "idle_timeout" => Self::IdleTimeout(Duration::from_secs(90)),
            "max_idle_per_key" => Self::MaxIdlePerKey,
            "max_idle" => Self::MaxIdle,
            "max_connections_per_key" => Self::MaxConnectionsPerKey(FAR),
            "all" => Self::All,
            _ => return Err(format!("there are no limits `{word}`").into()),
        })
    }
}

/// One of the clients. Clones share its pool.
pub(crate) trait Fetch: Clone + Send + Sync + 'static {
    /// Gets the target and reads the response.
    fn fetch(&self, target: &Uri) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Returns this crate's client over a connector without a network.
pub(crate) fn ours(limits: Limits) -> Result<Client<NoBody>, BoxError> {
    let mut builder = Client::builder()
        .config(ProxyConfig::builder().build()?)
        // The default is lower than the number of idle connections that are measured.
        .max_idle(usize::MAX)
        .connector(CannedConnector)
        .idle_timeout(None);
    builder = match limits {
        Limits::None => builder,
        Limits::IdleTimeout(timeout) => builder.idle_timeout(Some(timeout)),
        Limits::MaxIdlePerKey => builder.max_idle_per_key(FAR),
        Limits::MaxIdle => builder.max_idle(FAR),
        Limits::MaxConnectionsPerKey(most) => builder.max_connections_per_key(most),
        Limits::All => builder
            .idle_timeout(Some(Duration::from_secs(90)))
            .max_idle_per_key(FAR)
            .max_idle(FAR)
            .max_connections_per_key(FAR),
    };
    Ok(builder.build()?)
}

impl<B> Fetch for Client<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Default + Send + 'static,
{
    async fn fetch(&self, target: &Uri) -> Result<(), BoxError> {
        let request = Request::get(target.clone()).body(B::default())?;
        drain(self.clone().oneshot(request).await?).await
    }
}

/// hyper-util's client.
pub(crate) type HyperUtil<C, B = NoBody> = legacy::Client<C, B>;

/// Returns hyper-util's client over a connector without a network.
pub(crate) fn hyper_util(limits: Limits) -> HyperUtil<CannedConnector> {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(None);
    match limits {
        Limits::IdleTimeout(timeout) => builder.pool_idle_timeout(timeout),
        Limits::MaxIdlePerKey => builder.pool_max_idle_per_host(FAR),
        _ => &mut builder,
    };
    builder.build(CannedConnector)
}

impl<C, B> Fetch for HyperUtil<C, B>
where
    C: legacy::connect::Connect + Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Default + Send + Unpin + 'static,
{
    async fn fetch(&self, target: &Uri) -> Result<(), BoxError> {
        let request = Request::get(target.clone()).body(B::default())?;
        drain(self.request(request).await?).await
    }
}

/// Reads a response to its end.
async fn drain<B>(response: Response<B>) -> Result<(), BoxError>
where
    B: Body<Error: Into<BoxError>>,
{
    if !response.status().is_success() {
        return Err(format!("answered with {}", response.status()).into());
    }
    response.into_body().collect().await.map(drop).map_err(Into::into)
}

/// Returns the URI of an origin.
pub(crate) fn origin(number: usize) -> Uri {
    let uri = format!("http://h{number}.bench.test/");
    uri.parse().expect("a URI")
}

/// Makes a request to each of the origins, and so has an idle connection to each.
pub(crate) async fn fill(client: &impl Fetch, origins: std::ops::Range<usize>) -> Result<(), BoxError> {
    for number in origins {
        client.fetch(&origin(number)).await?;
    }
    Ok(())
}
