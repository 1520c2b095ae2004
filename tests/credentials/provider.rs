//! The provider: when it is asked, what it is told, how long its answer holds, and what happens if there is none.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Version;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{sync::Semaphore, task::JoinSet};
use tower::{BoxError, Layer, Service, ServiceBuilder, service_fn};
use tower_outbound_proxy::{
    ConnectError, Proxy, ProxyConfig, ProxyLayer,
    auth::{AuthScheme, Authorization, Credentials, CredentialsProvider, CredentialsRequest},
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{Auth, DigestAuth, Resolver, connector, within};

use super::{
    PASSWORD, Questions, SHORT, USER, USERINFO, VERSIONS, World, basic, bearer, bearers, ok, proxy, refused, schemes,
    sent, settings, spoken, text,
};
use crate::{
    client::{self, TestClient, soon},
    common::everything,
};

/// The ways to use a proxy: forwarded by a `Client`, and tunnelled by a connector.
const WAYS: [bool; 2] = [false, true];

/// One way to use a proxy.
#[derive(Clone)]
struct Reach {
    client: TestClient,
    connector: Proxy<HttpConnector<Resolver>>,
    url: String,
    port: u16,
    is_tunnel: bool,
}

impl Reach {
    fn new(world: &World, layer: ProxyLayer, version: Version, is_tunnel: bool) -> Self {
        Self {
            client: world.client(layer.clone(), version),
            connector: layer.with_proxy_version(spoken(version)).layer(connector()),
            url: world.http.url("/"),
            port: world.http.port(),
            is_tunnel,
        }
    }

    async fn once(self) -> Result<(), BoxError> {
        if self.is_tunnel {
            let mut connector = self.connector;
            within(connector.tunnel("origin.test", self.port)).await?;
        } else {
            client::read(client::send(&self.client, client::request(&self.url)).await?).await;
        }
        Ok(())
    }

    /// Begins this many, and returns their results.
    fn at_once(&self, count: usize) -> impl Future<Output = Vec<Result<(), BoxError>>> + use<> {
        let mut requests = JoinSet::new();
        for _ in 0..count {
            requests.spawn(self.clone().once());
        }
        within(requests.join_all())
    }
}

/// Returns a provider that answers by the number of the call, and the number of calls.
fn numbered<F>(
    answer: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> (Arc<AtomicUsize>, impl CredentialsProvider)
where
    F: Future<Output = Result<Authorization, BoxError>> + Send + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let provider = service_fn(move |_: CredentialsRequest| answer(counted.fetch_add(1, Ordering::SeqCst)));
    (calls, provider)
}

fn password() -> Authorization {
    Authorization::password(Credentials::new(USER, PASSWORD).unwrap())
}

/// Lets time pass for tokio's timers, and for nothing else.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn it_is_asked_for_each_proxy() {
    let world = World::new().await;
    let near = proxy(Version::HTTP_11, bearers(&["near"])).await;
    let far = proxy(Version::HTTP_11, bearers(&["far"])).await;
    let config = ProxyConfig::builder()
        .http(near.url_with(USERINFO).as_str())
        .https(far.url_with("").as_str())
        .build()
        .unwrap();
    let questions = Questions::default();
    let provider = {
        let (questions, port) = (questions.clone(), near.port());
        service_fn(move |request: CredentialsRequest| {
            questions.note(&request);
            assert_eq!(request.host(), "127.0.0.1");
            let is_near = request.proxy().ends_with(&format!(":{port}"));
            // It may use what is in the address.
            assert_eq!(
                request.credentials(),
                is_near.then(|| Credentials::new(USER, PASSWORD).unwrap()).as_ref()
            );
            let token = if is_near { "near" } else { "far" };
            async move { Ok::<_, BoxError>(bearer(token)) }
        })
    };
    let client = world.client(ProxyLayer::new(config).with_credentials(provider), Version::HTTP_11);
    for _ in 0..2 {
        for url in world.urls() {
            ok(&client, &url).await;
        }
    }
    let asked: Vec<_> = questions.all().into_iter().map(|asked| asked.proxy).collect();
    assert_eq!(asked, [near.url_with(""), far.url_with("")]);
    assert!(sent(&near).iter().all(|value| value == "Bearer near"));
    assert!(sent(&far).iter().all(|value| value == "Bearer far"));
}

#[tokio::test]
async fn its_answer_holds_until_it_expires() {
    let world = World::new().await;
    for version in VERSIONS {
        let proxy = proxy(version, bearers(&["one", "two"])).await;
        let questions = Questions::default();
        let hour = Duration::from_secs(3600);
        let named = |token| bearer(token).identity("service").expires_after(hour);
        let client = world.provided(&proxy, version, questions.answered([named("one"), named("two")]));
        for _ in 0..2 {
            ok(&client, &world.http.url("/")).await;
        }
        pass(hour - Duration::from_secs(1)).await;
        ok(&client, &world.http.url("/")).await;
        assert_eq!(questions.count(), 1);
        pass(Duration::from_secs(2)).await;
        ok(&client, &world.http.url("/")).await;
        ok(&client, &world.http.url("/")).await;
        assert_eq!(questions.count(), 2);
        assert_eq!(
            sent(&proxy),
            ["Bearer one", "Bearer one", "Bearer one", "Bearer two", "Bearer two"]
        );
        // No proxy has refused anything.
        assert!(
            questions
                .all()
                .iter()
                .all(|asked| asked.round == 0 && asked.challenges.is_empty())
        );
    }
}

/// Without a time, it holds for ever.
#[tokio::test]
async fn its_answer_holds_for_ever() {
    let world = World::new().await;
    let proxy = proxy(Version::HTTP_11, bearers(&["one"])).await;
    let questions = Questions::default();
    let client = world.provided(&proxy, Version::HTTP_11, questions.answered([bearer("one")]));
    for _ in 0..3 {
        for url in world.urls() {
            ok(&client, &url).await;
        }
        pass(Duration::from_secs(1_000_000)).await;
    }
    assert_eq!(questions.count(), 1);
}

/// It hears what the proxy offers, and the request is repeated once.
#[tokio::test]
async fn it_is_asked_once_more_after_a_refusal() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            let good = proxy(version, bearers(&["new"])).await;
            let questions = Questions::default();
            let client = world.provided(&good, version, questions.answered([bearer("old"), bearer("new")]));
            ok(&client, &url).await;
            ok(&client, &url).await;
            let asked = questions.all();
            assert_eq!(asked.iter().map(|asked| asked.round).collect::<Vec<_>>(), [0, 1]);
            assert_eq!(asked[1].challenges, ["Bearer", "Basic"]);
            assert_eq!(asked[0].exchange, asked[1].exchange);
            assert_eq!(sent(&good)[..2], ["Bearer old", "Bearer new"]);

            let bad = proxy(version, bearers(&["none"])).await;
            let questions = Questions::default();
            let answers = ["a", "b", "c", "d"].map(bearer);
            let client = world.provided(&bad, version, questions.answered(answers));
            let error = refused(&client, &url).await;
            let connect = error.connect_error().unwrap();
            assert_eq!(connect.kind(), ConnectErrorKind::AuthenticationRequired);
            assert!(
                connect.to_string().contains("rejected the configured credentials"),
                "{connect}"
            );
            assert_eq!(sent(&bad), ["Bearer a", "Bearer b"]);
            assert_eq!(questions.count(), 2);
        }
    }
}

/// Sending it again could lock an account.
#[tokio::test]
async fn the_same_value_is_not_sent_again_with_a_request() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            for answer in [bearer("old"), bearer("old").identity("me"), password()] {
                let proxy = proxy(version, bearers(&["none"])).await;
                let questions = Questions::default();
                let client = world.provided(&proxy, version, questions.answered([answer]));
                for sends in 1..3 {
                    refused(&client, &url).await;
                    assert_eq!(sent(&proxy).len(), sends);
                }
            }
        }
    }
}

/// A token that the proxy sends back in its refusal is not shown, also after the provider was asked again.
#[tokio::test]
async fn an_echo_of_a_refused_token_is_hidden() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            for second in [bearer("t0p-s3cret"), Authorization::none(), bearer("t0p-0ther")] {
                let auth = Auth::new(|request| {
                    let sent = request.header("proxy-authorization").unwrap_or_default();
                    Err(vec![format!("Bearer realm=\"{}\"", sent.trim_start_matches("Bearer "))])
                });
                let proxy = proxy(version, auth).await;
                let answers = [bearer("t0p-s3cret"), second];
                let client = world.provided(&proxy, version, Questions::default().answered(answers));
                let error = refused(&client, &url).await;
                let response = error.connect_error().unwrap().response().unwrap();
                let said = format!("{} {:?}", text(&error), response.headers());
                assert!(!said.contains("t0p"), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_provider_that_fails_is_an_error() {
    let world = World::new().await;
    for version in VERSIONS {
        for way in WAYS {
            let proxy = proxy(version, bearers(&["one"])).await;
            let gate = Arc::new(Semaphore::new(0));
            let (calls, provider) = {
                let gate = gate.clone();
                numbered(move |call| {
                    let gate = gate.clone();
                    async move {
                        if call > 0 {
                            return Ok(bearer("one"));
                        }
                        gate.acquire().await.unwrap().forget();
                        Err(std::io::Error::other("the vault is sealed").into())
                    }
                })
            };
            let layer = ProxyLayer::new(settings(&proxy, "")).with_credentials(provider);
            let reach = Reach::new(&world, layer, version, way);
            let requests = reach.at_once(5);
            soon(|| calls.load(Ordering::SeqCst) > 0).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            gate.add_permits(1);
            let errors: Vec<_> = requests.await.into_iter().map(Result::unwrap_err).collect();
            for error in &errors {
                let connect = ConnectError::find(&**error).unwrap();
                assert_eq!(
                    (connect.kind(), connect.stage()),
                    (ConnectErrorKind::Provider, Stage::Credentials)
                );
                let said = everything(&**error);
                assert!(said.contains("the credentials provider failed"), "{said}");
                assert!(said.contains("the vault is sealed"), "{said}");
            }
            // One asked, and the others heard of it.
            let with_source = errors.iter().filter(|error| has_source(&***error)).count();
            assert_eq!((with_source, calls.load(Ordering::SeqCst)), (1, 1));
            assert!(sent(&proxy).is_empty());
            // The next request asks anew.
            reach.clone().once().await.unwrap();
        }
    }
}

/// Returns true if the provider's own error is among the causes.
fn has_source(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<std::io::Error>())
}

/// It fails when it is asked again, after a refusal.
#[tokio::test]
async fn a_provider_that_fails_after_a_refusal_is_an_error() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            let proxy = proxy(version, bearers(&["none"])).await;
            let provider = service_fn(async |request: CredentialsRequest| match request.round() {
                0 => Ok(bearer("old")),
                _ => Err::<_, BoxError>("the vault is sealed".into()),
            });
            let error = refused(&world.provided(&proxy, version, provider), &url).await;
            let connect = error.connect_error().unwrap();
            assert_eq!(
                (connect.kind(), connect.stage()),
                (ConnectErrorKind::Provider, Stage::Credentials)
            );
            assert!(text(&error).contains("the vault is sealed"));
        }
    }
}

#[tokio::test]
async fn a_provider_that_hangs_is_an_error_in_time() {
    let world = World::new().await;
    for version in VERSIONS {
        for (hangs_after, way) in [(0, false), (0, true), (1, false), (1, true)] {
            let proxy = proxy(version, bearers(&["none"])).await;
            let provider = service_fn(move |request: CredentialsRequest| async move {
                match request.round() < hangs_after {
                    true => Ok::<_, BoxError>(bearer("old")),
                    false => pending().await,
                }
            });
            let layer = ProxyLayer::new(settings(&proxy, ""))
                .with_credentials(provider)
                .with_connect_timeout(Some(SHORT));
            let start = Instant::now();
            for result in Reach::new(&world, layer, version, way).at_once(5).await {
                let error = result.unwrap_err();
                let connect = ConnectError::find(&*error).unwrap();
                assert_eq!(connect.stage(), Stage::Credentials);
                assert!(connect.is_timeout(), "{connect}");
                assert!(
                    connect
                        .to_string()
                        .contains("asking the credentials provider took longer"),
                    "{connect}"
                );
            }
            assert!(start.elapsed() < 10 * SHORT, "{:?}", start.elapsed());
        }
    }
}

/// The request that asks is given up. Another one asks in its place.
#[tokio::test]
async fn others_do_not_wait_for_a_request_that_was_given_up() {
    let world = World::new().await;
    for version in VERSIONS {
        for way in WAYS {
            let proxy = proxy(version, bearers(&["one"])).await;
            let (calls, provider) = numbered(|call| async move {
                match call {
                    0 => pending().await,
                    _ => Ok(bearer("one")),
                }
            });
            let layer = ProxyLayer::new(settings(&proxy, "")).with_credentials(provider);
            let reach = Reach::new(&world, layer, version, way);
            let first = tokio::spawn(reach.clone().once());
            soon(|| calls.load(Ordering::SeqCst) > 0).await;
            let others = reach.at_once(5);
            tokio::time::sleep(Duration::from_millis(50)).await;
            first.abort();
            assert!(others.await.iter().all(Result::is_ok));
            assert_eq!(calls.load(Ordering::SeqCst), 2);
        }
    }
}

#[tokio::test]
async fn a_provider_that_panics_does_not_block_others() {
    let world = World::new().await;
    for version in VERSIONS {
        for way in WAYS {
            let proxy = proxy(version, bearers(&["one"])).await;
            let (_, provider) = numbered(|call| async move {
                tokio::task::yield_now().await;
                assert!(call > 0, "a provider panics");
                Ok(bearer("one"))
            });
            let layer = ProxyLayer::new(settings(&proxy, "")).with_credentials(provider);
            let reach = Reach::new(&world, layer, version, way);
            let mut requests = JoinSet::new();
            for _ in 0..5 {
                requests.spawn(reach.clone().once());
            }
            let mut fine = 0;
            while let Some(result) = within(requests.join_next()).await {
                fine += usize::from(result.is_ok_and(|result| result.is_ok()));
            }
            assert_eq!(fine, 4);
            reach.clone().once().await.unwrap();
        }
    }
}

/// The same for requests of a `Client` that wait for one tunnel.
#[tokio::test]
async fn a_client_goes_on_after_a_panic() {
    let world = World::new().await;
    let proxy = proxy(Version::HTTP_11, bearers(&["one"])).await;
    let (_, provider) = numbered(|call| async move {
        assert!(call > 0, "a provider panics");
        Ok(bearer("one"))
    });
    let client = world.provided(&proxy, Version::HTTP_11, provider);
    refused(&client, &world.https.url("/")).await;
    ok(&client, &world.https.url("/")).await;
}

/// A provider that is not ready is waited for, and one that fails to become so is an error.
#[tokio::test]
async fn a_provider_is_called_when_it_is_ready() {
    #[derive(Clone)]
    struct Unready(Arc<AtomicUsize>, bool);

    impl Service<CredentialsRequest> for Unready {
        type Response = Authorization;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Authorization, BoxError>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            if !self.1 {
                return Poll::Ready(Err("never ready".into()));
            }
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Ready(Ok(())),
            }
        }

        fn call(&mut self, _: CredentialsRequest) -> Self::Future {
            assert!(self.0.load(Ordering::SeqCst) > 1, "called before it was ready");
            std::future::ready(Ok(bearer("one")))
        }
    }
    let world = World::new().await;
    for url in world.urls() {
        let proxy = proxy(Version::HTTP_11, bearers(&["one"])).await;
        let layer = ProxyLayer::new(settings(&proxy, ""));
        let ready = world.client(
            layer.clone().with_credentials(Unready(Arc::default(), true)),
            Version::HTTP_11,
        );
        ok(&ready, &url).await;
        let never = world.client(
            layer.clone().with_credentials(Unready(Arc::default(), false)),
            Version::HTTP_11,
        );
        assert!(text(&refused(&never, &url).await).contains("never ready"));
        // tower's own middleware works.
        let limited = ServiceBuilder::new()
            .concurrency_limit(1)
            .service(Questions::default().answered([bearer("one")]));
        ok(&world.client(layer.with_credentials(limited), Version::HTTP_11), &url).await;
    }
}

#[tokio::test]
async fn a_provider_may_have_nothing() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            // It waits for the challenge.
            let wanting = proxy(version, bearers(&["one"])).await;
            let questions = Questions::default();
            let answers = [Authorization::none(), bearer("one")];
            ok(&world.provided(&wanting, version, questions.answered(answers)), &url).await;
            assert_eq!(sent(&wanting), ["", "Bearer one"]);
            assert_eq!(questions.all()[1].challenges, ["Bearer", "Basic"]);

            let open = proxy(version, Auth::new(|_| Ok(()))).await;
            ok(
                &world.provided(&open, version, Questions::default().answered([Authorization::none()])),
                &url,
            )
            .await;
            assert_eq!(sent(&open), [""]);

            let shut = proxy(version, bearers(&["one"])).await;
            let error = refused(
                &world.provided(&shut, version, Questions::default().answered([Authorization::none()])),
                &url,
            )
            .await;
            assert_eq!(sent(&shut), [""]);
            assert!(!text(&error).contains("`user:password@`"), "{}", text(&error));
        }
    }
}

/// A password that answers a challenge is sent as the challenge wants it: not in Basic where Digest is offered.
#[tokio::test]
async fn a_password_answers_the_challenge() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            let digest = DigestAuth::new(USER, PASSWORD)
                .algorithms(&["MD5", "SHA-256"])
                .with_basic(true);
            let near = proxy(version, digest.auth()).await;
            let questions = Questions::default();
            let answers = [Authorization::none(), password()];
            ok(&world.provided(&near, version, questions.answered(answers)), &url).await;
            assert_eq!(schemes(&near), ["", "Digest"]);
            assert_eq!(digest.accepted()[0].algorithm, "SHA-256");

            // It has changed: the new one is not sent in Basic to a proxy that wants Digest.
            let wrong = Authorization::password(Credentials::new(USER, "changed").unwrap());
            let digest = DigestAuth::new(USER, PASSWORD).with_basic(true);
            let near = proxy(version, digest.auth()).await;
            ok(
                &world.provided(&near, version, Questions::default().answered([wrong, password()])),
                &url,
            )
            .await;
            assert_eq!(schemes(&near), ["Basic", "Digest", "Digest"]);

            // No scheme for it: it is not sent in vain.
            let other = proxy(version, Auth::new(|_| Err(vec!["Negotiate".to_owned()]))).await;
            let answers = [Authorization::none(), password()];
            refused(
                &world.provided(&other, version, Questions::default().answered(answers)),
                &url,
            )
            .await;
            assert_eq!(schemes(&other), [""]);
        }
    }
}

/// The nonce stays with a password that the provider returns again.
#[tokio::test]
async fn the_same_password_keeps_its_nonce() {
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(version, digest.auth()).await;
        let questions = Questions::default();
        let minute = Duration::from_secs(60);
        let client = world.provided(&proxy, version, questions.answered([password().expires_after(minute)]));
        for _ in 0..3 {
            ok(&client, &world.http.url("/")).await;
            pass(2 * minute).await;
        }
        assert_eq!(questions.count(), 3);
        assert_eq!(schemes(&proxy), ["Basic", "Digest", "Digest", "Digest"]);
        assert_eq!(
            digest.accepted().iter().map(|one| one.count).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }
}

#[tokio::test]
async fn the_schemes_of_passwords_are_those_of_the_setting() {
    let world = World::new().await;
    for url in world.urls() {
        let proxy = proxy(Version::HTTP_11, Auth::basic(USER, PASSWORD)).await;
        let layer = ProxyLayer::new(settings(&proxy, ""))
            .with_credentials(Questions::default().answered([password()]))
            .with_auth_schemes([AuthScheme::Digest]);
        let client: TestClient = world.client(layer, Version::HTTP_11);
        refused(&client, &url).await;
        assert_eq!(schemes(&proxy), [""]);
        assert!(
            !proxy
                .raw()
                .iter()
                .any(|raw| String::from_utf8_lossy(raw).contains(&basic()[6..]))
        );
    }
}

/// The provider is asked in place of the address, whose credentials are not sent.
#[tokio::test]
async fn the_address_is_not_used_beside_a_provider() {
    let world = World::new().await;
    let proxy = proxy(Version::HTTP_11, bearers(&["one"])).await;
    let layer =
        ProxyLayer::new(settings(&proxy, USERINFO)).with_credentials(Questions::default().answered([bearer("one")]));
    let client = world.client(layer, Version::HTTP_11);
    for url in world.urls() {
        ok(&client, &url).await;
    }
    assert_eq!(sent(&proxy), ["Bearer one", "Bearer one"]);
}
