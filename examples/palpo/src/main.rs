//! Makes every kind of outbound call of a Matrix server, set up as in Palpo's "Using Forward/Outbound Proxies", and
//! shows the route of each call.
//!
//! ```text
//! palpo [options] --target TYPE=URL...
//!   --target TYPE=URL    what to call, and what for: push=https://push.example.org/, for instance. Can be given again
//!   --config FILE        read http_proxy, https_proxy, no_proxy_hosts, by_domain and the like from this file too (.toml,
//!                        .yaml or .yml; what keys there are is told at `ProxySettings`)
//!   --env-over-file      where the environment sets the same as the file, the environment holds, not the file
//!   --ca FILE            trust these roots (PEM) in targets too: an intercepting proxy's
//!   --proxy-ca FILE      trust these roots in a proxy that is reached over TLS (https://)
//!   --timeout SECONDS    for each call; 30 unless set
//! palpo --demo           sets all of it up on loopback, and calls out for each sentence of the document
//! ```
//!
//! The types are those of Palpo's document, in its order: push, url-preview, statistics, recaptcha, cas,
//! openid-connect, federation, key-revocation, server-keys, remote-media. Four types never use a proxy:
//! application-service, identity-server, worker, redis. A call is a GET (for Redis a PING), which changes nothing at
//! its target.
//!
//! A row is as documented if the call took the route that the document and the settings require, and got an answer. The
//! status must be below 500, because the others can be the proxy's. Exits with 0 only if every row is as documented, 1
//! if one is not, 2 if the command line cannot be used, 5 if a setting or the settings file cannot be used, and 60 if a
//! certificate does not verify.

mod demo;
#[path = "../../shared/option.rs"]
mod option;
mod table;

use std::{path::Path, process::ExitCode, time::Duration};

use http::Uri;
use palpo::app::{
    advice::report,
    causes::{chain, is_certificate},
    connections::Connection,
    outbound::{self, Outbound},
    settings::{self, FileError, Settings},
};
use tower_outbound_proxy::{ConfigError, Scheme, Target, TlsConfig, error::BoxError};

use self::{option::OptionError, table::Table};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let done = match args == ["--demo"] {
        true => demo::run().await.map(|right| if right { 0 } else { 1 }),
        false => run(args.into_iter()).await,
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        eprintln!("palpo: {}", report(error.as_ref()));
        let is_setting = chain(error.as_ref()).any(|cause| cause.is::<ConfigError>() || cause.is::<FileError>());
        if is_setting { 5 } else { 2 }
    }))
}

struct Options {
    settings: Settings,
    targets: Vec<(Connection, Uri)>,
    timeout: Duration,
}

async fn run(args: impl Iterator<Item = String>) -> Result<u8, BoxError> {
    let options = parse(args)?;
    let outbound = outbound::over_the_network(&options.settings)?;
    for warning in outbound.config().warnings() {
        eprintln!("palpo: warning: {warning}");
    }
    let mut table = Table::new(&["type", "target", "documented", "actual route", "status", "because"]);
    let (mut errors, mut code) = (Vec::new(), 0);
    for (connection, uri) in &options.targets {
        let outcome = call(&outbound, *connection, uri, options.timeout, &mut table).await;
        match outcome {
            Ok(true) => {}
            Ok(false) => code = code.max(1),
            Err(error) => {
                code = code.max(if is_certificate(error.as_ref()) { 60 } else { 1 });
                errors.push((connection, error));
            }
        }
    }
    print!("{table}");
    for (connection, error) in errors {
        eprintln!("palpo: {}: {}", connection.name(), report(error.as_ref()));
    }
    Ok(code)
}

/// Makes one call and adds its row. Returns true if the row is as documented.
async fn call(
    outbound: &Outbound,
    connection: Connection,
    uri: &Uri,
    timeout: Duration,
    table: &mut Table,
) -> Result<bool, BoxError> {
    let target = Target::try_from(uri)?;
    let target = match target.scheme() {
        Scheme::Other => format!("redis://{target}"),
        _ => target.to_string(),
    };
    let documented = outbound.documented(connection, uri)?;
    let decided = outbound.decide(connection, uri)?;
    let answer = match tokio::time::timeout(timeout, outbound.call(connection, uri)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {timeout:?}").into()),
    };
    let (actual, status, right) = match &answer {
        Ok(answer) => {
            let right = answer.route == documented && answer.is_of_target;
            (answer.route.to_string(), answer.status.clone(), right)
        }
        Err(_) => ("none".to_owned(), "failed".to_owned(), false),
    };
    let documented = documented.proxy().map_or("direct", |_| "proxy").to_owned();
    let name = connection.name().to_owned();
    table.row([name, target, documented, actual, status, decided.reason], right);
    answer.map(|_| right)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, BoxError> {
    let mut options = Options {
        settings: Settings::default(),
        targets: Vec::new(),
        timeout: Duration::from_secs(30),
    };
    let settings = &mut options.settings;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--config" => settings.file = Some(settings::read(Path::new(&value()?))?),
            "--env-over-file" => settings.env_over_file = true,
            "--ca" => settings.target_tls = Some(trust("--ca", &value()?)?),
            "--proxy-ca" => settings.proxy_tls = Some(trust("--proxy-ca", &value()?)?),
            "--timeout" => options.timeout = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--target" => options.targets.push(target(&value()?)?),
            _ => return Err(format!("unknown option {arg}; see the first lines of the source").into()),
        }
    }
    match options.targets.is_empty() {
        true => Err("usage: palpo [options] --target TYPE=URL... | palpo --demo".into()),
        false => Ok(options),
    }
}

/// Parses `TYPE=URL`. Errors do not show the URL, because it can contain a password.
fn target(text: &str) -> Result<(Connection, Uri), BoxError> {
    let (name, url) = text.split_once('=').ok_or("--target needs a value TYPE=URL")?;
    let connection = Connection::named(name).ok_or_else(|| {
        format!(
            "--target {name}: there is no such type; the types are {}",
            Connection::names()
        )
    })?;
    let uri: Uri = url.parse().map_err(|error| format!("--target {name}: {error}"))?;
    Target::try_from(&uri).map_err(|error| format!("--target {name}: {error}"))?;
    match connection.schemes().contains(&uri.scheme_str().unwrap_or_default()) {
        true => Ok((connection, uri)),
        false => Err(format!(
            "--target {name}: its scheme has to be {}",
            connection.schemes().join(" or ")
        )
        .into()),
    }
}

fn trust(option: &'static str, file: &str) -> Result<TlsConfig, BoxError> {
    let pem = std::fs::read(file).map_err(|error| format!("{option}: {file}: {error}"))?;
    Ok(settings::trust(&pem).map_err(|error| OptionError::new(option, error))?)
}
