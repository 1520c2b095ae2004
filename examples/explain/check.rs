//! `--check`: everything that is odd in the settings.

use std::process::ExitCode;

use tower_outbound_proxy::{
    Dialect,
    check::{Check, Finding, ListEntry, Programs, Suggestion},
};

use crate::text::{legend, names, wrap};

/// The column of the second column.
const SECOND: usize = 26;

pub(crate) fn check(dialects: &[Dialect]) -> ExitCode {
    let check = Check::among(dialects, std::env::vars_os());
    let (notes, odd): (Vec<_>, Vec<_>) = check.findings().iter().partition(|finding| finding.is_note());
    let (of_entries, others): (Vec<_>, Vec<_>) = odd.into_iter().partition(|finding| finding.entry().is_some());
    println!("{}", summary(&check, others.len() + of_entries.len()));
    if !others.is_empty() {
        println!();
        others.iter().for_each(|finding| item(finding));
    }
    if !of_entries.is_empty() {
        println!("\nEntries of NO_PROXY:");
        print_entries(&of_entries);
    }
    match check.suggestion() {
        Some(suggestion) => print_suggestion(suggestion),
        None if check.is_list_common() => {}
        None => println!("\nNo list means the same to all programs."),
    }
    if !notes.is_empty() {
        println!("\nGood to know:");
        notes.iter().for_each(|finding| item(finding));
    }
    if !check.findings().is_empty() {
        print!("\n{}", legend(dialects));
    }
    match check.is_odd() {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    }
}

fn summary(check: &Check, odd: usize) -> String {
    match odd {
        0 if !check.has_proxy() => "No proxy is set: every target is reached directly.".to_owned(),
        0 => "Nothing is odd: all programs read the settings alike.".to_owned(),
        1 => "One thing is odd in the proxy settings.".to_owned(),
        odd => format!("{odd} things are odd in the proxy settings."),
    }
}

fn item(finding: &Finding) {
    print!("{}", wrap("- ", 2, &finding.to_string()));
}

/// Prints the findings about entries: the entry once, then a row for each finding.
fn print_entries(findings: &[&Finding]) {
    let mut previous = None;
    for finding in findings {
        let Some(entry) = finding.entry() else { continue };
        let label = match previous == Some(entry) {
            true => String::new(),
            false => label(entry),
        };
        previous = Some(entry);
        match finding {
            Finding::Differs {
                targets,
                direct,
                proxied,
                ..
            } => {
                print!("{}", wrap(&label, SECOND, &targets.to_string()));
                print_programs("  direct: ", direct);
                print_programs("  proxy:  ", proxied);
            }
            Finding::Never { programs, reason, .. } => {
                let programs = match programs.is_all() {
                    true => "all programs".to_owned(),
                    false => programs.to_string(),
                };
                let text = match reason {
                    Some(reason) => format!("matches nothing in {programs}: {reason}"),
                    None => format!("matches nothing in {programs}"),
                };
                print!("{}", wrap(&label, SECOND, &text));
            }
            Finding::Separator { programs, .. } => {
                let text = format!("is not read as an entry by {programs}: separate entries with commas alone");
                print!("{}", wrap(&label, SECOND, &text));
            }
            other => print!("{}", wrap(&label, SECOND, &other.to_string())),
        }
    }
}

fn label(entry: &ListEntry) -> String {
    format!("{:>4}  {}", entry.position(), entry.as_str())
}

fn print_programs(label: &str, programs: &Programs) {
    let label = format!("{:SECOND$}{label}", "");
    print!("{}", wrap(&label, label.len(), &names(programs.dialects())));
}

fn print_suggestion(suggestion: &Suggestion) {
    println!();
    match suggestion.programs().is_all() {
        true => println!("This list means the same to all programs:"),
        false => {
            let entries = suggestion.blocking().join(", ");
            print!(
                "{}",
                wrap(
                    "",
                    0,
                    &format!("No list means the same to all programs, because of {entries}.")
                )
            );
            let programs = suggestion.programs();
            print!("{}", wrap("", 0, &format!("This one does to {programs}:")));
        }
    }
    println!("  {}", suggestion.list());
    if !suggestion.widened().as_slice().is_empty() {
        let text = format!("It exempts more than the entries say: {}", suggestion.widened());
        print!("{}", wrap("", 0, &text));
    }
}
