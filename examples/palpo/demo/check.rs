//! Checks rows: makes the call, and asks the servers who was called by whom.

use std::fmt::Write;

use http::Uri;
use tower_outbound_proxy::BoxError;

use crate::{
    app::{advice::report, connections::Connection, outbound::Outbound},
    site::Site,
    table::Table,
};

/// All that is shown, and whether all of it is right.
pub(super) struct Demo<'s> {
    pub(super) site: &'s Site,
    pub(super) shown: String,
    pub(super) right: bool,
}

impl Demo<'_> {
    /// Rows of calls under a title. A row is the type, the URL (the type's own if it is blank), by whom the target is to
    /// be reached, and a piece of the status, or of the error where nobody is to reach it.
    ///
    /// Gives what was reported of the calls that failed.
    pub(super) async fn rows(&mut self, title: &str, outbound: &Outbound, rows: &str) -> Result<String, BoxError> {
        let mut table = Table::new(&["type", "target", "expected", "actual route", "status", "because"]);
        let mut reports = String::new();
        for row in rows.trim().lines() {
            let columns: Vec<_> = row.split('|').map(str::trim).collect();
            let &[name, url, expected, status] = &columns[..] else {
                return Err(format!("a row has four columns: {row}").into());
            };
            let connection = Connection::named(name).ok_or_else(|| format!("no type {name}"))?;
            let url = match url {
                "" => self.site.url(connection),
                url => url.to_owned(),
            };
            let outcome = self.call(outbound, connection, &url.parse()?).await?;
            let told = if outcome.status.contains(status) {
                status
            } else {
                &outcome.status
            };
            let right = outcome.actual == expected && told == status && outcome.is_as_told;
            let cells = [name, &url, expected, &outcome.actual, told, &outcome.because].map(str::to_owned);
            table.row(cells, right);
            self.right &= right;
            reports += &outcome.report;
        }
        self.show(&format!("\n{title}\n{table}"));
        Ok(reports)
    }

    /// A line that says something of what was done, and whether it holds.
    pub(super) fn fact(&mut self, fact: &str, holds: bool) {
        self.show(&format!("  {fact}: {}\n", if holds { "right" } else { "WRONG" }));
        self.right &= holds;
    }

    pub(super) fn show(&mut self, text: &str) {
        print!("{text}");
        self.shown.push_str(text);
    }

    async fn call(&self, outbound: &Outbound, connection: Connection, uri: &Uri) -> Result<Outcome, BoxError> {
        let host = uri.host().ok_or("a URL without a host")?;
        let proxies = self.site.proxies.all();
        let before = proxies.map(|(_, proxy)| proxy.requests().len());
        let asked_before = self.site.asked(host)?;
        let answer = outbound.call(connection, uri).await;

        let used: Vec<_> = proxies
            .iter()
            .zip(before)
            .filter(|((_, proxy), before)| proxy.requests().len() > *before)
            .map(|((name, _), _)| *name)
            .collect();
        let was_asked = self.site.asked(host)? > asked_before;
        let actual = match (&used[..], was_asked) {
            ([], true) => "direct".to_owned(),
            ([], false) => "nobody".to_owned(),
            (used, true) => used.join(", "),
            (used, false) => format!("{}, not the target", used.join(", ")),
        };
        let because = outbound.decide(connection, uri)?.reason;
        Ok(match answer {
            Ok(answer) => Outcome {
                is_as_told: match answer.route.proxy() {
                    None => used.is_empty(),
                    Some(proxy) => used == [proxy.host()],
                },
                actual,
                status: answer.status,
                because,
                report: String::new(),
            },
            Err(error) => {
                let mut text = report(error.as_ref());
                let status = text.clone();
                let _ = writeln!(text);
                Outcome {
                    is_as_told: !was_asked,
                    actual,
                    status,
                    because,
                    report: text,
                }
            }
        })
    }
}

struct Outcome {
    /// What the servers say.
    actual: String,
    status: String,
    because: String,
    /// Whether the client says the same as the servers.
    is_as_told: bool,
    /// What an operator is told if it failed.
    report: String,
}
