//! Promise: `mattermost` does what Mattermost's "Using an Outbound Proxy" says, sentence by sentence.
//!
//! Each sentence of that document that states a behaviour, in its order, and the tests that are named after it:
//!
//! 1. The variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` configure the use of a proxy:
//!    [`three_variables_configure_the_use_of_a_proxy`].
//! 2. The first two hold the proxy's address for HTTP and for HTTPS requests:
//!    [`http_proxy_is_for_http_requests_and_https_proxy_for_https_requests`].
//! 3. The value includes protocol and port: [`the_value_includes_protocol_and_port`].
//! 4. HTTP basic authentication is written into the value: [`the_value_can_have_credentials_for_basic_authentication`].
//! 5. A proxy "that uses the HTTPS protocol" needs its root certificate on the server, which otherwise refuses
//!    responses as intercepted. The tests cover both readings:
//!    [`responses_through_an_intercepting_proxy_are_refused_without_its_root`],
//!    [`responses_through_an_intercepting_proxy_are_accepted_with_its_root`],
//!    [`a_proxy_that_is_reached_over_tls_is_refused_without_its_root`],
//!    [`a_proxy_that_is_reached_over_tls_is_used_with_its_root`].
//! 6. `NO_PROXY` keeps certain requests from going through the proxy, such as to an SSO provider, or to intranet sites
//!    that link previews should reach: [`no_proxy_keeps_requests_to_an_sso_provider_from_the_proxy`],
//!    [`no_proxy_lets_link_previews_reach_intranet_sites`].
//! 7. It is a set of IP addresses, CIDR ranges or domain names, separated by commas; an address or name can have a port:
//!    [`no_proxy_is_addresses_ranges_or_names_separated_by_commas`], [`an_address_or_a_name_can_have_a_port`].
//! 8. A domain name matches itself and all subdomains. With a leading dot, it matches only the subdomains:
//!    [`a_domain_name_matches_itself_and_all_subdomains`], [`a_leading_dot_matches_subdomains_only`].
//! 9. A sample unit file has all of it in `Environment=` lines: [`the_sample_unit_file_sets_the_server_up`].
//!
//! From Mattermost's setting "allowed untrusted internal connections":
//!
//! 10. Link previews do not fetch from the internal network: [`internal_addresses_are_refused`]. This applies to direct
//!     connections only: [`what_the_proxy_fetches_is_not_refused`].
//! 11. Link previews do fetch from allowed hosts, addresses and ranges: [`allowed_internal_connections_are_made`].
//!
//! The server is the example's own, and it fetches from the lab. Other modules test the server's answers, the built
//! program, the program with real proxies, and the reading of unit files and titles.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod answers;
mod lab;
mod program;
#[cfg(unix)]
mod real;
mod title;
mod unit;

use std::sync::Arc;

use mattermost::{app, site};
use tower_outbound_proxy::ProxyConfig;
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Kind, Listening};

use app::{Settings, unit::Unit};
use lab::{Lab, environment, trusting};

/// The sample unit file of Mattermost's "Using an Outbound Proxy", to the letter.
pub const SAMPLE: &str = include_str!("../../sample.service");
/// Base64 of `mattermost:password`.
const BASIC: &str = "Basic bWF0dGVybW9zdDpwYXNzd29yZA==";

fn proxy(variable: &str, value: &str) -> ProxyConfig {
    ProxyConfig::from_vars([(variable, value)]).unwrap()
}

/// Returns the route of a URL as text, with a proxy for everything that `NO_PROXY` does not list.
fn route(no_proxy: &str, url: &str) -> String {
    let config = ProxyConfig::from_vars([
        ("HTTP_PROXY", "http://p"),
        ("HTTPS_PROXY", "http://p"),
        ("NO_PROXY", no_proxy),
    ]);
    let route = config.unwrap().route(&url.parse().unwrap()).to_string();
    route.split(' ').next().unwrap().to_owned()
}

#[track_caller]
fn assert_direct(no_proxy: &str, urls: &[&str]) {
    for url in urls {
        assert_eq!(route(no_proxy, url), "direct", "{no_proxy}: {url}");
    }
}

#[track_caller]
fn assert_proxied(no_proxy: &str, urls: &[&str]) {
    for url in urls {
        assert_ne!(route(no_proxy, url), "direct", "{no_proxy}: {url}");
    }
}

/// Returns the request lines that a server received, without versions.
fn asked(server: &Listening) -> Vec<String> {
    let requests = server.requests();
    let line = |request: &tower_outbound_proxy_lab::Request| format!("{} {}", request.method, request.target);
    requests.iter().map(line).collect()
}

#[tokio::test]
async fn three_variables_configure_the_use_of_a_proxy() {
    let lab = Lab::start().await;
    let (http, https) = (lab.http_proxy.url(), lab.http_proxy.url());
    let variables = [
        ("HTTP_PROXY", &*http),
        ("HTTPS_PROXY", &https),
        ("NO_PROXY", "1.2.3.4:567"),
    ];
    let app = lab.app(environment(&variables)).await;
    for (url, route) in [
        ("http://www.example.org/", "forward"),
        ("https://www.example.org/", "tunnel"),
        ("http://1.2.3.4:567/", "direct"),
    ] {
        assert_eq!(app.preview(url).await["route"], route, "{url}");
    }
    assert_eq!(lab.http_proxy.requests().len(), 2);

    // No other variable does, and without them there is no proxy.
    let others = [("FTP_PROXY", &*http), ("PROXY", &http), ("MM_HTTP_PROXY", &http)];
    for variables in [&others[..], &[]] {
        let app = lab.app(environment(variables)).await;
        for url in ["http://www.example.org/", "https://www.example.org/"] {
            assert_eq!(app.preview(url).await["route"], "direct", "{url}");
        }
    }
    assert_eq!(lab.http_proxy.requests().len(), 2);
}

#[tokio::test]
async fn http_proxy_is_for_http_requests_and_https_proxy_for_https_requests() {
    let lab = Lab::start().await;
    let other = lab.site.proxy().start().await;
    let variables = [("HTTP_PROXY", &*lab.http_proxy.url()), ("HTTPS_PROXY", &other.url())];
    let app = lab.app(environment(&variables)).await;
    for url in ["http://www.example.org/", "https://www.example.org/"] {
        assert_eq!(app.preview(url).await["title"], "A page", "{url}");
    }
    assert_eq!(asked(&lab.http_proxy), ["GET http://www.example.org/"]);
    assert_eq!(asked(&other), ["CONNECT www.example.org:443"]);

    // Neither stands in for the other.
    let app = lab.app(environment(&variables[..1])).await;
    assert_eq!(app.preview("https://www.example.org/").await["route"], "direct");
    let app = lab.app(environment(&variables[1..])).await;
    assert_eq!(app.preview("http://www.example.org/").await["route"], "direct");
}

#[test]
fn the_value_includes_protocol_and_port() {
    let config = proxy("HTTP_PROXY", "http://192.168.4.5:3128");
    let server = config.http().unwrap();
    assert_eq!(
        (server.is_tls(), &*server.host(), server.port()),
        (false, "192.168.4.5", 3128)
    );
    let config = proxy("HTTPS_PROXY", "https://192.168.4.5:3129");
    let server = config.https().unwrap();
    assert_eq!(
        (server.is_tls(), &*server.host(), server.port()),
        (true, "192.168.4.5", 3129)
    );
}

#[tokio::test]
async fn the_value_can_have_credentials_for_basic_authentication() {
    let config = proxy("HTTP_PROXY", "http://mattermost:password@192.168.4.5:3128");
    assert_eq!(
        config.http().unwrap().to_string(),
        "http://mattermost:***@192.168.4.5:3128"
    );

    let lab = Lab::start().await;
    let authenticated = lab.site.proxy().basic("mattermost", "password").start().await;
    let url = authenticated.url_with("mattermost:password@");
    let app = lab
        .app(environment(&[("HTTP_PROXY", &url), ("HTTPS_PROXY", &url)]))
        .await;
    for url in ["http://www.example.org/", "https://www.example.org/"] {
        assert_eq!(app.preview(url).await["title"], "A page", "{url}");
    }
    for request in authenticated.requests() {
        assert_eq!(request.header("proxy-authorization"), Some(BASIC), "{}", request.target);
    }
    lab.assert_origins_know_no_password();

    // The proxy insists on them.
    let url = authenticated.url();
    let app = lab
        .app(environment(&[("HTTP_PROXY", &url), ("HTTPS_PROXY", &url)]))
        .await;
    for url in ["http://www.example.org/", "https://www.example.org/"] {
        let error = app.failure(url, 502).await;
        assert!(error.contains("407"), "{error}");
    }
}

/// Returns the lab with an intercepting proxy for HTTPS, and the variables for it.
async fn intercepted() -> (Lab, Arc<Ca>, ForwardProxy, Settings) {
    let (lab, root) = (Lab::start().await, Arc::new(Ca::new()));
    let proxy = lab.site.proxy().intercept(root.clone(), &lab.site.public).start().await;
    let settings = environment(&[("HTTPS_PROXY", &proxy.url()), ("NO_PROXY", "login.example.com")]);
    (lab, root, proxy, settings)
}

#[tokio::test]
async fn responses_through_an_intercepting_proxy_are_refused_without_its_root() {
    let (lab, _, proxy, settings) = intercepted().await;
    let app = lab.app(settings).await;
    let error = app.failure("https://www.example.org/", 502).await;
    assert_eq!(error, "the target's certificate does not verify");
    assert_eq!(asked(&proxy), ["CONNECT www.example.org:443"]);
    assert!(lab.site.web_tls.requests().is_empty());
}

#[tokio::test]
async fn responses_through_an_intercepting_proxy_are_accepted_with_its_root() {
    let (lab, root, proxy, settings) = intercepted().await;
    let roots = [lab.site.public.pem(), root.pem()].concat();
    let app = lab
        .app_with(Settings {
            target_tls: trusting(&roots),
            ..settings
        })
        .await;
    assert_eq!(app.preview("https://www.example.org/").await["title"], "A page");
    // It is one that intercepts: it has read the request.
    assert_eq!(asked(&proxy), ["CONNECT www.example.org:443", "GET /"]);
    assert_eq!(proxy.requests()[1].kind(), Kind::Origin);
    // What goes around it is verified as ever.
    assert_eq!(app.preview("https://login.example.com/").await["title"], "Sign in");
}

/// Returns the lab with a proxy for HTTPS that is reached over TLS, its root, and the variables for it.
async fn over_tls() -> (Lab, Ca, ForwardProxy, Settings) {
    let (lab, root) = (Lab::start().await, Ca::new());
    let tls = root.issue(&["127.0.0.1"]).server_config(&["http/1.1"]);
    let proxy = lab.site.proxy().tls(tls).host("127.0.0.1").start().await;
    let settings = environment(&[("HTTPS_PROXY", &proxy.url())]);
    (lab, root, proxy, settings)
}

#[tokio::test]
async fn a_proxy_that_is_reached_over_tls_is_refused_without_its_root() {
    let (lab, _, proxy, settings) = over_tls().await;
    // That of targets is not taken for it.
    let app = lab.app(settings).await;
    let error = app.failure("https://www.example.org/", 502).await;
    assert_eq!(error, "the proxy's certificate does not verify");
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn a_proxy_that_is_reached_over_tls_is_used_with_its_root() {
    let (lab, root, proxy, settings) = over_tls().await;
    let proxy_tls = trusting(root.pem());
    let app = lab.app(Settings { proxy_tls, ..settings }).await;
    assert_eq!(app.preview("https://www.example.org/").await["title"], "A page");
    assert_eq!(asked(&proxy), ["CONNECT www.example.org:443"]);
    assert!(proxy.connection(0).tls().is_some());
}

/// Returns the lab with the sample's NO_PROXY list.
async fn listed(allow_internal: Option<&str>) -> (Lab, lab::App) {
    let lab = Lab::start().await;
    let url = lab.http_proxy.url();
    let list = "1.2.3.4:567,.internal.example.com,login.example.com";
    let settings = environment(&[("HTTP_PROXY", &*url), ("HTTPS_PROXY", &url), ("NO_PROXY", list)]);
    let allow_internal = allow_internal.map(|list| list.parse().unwrap());
    let app = lab
        .app(Settings {
            allow_internal,
            ..settings
        })
        .await;
    (lab, app)
}

#[tokio::test]
async fn no_proxy_keeps_requests_to_an_sso_provider_from_the_proxy() {
    let (lab, app) = listed(None).await;
    let preview = app.preview("https://login.example.com/").await;
    assert_eq!(
        (&preview["title"], &preview["route"]),
        (&"Sign in".into(), &"direct".into())
    );
    assert_eq!(asked(&lab.site.sso), ["GET /"]);
    assert_eq!(lab.http_proxy.connections_opened(), 0);
    assert_eq!(lab.site.network.resolved(), ["login.example.com"]);
}

#[tokio::test]
async fn no_proxy_lets_link_previews_reach_intranet_sites() {
    let (lab, app) = listed(Some(".internal.example.com")).await;
    let preview = app.preview("http://wiki.internal.example.com/").await;
    assert_eq!(
        (&preview["title"], &preview["route"]),
        (&"Wiki".into(), &"direct".into())
    );
    assert_eq!(lab.http_proxy.connections_opened(), 0);
}

#[test]
fn no_proxy_is_addresses_ranges_or_names_separated_by_commas() {
    assert_direct("1.2.3.4", &["http://1.2.3.4", "https://1.2.3.4:8443"]);
    assert_proxied("1.2.3.4", &["http://1.2.3.5", "http://1.2.3.4.example.com"]);
    // The document's own range has host bits, which do not count.
    assert_direct(
        "1.2.3.4/8",
        &["http://1.2.3.4", "http://1.0.0.0", "https://1.255.255.255"],
    );
    assert_proxied("1.2.3.4/8", &["http://2.0.0.0", "http://0.255.255.255"]);
    assert_direct("example.com", &["http://example.com", "https://example.com:8443"]);
    assert_proxied("example.com", &["http://example.org"]);
    let set = "1.2.3.4,10.0.0.0/8,example.com";
    assert_direct(set, &["http://1.2.3.4", "http://10.9.9.9", "http://example.com"]);
    assert_proxied(set, &["http://1.2.3.5", "http://11.0.0.0", "http://example.org"]);
}

#[test]
fn an_address_or_a_name_can_have_a_port() {
    assert_direct("1.2.3.4:567", &["http://1.2.3.4:567", "https://1.2.3.4:567"]);
    assert_proxied(
        "1.2.3.4:567",
        &["http://1.2.3.4", "http://1.2.3.4:568", "https://1.2.3.4"],
    );
    assert_direct(
        "example.com:443",
        &[
            "https://example.com",
            "https://www.example.com",
            "http://example.com:443",
        ],
    );
    assert_proxied("example.com:443", &["http://example.com", "https://example.com:8443"]);
    assert_direct(".example.com:80", &["http://www.example.com"]);
    assert_proxied(".example.com:80", &["http://example.com", "https://www.example.com"]);
}

#[test]
fn a_domain_name_matches_itself_and_all_subdomains() {
    let urls = [
        "http://example.com",
        "http://sub.example.com",
        "https://a.b.example.com",
    ];
    assert_direct("example.com", &urls);
    assert_direct("sub.example.com", &urls[1..2]);
    assert_proxied("sub.example.com", &["http://example.com", "http://other.example.com"]);
    assert_proxied("example.com", &["http://anexample.com", "http://example.com.test"]);
}

#[test]
fn a_leading_dot_matches_subdomains_only() {
    assert_direct(".example.com", &["http://sub.example.com", "https://a.b.example.com"]);
    assert_proxied(".example.com", &["http://example.com", "http://anexample.com"]);
}

/// As it is printed, but for the ports: it has one for both proxies.
#[tokio::test]
async fn the_sample_unit_file_sets_the_server_up() {
    let unit = Unit::parse("mattermost.service", SAMPLE).unwrap();
    let expected = [
        ("HTTP_PROXY", "http://mattermost:password@127.0.0.1:3128"),
        ("HTTPS_PROXY", "https://mattermost:password@127.0.0.1:3128"),
        ("NO_PROXY", "1.2.3.4:567,.internal.example.com,login.example.com"),
    ];
    let found: Vec<_> = unit
        .environment
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!((&*found, &*unit.warnings), (&expected[..], &[][..]));
    lab::assert_no_password(&format!("{unit:?}"));

    let (lab, root) = (Lab::start().await, Ca::new());
    let tls = root.issue(&["127.0.0.1"]).server_config(&["http/1.1"]);
    let (user, secret) = ("mattermost", "password");
    let http = lab.site.proxy().basic(user, secret).start().await;
    let https = lab
        .site
        .proxy()
        .basic(user, secret)
        .tls(tls)
        .host("127.0.0.1")
        .start()
        .await;
    let ported = SAMPLE
        .replace(
            "@127.0.0.1:3128\nEnvironment=HTTPS",
            &format!("@{}\nEnvironment=HTTPS", http.addr()),
        )
        .replace("@127.0.0.1:3128", &format!("@{}", https.addr()));
    let app = lab
        .app(Settings {
            environment: Some(Unit::parse("mattermost.service", &ported).unwrap().environment),
            proxy_tls: trusting(root.pem()),
            allow_internal: Some(".internal.example.com".parse().unwrap()),
            ..Settings::default()
        })
        .await;
    for (url, title, route) in [
        ("http://www.example.org/", "A page", "forward"),
        ("https://www.example.org/", "A page", "tunnel"),
        ("http://1.2.3.4:567/", "Port 567", "direct"),
        ("http://1.2.3.4/", "A page", "forward"),
        ("http://wiki.internal.example.com/", "Wiki", "direct"),
        ("http://internal.example.com/", "A page", "forward"),
        ("https://login.example.com/", "Sign in", "direct"),
    ] {
        let preview = app.preview(url).await;
        assert_eq!(
            (&preview["title"], &preview["route"]),
            (&title.into(), &route.into()),
            "{url}"
        );
    }
    let forwarded = ["www.example.org", "1.2.3.4", "internal.example.com"].map(|host| format!("GET http://{host}/"));
    assert_eq!(asked(&http), forwarded);
    assert_eq!(asked(&https), ["CONNECT www.example.org:443"]);
    lab.assert_origins_know_no_password();
}

#[tokio::test]
async fn internal_addresses_are_refused() {
    let (lab, app) = listed(None).await;
    let here = format!("http://127.0.0.1:{}/", lab.site.wiki.port());
    for url in ["http://wiki.internal.example.com/", &here] {
        // Which it is here is for the log only.
        assert_eq!(app.failure(url, 403).await, "its address is none that is fetched");
    }
    // The redirect is fetched, what it leads to is not.
    app.failure("http://www.example.org/to-wiki", 403).await;
    assert_eq!(asked(&lab.http_proxy), ["GET http://www.example.org/to-wiki"]);
    assert_eq!(lab.site.wiki.connections_opened(), 0);
    // An external one is none of them.
    assert_eq!(app.preview("http://1.2.3.4:567/").await["title"], "Port 567");
}

#[tokio::test]
async fn what_the_proxy_fetches_is_not_refused() {
    let (lab, app) = listed(None).await;
    // Internal here; what it is there, the proxy knows.
    for url in [
        "http://printer.example.net/",
        "http://10.0.0.8/",
        "https://printer.example.net/",
    ] {
        assert_eq!(app.preview(url).await["title"], "A page", "{url}");
    }
    assert_eq!(lab.http_proxy.requests().len(), 3);
    assert!(
        lab.site.network.resolved().is_empty(),
        "{:?}",
        lab.site.network.resolved()
    );
}

#[tokio::test]
async fn allowed_internal_connections_are_made() {
    for list in [
        "wiki.internal.example.com",
        ".example.com",
        "10.0.0.7",
        "10.0.0.0/8",
        "x.test, 10.0.0.7:80",
    ] {
        let (_lab, app) = listed(Some(list)).await;
        let preview = app.preview("http://wiki.internal.example.com/").await;
        assert_eq!(preview["title"], "Wiki", "{list}");
    }
    for list in ["internal.example.net", "10.0.0.6", "10.0.0.7:443"] {
        let (_lab, app) = listed(Some(list)).await;
        app.failure("http://wiki.internal.example.com/", 403).await;
    }
}
