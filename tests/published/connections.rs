//! Connections that are used again for somebody else, and state that stays when the proxy changes.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::Full;
use tower::{Layer, Service};
use tower_outbound_proxy::{Client, ProxyConfig, Route, route::Destination};
use tower_outbound_proxy_lab::{connector, within};

use super::{Outgoing, clients, get, reading, request};
use crate::leaks::{
    lab::{Identity, Lab, Proxy, Trust, Version, Way},
    schemes::{SCHEMES, Scheme},
};

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

fn client(lab: &Lab, config: ProxyConfig) -> Client<Full<Bytes>> {
    let builder = Client::builder().layer(lab.layer(config)).target_tls(lab.trust.clone());
    builder.connector(connector()).build().unwrap()
}

fn decided(url: &str, route: Route) -> Outgoing {
    let mut request = request(url);
    let uri = request.uri().clone();
    request.extensions_mut().insert(Destination { uri, route });
    request
}

/// The scheme in which a proxy need not ask.
const BASIC: &Scheme = &SCHEMES[0];

/// Returns the identities of each connection to the proxy; `None` is a request without credentials.
fn identities(lab: &Lab, proxy: Proxy) -> Vec<BTreeSet<Option<Identity>>> {
    let listening = lab.proxy(proxy);
    let requests = listening.requests();
    let of = |connection| requests.iter().filter(move |request| request.connection == connection);
    (0..listening.connections_opened())
        .map(|connection| {
            of(connection)
                .map(|one| (lab.scheme.identify)(one).map(|(identity, _)| identity))
                .collect()
        })
        .collect()
}

/// Asserts that the proxy saw each of these identities, on connections of their own.
fn assert_apart(lab: &Lab, proxy: Proxy, expected: &[Option<Identity>]) {
    let connections = identities(lab, proxy);
    assert!(connections.iter().all(|one| one.len() <= 1), "{connections:?}");
    let seen: BTreeSet<_> = connections.into_iter().flatten().collect();
    assert_eq!(seen, expected.iter().copied().collect());
}

const OLD: Identity = Identity {
    proxy: Proxy::A,
    is_new: false,
};
const NEW: Identity = Identity {
    proxy: Proxy::A,
    is_new: true,
};

/// Returns the routes through proxy A as two users, and as nobody.
fn as_each(lab: &Lab, way: Way) -> [Route; 3] {
    let bare = lab.proxy(Proxy::A);
    let bare = format!("{}://{}", bare.scheme(), bare.authority()).parse().unwrap();
    let bare = match way {
        Way::Forward(_) => Route::Forward(bare),
        _ => Route::Tunnel(bare),
    };
    [lab.route(way, false), lab.route(way, true), bare]
}

/// curl used a tunnel that was opened with one user's credentials for a request with another's, where the CONNECT's
/// credentials decide what may pass.
#[tokio::test]
async fn cve_2026_3784_a_tunnel_is_not_used_with_other_credentials() {
    let trust = Trust::new();
    for scheme in [BASIC] {
        for version in VERSIONS {
            let way = Way::Tunnel(Proxy::A);
            for is_tls in [true, false] {
                let lab = Lab::start(&trust, scheme, version).await;
                let url = lab.common_url(if is_tls { way } else { Way::Direct }, "/");
                let client = reading(client(&lab, lab.settings(Way::Direct, false)));
                for _ in 0..2 {
                    for route in as_each(&lab, way) {
                        get(&client, decided(&url, route)).await;
                    }
                }
                assert_apart(&lab, Proxy::A, &[Some(OLD), Some(NEW), None]);
            }

            // The connector half has no pool of tunnels, but over HTTP/2 a connection on which they are opened.
            let lab = Lab::start(&trust, scheme, version).await;
            let mut half = lab.layer(lab.settings(Way::Direct, false)).layer(connector());
            let mut open = Vec::new();
            for _ in 0..2 {
                for route in as_each(&lab, way) {
                    let uri = lab.common_url(way, "/").parse().unwrap();
                    open.push(within(half.call(Destination { uri, route })).await.unwrap());
                }
            }
            assert_apart(&lab, Proxy::A, &[Some(OLD), Some(NEW), None]);
        }
    }
}

/// curl used a connection to a proxy that one user had authenticated (NTLM, which authenticates connections) for the
/// requests of another, when the application changed the user.
#[tokio::test]
async fn cve_2016_0755_a_connection_to_a_proxy_is_not_used_by_the_next_user() {
    let trust = Trust::new();
    for scheme in [BASIC] {
        for version in VERSIONS {
            for way in [Way::Forward(Proxy::A), Way::Tunnel(Proxy::A)] {
                let lab = Lab::start(&trust, scheme, version).await;
                let url = lab.common_url(way, "/");
                let own = client(&lab, lab.settings(way, false));
                let handle = own.config_handle();
                let own = reading(own);
                for is_new in [false, true, false] {
                    handle.replace(lab.settings(way, is_new));
                    get(&own, request(&url)).await;
                    get(&own, request(&url)).await;
                }
                assert_apart(&lab, Proxy::A, &[Some(OLD), Some(NEW)]);
            }
        }
    }
}

/// curl used a connection that Negotiate had authenticated for one user for a request as another, while the first
/// one's connection was alive (and, in CVE-2015-3143, for a request without credentials).
#[tokio::test]
async fn cve_2026_1965_connections_of_several_users_are_told_apart_while_all_are_alive() {
    let trust = Trust::new();
    for scheme in [BASIC] {
        for version in VERSIONS {
            let lab = Lab::start(&trust, scheme, version).await;
            let way = Way::Forward(Proxy::A);
            let url = lab.common_url(way, "/");
            let own = client(&lab, lab.settings(Way::Direct, false));
            let sender = reading(own.clone());
            for _ in 0..3 {
                for route in as_each(&lab, way) {
                    get(&sender, decided(&url, route)).await;
                }
            }
            assert_apart(&lab, Proxy::A, &[Some(OLD), Some(NEW), None]);
            // They are used again, by the same users.
            assert_eq!(lab.proxy(Proxy::A).connections_opened(), 3, "{:?}", own.stats());
        }
    }
}

/// curl kept the state of Digest when the application set another proxy, and sent the first proxy's response to the
/// second.
#[tokio::test]
async fn cve_2026_7168_another_proxy_does_not_get_what_the_first_one_was_told() {
    let trust = Trust::new();
    for scheme in SCHEMES {
        for version in VERSIONS {
            for (one, other) in [
                (Way::Forward as fn(_) -> _, Way::Tunnel as fn(_) -> _),
                (Way::Tunnel, Way::Forward),
            ] {
                let lab = Lab::start(&trust, scheme, version).await;
                let own = client(&lab, lab.settings(Way::Direct, false));
                let handle = own.config_handle();
                let sender = reading(own);
                for way in [one(Proxy::A), one(Proxy::B), other(Proxy::A), other(Proxy::B)] {
                    handle.replace(lab.settings(way, false));
                    get(&sender, request(&lab.common_url(way, "/"))).await;
                }
                drop((sender, handle));
                within(lab.settled()).await;
                let expected = [Proxy::A, Proxy::B].map(|proxy| Identity { proxy, is_new: false });
                assert_eq!(lab.faults(&expected), [""; 0]);
            }
        }
    }
}

/// The same in curl, where variables name a proxy for each scheme: what one was told went to the other.
#[tokio::test]
async fn cve_2026_8927_the_proxy_of_another_variable_does_not_get_what_the_first_one_was_told() {
    let trust = Trust::new();
    for scheme in [BASIC] {
        for version in VERSIONS {
            let lab = Lab::start(&trust, scheme, version).await;
            let [http, https] = [Proxy::A, Proxy::B].map(|proxy| lab.server(proxy, false).url_with_password());
            let config = ProxyConfig::builder().proxy_tls(lab.trust.clone());
            let config = config
                .vars([("http_proxy", http), ("https_proxy", https)])
                .build()
                .unwrap();
            for sender in clients(&lab, &config) {
                for _ in 0..2 {
                    for way in [Way::Forward(Proxy::A), Way::Tunnel(Proxy::B)] {
                        get(&sender, request(&lab.common_url(way, "/"))).await;
                    }
                }
            }
            within(lab.settled()).await;
            let expected = [Proxy::A, Proxy::B].map(|proxy| Identity { proxy, is_new: false });
            assert_eq!(lab.faults(&expected), [""; 0]);
        }
    }
}
