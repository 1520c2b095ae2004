//! Comparison of this crate's answers with a program's.

use std::collections::BTreeMap;

use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig, Target};

/// Returns this crate's answer for a URL: the proxy's URL, `direct`, or `error` if the URL is no target.
#[must_use]
pub fn answer(config: &ProxyConfig, url: &str) -> String {
    match url.parse::<Target<'_>>() {
        Ok(target) => match config.route(&target).proxy() {
            Some(proxy) => proxy.url(),
            None => "direct".to_owned(),
        },
        Err(_) => "error".to_owned(),
    }
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct Answers<'a> {
    /// `NO_PROXY`.
    pub list: &'a str,
    /// The target.
    pub url: &'a str,
    /// This crate's answer.
    pub ours: &'a str,
    /// The program's answer.
    pub theirs: &'a str,
}

impl Answers<'_> {
    /// Returns the host as it is in the URL, in lower case.
    #[must_use]
    pub fn host(&self) -> String {
        let rest = self.url.split_once("://").map_or(self.url, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let end = match authority.find(']') {
            Some(bracket) => bracket + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        authority[..end].to_ascii_lowercase()
    }

    /// Returns true if the list has this entry.
    #[must_use]
    pub fn has_entry(&self, entry: &str) -> bool {
        self.list.split(',').any(|piece| piece.trim() == entry)
    }

    /// Returns true if the program reaches the target directly and this crate does not.
    #[must_use]
    pub fn only_theirs_is_direct(&self) -> bool {
        self.theirs == "direct" && self.ours.starts_with("http")
    }

    /// Returns true if this crate reaches the target directly and the program does not.
    #[must_use]
    pub fn only_ours_is_direct(&self) -> bool {
        self.ours == "direct" && self.theirs.starts_with("http")
    }
}

/// Returns true if a case with different answers is an exception.
pub type IsException = fn(&Answers<'_>) -> bool;

/// The intended differences.
#[derive(Debug, Clone, Copy)]
pub struct Exceptions {
    /// Entries that fit no row of this crate's grammar, but that the program accepts, each with the program's reading.
    /// This crate reports them, and they match nothing.
    ///
    /// A case is an exception only if the program's answer without such entries is this crate's, and if one of them
    /// alone makes the program connect directly.
    pub entries: &'static [(&'static str, &'static str)],
    /// Other differences: a name, and a test for cases that belong to it.
    pub cases: &'static [(&'static str, IsException)],
}

/// Counts agreements, named exceptions and the rest.
#[derive(Debug)]
pub struct Comparison {
    dialect: Dialect,
    exceptions: Exceptions,
    cases: usize,
    agreements: usize,
    direct: usize,
    excepted: BTreeMap<String, (usize, String)>,
    differences: Vec<String>,
}

impl Comparison {
    /// Creates a comparison without counts.
    #[must_use]
    pub fn new(dialect: Dialect, exceptions: Exceptions) -> Self {
        Self {
            dialect,
            exceptions,
            cases: 0,
            agreements: 0,
            direct: 0,
            excepted: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    /// Counts one case. `ask` asks the program again, about another list and the same URL.
    pub fn count(&mut self, answers: Answers<'_>, ask: impl FnMut(&str) -> String) {
        self.cases += 1;
        self.direct += usize::from(answers.theirs == "direct");
        if answers.ours == answers.theirs {
            self.agreements += 1;
            return;
        }
        let Answers {
            list,
            url,
            ours,
            theirs,
        } = answers;
        let shown = format!("NO_PROXY={list:?} {url} ours: {ours}, theirs: {theirs}");
        match self.exception(&answers, ask) {
            Some(name) => self.excepted.entry(name).or_insert((0, shown)).0 += 1,
            None => self.differences.push(shown),
        }
    }

    fn exception(&self, answers: &Answers<'_>, mut ask: impl FnMut(&str) -> String) -> Option<String> {
        if let Some((name, _)) = self.exceptions.cases.iter().find(|(_, holds)| holds(answers)) {
            return Some((*name).to_owned());
        }
        let (kept, reported) = self.sort(answers.list);
        if !answers.only_theirs_is_direct() || ask(&kept.join(",")) != answers.ours {
            return None;
        }
        let mut known = self.exceptions.entries.iter();
        let (entry, what) = known.find(|(entry, _)| reported.contains(entry) && ask(entry) == "direct")?;
        Some(format!("`{entry}` is reported here and {what}"))
    }

    /// Returns the entries that this crate accepts, and those that it reports.
    fn sort<'l>(&self, list: &'l str) -> (Vec<&'l str>, Vec<&'l str>) {
        let star_is_reported = self.dialect == Dialect::Curl;
        let mut entries = Vec::new();
        for piece in list.split(',') {
            if self.dialect != Dialect::Curl {
                entries.push(piece.trim());
                continue;
            }
            let piece = piece.trim_matches([' ', '\t']);
            let end = piece.find([' ', '\t']);
            entries.push(&piece[..end.unwrap_or(piece.len())]);
            if end.is_some() {
                break;
            }
        }
        entries
            .into_iter()
            .filter(|entry| !entry.is_empty())
            .partition(|entry| {
                let alone = NoProxy::lenient(entry, self.dialect);
                alone.rejected().is_empty() && !(star_is_reported && *entry == "*")
            })
    }

    /// Prints the counts.
    ///
    /// # Panics
    ///
    /// If there are differences without a name, too few cases, or cases that are nearly all alike.
    pub fn finish(self, at_least: usize) {
        let excepted: usize = self.excepted.values().map(|(count, _)| count).sum();
        for (name, (count, first)) in &self.excepted {
            println!("exception, {count} cases: {name}\n    first: {first}");
        }
        println!(
            "{}: {} cases, {} agreements, {excepted} named exceptions ({} direct)",
            self.dialect, self.cases, self.agreements, self.direct
        );
        let shown = self.differences.iter().take(50).cloned().collect::<Vec<_>>();
        assert!(
            self.differences.is_empty(),
            "{} differences:\n{}",
            self.differences.len(),
            shown.join("\n")
        );
        assert!(self.cases >= at_least, "only {} cases", self.cases);
        let proxied = self.cases - self.direct;
        assert!(
            self.direct.min(proxied) * 5 >= self.cases,
            "the generator has lost its aim"
        );
    }
}
