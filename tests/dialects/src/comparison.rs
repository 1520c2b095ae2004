//! Comparison of this crate's answers with a program's.

use std::collections::BTreeMap;

use tower_outbound_proxy::{ConfigError, Dialect, ProxyConfig, Route, Target};

/// Returns this crate's answer for a URL: the proxy's URL, `direct`, or `error` if the URL is no target.
#[must_use]
pub fn answer(config: &ProxyConfig, url: &str) -> String {
    match url.parse::<Target<'_>>() {
        Ok(target) => match config.decide(&target).into_route() {
            Route::Unusable(_) => "error".to_owned(),
            route => route.proxy().map_or("direct".to_owned(), |proxy| proxy.url()),
        },
        Err(_) => "error".to_owned(),
    }
}

/// Reads the variables in a dialect.
///
/// # Errors
///
/// Returns the error of a proxy that cannot be used.
pub fn config(dialect: Dialect, vars: &[(&str, &str)]) -> Result<ProxyConfig, ConfigError> {
    let builder = ProxyConfig::builder().vars(vars.iter().copied());
    builder.dialect(dialect).build()
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct Answers<'a> {
    /// The variables.
    pub vars: &'a [(&'a str, &'a str)],
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
        let authority = self.authority();
        let end = match authority.find(']') {
            Some(bracket) => bracket + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        authority[..end].to_ascii_lowercase()
    }

    /// Returns the host and the port as they are in the URL.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url, |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }

    /// Returns the value of a variable, or nothing.
    #[must_use]
    pub fn var(&self, name: &str) -> &str {
        let mut vars = self.vars.iter();
        vars.find(|(other, _)| *other == name).map_or("", |(_, value)| value)
    }

    /// Returns true if the variable is set.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.vars.iter().any(|(other, _)| *other == name)
    }

    /// Returns true if the program reaches the target directly and this crate does not.
    #[must_use]
    pub fn only_theirs_is_direct(&self) -> bool {
        self.theirs == "direct" && self.ours.starts_with("http")
    }

    /// Returns true if the program refuses the URL and this crate does not.
    #[must_use]
    pub fn only_theirs_is_an_error(&self) -> bool {
        self.theirs == "error" && self.ours != "error"
    }

    /// Returns true if this crate refuses the settings or the URL and the program does not.
    #[must_use]
    pub fn only_ours_is_an_error(&self) -> bool {
        self.ours == "error" && self.theirs != "error"
    }
}

/// The intended differences: for each a name, and a test for the cases with different answers that belong to it.
pub type Exceptions = &'static [(&'static str, fn(&Answers<'_>) -> bool)];

/// The program refuses the URL, and so has no answer.
pub const REFUSED: (&str, fn(&Answers<'_>) -> bool) =
    ("the program refuses the URL, and so decides nothing", |answers| {
        answers.only_theirs_is_an_error()
    });

/// A proxy that cannot be used is an error here.
pub const UNUSABLE: (&str, fn(&Answers<'_>) -> bool) = (
    "a proxy that cannot be used is an error here, and never another proxy or none",
    |answers| answers.only_ours_is_an_error(),
);

/// The program cannot use a proxy that this crate can use. Some then use none.
pub const USABLE: (&str, fn(&Answers<'_>) -> bool) = (
    "the program cannot read the proxy's address, which is usable here",
    |answers| matches!(answers.theirs, "direct" | "error") && answers.ours.starts_with("http"),
);

/// The spelling of a proxy's address.
pub const SPELLING: (&str, fn(&Answers<'_>) -> bool) = (
    "the same proxy, here without the dot after its name or the zero before its port",
    |answers| answers.theirs.replace(".:", ":").replace(":0", ":") == answers.ours,
);

/// Counts agreements, named exceptions and the rest.
#[derive(Debug)]
pub struct Comparison {
    title: String,
    exceptions: Exceptions,
    cases: usize,
    agreements: usize,
    direct: usize,
    excepted: BTreeMap<&'static str, (usize, String)>,
    differences: Vec<String>,
}

impl Comparison {
    /// Creates a comparison without counts.
    #[must_use]
    pub fn new(title: impl Into<String>, exceptions: Exceptions) -> Self {
        Self {
            title: title.into(),
            exceptions,
            cases: 0,
            agreements: 0,
            direct: 0,
            excepted: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    /// Counts one case.
    pub fn count(&mut self, answers: Answers<'_>) {
        self.cases += 1;
        self.direct += usize::from(answers.theirs == "direct");
        let Answers {
            vars,
            url,
            ours,
            theirs,
        } = answers;
        if ours == theirs {
            self.agreements += 1;
            return;
        }
        let shown = format!("{vars:?} {url} ours: {ours}, theirs: {theirs}");
        match self.exceptions.iter().find(|(_, holds)| holds(&answers)) {
            Some((name, _)) => self.excepted.entry(name).or_insert((0, shown)).0 += 1,
            None => self.differences.push(shown),
        }
    }

    /// Prints the counts.
    ///
    /// # Panics
    ///
    /// If there are differences without a name, too few cases, or cases that are nearly all alike.
    pub fn finish(self, at_least: usize) {
        let excepted: usize = self.excepted.values().map(|(count, _)| count).sum();
        for (name, (count, first)) in &self.excepted {
            println!("{}: exception, {count} cases: {name}\n    first: {first}", self.title);
        }
        println!(
            "{}: {} cases, {} equal, {excepted} named exceptions ({} direct)",
            self.title, self.cases, self.agreements, self.direct
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
            self.direct.min(proxied) * 8 >= self.cases,
            "the generator has lost its aim"
        );
    }
}
