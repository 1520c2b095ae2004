//! Sentences 16 and 17 of Palpo's "Using Forward/Outbound Proxies": a proxy's certificate that does not verify, and the
//! testing switch.

use tower_outbound_proxy::{ConnectError, config::Warning, error::ConnectErrorKind};
use tower_outbound_proxy_lab::Ca;

use crate::{
    HTTP, HTTPS, TLS,
    app::{
        advice::report,
        causes::is_certificate,
        connections::Connection,
        settings::{Settings, trust},
    },
    lab::{Lab, assert_no_password, environment, file},
};

#[tokio::test]
async fn a_certificate_that_does_not_verify_is_told_with_what_to_do() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&[("http_proxy", TLS), ("https_proxy", TLS)]);
    for url in [HTTP, HTTPS] {
        let (_, error) = lab.failed(&outbound, Connection::Push, url).await;
        let report = report(&*error);
        for part in [
            "proxy https://USERNAME:***@tls.example.com:1080",
            "the certificate does not verify: its issuer (`CN=lab root ",
            "invalid peer certificate: UnknownIssuer",
            "--proxy-ca FILE",
            "for testing only",
            "use_insecure_ssl_client_just_for_testing_do_not_use: true",
        ] {
            assert!(report.contains(part), "{part} in:\n{report}");
        }
        assert_no_password(&report);
    }
    // Of a target's the advice is another.
    let settings = Settings {
        target_tls: None,
        ..lab.settings(&[])
    };
    let (_, error) = lab.failed(&lab.outbound_with(&settings), Connection::Push, HTTPS).await;
    let report = report(&*error);
    assert!(is_certificate(&*error) && report.contains("with --ca FILE"), "{report}");
    assert!(
        !report.contains("--proxy-ca") && !report.contains("use_insecure"),
        "{report}"
    );
}

const SWITCH: &str = "use_insecure_ssl_client_just_for_testing_do_not_use";

#[tokio::test]
async fn the_switch_in_the_settings_file_switches_validation_off() {
    let lab = Lab::start().await;
    let yaml = format!("http_proxy: {TLS}\nhttps_proxy: {TLS}\n");
    let verifying = Settings {
        file: Some(file("palpo.yaml", &yaml)),
        ..lab.settings(&[])
    };
    let switched = Settings {
        file: Some(file("palpo.yaml", &format!("{yaml}{SWITCH}: true\n"))),
        ..verifying.clone()
    };
    for url in [HTTP, HTTPS] {
        let (by_whom, error) = lab.failed(&lab.outbound_with(&verifying), Connection::Push, url).await;
        assert_eq!((&*by_whom, is_certificate(&*error)), ("nobody", true), "{url}");
        let by_whom = lab.reached(&lab.outbound_with(&switched), Connection::Push, url).await;
        assert_eq!(by_whom, "tls.example.com", "{url}");
    }
    // As in Palpo it is for targets, too; and roots that are given do not switch it on again.
    let switched = Settings {
        target_tls: None,
        proxy_tls: Some(trust(Ca::new().pem().as_bytes()).unwrap()),
        ..switched
    };
    let by_whom = lab
        .reached(&lab.outbound_with(&switched), Connection::Push, HTTPS)
        .await;
    assert_eq!(by_whom, "tls.example.com");
}

#[test]
fn the_switch_is_warned_of() {
    let settings = Settings {
        file: Some(file("palpo.yaml", &format!("https_proxy: {TLS}\n{SWITCH}: true\n"))),
        ..environment(&[])
    };
    assert_eq!(
        settings.config().unwrap().warnings(),
        [Warning::CertificatesNotVerified]
    );
    let warning = Warning::CertificatesNotVerified.to_string();
    assert!(
        warning.contains("NOT verified") && warning.contains("testing only"),
        "{warning}"
    );
}

#[tokio::test]
async fn only_true_switches_validation_off() {
    let lab = Lab::start().await;
    // No variable does, and not the key's other value.
    let settings = Settings {
        file: Some(file("palpo.yaml", &format!("{SWITCH}: false\n"))),
        ..lab.settings(&[("https_proxy", TLS), (SWITCH, "true")])
    };
    assert_eq!(settings.config().unwrap().warnings(), []);
    let (_, error) = lab.failed(&lab.outbound_with(&settings), Connection::Push, HTTPS).await;
    assert!(ConnectError::find(&*error).unwrap().kind() == ConnectErrorKind::Certificate);
    for value in ["'true'", "1", "[true]"] {
        let settings = Settings {
            file: Some(file("palpo.yaml", &format!("{SWITCH}: {value}\n"))),
            ..environment(&[])
        };
        let error = settings.config().unwrap_err();
        assert_eq!(
            (error.setting(), error.is_in_settings_file()),
            (Some(SWITCH), true),
            "{value}"
        );
    }
}
