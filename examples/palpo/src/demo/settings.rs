//! Palpo's "Using Forward/Outbound Proxies" on settings files and certificates, and settings that are replaced.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;
use tower_outbound_proxy::{config::Warning, error::BoxError};
use tower_outbound_proxy_lab::Listening;

use super::{check::Demo, environment, outbound, write};
use palpo::{
    app::{
        outbound::Outbound,
        settings::{self, Settings},
    },
    site::EXAMPLES,
};

/// The maximum wait until connections to a removed proxy are closed. It is far longer than needed.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn the_file(demo: &mut Demo<'_>, files: &TempDir) -> Result<(), BoxError> {
    let yaml = "\
# The proxies, under Palpo's names.
http_proxy: http://USERNAME:PASSWORD@10.0.1.1:8080/
no_proxy_hosts:
  - master.hostname.example.com
  - 10.1.0.0/16
by_domain:
  - url: http://USERNAME:PASSWORD@plain.example.com
    include: ['*.onion']
";
    let variables = [
        ("HTTP_PROXY", "http://nowhere.example.com"),
        ("HTTPS_PROXY", "http://USERNAME:PASSWORD@proxy.example.com:8080"),
        ("NO_PROXY", "www.example.org"),
    ];
    let settings = Settings {
        file: Some(settings::read(&write(files, "palpo.yaml", yaml)?)?),
        ..environment(demo.site, &variables)?
    };
    let title = "a settings file, which holds over the environment; what it does not set, the environment does";
    let rows = "
        url-preview         |  | 10.0.1.1          | 200
        push                |  | proxy.example.com | 200
        federation          | https://hidden.onion/                | plain.example.com | 200
        federation          | https://master.hostname.example.com/ | direct            | 200
        worker              |  | direct            | 200";
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    let settings = Settings {
        env_over_file: true,
        ..settings
    };
    let title = "the other way round";
    let rows = "
        url-preview         |  | direct            | 200
        push                |  | proxy.example.com | 200
        federation          | https://hidden.onion/                | plain.example.com | 200
        federation          | https://master.hostname.example.com/ | proxy.example.com | 200";
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;
    Ok(())
}

pub(super) async fn proxies_over_tls(demo: &mut Demo<'_>, files: &TempDir) -> Result<(), BoxError> {
    let proxies = "\
http_proxy = 'https://USERNAME:PASSWORD@tls.example.com'
https_proxy = 'https://USERNAME:PASSWORD@tls.example.com'
";
    let settings = Settings {
        file: Some(settings::read(&write(files, "palpo.toml", proxies)?)?),
        ..environment(demo.site, &[])?
    };
    let rows = "
        url-preview         |  | nobody | the certificate does not verify
        push                |  | nobody | the certificate does not verify";
    let title = "a proxy that is reached over TLS, whose root certificate is not known";
    let reports = demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;
    demo.show(reports.lines().nth(1).unwrap_or_default());
    demo.show("\n");
    let what_to_do = [
        "the proxy https://USERNAME:***@tls.example.com:1080",
        "--proxy-ca FILE",
        "use_insecure_ssl_client_just_for_testing_do_not_use: true",
    ];
    let is_told = what_to_do.iter().all(|what| reports.matches(what).count() == 2);
    demo.fact("it is told what to do about it", is_told);

    let rows = "
        url-preview         |  | tls.example.com | 200
        push                |  | tls.example.com | 200";
    let insecure = format!("{proxies}use_insecure_ssl_client_just_for_testing_do_not_use = true\n");
    let insecure = Settings {
        file: Some(settings::read(&write(files, "insecure.toml", &insecure)?)?),
        ..settings.clone()
    };
    let outbound_unverified = outbound(demo.site, &insecure)?;
    demo.rows("with the switch that is for testing only", &outbound_unverified, rows)
        .await?;
    let warnings = |outbound: &Outbound| outbound.config().warnings().to_vec();
    let is_warned = warnings(&outbound_unverified) == [Warning::CertificatesNotVerified];
    demo.fact("it is warned of", is_warned);

    let secure = Settings {
        proxy_tls: Some(settings::trust(demo.site.proxies.ca.pem().as_bytes())?),
        ..settings
    };
    let outbound_verified = outbound(demo.site, &secure)?;
    demo.rows("with the root certificate of the proxy", &outbound_verified, rows)
        .await?;
    demo.fact("nothing is warned of", warnings(&outbound_verified).is_empty());
    Ok(())
}

pub(super) async fn while_running(demo: &mut Demo<'_>) -> Result<(), BoxError> {
    let site = demo.site;
    let outbound = outbound(site, &environment(site, &EXAMPLES)?)?;
    let rows = "
        url-preview         |  | 10.0.1.1          | 200
        cas                 |  | 10.0.1.1          | 200
        push                |  | proxy.example.com | 200";
    demo.rows("while it runs: the settings that it began with", &outbound, rows)
        .await?;

    let open = |proxy: &Listening| proxy.connections_open() > 0;
    let are_kept = open(&site.proxies.http) && open(&site.proxies.https);
    demo.fact("connections to the proxies are kept", are_kept);

    let other = "http://USERNAME:PASSWORD@plain.example.com";
    outbound.reload(&environment(site, &[("HTTP_PROXY", other), ("HTTPS_PROXY", other)])?)?;
    let close = async {
        site.proxies.http.idle().await;
        site.proxies.https.idle().await;
    };
    let are_closed = timeout(CLOSED_WITHIN, close).await.is_ok();
    let rows = "
        url-preview         |  | plain.example.com | 200
        cas                 |  | plain.example.com | 200
        push                |  | plain.example.com | 200
        worker              |  | direct            | 200";
    demo.rows("other settings in their place", &outbound, rows).await?;
    demo.fact("connections to the proxies before are closed", are_closed);

    let broken = environment(site, &[("HTTP_PROXY", "socks5://USERNAME:PASSWORD@10.0.1.1")])?;
    let error = outbound.reload(&broken).err();
    let text = error.map_or_else(String::new, |error| error.to_string());
    let rows = "
        statistics          |  | plain.example.com | 200
        url-preview         |  | plain.example.com | 200";
    demo.rows(
        "settings that cannot be used in the place of these, which stay",
        &outbound,
        rows,
    )
    .await?;
    demo.fact(&text, text.starts_with("HTTP_PROXY=`socks5://USERNAME:***@10.0.1.1`"));
    Ok(())
}
