//! The invariants of every world.
//!
//! - [`pool`]: at any moment, and when all is quiet: limits, figures, sockets and tasks;
//! - [`requests`]: every request after the run: time, blame, order, and what its error says.
//!
//! Servers and callers check bodies, routes and credentials where they see them.

mod pool;
mod requests;

use std::fmt;

pub(crate) use self::{
    pool::{closed, limits, quiet, share},
    requests::judge,
};

/// A rule. Its name is what `--without` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    Deadline,
    OwnDeadline,
    BeforeRequest,
    Unprocessed,
    Once,
    Body,
    Flow,
    Prompt,
    Route,
    Credentials,
    Blame,
    Repeat,
    Order,
    Share,
    Limit,
    Streams,
    Idle,
    Stats,
    Waste,
    Retired,
    Recovery,
    Leak,
    Panic,
    Determinism,
}

impl Invariant {
    pub(crate) const ALL: [Self; 24] = [
        Self::Deadline,
        Self::OwnDeadline,
        Self::BeforeRequest,
        Self::Unprocessed,
        Self::Once,
        Self::Body,
        Self::Flow,
        Self::Prompt,
        Self::Route,
        Self::Credentials,
        Self::Blame,
        Self::Repeat,
        Self::Order,
        Self::Share,
        Self::Limit,
        Self::Streams,
        Self::Idle,
        Self::Stats,
        Self::Waste,
        Self::Retired,
        Self::Recovery,
        Self::Leak,
        Self::Panic,
        Self::Determinism,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::OwnDeadline => "own-deadline",
            Self::BeforeRequest => "before-request",
            Self::Unprocessed => "unprocessed",
            Self::Once => "once",
            Self::Body => "body",
            Self::Flow => "flow",
            Self::Prompt => "prompt",
            Self::Route => "route",
            Self::Credentials => "credentials",
            Self::Blame => "blame",
            Self::Repeat => "repeat",
            Self::Order => "order",
            Self::Share => "share",
            Self::Limit => "limit",
            Self::Streams => "streams",
            Self::Idle => "idle",
            Self::Stats => "stats",
            Self::Waste => "waste",
            Self::Retired => "retired",
            Self::Recovery => "recovery",
            Self::Leak => "leak",
            Self::Panic => "panic",
            Self::Determinism => "determinism",
        }
    }

    /// Returns the rule in words.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Deadline => "a request that no server works on ends within the connect time-out",
            Self::OwnDeadline => "a connect time-out is the request's own: as long as it says, over its own attempts",
            Self::BeforeRequest => "a request that was processed is not reported as before-request",
            Self::Unprocessed => "a request that a server promised not to have processed is reported as before-request",
            Self::Once => "no POST is processed twice",
            Self::Body => "every body is the one that was sent, whole or with an error",
            Self::Flow => "a response that was sent arrives, whatever others do with theirs",
            Self::Prompt => "a request to a healthy peer waits no longer than it takes to open a connection",
            Self::Route => "every request comes to the peer that the settings name, on that peer's connections alone",
            Self::Credentials => "every proxy gets its own credentials, and nobody else gets them",
            Self::Blame => "a request fails only by a fault of its own connection, and one failed attempt fails one",
            Self::Repeat => "a GET is repeated if a reused connection closed before any byte of a response",
            Self::Order => "requests that wait for one connection are served in order",
            Self::Share => "no origin has more than half of the connections that a limit allows to a forward proxy",
            Self::Limit => "no key has more connections than its limit",
            Self::Streams => "no more streams are open than the peer allows, and one before it has said so",
            Self::Idle => "no more connections are idle, and for no longer, than the limits allow",
            Self::Stats => "the figures equal what the network sees when all is quiet",
            Self::Waste => "no more connections are opened and closed unused than there are requests",
            Self::Retired => "no connection to a proxy outlives the settings that name it, once no request is on it",
            Self::Recovery => "a healthy origin is reached at once, whatever happened before",
            Self::Leak => "nothing is left when all is over: no waiter, attempt, socket or task",
            Self::Panic => "nothing panics",
            Self::Determinism => "a seed has one trace",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.rule())
    }
}

/// A broken rule.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) text: String,
}
