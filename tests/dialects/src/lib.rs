//! The dialects of `tower-outbound-proxy` against the programs they are named after.
//!
//! [`Generator`] makes `NO_PROXY` lists and, for each, URLs that nearly match it; a test asks the program and this crate
//! about each pair, and [`Comparison`] counts. Where the two differ on purpose, the test has a *named exception* ([`Exceptions`]):
//! which cases it is about, and why.

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
