//! Cancelling a request, at any point, leaves nothing behind.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use http_body_util::BodyExt;
use tokio::{runtime::Builder, task::JoinSet};
use tower::{BoxError, ServiceExt};
use tower_outbound_proxy::Route;
use tower_outbound_proxy_lab::{Ca, Dice, ForwardProxy, Listening, Origin, within};

use crate::common::decide;

use super::{TestClient, builder, eventually, fetch, now, request, through};

/// Polls a future this many times, and then drops it.
async fn poll_times<F: Future>(future: F, mut times: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(None);
        }
        times -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if times == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Makes one request, with or without a body in either direction, and may cancel it anywhere. Returns true if it was
/// completed.
async fn one(client: TestClient, origins: [String; 3], mut dice: Dice) -> bool {
    let which = [0, 0, 0, 0, 1, 2, 2, 2][dice.roll(8) as usize];
    let origin = &origins[which];
    let path = ["/", "/bytes/100", "/bytes/70000", "/status/204", "/slow/2"][dice.roll(5) as usize];
    let mut request = request(&format!("{origin}{path}"));
    match dice.roll(8) {
        0 => decide(&mut request, Route::Direct),
        // Over HTTP/2 the origin answers HEAD with a body, which is an error.
        1 if which != 2 => *request.method_mut() = http::Method::HEAD,
        _ => {}
    }
    let whole = async {
        let outcome = match client.oneshot(request).await {
            Ok(response) => response.into_body().collect().await.map(drop).map_err(BoxError::from),
            Err(error) => Err(error.into()),
        };
        // An HTTP/2 server may close a connection on which too many streams are reset (ENHANCE_YOUR_CALM).
        if let Err(error) = outcome {
            assert_eq!(which, 2, "{error:?}");
        }
    };
    match dice.roll(5) {
        0 => {
            whole.await;
            true
        }
        1 | 2 => poll_times(whole, dice.roll(6)).await.is_some(),
        _ => {
            let patience = Duration::from_micros(dice.roll(6000));
            tokio::time::timeout(patience, whole).await.is_ok()
        }
    }
}

fn open(listening: &[&Listening]) -> usize {
    listening.iter().map(|listening| listening.connections_open()).sum()
}

/// Through a proxy, plain, with HTTP/1.1 and HTTP/2 in tunnels, and around it; with and without a limit.
#[test]
fn ten_thousand_requests_given_up_at_random_leave_nothing() {
    const REQUESTS: u64 = 10_000;
    let runtime = |threads| {
        Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap()
    };
    let (servers, clients) = (runtime(1), runtime(2));
    let ca = Ca::new();
    let (plain, http1, http2, proxy) = servers.block_on(async {
        (
            Origin::http().await,
            Origin::https(&ca, &["a.test"], &["http/1.1"]).await,
            Origin::https(&ca, &["a.test"], &["h2"]).await,
            ForwardProxy::builder().start().await,
        )
    });
    let origins = [
        format!("http://a.test:{}", plain.port()),
        format!("https://a.test:{}", http1.port()),
        format!("https://a.test:{}", http2.port()),
    ];
    let tasks = clients.handle().metrics();
    for (seed, limit) in [(0x5eed, None), (0xd1ce, Some(4))] {
        let mut builder = builder(through(proxy.url()), &ca);
        if let Some(limit) = limit {
            builder = builder.max_connections_per_key(limit);
        }
        let client: TestClient = builder.build().unwrap();
        let mut dice = Dice::new(seed);
        let whole = clients.block_on(async {
            let (mut running, mut whole) = (JoinSet::new(), 0);
            for _ in 0..REQUESTS / 2 {
                running.spawn(one(client.clone(), origins.clone(), Dice::new(dice.roll(u64::MAX))));
                if running.len() == 32 {
                    whole += u64::from(within(running.join_next()).await.unwrap().unwrap());
                }
            }
            whole + within(running.join_all()).await.into_iter().map(u64::from).sum::<u64>()
        });
        // Neither all of them nor none, or it tests less than it says.
        assert!((REQUESTS / 20..REQUESTS * 9 / 20).contains(&whole), "{whole}");
        clients.block_on(async {
            eventually(|| matches!(now(&client), [open, idle, 0, 0] if open == idle)).await;
            // The servers agree: at the proxy, and directly at the origins.
            let stats = client.stats();
            let direct: usize = stats
                .keys
                .iter()
                .filter(|key| key.route == Route::Direct)
                .map(|key| key.open)
                .sum();
            let proxied = stats.open() - direct;
            within(proxy.until(|proxy| proxy.connections_open() == proxied)).await;
            if let Some(limit) = limit {
                assert!(stats.keys.iter().all(|key| key.open <= limit), "{stats:?}");
            }
            // It goes on working, on what it has.
            let before = client.stats().opened;
            for (origin, key) in origins.iter().zip([None, Some(&origins[1]), Some(&origins[2])]) {
                let idle = stats
                    .keys
                    .iter()
                    .any(|of| of.route != Route::Direct && of.origin.as_ref() == key && of.idle > 0);
                fetch(&client, origin).await;
                assert!(idle || client.stats().opened > before);
            }
        });
        drop(client);
        clients.block_on(eventually(|| tasks.num_alive_tasks() == 0));
        clients.block_on(eventually(|| open(&[&plain, &http1, &http2, &proxy]) == 0));
    }
}
