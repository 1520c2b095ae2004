//! A client's job and its answer, both lines of text.

use std::{fmt, str::FromStr};

use crate::BoxError;

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Gets content from each host. The answer is [`Took`].
    Get,
    /// Sends content to each host. The answer is [`Took`].
    Put,
    /// Gets content from one host after the other. The answer is each one's time to its first byte, in nanoseconds.
    Trips,
    /// Gets content from each host and keeps the connections. The answer is the growth of the live memory, in bytes.
    Idle,
}

const VERBS: [(Verb, &str); 4] = [
    (Verb::Get, "get"),
    (Verb::Put, "put"),
    (Verb::Trips, "trips"),
    (Verb::Idle, "idle"),
];

/// The way to the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// A tunnel, in which the client sends a line and is sent the host's name.
    Raw,
    /// A tunnel, and plain HTTP/1.1 in it.
    Http,
    /// A tunnel, TLS in it, and HTTP/1.1 in that.
    Https,
    /// No tunnel: the proxy forwards plain requests.
    Forward,
}

const INSIDES: [(Inside, &str); 4] = [
    (Inside::Raw, "raw"),
    (Inside::Http, "http"),
    (Inside::Https, "https"),
    (Inside::Forward, "forward"),
];

/// A job, done `repeats` times, each time with a new client.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) verb: Verb,
    /// The proxy's URL, or `-` for direct connections to `127.0.0.1`.
    pub(crate) proxy: String,
    pub(crate) inside: Inside,
    /// The port of the hosts.
    pub(crate) port: u16,
    /// The number of hosts. Each is asked once.
    pub(crate) hosts: usize,
    /// The number of these that are asked before the clock starts, one after the other.
    pub(crate) warm: usize,
    pub(crate) concurrency: usize,
    pub(crate) repeats: usize,
    /// The length of the content.
    pub(crate) bytes: u64,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proxy, port, hosts, .. } = self;
        let (verb, inside) = (word(&VERBS, self.verb), word(&INSIDES, self.inside));
        write!(f, "{verb} {proxy} {inside} {port} {hosts}")?;
        write!(f, " {} {} {} {}", self.warm, self.concurrency, self.repeats, self.bytes)
    }
}

impl FromStr for Job {
    type Err = BoxError;

    fn from_str(line: &str) -> Result<Self, BoxError> {
        let mut words = line.split_whitespace();
        let mut word = || words.next().ok_or("the job is too short");
        Ok(Self {
            verb: value(&VERBS, word()?)?,
            proxy: word()?.to_owned(),
            inside: value(&INSIDES, word()?)?,
            port: word()?.parse()?,
            hosts: word()?.parse()?,
            warm: word()?.parse()?,
            concurrency: word()?.parse()?,
            repeats: word()?.parse()?,
            bytes: word()?.parse()?,
        })
    }
}

fn word<T: PartialEq>(words: &[(T, &'static str)], value: T) -> &'static str {
    words
        .iter()
        .find(|(other, _)| *other == value)
        .map_or("", |(_, word)| word)
}

fn value<T: Copy>(words: &[(T, &'static str)], word: &str) -> Result<T, BoxError> {
    let found = words.iter().find(|(_, other)| *other == word);
    found
        .map(|(value, _)| *value)
        .ok_or_else(|| format!("unknown word `{word}`").into())
}

/// The cost of a job, without building and warming up its clients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    pub(crate) nanos: u64,
    /// CPU time in nanoseconds, the system's included.
    pub(crate) cpu: u64,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.nanos, self.cpu)
    }
}

/// Reads an answer, which consists of numbers.
pub(crate) fn numbers(line: &str) -> Result<Vec<u64>, BoxError> {
    let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
    match numbers {
        Ok(numbers) if !numbers.is_empty() => Ok(numbers),
        _ => Err(format!("it said `{}`", line.trim()).into()),
    }
}
