//! A small curl: fetches URLs through the proxy that the environment sets.
//!
//! ```text
//! fetch [options] URL...
//!   -x, --proxy URL        this proxy for all schemes, in place of the environment's
//!       --noproxy LIST     this NO_PROXY list, in place of the environment's
//!       --dialect NAME     how the settings are read: standard, go or curl
//!       --cacert FILE      trust these roots (PEM) in targets, too
//!       --insecure         do not verify targets' certificates (testing only)
//!       --proxy-cacert FILE, --proxy-insecure    the same for an https:// proxy
//!       --proxy-http2      speak HTTP/2 alone to the proxy, to an http:// proxy with prior knowledge
//!       --proxy-http1.1    speak HTTP/1.1 alone to the proxy; by default, an https:// proxy chooses
//!       --proxy-basic, --proxy-digest    send the proxy's password in this scheme alone; by default, Basic at once, and
//!                          Digest if the proxy asks for it
//!   -o FILE                write the body to a file
//!       --timeout SECONDS  for each URL, all in all
//!   -v                     route, the proxy's version of HTTP and status, and response status on standard error
//!       --trace            all log events on standard error
//! ```
//!
//! Several URLs share connections: those to origins, and over HTTP/2 those to the proxy.
//!
//! Exits with 0 for any response below 400, and with 22 for others. Exits with 2 if the command line cannot be used, 5
//! if a proxy setting cannot be used, 7 if a connection failed, 28 if it took too long, 56 if the proxy refused or
//! broke the tunnel (or the connection broke later), and 60 if a certificate does not verify.

#[path = "shared/causes.rs"]
#[allow(unreachable_pub)] // the systems have it in a library
mod causes;

use std::{
    error::Error,
    fs::File,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Request, Uri, Version, header};
use http_body_util::{BodyExt, Empty};
use tower::{BoxError, timeout::error::Elapsed};
use tower_outbound_proxy::{
    Client, ClientError, ConfigError, ConnectError, Dialect, NoProxy, ProxyConfig, ProxyLayer, Route, Target,
    TlsConfig,
    auth::AuthScheme,
    connector::{ConnectResponse, ProxyConnection, ProxyVersion},
    error::Stage,
};

use causes::{chain, is_certificate, text};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned());
    let code = match Options::parse(args) {
        Ok(options) => run(options).await,
        Err(error) => fail(error.as_ref()),
    };
    ExitCode::from(code)
}

#[derive(Default)]
struct Options {
    proxy: Option<String>,
    noproxy: Option<String>,
    dialect: Dialect,
    target: Trust,
    proxy_server: Trust,
    proxy_version: ProxyVersion,
    /// The only scheme for the proxy's password.
    proxy_scheme: Option<AuthScheme>,
    output: Option<String>,
    timeout: Option<Duration>,
    verbose: bool,
    trace: bool,
    urls: Vec<Uri>,
}

/// The trust for one end, if it differs from the operating system's.
#[derive(Default)]
struct Trust {
    roots: Option<Vec<u8>>,
    insecure: bool,
}

impl Trust {
    fn tls(&self) -> Result<TlsConfig, ConfigError> {
        let mut builder = TlsConfig::builder();
        if let Some(roots) = &self.roots {
            builder = builder.add_root_pem(roots.clone());
        }
        if self.insecure {
            builder = builder.dangerous_accept_any_certificate_for_testing();
        }
        builder.build()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::try_from_secs_f64);
    match seconds {
        Ok(Ok(limit)) => Ok(limit),
        _ => Err(format!("--timeout: expected seconds, found `{text}`")),
    }
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "-x" | "--proxy" => options.proxy = Some(value()?),
                "--noproxy" => options.noproxy = Some(value()?),
                "--dialect" => options.dialect = value()?.parse().map_err(|error| format!("--dialect: {error}"))?,
                "--cacert" => options.target.roots = Some(read(&value()?)?),
                "--insecure" => options.target.insecure = true,
                "--proxy-cacert" => options.proxy_server.roots = Some(read(&value()?)?),
                "--proxy-insecure" => options.proxy_server.insecure = true,
                "--proxy-http2" => options.proxy_version = ProxyVersion::Http2,
                "--proxy-http1.1" => options.proxy_version = ProxyVersion::Http1,
                "--proxy-basic" => options.proxy_scheme = Some(AuthScheme::Basic),
                "--proxy-digest" => options.proxy_scheme = Some(AuthScheme::Digest),
                "-o" => options.output = Some(value()?),
                "--timeout" => options.timeout = Some(seconds(&value()?)?),
                "-v" => options.verbose = true,
                "--trace" => options.trace = true,
                option if option.starts_with('-') => return Err(format!("unknown option {option}").into()),
                url => options.urls.push(uri(url)?),
            }
        }
        match options.urls.is_empty() {
            true => Err("usage: fetch [options] URL...".into()),
            false => Ok(options),
        }
    }

    fn config(&self) -> Result<ProxyConfig, ConfigError> {
        let mut builder = ProxyConfig::builder().dialect(self.dialect).env();
        if let Some(proxy) = &self.proxy {
            builder = builder.http(proxy.as_str()).https(proxy.as_str());
        }
        if let Some(list) = &self.noproxy {
            builder = builder.no_proxy(NoProxy::lenient(list, self.dialect));
        }
        if self.proxy_server.roots.is_some() || self.proxy_server.insecure {
            builder = builder.proxy_tls(self.proxy_server.tls()?);
        }
        builder.build()
    }
}

fn read(file: &str) -> Result<Vec<u8>, BoxError> {
    std::fs::read(file).map_err(|error| format!("{file}: {error}").into())
}

/// Parses a URL as curl does: takes `http` if there is no scheme, and accepts a Unicode host.
fn uri(url: &str) -> Result<Uri, BoxError> {
    let url = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    if let Ok(uri) = url.parse() {
        return Ok(uri);
    }
    let target: Target<'_> = url.parse()?;
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[after_scheme..]
        .find(['/', '?', '#'])
        .map_or("", |at| &url[after_scheme + at..]);
    Ok(format!("{target}{path}").parse()?)
}

async fn run(options: Options) -> u8 {
    if options.trace {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(io::stderr)
            .init();
    }
    let (config, mut output) = match (options.config(), output(options.output.as_deref())) {
        (Ok(config), Ok(output)) => (config, output),
        (Err(error), _) => return fail(&error),
        (_, Err(error)) => return fail(&error),
    };
    for warning in config.warnings() {
        eprintln!("fetch: warning: {warning}");
    }
    let client = match client(config, &options) {
        Ok(client) => client,
        Err(error) => return fail(error.as_ref()),
    };
    let mut code = 0;
    for url in &options.urls {
        let result = fetch(url, &client, &options, &mut output).await;
        let this = result.unwrap_or_else(|error| {
            let refusal = ConnectError::find(error.as_ref()).and_then(ConnectError::response);
            if let Some(refusal) = refusal.filter(|_| options.verbose) {
                eprintln!(
                    "* the proxy said:\n{}",
                    String::from_utf8_lossy(refusal.body()).trim_end()
                );
            }
            fail(error.as_ref())
        });
        code = if code == 0 { this } else { code };
    }
    code
}

fn output(file: Option<&str>) -> io::Result<Box<dyn Write>> {
    Ok(match file {
        Some(file) => Box::new(File::create(file)?),
        None => Box::new(io::stdout()),
    })
}

fn client(config: ProxyConfig, options: &Options) -> Result<Client<Empty<Bytes>>, BoxError> {
    // A response of the proxy is printed as any other.
    let mut layer = ProxyLayer::new(config)
        .with_auth_errors(false)
        .with_proxy_version(options.proxy_version);
    if let Some(scheme) = options.proxy_scheme {
        layer = layer.with_auth_schemes([scheme]);
    }
    let mut builder = Client::builder().layer(layer);
    if options.target.roots.is_some() || options.target.insecure {
        builder = builder.target_tls(options.target.tls().map_err(|error| error.to_string())?);
    }
    Ok(builder.build()?)
}

async fn fetch(
    url: &Uri,
    client: &Client<Empty<Bytes>>,
    options: &Options,
    output: &mut dyn Write,
) -> Result<u8, BoxError> {
    if options.verbose {
        let target = Target::try_from(url)?;
        let config = client.config();
        let decision = config.decide(&target);
        eprintln!("* {target}: {}\n* because {}", decision.route(), decision.reason());
    }
    let exchange = exchange(url, client, options, output);
    match options.timeout {
        Some(limit) => tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| Elapsed::new())?,
        None => exchange.await,
    }
}

async fn exchange(
    url: &Uri,
    client: &Client<Empty<Bytes>>,
    options: &Options,
    output: &mut dyn Write,
) -> Result<u8, BoxError> {
    let request = Request::get(url)
        .header(header::USER_AGENT, concat!("fetch/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .body(Empty::new())?;
    let response = client.send(request).await?;
    let status = response.status();
    if options.verbose {
        eprint!("{}", way(response.extensions(), response.version()));
        eprintln!("* response: {} {status}", version(response.version()));
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            output.write_all(&data)?;
        }
    }
    output.flush()?;
    Ok(if status.as_u16() < 400 { 0 } else { 22 })
}

/// Describes the connection to the proxy, if there is one.
fn way(extensions: &Extensions, of_response: Version) -> String {
    let proxy = extensions.get().and_then(Route::proxy);
    let Some(proxy) = proxy else { return String::new() };
    let tunnel: Option<&ConnectResponse> = extensions.get();
    let connection: Option<&ProxyConnection> = extensions.get();
    let (spoken, is_reused) = match (tunnel, connection) {
        (Some(tunnel), _) => (tunnel.version(), tunnel.is_connection_reused()),
        (None, Some(connection)) => (connection.version(), connection.is_reused()),
        (None, None) => (of_response, false),
    };
    let reused = if is_reused { ", connection reused" } else { "" };
    let way = format!("* proxy {proxy}: {}{reused}\n", version(spoken));
    match tunnel {
        Some(tunnel) => format!("{way}* the proxy opened the tunnel: {tunnel}\n"),
        None => way,
    }
}

/// Returns the name of a version, as curl writes it.
fn version(version: Version) -> String {
    match version {
        Version::HTTP_2 => "HTTP/2".to_owned(),
        version => format!("{version:?}"),
    }
}

/// Prints the error and its causes, and returns the exit code.
fn fail(error: &(dyn Error + 'static)) -> u8 {
    eprintln!("fetch: {}", text(error));
    exit_code(error)
}

fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    if chain(error).any(|cause| cause.is::<ConfigError>()) {
        return 5;
    }
    if is_certificate(error) {
        return 60;
    }
    let of_client = chain(error).find_map(|cause| cause.downcast_ref::<ClientError>());
    match (ConnectError::find(error), of_client) {
        _ if chain(error).any(|cause| cause.is::<Elapsed>()) => 28,
        (Some(error), _) if error.is_timeout() => 28,
        (Some(error), _) if error.stage() == Stage::Tunnel => 56,
        (_, Some(error)) if error.is_timeout() => 28,
        (_, Some(error)) if error.is_connect() => 7,
        (_, None) if !chain(error).any(|cause| cause.is::<hyper::Error>()) => 2,
        (_, Some(error)) if error.is_before_request() => 2,
        _ => 56,
    }
}
