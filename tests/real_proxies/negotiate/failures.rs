//! Cases in which there is no token, or the proxy refuses it.

use std::{
    error::Error,
    net::TcpListener,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tower_outbound_proxy::{
    ConnectError,
    auth::{Negotiate, NegotiateError},
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::servers::Realm;

use super::realm::{Lab, OTHER_SERVICE, TestClient, client_of, get, layer, send};
use crate::real_proxies::lab::{chain, trust};

/// Returns the provider's error, which every request gets.
async fn provider_error(client: &TestClient, lab: &Lab) -> (String, bool) {
    let mut seen = None;
    for url in [lab.https.url("/"), lab.http.url("/")] {
        let error = send(client, &url).await.unwrap_err();
        let connect = ConnectError::find(&error).unwrap();
        assert_eq!(
            (connect.stage(), connect.kind()),
            (Stage::Credentials, ConnectErrorKind::Provider)
        );
        let negotiate = connect.source().unwrap();
        let negotiate = negotiate.downcast_ref::<NegotiateError>().unwrap();
        seen = Some((chain(&error), negotiate.is_not_logged_in()));
    }
    assert_eq!((lab.http.connections_opened(), lab.https.connections_opened()), (0, 0));
    seen.unwrap()
}

pub async fn without_a_ticket_the_error_says_how_to_get_one(realm: Realm) {
    let lab = Lab::start(&realm).await;
    let client = lab.client(&lab.url(), Negotiate::new());
    let (text, is_not_logged_in) = provider_error(&client, &lab).await;
    assert!(is_not_logged_in);
    for expected in ["HTTP/proxy.test", "run `kinit`", "No Kerberos credentials available"] {
        assert!(text.contains(expected), "no {expected} in: {text}");
    }
    let client = lab.client(&lab.url(), Negotiate::new().principal("carol@LAB.TEST"));
    let (text, is_not_logged_in) = provider_error(&client, &lab).await;
    assert!(is_not_logged_in);
    for expected in ["HTTP/proxy.test", "from carol@LAB.TEST", "run `kinit carol@LAB.TEST`"] {
        assert!(text.contains(expected), "no {expected} in: {text}");
    }
    assert_eq!(lab.asked(), 0);
}

pub async fn a_proxy_that_the_kdc_does_not_know_is_named(realm: Realm) {
    let lab = Lab::start(&realm).await;
    for (host, advice) in [
        ("unknown.test", "has to be reachable and to know this service"),
        ("127.0.0.1", "needs a name"),
    ] {
        let url = format!("http://{host}:{}", lab.squid.addr().port());
        let (text, is_not_logged_in) = provider_error(&lab.client(&url, Negotiate::new()), &lab).await;
        assert!(!is_not_logged_in);
        for expected in [&format!("HTTP/{host}"), advice, "not found in Kerberos database"] {
            assert!(text.contains(expected), "no {expected} in: {text}");
        }
    }
    assert_eq!(lab.asked(), 0);
}

pub async fn a_token_that_the_proxy_refuses_is_sent_once(realm: Realm) {
    // It cannot read tickets for `HTTP/proxy.test`.
    let lab = Lab::with_service(&realm, OTHER_SERVICE).await;
    let client = lab.client(&lab.url(), Negotiate::new());
    for (count, url) in [(1, lab.https.url("/")), (2, lab.http.url("/"))] {
        let error = send(&client, &url).await.unwrap_err();
        let connect = ConnectError::find(&error).unwrap();
        assert_eq!(connect.kind(), ConnectErrorKind::AuthenticationRequired);
        let offered: Vec<_> = connect.challenges().iter().map(|one| one.scheme()).collect();
        assert_eq!(offered, ["Negotiate", "Basic"]);
        assert!(
            connect.to_string().contains("rejected the configured credentials"),
            "{connect}"
        );
        assert_eq!(lab.logged(count).await.len(), count, "{:#?}", lab.squid.requests());
    }
}

pub async fn an_expired_ticket_is_named(realm: Realm) {
    let lab = Lab::start(&realm).await;
    realm.log_in_for("alice", Duration::from_secs(2)).unwrap();
    let client = lab.client(&lab.url(), Negotiate::new());
    get(&client, &lab.http.url("/")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let error = send(&client, &lab.http.url("/")).await.unwrap_err();
    let text = chain(&error);
    for expected in ["HTTP/proxy.test", "has expired: run `kinit`", "expired"] {
        assert!(text.contains(expected), "no {expected} in: {text}");
    }
    // The next request sees the new ticket.
    realm.log_in("alice").unwrap();
    get(&client, &lab.http.url("/")).await;
}

pub async fn a_kdc_that_is_down_is_named(realm: Realm) {
    let lab = Lab::start(&realm).await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    realm.move_kdc(nobody).unwrap();
    let since = Instant::now();
    let (text, is_not_logged_in) = provider_error(&lab.client(&lab.url(), Negotiate::new()), &lab).await;
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    assert!(!is_not_logged_in);
    for expected in [
        "HTTP/proxy.test",
        "the KDC has to be reachable",
        "Cannot contact any KDC",
    ] {
        assert!(text.contains(expected), "no {expected} in: {text}");
    }
    assert_eq!(lab.asked(), 0);
}

pub async fn a_silent_kdc_holds_no_request_and_few_threads(realm: Realm) {
    const LIMIT: Duration = Duration::from_secs(1);
    let lab = Lab::start(&realm).await;
    // The operating system accepts connections, and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = std::fs::read_to_string(realm.config()).unwrap();
    realm.move_kdc(silent.local_addr().unwrap()).unwrap();
    let layer = layer(&lab.url(), trust(lab.proxy_ca.pem())).with_connect_timeout(Some(LIMIT));
    let client = client_of(layer.with_credentials(Negotiate::new()), trust(lab.origin_ca.pem()));

    let (since, mut at_once) = (Instant::now(), JoinSet::new());
    for at in 0..30 {
        let (client, url) = (client.clone(), [&lab.http, &lab.https][at % 2].url("/"));
        at_once.spawn(async move { send(&client, &url).await.unwrap_err() });
    }
    let mut named = 0;
    for error in at_once.join_all().await {
        assert!(error.is_timeout(), "{}", chain(&error));
        // On a busy machine, the limit of the pool itself may come first to a few.
        if let Some(connect) = ConnectError::find(&error) {
            assert_eq!(connect.stage(), Stage::Credentials, "{}", chain(&error));
            let expected = "asking the credentials provider took longer than 1s";
            assert!(chain(&error).contains(expected), "{}", chain(&error));
            named += 1;
        }
    }
    assert!(named >= 15, "{named}");
    assert!(since.elapsed() < 3 * LIMIT, "{:?}", since.elapsed());
    assert_eq!(lab.asked(), 0);

    silent.set_nonblocking(true).unwrap();
    let mut held: Vec<_> = std::iter::from_fn(|| silent.accept().ok()).collect();
    assert!((1..=8).contains(&held.len()), "{} threads", held.len());

    // The KDC is there again, and the threads come back when the silent one's connections end.
    std::fs::write(realm.config(), config).unwrap();
    held.clear();
    drop(silent);
    let since = Instant::now();
    while let Err(error) = send(&client, &lab.http.url("/")).await {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", chain(&error));
    }
}
