//! A chat server's link previews behind an outbound proxy, set up as in Mattermost's "Using an Outbound Proxy".
//!
//! `POST /api/v4/opengraph` takes a URL, alone or as `{"url": URL}`. It fetches the URL through the proxy, or directly
//! if `NO_PROXY` lists it, and answers `{"url", "title", "route"}`. On failure, it answers `{"url", "error"}` with 400
//! if the URL is invalid, 403 for an internal address, or 502, 503 or 504.
//!
//! ```text
//! mattermost [options]
//!   --unit FILE             read the variables from the Environment= lines of this systemd unit, not the environment
//!   --listen ADDRESS        127.0.0.1:8065 unless set
//!   --ca FILE               trust these roots (PEM) in targets too: an intercepting proxy's
//!   --proxy-ca FILE         trust these roots in a proxy that is reached over TLS (https://)
//!   --allow-internal LIST   hosts and networks, written like NO_PROXY, that may be fetched though they are internal
//!   --timeout SECONDS       for each preview; 10 unless set
//! mattermost --demo         sets all of it up on loopback, fetches, and exits with 0 only if every row is as documented
//! ```
//!
//! Each fetch is logged on standard error with its route and the reason, and each failure with its details. The answer
//! tells only the kind of failure, because strangers read it and must not learn internal addresses or proxies. Exits
//! with 2 if the command line cannot be used, and with 5 if the unit file or a setting cannot be used.

mod demo;
#[path = "../../shared/option.rs"]
mod option;

use std::{io, path::Path, process::ExitCode, time::Duration};

use mattermost::app::{
    self, Settings,
    causes::{chain, text},
    outbound, trust,
    unit::{Unit, UnitError},
};
use tokio::net::TcpListener;
use tower_outbound_proxy::{ConfigError, TlsConfig, error::BoxError};
use tracing_subscriber::filter::LevelFilter;

use self::option::OptionError;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    if args == ["--demo"] {
        return match demo::run().await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error),
        };
    }
    match serve(args.into_iter()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn serve(args: impl Iterator<Item = String>) -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .init();
    let (settings, listen) = parse(args)?;
    let previews = outbound::over_the_network(&settings)?;
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|error| format!("{listen}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app::router(previews)).await?;
    Ok(())
}

const OPTIONS: [&str; 6] = [
    "--unit",
    "--listen",
    "--ca",
    "--proxy-ca",
    "--allow-internal",
    "--timeout",
];

fn parse(mut args: impl Iterator<Item = String>) -> Result<(Settings, String), BoxError> {
    let mut settings = Settings::default();
    let mut listen = "127.0.0.1:8065".to_owned();
    while let Some(option) = args.next() {
        if !OPTIONS.contains(&&*option) {
            return Err(format!("unknown option {option}; see the first lines of the source").into());
        }
        let value = args.next().ok_or_else(|| format!("{option} needs a value"))?;
        match &*option {
            "--listen" => listen = value,
            _ => set(&mut settings, &option, value).map_err(|error| OptionError::new(option, error))?,
        }
    }
    Ok((settings, listen))
}

fn set(settings: &mut Settings, option: &str, value: String) -> Result<(), BoxError> {
    match option {
        "--unit" => {
            let unit = Unit::read(Path::new(&value))?;
            unit.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            settings.environment = Some(unit.environment);
        }
        "--ca" => settings.target_tls = Some(roots(&value)?),
        "--proxy-ca" => settings.proxy_tls = Some(roots(&value)?),
        "--allow-internal" => settings.allow_internal = Some(value.parse()?),
        _ => settings.timeout = Some(Duration::try_from_secs_f64(value.parse()?)?),
    }
    Ok(())
}

fn roots(file: &str) -> Result<TlsConfig, BoxError> {
    let pem = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(trust(&pem)?)
}

fn fail(error: &BoxError) -> ExitCode {
    eprintln!("mattermost: {}", text(error.as_ref()));
    let is_setting = chain(error.as_ref()).any(|cause| cause.is::<ConfigError>() || cause.is::<UnitError>());
    ExitCode::from(if is_setting { 5 } else { 2 })
}
