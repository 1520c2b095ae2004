//! Public types can be moved to, shared with and pinned by any task, as far as their contents can. A type that loses
//! one of these properties breaks programs that store it.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::{Pending, Ready};
use std::hash::Hash;
use std::marker::PhantomPinned;
use std::rc::Rc;

use http::{Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connect, HttpConnector, dns::Name};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tokio::io::DuplexStream;
use tower::{BoxError, Layer, Service, util::BoxCloneSyncService};
use tower_outbound_proxy::{
    ConfigError, ConnectError, Decision, Dialect, IpPolicy, NoProxy, Proxy, ProxyConfig, ProxyLayer, ProxyServer,
    ProxySettings, Route, Scheme, Target, TargetError, TlsConfig,
    auth::{Challenge, Credentials},
    check::{Check, Finding, Leftover, ListEntry, Programs, Suggestion, Targets, Unusual},
    config::{DefaultPort, NoProxySetting, Precedence, ProxyConfigBuilder, ProxySetting, Warning},
    connector::{ConnectFuture, ConnectResponse, DialFuture, HappyEyeballs, ProxyStream},
    error::{CertificateError, DeniedError, EntryError, Stage, UnusableProxyError},
    guard::{Guard, GuardLayer, GuardedResolver, IpPolicyBuilder, ResolveFuture},
    no_proxy::Entry,
    route::Reason,
    service::ResponseFuture,
    tls::TlsConfigBuilder,
};

/// Asserts the same traits of several types.
macro_rules! all {
    ($bounds:tt: $($name:ty),+ $(,)?) => { $(all!(@ $bounds $name);)+ };
    (@ ($($bound:path),+) $name:ty) => { assert_impl_all!($name: Send, Sync, Unpin, Debug, $($bound),+); };
}

type Stream = TokioIo<DuplexStream>;
type Dial = Ready<Result<Stream, BoxError>>;

// Settings and decisions are values.
all!((Clone): ProxyLayer, ProxyConfig, ProxyConfigBuilder, ProxySetting, NoProxySetting, TlsConfig);
all!((Clone): NoProxy);
all!((Clone): IpPolicy, IpPolicyBuilder);
all!((Clone, Display, Error): CertificateError);
all!((Clone, Eq): DeniedError);
all!((Clone, Eq): EntryError, Warning, Decision<'static>, Challenge);
all!((Clone, Eq, Hash): ProxyServer, Credentials, Route);
all!((Copy, Eq): Reason<'static>, Dialect, DefaultPort, Scheme);
all!((Copy, Eq, Hash, Ord): Stage);
all!((Clone): Check);
all!((Clone, Eq): Suggestion);
all!((Clone, Eq, Display): Finding, ListEntry, Programs, Targets);
all!((Copy, Eq, Hash, Display): Leftover, Unusual);
all!((Clone, Display): Target<'static>, Entry<'static>, Route, Warning, ProxyServer, Credentials, Decision<'static>);
all!((Clone, Display): ConnectResponse);
assert_impl_all!(TlsConfigBuilder: Send, Sync, Unpin, Debug);

// What a settings file says is part of an application's own settings.
all!((Clone, Default, DeserializeOwned, Serialize): ProxySettings);
all!((Copy, Eq, Hash): Precedence);
all!((Serialize): ProxyConfig, ProxyServer, NoProxy);
// Formats quote what they cannot read: an address is read by this crate.
assert_not_impl_any!(ProxyConfig: DeserializeOwned);
assert_not_impl_any!(ProxyServer: DeserializeOwned);

// Errors fit into a `BoxError`, and so into any tower stack.
all!((Error, Into<BoxError>): ConfigError, ConnectError, TargetError, EntryError, DeniedError, UnusableProxyError);
all!((Clone, Eq, Hash): UnusableProxyError);

// A connection is what its inner stream is.
assert_impl_all!(ProxyStream<Stream>: Send, Sync, Unpin, Debug, hyper::rt::Read, hyper::rt::Write);
assert_impl_all!(ProxyStream<Stream>: tokio::io::AsyncRead, tokio::io::AsyncWrite);
assert_impl_all!(ProxyStream<Cell<u8>>: Send, Unpin);
assert_not_impl_any!(ProxyStream<Cell<u8>>: Sync);
assert_not_impl_any!(ProxyStream<Rc<u8>>: Send, Sync);

// The futures need no allocation to be moved between tasks, and can be moved while they run if the inner ones can.
assert_impl_all!(ConnectFuture<Dial, Stream>: Send, Unpin, Debug);
assert_impl_all!(ResponseFuture<Pending<Result<Response<()>, BoxError>>>: Send, Sync, Unpin, Debug);
assert_not_impl_any!(ResponseFuture<PhantomPinned>: Unpin);
assert_not_impl_any!(ResponseFuture<Rc<u8>>: Send);
assert_not_impl_any!(ConnectFuture<PhantomPinned, Stream>: Unpin);

// The service can be cloned when the inner one can, and not otherwise.
assert_impl_all!(Proxy<HttpConnector>: Clone, Send, Sync, Unpin, Debug);
assert_impl_all!(Proxy<Cell<u8>>: Clone, Send);
assert_not_impl_any!(Proxy<Cell<u8>>: Sync);
struct NotClone;
assert_impl_all!(Proxy<NotClone>: Send, Sync);
assert_not_impl_any!(Proxy<NotClone>: Clone);

// So it is with a guard, and it fits where the connector that it wraps fits.
assert_impl_all!(GuardLayer: Clone, Send, Sync, Unpin, Debug, Layer<HttpConnector>);
assert_impl_all!(Guard<HttpConnector>: Clone, Send, Sync, Unpin, Debug, Service<Uri>, Connect);
assert_impl_all!(Guard<HttpConnector<GuardedResolver>>: Clone, Send, Sync, Unpin, Debug, Service<Uri>, Connect);
assert_impl_all!(HttpsConnector<Proxy<Guard<HttpConnector<GuardedResolver>>>>: Service<Uri>, Connect, Clone);
assert_not_impl_any!(Guard<Cell<u8>>: Sync);
assert_not_impl_any!(Guard<NotClone>: Clone);
assert_impl_all!(GuardedResolver: Clone, Send, Sync, Unpin, Debug, Service<Name>);
assert_impl_all!(DialFuture<Dial, Stream>: Send, Unpin, Debug);
assert_not_impl_any!(DialFuture<PhantomPinned, Stream>: Unpin);
assert_impl_all!(ResolveFuture<Dial>: Send, Sync, Unpin, Debug);
assert_not_impl_any!(ResolveFuture<PhantomPinned>: Unpin);
assert_not_impl_any!(ResolveFuture<Rc<u8>>: Send);

// It is a connector where the inner service is one, and a client where that is one, with any body.
struct AnyBody(#[allow(dead_code)] Rc<u8>);
type AnyClient = tower::util::MapErr<AnyInner, fn(std::convert::Infallible) -> BoxError>;
type AnyInner =
    tower::util::ServiceFn<fn(Request<AnyBody>) -> Ready<Result<Response<AnyBody>, std::convert::Infallible>>>;
assert_impl_all!(ProxyLayer: Layer<HttpConnector>, Layer<AnyClient>);
assert_impl_all!(Proxy<HttpConnector>: Service<Uri>, Connect);
assert_impl_all!(HttpsConnector<Proxy<HttpConnector>>: Service<Uri>, Connect, Clone);
assert_impl_all!(HappyEyeballs: Clone, Default, Send, Sync, Unpin, Debug, Service<Uri>, Connect);
assert_impl_all!(HttpsConnector<Proxy<HappyEyeballs>>: Service<Uri>, Connect, Clone);
assert_impl_all!(Proxy<AnyInner>: Service<Request<AnyBody>>);
assert_not_impl_any!(Proxy<HttpConnector>: Service<Request<AnyBody>>);
assert_not_impl_any!(Proxy<AnyInner>: Service<Uri>);

/// Boxing at the edge, as an application does to give its client a name.
#[test]
fn both_halves_can_be_boxed() {
    let layer = ProxyLayer::new(ProxyConfig::builder().build().unwrap());
    let connector = layer.layer(HttpConnector::new());
    let _: BoxCloneSyncService<Uri, _, ConnectError> = BoxCloneSyncService::new(connector);
    let echo =
        tower::service_fn(|request: Request<AnyBody>| async { Ok::<_, BoxError>(Response::new(request.into_body())) });
    let _: tower::util::UnsyncBoxService<Request<AnyBody>, _, _> =
        tower::util::UnsyncBoxService::new(layer.layer(echo));
}
