//! Promise: credentials go to their own proxy and to nobody else, whatever sends the next request another way.
//!
//! A cell of the matrix is a way to a target, an event, and the way of the request after it. All servers record what
//! they receive. No origin and no other proxy may have received a user name or a password in any spelling, and no
//! connection to a proxy may have carried two identities.

mod accounts;
mod echoes;
pub mod lab;
pub mod schemes;
pub mod secrets;
pub mod ways;

use std::convert::Infallible;

use http::{HeaderValue, Request, Response, header};
use tower::{Layer, ServiceExt, service_fn};
use tower_outbound_proxy::{ProxyConfig, ProxyLayer};
use tower_outbound_proxy_lab::{Log, within};
use tracing::Level;

use self::{
    lab::{Lab, Proxy, Trust, Version, Way, passwords},
    schemes::{SCHEMES, Scheme},
    ways::{Cell, Event, Stack},
};

/// Returns all cells of a stack.
fn cells(stack: Stack, scheme: &Scheme) -> Vec<Cell> {
    let is_possible = |way: &Way| {
        let is_forward = matches!(way, Way::Forward(_));
        !(is_forward && stack == Stack::Halves && scheme.is_for_tunnels_of_halves)
    };
    let ways: Vec<_> = Way::ALL.into_iter().filter(is_possible).collect();
    let mut cells = Vec::new();
    for event in stack.events() {
        for before in &ways {
            cells.extend(ways.iter().map(|after| Cell {
                event: *event,
                before: *before,
                after: *after,
            }));
        }
    }
    cells
}

/// The distance of the cells that always run. All of them take half a minute.
const SAMPLE: usize = 5;

/// Runs the cells at this distance, and reports all that leak.
async fn run(stack: Stack, version: Version, distance: usize) {
    let trust = Trust::new();
    let mut leaks = Vec::new();
    let mut count = 0;
    for (offset, scheme) in SCHEMES.iter().enumerate() {
        for cell in cells(stack, scheme)
            .into_iter()
            .skip(offset % distance)
            .step_by(distance)
        {
            let lab = Lab::start(&trust, scheme, version).await;
            cell.run(stack, &lab).await;
            within(lab.settled()).await;
            let faults = lab.faults(&cell.expected());
            leaks.extend(faults.iter().map(|fault| format!("{} {cell:?}: {fault}", scheme.name)));
            count += 1;
        }
    }
    assert!(
        leaks.is_empty(),
        "{} faults in {count} cells:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
    println!("{stack:?}, {version:?}: {count} cells are clean");
}

#[tokio::test]
async fn the_clients_cells_are_clean_over_http1() {
    run(Stack::Client, Version::Http1, SAMPLE).await;
}

#[tokio::test]
async fn the_clients_cells_are_clean_over_http2() {
    run(Stack::Client, Version::Http2, SAMPLE).await;
}

#[tokio::test]
async fn the_halves_cells_are_clean_over_http1() {
    run(Stack::Halves, Version::Http1, SAMPLE).await;
}

#[tokio::test]
async fn the_halves_cells_are_clean_over_http2() {
    run(Stack::Halves, Version::Http2, SAMPLE).await;
}

#[tokio::test]
#[ignore = "takes half a minute; `.ci/run leaks` runs it"]
async fn each_cell_of_the_client_is_clean_over_http1() {
    run(Stack::Client, Version::Http1, 1).await;
}

#[tokio::test]
#[ignore = "takes half a minute; `.ci/run leaks` runs it"]
async fn each_cell_of_the_client_is_clean_over_http2() {
    run(Stack::Client, Version::Http2, 1).await;
}

#[tokio::test]
#[ignore = "takes half a minute; `.ci/run leaks` runs it"]
async fn each_cell_of_the_halves_is_clean_over_http1() {
    run(Stack::Halves, Version::Http1, 1).await;
}

#[tokio::test]
#[ignore = "takes half a minute; `.ci/run leaks` runs it"]
async fn each_cell_of_the_halves_is_clean_over_http2() {
    run(Stack::Halves, Version::Http2, 1).await;
}

/// At TRACE, the servers log what they receive as well. (hyper itself logs only if it is built with its unstable feature,
/// and then no fields.)
#[tokio::test]
async fn no_log_shows_a_password() {
    let trust = Trust::new();
    for (stack, version) in [
        (Stack::Client, Version::Http1),
        (Stack::Client, Version::Http2),
        (Stack::Halves, Version::Http1),
        (Stack::Halves, Version::Http2),
    ] {
        let log = Log::of_thread(Level::TRACE);
        for (event, before, after) in [
            (Event::Redirect, Way::Forward(Proxy::A), Way::Tunnel(Proxy::A)),
            (Event::CredentialsChanged, Way::Tunnel(Proxy::A), Way::Forward(Proxy::A)),
            (Event::ConnectionReused, Way::Forward(Proxy::B), Way::Direct),
        ] {
            let lab = Lab::start(&trust, &SCHEMES[0], version).await;
            let cell = Cell { event, before, after };
            cell.run(stack, &lab).await;
            within(lab.settled()).await;
        }
        let text = log.text();
        for (name, has_logged) in [
            ("tower_outbound_proxy", true),
            ("hyper_util", stack == Stack::Halves),
            ("h2::codec", version == Version::Http2),
        ] {
            assert!(text.contains(name) || !has_logged, "{name} has logged nothing");
        }
        assert_eq!(passwords().find(text.as_bytes()), None, "{stack:?}, {version:?}");
    }
}

/// A sensitive field is shown by no library, and kept in no table of HPACK (RFC 7541 7.1.3).
#[tokio::test]
async fn credentials_are_sensitive() {
    // The caller's own as well, for a proxy without any.
    let config = ProxyConfig::builder().all("http://proxy.test").build().unwrap();
    let inner = service_fn(async |request: Request<()>| {
        assert!(request.headers()[header::PROXY_AUTHORIZATION].is_sensitive());
        Ok::<_, Infallible>(Response::new(()))
    });
    let request =
        Request::get("http://x.test/").header(header::PROXY_AUTHORIZATION, HeaderValue::from_static("Own s3cret"));
    let layer = ProxyLayer::new(config);
    within(layer.layer(inner).oneshot(request.body(()).unwrap()))
        .await
        .unwrap();

    let trust = Trust::new();
    for after in [Way::Forward(Proxy::A), Way::Tunnel(Proxy::A)] {
        let lab = Lab::start(&trust, &SCHEMES[0], Version::Http2).await;
        let cell = Cell {
            event: Event::ConnectionReused,
            before: Way::Direct,
            after,
        };
        cell.run(Stack::Client, &lab).await;
        let raw = lab.proxy(Proxy::A).raw().concat();
        // Field 49 of the static table, as a literal that is never indexed (6.2.3).
        assert!(
            raw.windows(2).any(|window| window == [0x1f, 49 - 15]),
            "{}",
            raw.escape_ascii()
        );
    }
}
