//! `--check`: everything that is odd in the settings.

use tower_outbound_proxy::{
    Dialect,
    check::{Check, Finding, Programs, Suggestion},
};

use crate::text::{legend, names, wrap};

/// The column of the second column.
const SECOND: usize = 26;

/// Returns the report, and true if nothing is odd.
pub(crate) fn check(dialects: &[Dialect]) -> (String, bool) {
    let check = Check::among(dialects, std::env::vars_os());
    let (notes, odd): (Vec<_>, Vec<_>) = check.findings().iter().partition(|finding| finding.is_note());
    let (of_entries, others): (Vec<_>, Vec<_>) = odd.into_iter().partition(|finding| finding.entry().is_some());
    let mut report = summary(&check, others.len() + of_entries.len());
    let mut section = |title: &str, rows: String| {
        if !rows.is_empty() {
            report.push_str(&format!("\n{title}{rows}"));
        }
    };
    section("", others.iter().map(|finding| item(finding)).collect());
    section("Entries of NO_PROXY:\n", entries(&of_entries));
    match check.suggestion() {
        Some(suggestion) => section("", suggested(suggestion)),
        None if check.is_list_common() => {}
        None => section("", "No list means the same to all programs.\n".to_owned()),
    }
    section("Good to know:\n", notes.iter().map(|finding| item(finding)).collect());
    if !check.findings().is_empty() {
        section("", legend(dialects));
    }
    (report, !check.is_odd())
}

fn summary(check: &Check, odd: usize) -> String {
    match odd {
        0 if !check.has_proxy() => "No proxy is set: every target is reached directly.\n".to_owned(),
        0 => "Nothing is odd: all programs read the settings alike.\n".to_owned(),
        1 => "One thing is odd in the proxy settings.\n".to_owned(),
        odd => format!("{odd} things are odd in the proxy settings.\n"),
    }
}

fn item(finding: &Finding) -> String {
    wrap("- ", 2, &finding.to_string())
}

/// Returns the findings about entries: the entry once, then a row for each finding.
fn entries(findings: &[&Finding]) -> String {
    let mut rows = String::new();
    let mut previous = None;
    for (finding, entry) in findings.iter().filter_map(|finding| Some((finding, finding.entry()?))) {
        let label = match previous == Some(entry) {
            true => String::new(),
            false => format!("{:>4}  {}", entry.position(), entry.as_str()),
        };
        previous = Some(entry);
        let row = |text: &str| wrap(&label, SECOND, text);
        rows.push_str(&match finding {
            Finding::Differs {
                targets,
                direct,
                proxied,
                ..
            } => row(&targets.to_string()) + &way("direct", direct) + &way("proxy", proxied),
            Finding::Never { programs, reason, .. } => {
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                row(&format!("matches nothing in {}{reason}", all_or(programs)))
            }
            Finding::Separator { programs, .. } => row(&format!(
                "is not read as an entry by {}: separate entries with commas alone",
                all_or(programs)
            )),
            other => row(&other.to_string()),
        });
    }
    rows
}

fn way(to: &str, programs: &Programs) -> String {
    let label = format!("{:SECOND$}  {:<8}", "", format!("{to}:"));
    wrap(&label, label.len(), &names(programs.dialects()))
}

fn all_or(programs: &Programs) -> String {
    match programs.is_all() {
        true => "all programs".to_owned(),
        false => programs.to_string(),
    }
}

fn suggested(suggestion: &Suggestion) -> String {
    let mut rows = match suggestion.programs().is_all() {
        true => "This list means the same to all programs:\n".to_owned(),
        false => {
            let entries = suggestion.blocking().join(", ");
            let none = format!("No list means the same to all programs, because of {entries}.");
            let one = format!("This one does to {}:", suggestion.programs());
            wrap("", 0, &none) + &wrap("", 0, &one)
        }
    };
    rows.push_str(&format!("  {}\n", suggestion.list()));
    if !suggestion.widened().as_slice().is_empty() {
        let text = format!("It exempts more than the entries say: {}", suggestion.widened());
        rows.push_str(&wrap("", 0, &text));
    }
    rows
}
