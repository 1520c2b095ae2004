//! The dialects of `tower-outbound-proxy` against the programs they are named after.
//!
//! [`Generator`] makes `NO_PROXY` lists and, for each, URLs that nearly match it. A test asks the program and this
//! crate about each pair, and [`Comparison`] counts. For each intended difference, the test has a *named exception*
//! ([`Exceptions`]) with its cases and its reason.

mod comparison;
mod generator;
mod random;
mod variables;

pub use self::{
    comparison::{Answers, Comparison, Exceptions, IsException, answer},
    generator::Generator,
    random::Random,
    variables::variables,
};
