//! A server that is killed under load and started again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_outbound_proxy::Client;
use tower_outbound_proxy_lab::within;

use super::{
    lab::{Lab, Sharing, chain},
    server::Server,
};

/// The server is killed twice under load, and started again. A request is repeated where its error says that this is
/// safe, and only there.
pub async fn nothing_is_lost_or_sent_twice_over_a_restart(server: Server) {
    let mut lab = Lab::start(server).await;
    let origins = [lab.http().await, lab.https().await];
    let sharing = Sharing::new(&lab);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..8_usize {
        let origin = &origins[caller % 2];
        let (url, client, is_over) = (origin.url("/echo"), sharing.client.clone(), is_over.clone());
        callers.spawn(async move {
            let mut outcomes = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let method = [Method::POST, Method::PUT][outcomes.len() % 2].clone();
                let body = Bytes::from(format!("{caller}-{}", outcomes.len()));
                let outcome = call(&client, method, &url, &body).await;
                outcomes.push((body, outcome));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            outcomes
        });
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        lab.proxy.kill().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        lab.proxy.restart().await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    is_over.store(true, Ordering::Relaxed);
    let outcomes: Vec<_> = within(callers.join_all()).await.into_iter().flatten().collect();

    let mut processed = HashMap::<Bytes, usize>::new();
    let requests = origins.iter().flat_map(|origin| origin.requests());
    let posts = requests.filter(|request| request.method == Method::POST);
    posts.for_each(|request| *processed.entry(request.body).or_default() += 1);
    assert!(processed.values().all(|count| *count == 1), "sent twice: {processed:?}");
    let mut counts = HashMap::<_, usize>::new();
    for (body, outcome) in &outcomes {
        *counts.entry(*outcome).or_default() += 1;
        match outcome {
            // Of a PUT, only the answer tells.
            Outcome::Answered { is_post: true } => assert_eq!(processed.get(body), Some(&1), "lost: {body:?}"),
            Outcome::Answered { is_post: false } | Outcome::Unknown => {}
        }
    }
    let answered = |is_post| counts.get(&Outcome::Answered { is_post }).copied().unwrap_or(0);
    assert!(answered(true) > 20 && answered(false) > 20, "{counts:?}");
    // No more than what was under way when the server was killed.
    let unknown = counts.get(&Outcome::Unknown).copied().unwrap_or(0);
    assert!(unknown <= 16, "{counts:?}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Answered {
        is_post: bool,
    },
    /// A POST that may have been processed.
    Unknown,
}

/// Sends a request until it is answered, as a careful caller does.
async fn call(client: &Client<Full<Bytes>>, method: Method, url: &str, body: &Bytes) -> Outcome {
    let is_post = method == Method::POST;
    let started = Instant::now();
    loop {
        let request = Request::builder().method(method.clone()).uri(url);
        let request = request.body(Full::new(body.clone())).unwrap();
        let error = match client.clone().oneshot(request).await {
            Ok(response) => match (response.status(), response.into_body().collect().await) {
                (StatusCode::OK, Ok(echo)) => {
                    assert_eq!(echo.to_bytes(), *body);
                    return Outcome::Answered { is_post };
                }
                // It was answered, but the answer did not arrive.
                (StatusCode::OK, Err(_)) if is_post => return Outcome::Unknown,
                (StatusCode::OK, Err(_)) => None,
                (status, _) => panic!("{status}"),
            },
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            assert!(error.is_transient(), "{}", chain(&error));
            if is_post && !error.is_before_request() {
                return Outcome::Unknown;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(8), "not answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
