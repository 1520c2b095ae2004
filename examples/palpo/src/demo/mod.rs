//! Checks Palpo's "Using Forward/Outbound Proxies", row by row, against servers on loopback.
//!
//! The demonstration does not compare decisions, but the servers that were called, and by whom.

mod addresses;
mod check;
mod settings;

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tower_outbound_proxy::error::BoxError;
use tower_outbound_proxy_lab::Log;
use tracing::Level;

use self::check::Demo;
use palpo::{
    app::{
        outbound::{self, Outbound},
        settings::{Settings, trust},
    },
    site::Site,
};

/// Prints all rows. Returns true if each is as documented.
///
/// # Errors
///
/// A set-up that fails.
pub(crate) async fn run() -> Result<bool, BoxError> {
    let log = Log::of_process(Level::TRACE);
    let site = Site::start().await?;
    let files = tempfile::tempdir()?;
    let mut demo = Demo {
        site: &site,
        shown: String::new(),
        reports: String::new(),
        right: true,
    };
    addresses::the_environment(&mut demo).await?;
    addresses::the_blacklist(&mut demo).await?;
    addresses::the_address(&mut demo).await?;
    settings::the_file(&mut demo, &files).await?;
    settings::proxies_over_tls(&mut demo, &files).await?;
    settings::while_running(&mut demo).await?;

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
    let told = [&*demo.shown, &demo.reports, &log.text(), &site.received()].concat();
    // The password as it is, and in Base64 with the user, as Basic sends it.
    let is_secret = ["PASSWORD", "VVNFUk5BTUU6UEFTU1dPUkQ"]
        .iter()
        .all(|secret| !told.contains(secret));
    demo.fact(
        "no password is in it, in an error, in the log, or with a target",
        is_secret,
    );
    Ok(demo.right)
}

/// Returns settings from these variables, with trust in the site's targets.
fn environment(site: &Site, variables: &[(&str, &str)]) -> Result<Settings, BoxError> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Ok(Settings {
        environment: Some(variables.iter().map(owned).collect()),
        target_tls: Some(trust(site.public.pem().as_bytes())?),
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
