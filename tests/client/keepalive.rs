//! TCP keep-alive: silent connections are probed, so that no NAT forgets them and no request waits for a peer that is
//! gone.
//!
//! `/proc/net/tcp` tells the timer of each socket of this machine.

use std::{fs, net::SocketAddr, time::Duration};

use tower_outbound_proxy::{Client, IpPolicy, client::ClientBuilder};
use tower_outbound_proxy_lab::{ForwardProxy, Listening, Origin};

use super::{TestClient, fetch, through, unproxied};

/// Returns the time until the first connection to this server is probed; `None` if it is not.
fn probe(server: &Listening) -> Option<Duration> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => format!("{:08X}:{:04X}", addr.ip().to_bits().swap_bytes(), addr.port()),
        SocketAddr::V6(_) => unreachable!("servers listen on 127.0.0.1"),
    };
    let ends = [hex(server.connection(0).peer()), hex(server.addr())];
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1..3] == ends).expect("the connection is open");
    // `timer:when`, where timer 2 is the one of keep-alive, in hundredths of a second.
    let (timer, when) = row[5].split_once(':').unwrap();
    let when = u64::from_str_radix(when, 16).unwrap();
    (timer == "02").then_some(Duration::from_millis(when * 10))
}

#[tokio::test]
async fn silent_connections_are_probed_to_targets_and_to_proxies() {
    let as_it_is = |builder: ClientBuilder| builder;
    let guarded =
        |builder: ClientBuilder| builder.guard(IpPolicy::builder().special_purpose().allow_hosts("*").build().unwrap());
    let minute = |builder: ClientBuilder| builder.tcp_keepalive(Some(Duration::from_secs(60)));
    let never = |builder: ClientBuilder| builder.tcp_keepalive(None);
    for (set, expected) in [
        (&as_it_is as &dyn Fn(ClientBuilder) -> ClientBuilder, Some(15)),
        (&guarded, Some(15)),
        (&minute, Some(60)),
        (&never, None),
    ] {
        let client = |config| -> TestClient { set(Client::builder().config(config)).build().unwrap() };
        let origin = Origin::http().await;
        let proxy = ForwardProxy::builder().map("a.test:80", origin.addr()).start().await;
        let (direct, proxied) = (client(unproxied()), client(through(proxy.url())));
        fetch(&direct, &origin.url("/echo")).await;
        fetch(&proxied, "http://a.test/echo").await;
        for server in [&*origin, &*proxy] {
            let probe = probe(server);
            match expected.map(Duration::from_secs) {
                None => assert_eq!(probe, None),
                // A slow machine has counted down for a while.
                Some(time) => assert!(
                    probe.is_some_and(|left| left <= time && left + Duration::from_secs(10) > time),
                    "{probe:?} of {time:?}"
                ),
            }
        }
    }
}
