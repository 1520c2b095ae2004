//! The server's answers to previews that succeed or fail.

use std::time::Duration;

use tokio::task::JoinSet;
use tower_outbound_proxy_lab::{Fault, ForwardProxy, within};

use crate::{
    app::Settings,
    lab::{Lab, environment, post},
    listed,
    site::{Site, page},
};

/// Returns settings without a proxy.
fn direct() -> Settings {
    environment(&[])
}

#[tokio::test]
async fn a_url_is_posted_alone_or_as_json() {
    let lab = Lab::start().await;
    let app = lab.app(direct()).await;
    let expected = serde_json::json!({ "url": "http://www.example.org/", "title": "A page", "route": "direct" });
    for body in [
        "http://www.example.org/",
        "http://www.example.org",
        " http://www.example.org#fragment\n",
        "{\"url\": \"http://www.example.org/\"}",
        "\n{ \"more\": [1], \"url\" : \" http://www.example.org/ \" }",
    ] {
        assert_eq!(post(app.addr, body).await, (200, expected.clone()), "{body}");
    }
}

#[tokio::test]
async fn what_is_no_url_is_a_bad_request_and_is_not_repeated() {
    let lab = Lab::start().await;
    let app = lab.app(direct()).await;
    for (body, reason) in [
        (&b""[..], "not a URL to preview"),
        (b"www.example.org", "no scheme"),
        (b"http://", "not a URL to preview"),
        (b"http://a b/", "not a URL to preview"),
        (b"http://[::1/", "not a URL to preview"),
        (b"ftp://www.example.org/", "it is not `http` or `https`"),
        (b"file:///etc/passwd", "not a URL to preview"),
        (b"http://u:password@www.example.org/", "has a user name in it"),
        (b"http://\xff/", "the body is not UTF-8"),
        (b"{", "the body is not JSON"),
        (b"{}", "the body has no `url`"),
        (b"{\"url\": 1}", "the body has no `url`"),
    ] {
        let (status, answer) = post(app.addr, body).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(status, 400, "{answer}");
        assert!(error.contains(reason), "{}: {error}", body.escape_ascii());
    }
    let (status, answer) = post(app.addr, format!("http://www.example.org/{}", "x".repeat(9000))).await;
    assert_eq!(status, 413, "{answer}");
    assert_eq!(lab.site.web.connections_opened(), 0);
}

/// As people write them: in Unicode.
#[tokio::test]
async fn names_and_paths_can_be_in_any_script() {
    let web = page("A page").page("/stra%C3%9Fe", "<title>Street</title>");
    let lab = Lab::of(Site::with_web(web).await).await;
    let books = "xn--bcher-kva.example.org:80";
    let proxy = lab.site.proxy().map(books, lab.site.web.addr()).start().await;
    let app = lab.app(environment(&[("HTTP_PROXY", &proxy.url())])).await;
    let preview = app.preview("http://Bücher.example.org/straße").await;
    assert_eq!(preview["title"], "Street");
    assert_eq!(proxy.requests()[0].header("host"), Some("xn--bcher-kva.example.org"));
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_they_lead_to_pages() {
    let web = page("A page")
        .redirect("/relative", "/")
        .redirect("/secure", "https://www.example.org/")
        .redirect("/loop", "/loop")
        .redirect("/file", "file:///etc/passwd")
        .redirect("/user", "http://u:password@www.example.org/");
    let lab = Lab::of(Site::with_web(web).await).await;
    let app = lab.app(direct()).await;
    for (path, url) in [
        ("relative", "http://www.example.org/"),
        ("secure", "https://www.example.org/"),
    ] {
        let preview = app.preview(&format!("http://www.example.org/{path}")).await;
        assert_eq!((&preview["title"], &preview["url"]), (&"A page".into(), &url.into()));
    }
    for path in ["loop", "file", "user"] {
        let error = app.failure(&format!("http://www.example.org/{path}"), 502).await;
        assert!(error.contains("302 Found, which is not followed"), "{error}");
    }
    let loops = lab
        .site
        .web
        .requests()
        .iter()
        .filter(|request| request.target == "/loop")
        .count();
    assert_eq!(loops, 6);
}

#[tokio::test]
async fn a_redirect_is_decided_anew() {
    let (lab, app) = listed(Some("wiki.internal.example.com")).await;
    let preview = app.preview("http://www.example.org/to-wiki").await;
    assert_eq!(
        (&preview["title"], &preview["url"], &preview["route"]),
        (
            &"Wiki".into(),
            &"http://wiki.internal.example.com/".into(),
            &"direct".into()
        )
    );
    assert_eq!(lab.http_proxy.requests().len(), 1);
}

#[tokio::test]
async fn a_page_without_a_title_has_none() {
    let late = [&vec![b' '; 600 << 10][..], b"<title>late</title>"].concat();
    let web = page("A page").page("/none", "<p>nothing").page("/late", late);
    let lab = Lab::of(Site::with_web(web).await).await;
    let app = lab.app(direct()).await;
    // `/bytes` and `/headers` are no HTML.
    for path in ["none", "late", "bytes/1000", "headers"] {
        let preview = app.preview(&format!("http://www.example.org/{path}")).await;
        assert!(preview["title"].is_null(), "{preview}");
    }
}

#[tokio::test]
async fn what_goes_wrong_farther_out_is_a_bad_gateway() {
    let lab = Lab::start().await;
    let app = lab.app(direct()).await;
    for (url, reason) in [
        ("http://www.example.org/nowhere", "the target answered 404 Not Found"),
        ("http://www.example.org/status/503", "the target answered 503"),
        ("http://www.example.org:81/", "it cannot be reached"),
        ("http://unknown.example.org/", "it cannot be reached"),
        ("https://www.example.org:444/", "it cannot be reached"),
    ] {
        let error = app.failure(url, 502).await;
        assert!(error.contains(reason), "{url}: {error}");
    }

    let refusing = lab.site.proxy().deny("www.example.org").start().await;
    let broken = ForwardProxy::builder().fault(Fault::Garbage).start().await;
    for (proxy, url, reason) in [
        (refusing.url(), "http://www.example.org/", "answered 403 Forbidden"),
        (
            refusing.url(),
            "https://www.example.org/",
            "the proxy refused the tunnel: 403 Forbidden",
        ),
        (broken.url(), "https://www.example.org/", "it cannot be reached"),
        (
            "http://u:password@127.0.0.1:1".to_owned(),
            "http://www.example.org/",
            "it cannot be reached",
        ),
    ] {
        let app = lab
            .app(environment(&[("HTTP_PROXY", &proxy), ("HTTPS_PROXY", &proxy)]))
            .await;
        let error = app.failure(url, 502).await;
        assert!(error.contains(reason), "{url}: {error}");
        // Where the proxies are is nobody's business.
        assert!(!error.contains("127.0.0.1"), "{url}: {error}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_a_gateway_timeout() {
    let lab = Lab::start().await;
    let silent = ForwardProxy::builder().fault(Fault::Hang).start().await;
    let settings = Settings {
        timeout: Some(Duration::from_millis(100)),
        ..environment(&[("HTTPS_PROXY", &silent.url())])
    };
    let app = lab.app(settings).await;
    for url in ["http://www.example.org/slow/60000", "https://www.example.org/"] {
        let error = app.failure(url, 504).await;
        assert!(error.contains("timed out"), "{error}");
    }
}

#[tokio::test]
async fn too_many_at_once_are_turned_away() {
    let lab = Lab::start().await;
    let app = lab.app(direct()).await;
    let mut held = JoinSet::new();
    for _ in 0..64 {
        held.spawn(post(app.addr, "http://www.example.org/slow/60000"));
    }
    within(lab.site.web.until(|web| web.requests().len() == 64)).await;
    let error = app.failure("http://www.example.org/", 503).await;
    assert!(error.contains("overloaded"), "{error}");
    held.shutdown().await;
}
