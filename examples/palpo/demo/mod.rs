//! What the document says, row by row, against servers on loopback.
//!
//! What is compared is not what was decided, but which servers were asked, by whom.

mod check;
mod log;

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tower_outbound_proxy::{BoxError, Warning};
use tower_outbound_proxy_lab::{Listening, within};

use self::{check::Demo, log::Log};
use crate::{
    app::{
        outbound::{self, Outbound},
        settings::{self, Settings},
    },
    site::{EXAMPLES, Site},
};

/// Prints all rows; whether each is as documented.
///
/// # Errors
///
/// A set-up that fails.
pub(crate) async fn run() -> Result<bool, BoxError> {
    let log = Log::start();
    let site = Site::start().await?;
    let files = tempfile::tempdir()?;
    let mut demo = Demo {
        site: &site,
        shown: String::new(),
        right: true,
    };
    the_environment(&mut demo).await?;
    the_blacklist(&mut demo).await?;
    the_address(&mut demo).await?;
    the_file(&mut demo, &files).await?;
    proxies_over_tls(&mut demo, &files).await?;
    while_running(&mut demo).await?;

    demo.show("\nin all of this\n");
    let looked_up = site.network.resolved();
    let is_proxied =
        |name: &String| ["printer.internal.example.com", "media.example.org", "hidden.onion"].contains(&&**name);
    demo.fact(
        "names are looked up by the proxy, not here",
        !looked_up.iter().any(is_proxied),
    );
    let named = log.text().contains("http://USERNAME:***@proxy.example.com:8080");
    demo.fact("the log names the proxy that was used", named);
    let told = [demo.shown.clone(), log.text(), site.received()].concat();
    // As it is, and in Base64 with the user, as Basic sends it.
    let is_secret = ["PASSWORD", "VVNFUk5BTUU6UEFTU1dPUkQ"]
        .iter()
        .all(|secret| !told.contains(secret));
    demo.fact("no password is in it, in the log, or with a target", is_secret);
    Ok(demo.right)
}

async fn the_environment(demo: &mut Demo<'_>) -> Result<(), BoxError> {
    let settings = environment(demo.site, &EXAMPLES)?;
    let title = "the document's examples in the environment, and its list of connections";
    let rows = "
        push                |  | proxy.example.com | 200
        url-preview         |  | 10.0.1.1          | 200
        statistics          |  | proxy.example.com | 200
        recaptcha           |  | proxy.example.com | 200
        cas                 |  | 10.0.1.1          | 200
        openid-connect      |  | proxy.example.com | 200
        federation          |  | proxy.example.com | 200
        key-revocation      |  | proxy.example.com | 200
        server-keys         |  | proxy.example.com | 200
        remote-media        |  | proxy.example.com | 200
        application-service |  | direct            | 200
        identity-server     |  | direct            | 200
        worker              |  | direct            | 200
        redis               |  | direct            | +PONG
        federation          | https://master.hostname.example.com/ | direct | 200
        cas                 | http://10.1.0.5/                     | direct | 200
        openid-connect      | http://172.30.0.5/                   | direct | 200";
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    let spelled = EXAMPLES.map(|(name, value)| (spell(name), value));
    let spelled: Vec<_> = spelled.iter().map(|(name, value)| (&**name, *value)).collect();
    let title = "the same variables as Http_Proxy, Https_Proxy, No_Proxy";
    let rows = "
        url-preview         |  | 10.0.1.1          | 200
        push                |  | proxy.example.com | 200
        federation          | https://master.hostname.example.com/ | direct | 200";
    let settings = environment(demo.site, &spelled)?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    let title = "without http_proxy, and so without a proxy for HTTP";
    let rows = "
        url-preview         |  | direct            | 200
        push                |  | proxy.example.com | 200";
    let settings = environment(demo.site, &EXAMPLES[1..])?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;
    Ok(())
}

/// `HTTP_PROXY` as `Http_Proxy`.
fn spell(name: &str) -> String {
    let words = name
        .split('_')
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase());
    words.collect::<Vec<_>>().join("_")
}

async fn the_blacklist(demo: &mut Demo<'_>) -> Result<(), BoxError> {
    let settings = environment(demo.site, &EXAMPLES)?;
    let title = "the IP blacklist, which is for direct connections to what strangers name";
    let rows = "
        url-preview         | http://10.1.0.5/                     | nobody   | the address 10.1.0.5 is refused
        url-preview         | http://10.2.0.9/                     | 10.0.1.1 | 200
        remote-media        | http://printer.internal.example.com/ | 10.0.1.1 | 200
        identity-server     | http://10.1.0.5/                     | nobody   | the address 10.1.0.5 is refused
        cas                 | http://10.1.0.5/                     | direct   | 200";
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;
    Ok(())
}

async fn the_address(demo: &mut Demo<'_>) -> Result<(), BoxError> {
    let title = "an address without scheme and port: http, 1080";
    let variables = [("http_proxy", "USERNAME:PASSWORD@plain.example.com")];
    let rows = "url-preview | | plain.example.com | 200";
    let settings = environment(demo.site, &variables)?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    let title = "an address without user and password, of a proxy that wants them";
    let variables = [
        ("http_proxy", "plain.example.com"),
        ("https_proxy", "plain.example.com"),
    ];
    let rows = "
        url-preview         |  | plain.example.com, not the target | 407
        push                |  | plain.example.com, not the target | 407";
    let settings = environment(demo.site, &variables)?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    demo.show("\naddresses that cannot be used\n");
    for (name, value, reason) in [
        ("HTTP_PROXY", "socks5://USERNAME:PASSWORD@10.0.1.1", "`socks5`"),
        ("https_proxy", "socks4://10.0.1.1:1080", "`socks4`"),
        ("HTTPS_PROXY", "ftp://proxy.example.com", "`ftp`"),
        ("HTTP_PROXY", "http://10.0.1.1:http", "port"),
    ] {
        let error = environment(demo.site, &[(name, value)])?.config().err();
        let text = error.map_or_else(String::new, |error| error.to_string());
        demo.fact(&text, text.starts_with(name) && text.contains(reason));
    }
    Ok(())
}

async fn the_file(demo: &mut Demo<'_>, files: &TempDir) -> Result<(), BoxError> {
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

async fn proxies_over_tls(demo: &mut Demo<'_>, files: &TempDir) -> Result<(), BoxError> {
    let proxies = "\
http_proxy = 'https://USERNAME:PASSWORD@tls.example.com'
https_proxy = 'https://USERNAME:PASSWORD@tls.example.com'
";
    let settings = Settings {
        file: Some(settings::read(&write(files, "palpo.toml", proxies)?)?),
        ..environment(demo.site, &[])?
    };
    let rows = "
        url-preview         |  | nobody | its certificate does not verify
        push                |  | nobody | its certificate does not verify";
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

async fn while_running(demo: &mut Demo<'_>) -> Result<(), BoxError> {
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
    within(site.proxies.http.idle()).await;
    within(site.proxies.https.idle()).await;
    let rows = "
        url-preview         |  | plain.example.com | 200
        cas                 |  | plain.example.com | 200
        push                |  | plain.example.com | 200
        worker              |  | direct            | 200";
    demo.rows("other settings in their place", &outbound, rows).await?;
    let are_closed = !open(&site.proxies.http) && !open(&site.proxies.https);
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

/// Settings of these variables, with trust in the site's targets.
fn environment(site: &Site, variables: &[(&str, &str)]) -> Result<Settings, BoxError> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Ok(Settings {
        environment: Some(variables.iter().map(owned).collect()),
        target_tls: Some(settings::trust(site.public.pem().as_bytes())?),
        ..Settings::default()
    })
}

fn outbound(site: &Site, settings: &Settings) -> Result<Outbound, BoxError> {
    Ok(outbound::over(settings, site.network.clone())?)
}

fn write(files: &TempDir, name: &str, content: &str) -> Result<PathBuf, BoxError> {
    let path = files.path().join(name);
    fs::write(&path, content)?;
    Ok(path)
}
