//! Prints the route of each URL, and the reason.
//!
//! ```text
//! explain [--dialect NAME] [--purpose NAME=USE]... URL...
//! explain --compare URL...
//! explain [--dialect NAME] --batch
//! ```
//!
//! The settings come from the environment. With `--purpose`, each URL is also explained for requests of that purpose,
//! for which the application's policy says `settings`, `never`, `always`, or the URL of a proxy of its own. `--compare`
//! reads the settings in every dialect and shows where Go and curl would route a URL differently. Use it before moving
//! a service from one of them to this crate. With `--batch`, the settings come case by case from standard input, as
//! tab-separated lines `http_proxy  https_proxy  no_proxy  url` (escapes `\t \n \r \\`; an empty column is an unset
//! variable). Each input line gives one output line: `direct`, `forward URL`, `tunnel URL` or `error: ...`.
//!
//! Exits with 5 if a setting cannot be used, and with 2 if the command line or a URL cannot be used.

use std::{
    error::Error,
    fmt,
    io::{self, BufRead, Write},
    process::ExitCode,
};

use tower_outbound_proxy::{Dialect, ProxyConfig, Route, Target, purpose::ProxyUse};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("explain: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut dialect = Dialect::Standard;
    let (mut batch, mut compare) = (false, false);
    let (mut purposes, mut urls) = (Vec::new(), Vec::new());
    let args = std::env::args_os()
        .skip(1)
        .map(|arg| arg.into_string().map_err(|_| "an argument is not Unicode"));
    let mut args = args.collect::<Result<Vec<_>, _>>()?.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dialect" => dialect = args.next().ok_or("--dialect needs a name")?.parse()?,
            "--purpose" => purposes.push(purpose(&args.next().ok_or("--purpose needs NAME=USE")?)?),
            "--batch" => batch = true,
            "--compare" => compare = true,
            option if option.starts_with('-') => return Err(format!("unknown option {option}").into()),
            _ => urls.push(arg),
        }
    }
    if batch != urls.is_empty() || (batch && compare) || ((batch || compare) && !purposes.is_empty()) {
        return Err(
            "usage: explain [--dialect NAME] [--purpose NAME=USE]... URL... | explain --compare URL... \
                    | explain [--dialect NAME] --batch"
                .into(),
        );
    }
    if batch {
        return answer_batch(dialect);
    }
    if compare {
        return compare_dialects(&urls);
    }
    match ProxyConfig::builder().dialect(dialect).env().build() {
        Ok(config) => explain(&config, &purposes, &urls),
        Err(error) => {
            eprintln!("explain: {error}");
            Ok(ExitCode::from(5))
        }
    }
}

/// A purpose's name, and the policy's use of the proxy for it.
struct Purpose {
    name: String,
    usage: ProxyUse,
}

/// Shows the name, as logs and explanations need it.
impl fmt::Debug for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Reads `NAME=USE`.
fn purpose(text: &str) -> Result<Purpose, Box<dyn Error>> {
    let (name, usage) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("--purpose needs NAME=USE")?;
    let usage = match usage {
        "settings" => ProxyUse::Settings,
        "never" => ProxyUse::Never,
        "always" => ProxyUse::Always,
        proxy if proxy.contains("://") => ProxyUse::Proxy(proxy.parse()?),
        // The value is not shown: it may be a proxy's address without its scheme.
        _ => return Err(format!("--purpose {name}: neither settings, never, always nor a proxy's URL").into()),
    };
    Ok(Purpose {
        name: name.to_owned(),
        usage,
    })
}

fn explain(config: &ProxyConfig, purposes: &[Purpose], urls: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let mut code = ExitCode::SUCCESS;
    for url in urls {
        // The output must not show a URL's own user and password.
        match url.parse::<Target<'_>>() {
            Ok(target) => {
                let decision = config.decide(&target);
                println!(
                    "{target}\n    route  {}\n    why    {}",
                    decision.route(),
                    decision.reason()
                );
                for purpose in purposes {
                    match config.decide_for(purpose, &purpose.usage, &target) {
                        Ok(decision) => println!(
                            "  purpose {purpose:?}\n    route  {}\n    why    {}",
                            decision.route(),
                            decision.reason()
                        ),
                        Err(error) => println!("  purpose {purpose:?}\n    route  none\n    why    {error}"),
                    }
                }
            }
            Err(error) => {
                println!("a URL that cannot be used\n    why    {error}");
                code = ExitCode::from(2);
            }
        }
    }
    for warning in config.warnings() {
        println!("warning: {warning}");
    }
    Ok(code)
}

/// Prints one line for each URL on which the dialects agree, and otherwise one line for each dialect.
fn compare_dialects(urls: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let configs = [Dialect::Standard, Dialect::Go, Dialect::Curl]
        .map(|dialect| (dialect, ProxyConfig::builder().dialect(dialect).env().build()));
    for url in urls {
        let target: Target<'_> = url.parse()?;
        println!("{target}");
        let decisions = configs.each_ref().map(|(dialect, config)| match config {
            Ok(config) => {
                let decision = config.decide(&target);
                (
                    dialect.as_str(),
                    decision.route().to_string(),
                    decision.reason().to_string(),
                )
            }
            Err(error) => (dialect.as_str(), "error".to_owned(), error.to_string()),
        });
        let agree = decisions.iter().all(|(_, route, _)| *route == decisions[0].1);
        for (dialect, route, why) in &decisions[..if agree { 1 } else { 3 }] {
            let dialect = if agree { "all" } else { dialect };
            println!("    {dialect:<9} {route}: {why}");
        }
    }
    for (dialect, config) in &configs {
        for warning in config.iter().flat_map(ProxyConfig::warnings) {
            println!("warning ({dialect}): {warning}");
        }
    }
    Ok(match configs.iter().all(|(_, config)| config.is_ok()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(5),
    })
}

fn answer_batch(dialect: Dialect) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().split(b'\n') {
        let answer = match String::from_utf8(line?) {
            Ok(line) => answer(line.strip_suffix('\r').unwrap_or(&line), dialect),
            Err(_) => Err("the line is not UTF-8".into()),
        };
        match answer {
            Ok(answer) => writeln!(out, "{answer}")?,
            Err(error) => writeln!(out, "error: {error}")?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn answer(line: &str, dialect: Dialect) -> Result<String, Box<dyn Error>> {
    let columns: Vec<_> = line.split('\t').map(unescape).collect();
    let [http, https, no_proxy, url] = <[String; 4]>::try_from(columns).map_err(|_| "a line has four columns")?;
    let vars = [("http_proxy", http), ("https_proxy", https), ("no_proxy", no_proxy)];
    let config = ProxyConfig::builder().dialect(dialect).vars(vars).build()?;
    Ok(match config.route(&url.parse()?) {
        Route::Direct => "direct".to_owned(),
        Route::Forward(proxy) => format!("forward {}", proxy.url()),
        Route::Tunnel(proxy) => format!("tunnel {}", proxy.url()),
        other => format!("error: a route this program does not know: {other}"),
    })
}

fn unescape(column: &str) -> String {
    let mut text = String::new();
    let mut chars = column.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => text.push('\t'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('\\') => text.push('\\'),
            // This is no escape, so it stays as it is.
            other => {
                text.push('\\');
                text.extend(other);
            }
        }
    }
    text
}
