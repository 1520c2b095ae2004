//! Prints the route of each URL, and the reason. Compares how programs read the settings, and checks them.
//!
//! Run it with `--help`.

mod batch;
mod check;
mod compare;
mod text;

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use tower_outbound_proxy::{Dialect, ProxyConfig, Target, purpose::ProxyUse};

const HELP: &str = "\
Explains the proxy settings in the environment: HTTP_PROXY, HTTPS_PROXY,
ALL_PROXY and NO_PROXY.

  explain [--dialect NAME] [--purpose NAME=USE]... URL...
      Prints the route of each URL, and the reason.
  explain --compare [--dialect NAME]... URL...
      Prints where each program would go for a URL, and why they differ.
  explain --check [--dialect NAME]...
      Prints what is odd in the settings: NO_PROXY entries that programs read
      differently, variables that some do not read, values that are malformed.
      Prints a NO_PROXY list that means the same to all, if there is one.
  explain [--dialect NAME] --batch
      Reads settings and URLs from standard input, as tab-separated lines
      `http_proxy  https_proxy  no_proxy  url` (escapes \\t \\n \\r \\\\; an empty
      column is an unset variable). Prints for each line `direct`,
      `forward URL`, `tunnel URL` or `error: ...`.

  --dialect NAME      Reads the settings as this program does. --compare and
                      --check compare all programs, or those that are named.
  --purpose NAME=USE  Explains each URL for requests of this purpose too. USE is
                      `settings`, `never`, `always` or a proxy's URL.

Exit codes:
  0  The settings can be used. With --check: nothing is odd in them.
  1  --check: something is odd.
  2  The command line or a URL cannot be used.
  5  A setting cannot be used.

";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("explain: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Explain,
    Compare,
    Check,
    Batch,
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut modes = Vec::new();
    let (mut dialects, mut purposes, mut urls) = (Vec::<Dialect>::new(), Vec::new(), Vec::new());
    let args = std::env::args_os()
        .skip(1)
        .map(|arg| arg.into_string().map_err(|_| "an argument is not Unicode"));
    let mut args = args.collect::<Result<Vec<_>, _>>()?.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dialect" => dialects.push(args.next().ok_or("--dialect needs a name")?.parse()?),
            "--purpose" => purposes.push(purpose(&args.next().ok_or("--purpose needs NAME=USE")?)?),
            "--batch" => modes.push(Mode::Batch),
            "--compare" => modes.push(Mode::Compare),
            "--check" => modes.push(Mode::Check),
            "--help" | "-h" => {
                print!("{HELP}{}", text::legend(Dialect::ALL));
                return Ok(ExitCode::SUCCESS);
            }
            option if option.starts_with('-') => return Err(format!("unknown option {option} (see --help)").into()),
            _ => urls.push(arg),
        }
    }
    let mode = match modes[..] {
        [] => Mode::Explain,
        [mode] => mode,
        _ => return Err("expected one of --compare, --check and --batch, found more (see --help)".into()),
    };
    if matches!(mode, Mode::Explain | Mode::Compare) && urls.is_empty() {
        return Err("expected a URL, found none (see --help)".into());
    }
    if matches!(mode, Mode::Check | Mode::Batch) && !urls.is_empty() {
        return Err("expected no URL with --check and --batch (see --help)".into());
    }
    if mode != Mode::Explain && !purposes.is_empty() {
        return Err("--purpose is for URLs alone (see --help)".into());
    }
    let compared = Dialect::ALL.iter().copied();
    let compared: Vec<_> = compared
        .filter(|dialect| dialects.is_empty() || dialects.contains(dialect))
        .collect();
    let dialect = match (mode, &dialects[..]) {
        (Mode::Compare | Mode::Check, _) | (_, []) => Dialect::Standard,
        (_, [dialect]) => *dialect,
        _ => return Err("expected one --dialect, found more (see --help)".into()),
    };
    match mode {
        Mode::Batch => batch::answer_batch(dialect),
        Mode::Compare => Ok(print(compare::compare(&compared, &urls)?, 5)),
        Mode::Check => Ok(print(check::check(&compared), 1)),
        Mode::Explain => match ProxyConfig::builder().dialect(dialect).env().build() {
            Ok(config) => Ok(explain(&config, &purposes, &urls)),
            Err(error) => {
                eprintln!("explain: {error}");
                Ok(ExitCode::from(5))
            }
        },
    }
}

/// Prints a report. Returns the code unless all is well.
fn print((report, is_well): (String, bool), code: u8) -> ExitCode {
    // A pager that was closed changes nothing in the answer.
    let _ = io::stdout().write_all(report.as_bytes());
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(code),
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

fn explain(config: &ProxyConfig, purposes: &[Purpose], urls: &[String]) -> ExitCode {
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
    code
}
