//! `--batch`: the settings come case by case from standard input.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    process::ExitCode,
};

use tower_outbound_proxy::{Dialect, ProxyConfig, Route};

pub(crate) fn answer_batch(dialect: Dialect) -> Result<ExitCode, Box<dyn Error>> {
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
