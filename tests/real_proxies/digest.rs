//! The cases for servers that ask for Digest. The client is a `Client`, which repeats a request after a refusal.

use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::task::JoinSet;
use tower_outbound_proxy::{
    ClientError, ProxyLayer,
    auth::AuthScheme,
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{
    Origin, pattern,
    servers::{Nonces, Setup},
    within,
};

use super::{
    lab::{DENIED, Lab, PASSWORD, PROXY, Sharing, USER, chain},
    server::Server,
};

const MANY: usize = 50;

/// Sends a request that must reach its origin.
async fn reach(client: &Sharing, origin: &Origin) {
    let response = client.get(&origin.url("/")).await;
    assert_eq!(response.status(), StatusCode::OK, "{response:?}");
    let greeting = format!("hello from origin, asked for {}\n", origin.authority());
    assert_eq!(String::from_utf8_lossy(response.body()), greeting);
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.header("proxy-authorization").is_none())
    );
}

async fn refused(client: &Sharing, url: &str) -> ClientError {
    let request = Request::get(url).body(Full::default()).unwrap();
    match client.send(request).await {
        Ok(response) => panic!("{url}: {response:?}"),
        Err(error) => error,
    }
}

/// Returns the numbers of the requests that the server has refused and accepted.
async fn tally(lab: &Lab, client: Sharing) -> (usize, usize) {
    // A server logs a tunnel when it is over, and its requests in any order.
    drop(client);
    let mut before = Vec::new();
    within(async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let now = lab.proxy.requests();
            if !now.is_empty() && now.len() == before.len() {
                return;
            }
            before = now;
        }
    })
    .await;
    let refused = before.iter().filter(|line| line.contains(" 407 ")).count();
    (refused, before.len() - refused)
}

pub async fn requests_and_tunnels(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = Sharing::new(&lab);
    for _ in 0..3 {
        reach(&client, &http).await;
        reach(&client, &https).await;
    }
    let tunnelled = Sharing::with_layer(&lab, ProxyLayer::new(lab.config().always_tunnel(true).build().unwrap()));
    reach(&tunnelled, &http).await;
}

/// Basic is refused once, and then the nonce serves.
pub async fn requests_to_two_origins_share_one_nonce(server: Server) {
    let lab = Lab::start(server).await;
    let origins = lab.origins().await;
    let client = Sharing::new(&lab);
    for origin in origins.iter().chain(&origins) {
        reach(&client, origin).await;
    }
    assert_eq!(tally(&lab, client).await, (1, 6));
}

pub async fn uploads_of_10_mib(server: Server) {
    upload(server, true).await;
}

/// The first request meets the refusal, and Squid closes the connection with it.
pub async fn an_upload_of_10_mib_that_is_refused(server: Server) {
    upload(server, false).await;
}

async fn upload(server: Server, knows_nonce: bool) {
    let body = pattern(10 << 20);
    let lab = Lab::start(server).await;
    for origin in [lab.http().await, lab.https().await] {
        let client = Sharing::new(&lab);
        if knows_nonce {
            reach(&client, &origin).await;
        }
        let request = Request::post(origin.url("/echo"))
            .body(Full::new(body.clone()))
            .unwrap();
        let response = client.send(request).await;
        let response = response.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(response.status(), StatusCode::OK);
        assert!(*response.body() == body, "the body has changed");
    }
}

pub async fn names_and_passwords_with_special_characters(server: Server) {
    for password in [server.special_password, "quo\"te back\\slash", ""] {
        let lab = Lab::with_password(server, password).await;
        let (http, https) = (lab.http().await, lab.https().await);
        let client = Sharing::new(&lab);
        reach(&client, &http).await;
        reach(&client, &https).await;
    }
}

pub async fn the_password_never_goes_out(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let layer = ProxyLayer::new(lab.config().build().unwrap()).with_auth_schemes([AuthScheme::Digest]);
    let client = Sharing::with_layer(&lab, layer);
    reach(&client, &http).await;
    reach(&client, &https).await;
    assert_eq!(tally(&lab, client).await, (1, 2));
}

pub async fn a_wrong_password_is_sent_once(server: Server) {
    const WRONG: &str = "xyzzy-0815";
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    for (origin, stage) in [(&http, Stage::Forward), (&https, Stage::Tunnel)] {
        let layer = ProxyLayer::new(lab.config().all(lab.url_with(WRONG)).build().unwrap());
        let layer = layer.with_auth_schemes([AuthScheme::Digest]);
        let error = refused(&Sharing::with_layer(&lab, layer), &origin.url("/")).await;
        let connect = error.connect_error().unwrap();
        assert_eq!(
            (connect.kind(), connect.stage()),
            (ConnectErrorKind::AuthenticationRequired, stage)
        );
        assert_eq!(connect.challenges()[0].scheme(), "Digest");
        assert_eq!(connect.challenges()[0].realm(), Some(lab.proxy.realm()));
        let text = format!("{} {error:?}", chain(&error));
        assert!(
            text.contains("rejected the configured credentials") && !text.contains(WRONG),
            "{text}"
        );
        assert_eq!(origin.connections_opened(), 0);
    }
    let client = Sharing::new(&lab);
    // Twice without an answer, and twice with a wrong one.
    assert_eq!(tally(&lab, client).await, (4, 0));
}

pub async fn no_credentials(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let layer = ProxyLayer::new(lab.config().all(lab.bare_url(PROXY)).build().unwrap());
    let client = Sharing::with_layer(&lab, layer);
    for origin in [http, https] {
        let error = refused(&client, &origin.url("/")).await;
        let text = chain(&error);
        assert!(
            text.contains("asks for Digest") && text.contains("no credentials are configured"),
            "{text}"
        );
    }
}

pub async fn a_refused_target(server: Server) {
    let lab = Lab::start(server).await;
    let client = Sharing::new(&lab);
    let response = client.get(&format!("http://{DENIED}/")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let error = refused(&client, &format!("https://{DENIED}/")).await;
    let response = error.connect_error().unwrap().response().unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// Sends many requests, tunnelled and forwarded.
async fn at_once(client: &Sharing, origins: [&Origin; 2]) {
    let mut requests = JoinSet::new();
    for number in 0..MANY {
        let client = client.client.clone();
        let url = origins[number % 2].url("/");
        requests.spawn(async move {
            use tower::ServiceExt;
            let request = Request::get(&url).body(Full::default()).unwrap();
            match client.oneshot(request).await {
                Ok(response) => assert_eq!(response.status(), StatusCode::OK),
                Err(error) => panic!("{}", chain(&error)),
            }
        });
    }
    within(requests.join_all()).await;
}

pub async fn fifty_at_once(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    for _ in 0..3 {
        let client = Sharing::new(&lab);
        at_once(&client, [&http, &https]).await;
        at_once(&client, [&http, &https]).await;
    }
}

pub async fn nonces_that_go_stale(server: Server) {
    let mut setup = Setup::new(USER, PASSWORD);
    setup.digest = Some(Nonces::Short);
    let lab = Lab::with_setup(server, setup).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = Sharing::new(&lab);
    for _ in 0..5 {
        reach(&client, &http).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    for _ in 0..3 {
        // Each has a tunnel of its own.
        let https = lab.https().await;
        reach(&client, &https).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    at_once(&client, [&http, &https]).await;
    let (stale, _) = tally(&lab, client).await;
    assert!(stale >= 3, "{stale}");
}

/// hyper-util's client gets the first refusal, and the next request is answered.
pub async fn other_clients_learn(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = lab.client();
    // It forwards in HTTP/1.1.
    let first = client.get(&http.url("/")).await;
    assert_eq!(first.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    for origin in [&http, &https, &http] {
        assert_eq!(client.get(&origin.url("/")).await.status(), StatusCode::OK);
    }
}
