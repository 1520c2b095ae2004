//! Sentences 13 to 15 of Palpo's "Using Forward/Outbound Proxies": the connections that the IP blacklist applies to,
//! and the kinds of connections that use the proxy.

use tower_outbound_proxy::{ConnectError, error::ConnectErrorKind};

use crate::{HTTP, HTTPS, app::connections::Connection, asked, lab::Lab, site::EXAMPLES};

/// The kinds of connections whose targets strangers name, in the order of Palpo's document.
const GUARDED: [Connection; 7] = [
    Connection::Push,
    Connection::UrlPreview,
    Connection::Federation,
    Connection::KeyRevocation,
    Connection::ServerKeys,
    Connection::RemoteMedia,
    Connection::IdentityServer,
];

#[tokio::test]
async fn ip_blacklists_are_not_applied_to_connections_through_a_proxy() {
    let lab = Lab::start().await;
    // The proxy is itself at a blacklisted address, 10.0.1.1.
    let outbound = lab.outbound(&EXAMPLES);
    // Identity servers are never reached through one.
    for connection in GUARDED.into_iter().filter(|one| *one != Connection::IdentityServer) {
        for url in ["http://10.2.0.9/", "http://printer.internal.example.com/"] {
            assert_eq!(
                lab.reached(&outbound, connection, url).await,
                "10.0.1.1",
                "{connection:?}: {url}"
            );
        }
    }
}

#[tokio::test]
async fn names_are_resolved_by_the_proxy() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&EXAMPLES);
    for url in [HTTP, HTTPS, "http://printer.internal.example.com/"] {
        lab.reached(&outbound, Connection::Push, url).await;
    }
    assert_eq!(lab.site.network.resolved(), ["proxy.example.com"]);
    let named: Vec<_> = [asked(&lab.site.proxies.http), asked(&lab.site.proxies.https)].concat();
    assert_eq!(
        named,
        [
            "GET http://www.example.org/",
            "GET http://printer.internal.example.com/",
            "CONNECT www.example.com:443"
        ]
    );
}

#[tokio::test]
async fn ip_blacklists_are_applied_to_direct_connections() {
    let lab = Lab::start().await;
    // Listed in no_proxy; or no proxy at all.
    for (variables, urls) in [
        (&EXAMPLES[..], &["http://10.1.0.5/", "http://172.30.0.5/"][..]),
        (
            &[],
            &[
                "http://10.2.0.9/",
                "http://printer.internal.example.com/",
                "http://127.0.0.1:1/",
            ],
        ),
    ] {
        let outbound = lab.outbound(variables);
        for url in urls {
            for connection in GUARDED {
                let error = outbound.call(connection, &url.parse().unwrap()).await.unwrap_err();
                let connect = ConnectError::find(&*error).unwrap();
                assert_eq!(
                    connect.kind(),
                    ConnectErrorKind::Denied,
                    "{connection:?}: {url}: {connect}"
                );
            }
        }
    }
    // What the operator names is not kept from the own network.
    let outbound = lab.outbound(&EXAMPLES);
    for connection in Connection::ALL.into_iter().filter(|one| !GUARDED.contains(one)) {
        let url = match connection {
            Connection::Redis => &*lab.site.url(connection),
            _ => "http://10.1.0.5/",
        };
        assert_eq!(
            lab.reached(&outbound, connection, url).await,
            "direct",
            "{connection:?}"
        );
    }
}

/// The documented peer of a kind of connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    TheProxy,
    Nothing,
}

async fn each_target(connection: Connection, by: By) {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&EXAMPLES[..2]);
    let own = lab.site.url(connection);
    let urls = match connection {
        Connection::Redis => vec![&*own],
        _ => vec![&*own, HTTP, HTTPS],
    };
    for url in urls {
        let expected = match (by, url.starts_with("http:")) {
            (By::Nothing, _) => "direct",
            (By::TheProxy, true) => "10.0.1.1",
            (By::TheProxy, false) => "proxy.example.com",
        };
        assert_eq!(lab.reached(&outbound, connection, url).await, expected, "{url}");
    }
    if by == By::Nothing {
        assert_eq!(lab.connections_to_proxies(), 0);
    }
}

macro_rules! connections {
    ($($test:ident = $connection:ident, $by:ident;)+) => {
        $(#[tokio::test]
        async fn $test() {
            each_target(Connection::$connection, By::$by).await;
        })+

        /// The kinds are in the order of Palpo's document, and none is listed twice.
        #[test]
        fn each_kind_of_connection_has_its_test() {
            assert_eq!(Connection::ALL, [$(Connection::$connection),+]);
        }
    };
}

connections! {
    push_uses_the_proxy = Push, TheProxy;
    url_previews_use_the_proxy = UrlPreview, TheProxy;
    phone_home_statistics_use_the_proxy = Statistics, TheProxy;
    recaptcha_verification_uses_the_proxy = Recaptcha, TheProxy;
    cas_authentication_uses_the_proxy = Cas, TheProxy;
    openid_connect_uses_the_proxy = OpenIdConnect, TheProxy;
    outbound_federation_uses_the_proxy = Federation, TheProxy;
    checking_public_key_revocation_uses_the_proxy = KeyRevocation, TheProxy;
    fetching_public_keys_of_other_servers_uses_the_proxy = ServerKeys, TheProxy;
    downloading_remote_media_uses_the_proxy = RemoteMedia, TheProxy;
    application_services_do_not_use_the_proxy = ApplicationService, Nothing;
    identity_servers_do_not_use_the_proxy = IdentityServer, Nothing;
    connections_between_workers_do_not_use_the_proxy = Worker, Nothing;
    connections_to_redis_do_not_use_the_proxy = Redis, Nothing;
}
