//! A request's purpose decides its route.

use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_outbound_proxy::{
    Bypass, NoProxy, ProxyConfig, ProxyServer, PurposePolicy, Route, Target, purpose::ProxyUse, route::Reason,
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Log, Origin, within};
use tracing::Level;

use crate::common::decide;

use super::{TestClient, builder, forward, opened, read, request, send, through, tunnel, unproxied};

/// Logs show the names of `Debug`.
#[derive(Clone, Debug, PartialEq)]
enum Purpose {
    Preview,
    Push,
    Redis,
    Federation(&'static str),
}

fn policy(own: &ProxyServer) -> PurposePolicy {
    let (own, partners) = (own.clone(), "partner.test".parse::<NoProxy>().unwrap());
    PurposePolicy::new(move |purpose: &Purpose, target: &Target<'_>| match purpose {
        Purpose::Preview => ProxyUse::Settings,
        Purpose::Push => ProxyUse::Always,
        Purpose::Redis => ProxyUse::Never,
        Purpose::Federation(_) if partners.bypass(target) => ProxyUse::Never,
        Purpose::Federation(_) => ProxyUse::Proxy(own.clone()),
    })
}

fn asking(purpose: Option<Purpose>, url: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = request(url);
    request.extensions_mut().extend(
        purpose
            .map(|purpose| {
                let mut extensions = http::Extensions::new();
                extensions.insert(purpose);
                extensions
            })
            .unwrap_or_default(),
    );
    request
}

struct Lab {
    ca: Ca,
    plain: Origin,
    tls: Origin,
    proxy: ForwardProxy,
    own: ForwardProxy,
}

impl Lab {
    async fn start() -> Self {
        let ca = Ca::new();
        Self {
            plain: Origin::builder().host("a.test").start().await,
            tls: Origin::https(&ca, &["a.test"], &["h2", "http/1.1"]).await,
            proxy: ForwardProxy::builder().start().await,
            own: ForwardProxy::builder().start().await,
            ca,
        }
    }

    fn own(&self) -> ProxyServer {
        self.own.url().parse().unwrap()
    }

    fn client(&self, config: ProxyConfig) -> TestClient {
        builder(config, &self.ca).purposes(policy(&self.own())).build().unwrap()
    }
}

#[tokio::test]
async fn each_purpose_goes_its_own_way_on_one_client() {
    let lab = Lab::start().await;
    let config = ProxyConfig::builder().all(lab.proxy.url()).no_proxy("exempt.test");
    let client = lab.client(config.build().unwrap());
    let (url, own) = (lab.proxy.url(), lab.own.url());
    let (forwarded, tunnelled, through_own) = (forward(&url), tunnel(&url), forward(&own));
    let federation = || Some(Purpose::Federation("x"));
    for (purpose, host, http, https) in [
        (None, "a.test", &forwarded, &tunnelled),
        (None, "exempt.test", &Route::Direct, &Route::Direct),
        (Some(Purpose::Preview), "a.test", &forwarded, &tunnelled),
        (Some(Purpose::Preview), "exempt.test", &Route::Direct, &Route::Direct),
        (Some(Purpose::Push), "a.test", &forwarded, &tunnelled),
        (Some(Purpose::Push), "exempt.test", &forwarded, &tunnelled),
        (Some(Purpose::Push), "localhost", &forwarded, &tunnelled),
        (Some(Purpose::Redis), "a.test", &Route::Direct, &Route::Direct),
        (federation(), "a.test", &through_own, &tunnel(&own)),
        (federation(), "partner.test", &Route::Direct, &Route::Direct),
        (federation(), "exempt.test", &Route::Direct, &Route::Direct),
    ] {
        let plain = format!("http://{host}:{}/", lab.plain.port());
        let response = send(&client, asking(purpose.clone(), &plain)).await.unwrap();
        assert_eq!(response.extensions().get(), Some(http), "{purpose:?} {plain}");
        read(response).await;
        if host == "a.test" {
            let response = send(&client, asking(purpose.clone(), &lab.tls.url("/"))).await.unwrap();
            assert_eq!(response.extensions().get(), Some(https), "{purpose:?} over TLS");
            read(response).await;
        }
    }
    // Five forwarded requests and one tunnel that three share, and one of each; nothing else came to the proxies.
    let heard = |proxy: &ForwardProxy| proxy.requests().len();
    assert_eq!((heard(&lab.proxy), heard(&lab.own)), (6, 2));
}

#[tokio::test]
async fn always_without_a_proxy_is_an_error_and_never_a_direct_connection() {
    let lab = Lab::start().await;
    let client = lab.client(ProxyConfig::builder().https(lab.proxy.url()).build().unwrap());
    let error = send(&client, asking(Some(Purpose::Push), &lab.plain.url("/")))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "purpose Push requires a proxy, but none is set for http targets"
    );
    assert_eq!(error.purpose_error().unwrap().purpose(), Some("Push"));
    assert!(error.is_before_request() && !error.is_connect() && !error.is_timeout());
    assert_eq!((opened(&lab.plain), opened(&lab.proxy)), (0, 0));

    let strict = policy(&lab.own()).without_purpose(ProxyUse::Always);
    let client: TestClient = builder(unproxied(), &lab.ca).purposes(strict).build().unwrap();
    let error = send(&client, asking(None, &lab.plain.url("/"))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a request without a purpose requires a proxy, but none is set for http targets"
    );
    assert_eq!(opened(&lab.plain), 0);
}

#[tokio::test]
async fn an_upgrade_is_tunnelled_by_its_purposes_proxy() {
    let lab = Lab::start().await;
    let client = lab.client(through(lab.proxy.url()));
    for (purpose, route) in [
        (Purpose::Push, tunnel(&lab.proxy.url())),
        (Purpose::Redis, Route::Direct),
        (Purpose::Federation("x"), tunnel(&lab.own.url())),
    ] {
        let mut request = asking(Some(purpose), &lab.plain.url("/upgrade"));
        let headers = request.headers_mut();
        headers.insert("connection", "upgrade".parse().unwrap());
        headers.insert("upgrade", "echo".parse().unwrap());
        let response = send(&client, request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.extensions().get()),
            (101, Some(&route))
        );
    }
}

/// A request's own destination takes precedence over its purpose.
#[tokio::test]
async fn a_route_in_the_extensions_goes_over_the_purpose() {
    let lab = Lab::start().await;
    let client = lab.client(through(lab.proxy.url()));
    let mut request = asking(Some(Purpose::Redis), &lab.plain.url("/"));
    decide(&mut request, forward(&lab.own.url()));
    read(send(&client, request).await.unwrap()).await;
    assert_eq!((opened(&lab.proxy), opened(&lab.own)), (0, 1));
}

#[tokio::test]
async fn replaced_settings_hold_for_purposes_too() {
    let lab = Lab::start().await;
    let client = lab.client(unproxied());
    client.config_handle().replace(through(lab.proxy.url()));
    let response = send(&client, asking(Some(Purpose::Push), &lab.plain.url("/")))
        .await
        .unwrap();
    assert_eq!(response.extensions().get(), Some(&forward(&lab.proxy.url())));
    let response = send(&client, asking(Some(Purpose::Redis), &lab.plain.url("/")))
        .await
        .unwrap();
    assert_eq!(response.extensions().get(), Some(&Route::Direct));
}

/// Rules between proxies are no exemption.
#[test]
fn always_takes_the_proxy_that_a_rule_names() {
    let config = ProxyConfig::builder()
        .all("http://general.test")
        .proxy_for("special.test", "http://special.test:8080")
        .proxy_for("direct.test", "")
        .no_proxy("special.test, direct.test")
        .build()
        .unwrap();
    let route = |url: &str, usage: &ProxyUse| {
        let decision = config.decide_for(&"p", usage, &url.parse().unwrap()).unwrap();
        decision.into_route()
    };
    for (url, proxy) in [
        ("http://special.test", "http://special.test:8080"),
        ("http://direct.test", "http://general.test"),
        ("http://other.test", "http://general.test"),
    ] {
        assert_eq!(route(url, &ProxyUse::Always), forward(proxy), "{url}");
    }
    let own = ProxyUse::Proxy("http://own.test".parse().unwrap());
    assert_eq!(route("http://special.test", &own), Route::Direct);
    assert_eq!(route("http://other.test", &own), forward("http://own.test"));
    // A rule says nothing about schemes, and a tunnel carries any.
    assert_eq!(route("tcp://other.test:1", &own), tunnel("http://own.test"));
    for (url, proxy) in [
        ("tcp://special.test:1", "http://special.test:8080"),
        ("tcp://direct.test:1", "http://general.test"),
    ] {
        assert_eq!(route(url, &ProxyUse::Always), tunnel(proxy), "{url}");
    }
}

/// The proxies of `http` and `https` are for no other scheme, and one that cannot be used makes nothing direct.
#[test]
fn always_of_another_scheme_needs_all_proxy() {
    let of_schemes = ProxyConfig::builder().http("http://p.test").https("http://p.test");
    let target = "tcp://db.test:1".parse().unwrap();
    let error = of_schemes.clone().build().unwrap();
    let error = error
        .decide_for(&Purpose::Redis, &ProxyUse::Always, &target)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "purpose Redis requires a proxy, but none is set for its scheme (ALL_PROXY sets one)"
    );
    let unusable = of_schemes.all("socks5://user:secret@socks.test").build().unwrap();
    let decision = unusable
        .decide_for(&Purpose::Redis, &ProxyUse::Always, &target)
        .unwrap();
    assert!(matches!(decision.route(), Route::Unusable(_)), "{decision}");
}

/// A proxy that only a rule names is a proxy that is set.
#[test]
fn always_needs_no_proxy_beside_that_of_a_rule() {
    let config = ProxyConfig::builder().proxy_for("special.test", "http://special.test:8080");
    let config = config.no_proxy("special.test").build().unwrap();
    let decide = |url: &str| config.decide_for(&"p", &ProxyUse::Always, &url.parse().unwrap());
    assert_eq!(
        decide("https://special.test").unwrap().into_route(),
        tunnel("http://special.test:8080")
    );
    assert!(decide("https://other.test").is_err());
}

#[test]
fn a_decision_names_the_purpose_and_the_reason() {
    let config = ProxyConfig::from_vars([("HTTP_PROXY", "http://user:secret@p.test"), ("NO_PROXY", "a.test")]).unwrap();
    let own = ProxyUse::Proxy("http://user:secret@own.test".parse().unwrap());
    for (usage, url, text) in [
        (
            ProxyUse::Never,
            "http://b.test",
            "direct: the policy says never for this purpose",
        ),
        (
            ProxyUse::Always,
            "http://a.test",
            "forward through http://user:***@p.test:1080: the policy says always for this purpose, and HTTP_PROXY is set",
        ),
        (
            own.clone(),
            "http://b.test",
            "forward through http://user:***@own.test:1080: the policy names a proxy for this purpose, and nothing \
             exempts the target",
        ),
        (
            own.clone(),
            "ftp://b.test",
            "tunnel through http://user:***@own.test:1080: the policy names a proxy for this purpose, and nothing exempts \
             the target",
        ),
        (own, "http://a.test", "direct: entry 1 `a.test` of NO_PROXY matches"),
        (
            ProxyUse::Settings,
            "http://a.test",
            "direct: entry 1 `a.test` of NO_PROXY matches",
        ),
    ] {
        let decision = config
            .decide_for(&Purpose::Preview, &usage, &url.parse().unwrap())
            .unwrap();
        assert_eq!(decision.purpose(), Some("Preview"));
        assert_eq!(decision.to_string(), format!("purpose Preview: {text}"));
    }
    let target = "http://a.test".parse().unwrap();
    assert_eq!(config.decide(&target).purpose(), None);
    let never = config.decide_for(&Purpose::Redis, &ProxyUse::Never, &target).unwrap();
    assert_eq!(never.reason(), &Reason::Never);
}

/// tower-http's redirects lose extensions between origins. Inside of them the purpose is put in for each hop.
#[tokio::test]
async fn a_purpose_that_is_put_in_inside_of_redirects_holds_for_each_hop() {
    let lab = Lab::start().await;
    let client = lab.client(through(lab.proxy.url()));
    let redirecting = tower::service_fn({
        let (client, to) = (client.clone(), lab.tls.url("/"));
        move |mut request: Request<Full<bytes::Bytes>>| {
            let (client, to) = (client.clone(), to.clone());
            request.extensions_mut().insert(Purpose::Redis);
            async move {
                let first = request.uri().path() == "/first";
                let mut response = client.oneshot(request).await?;
                if first {
                    *response.status_mut() = http::StatusCode::FOUND;
                    response.headers_mut().insert("location", to.parse().unwrap());
                }
                Ok::<_, tower::BoxError>(response)
            }
        }
    });
    let service = FollowRedirectLayer::new().layer(redirecting);
    let response = within(service.oneshot(request(&lab.plain.url("/first"))))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!((opened(&lab.proxy), opened(&lab.tls)), (0, 1));
}

/// A layer above asks the proxy again; what is logged then is of the same request.
#[tokio::test]
async fn the_span_of_a_request_names_its_purpose() {
    let log = Log::of_thread(Level::DEBUG);

    let lab = Lab::start().await;
    let client = lab.client(through(lab.proxy.url_with("user:secret@")));
    for purpose in [Some(Purpose::Federation("x")), Some(Purpose::Push), None] {
        read(send(&client, asking(purpose, &lab.plain.url("/"))).await.unwrap()).await;
    }
    let log = log.text();
    let target = lab.plain.url("").trim_end_matches('/').to_owned();
    for (purpose, route) in [
        (
            r#" purpose="Federation(\"x\")""#,
            format!("forward through {}", lab.own.url()),
        ),
        (
            r#" purpose="Push""#,
            format!("forward through {}", lab.proxy.url_with("user:***@")),
        ),
        ("", format!("forward through {}", lab.proxy.url_with("user:***@"))),
    ] {
        let span = format!("outbound request{{method=GET target={target}{purpose} route={route}}}");
        assert!(log.contains(&span), "{span}\n{log}");
    }
    assert!(log.contains("proxy decision"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
