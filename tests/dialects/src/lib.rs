//! The dialects of `tower-outbound-proxy` against the programs they are named after.
//!
//! [`Generator`] makes `NO_PROXY` lists and, for each, URLs that nearly match it. [`variables`] makes environments. A
//! test asks the program and this crate about each pair, and [`Comparison`] counts. For each intended difference, the
//! test has a *named exception* ([`Exceptions`]).

mod comparison;
mod generator;
mod program;
mod random;
mod runs;
mod texts;
mod variables;

pub use self::{
    comparison::{Answers, Comparison, Exceptions, REFUSED, SPELLING, UNUSABLE, USABLE, answer, config},
    generator::{Generator, Targets},
    program::Program,
    random::Random,
    runs::{compare_environments, compare_lists, compare_proxies},
    variables::{PROXIES, variables},
};
