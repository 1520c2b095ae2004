//! Checks rows: makes each call, and asks the servers which of them were called, and by whom.

use http::Uri;
use tower_outbound_proxy::{ProxyServer, error::BoxError};

use palpo::{
    app::{advice::report, connections::Connection, outbound::Outbound},
    site::Site,
};

use crate::table::Table;

/// The rows that are shown, and the overall result.
pub(super) struct Demo<'s> {
    pub(super) site: &'s Site,
    pub(super) shown: String,
    /// The reports of failed calls for an operator. Rows show only a part of each.
    pub(super) reports: String,
    pub(super) right: bool,
}

impl Demo<'_> {
    /// Checks rows of calls under a title. A row is the type, the URL (the type's own if blank), the peer that must
    /// reach the target, and a part of the status, or of the error if nobody must reach it.
    ///
    /// Returns the reports of the calls that failed.
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
        self.reports += &reports;
        Ok(reports)
    }

    /// Adds a line with a statement, and whether it is true.
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
        let (actual, answer) = self.site.by_whom(host, outbound.call(connection, uri)).await?;
        let because = outbound.decide(connection, uri)?.reason;
        Ok(match answer {
            Ok(answer) => {
                let told = answer.route.proxy().map_or("direct".to_owned(), ProxyServer::host);
                Outcome {
                    is_as_told: actual.split(',').next() == Some(&*told),
                    actual,
                    status: answer.status,
                    because,
                    report: String::new(),
                }
            }
            Err(error) => {
                let report = report(error.as_ref());
                Outcome {
                    is_as_told: actual != "direct",
                    actual,
                    status: report.clone(),
                    because,
                    report: report + "\n",
                }
            }
        })
    }
}

struct Outcome {
    /// The peer that the servers saw.
    actual: String,
    status: String,
    because: String,
    /// True if the client and the servers agree.
    is_as_told: bool,
    /// The report for an operator, if the call failed.
    report: String,
}
