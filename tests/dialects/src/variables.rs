//! Random environments.

use crate::Random;

/// Returns an environment in which each of `names` is unset, empty, or one of its values.
pub fn variables<'a>(random: &mut Random, names: &[(&'a str, &[&'a str])]) -> Vec<(&'a str, &'a str)> {
    let mut variables = Vec::new();
    for (name, values) in names {
        match random.below(8) {
            0..4 => variables.push((*name, random.one(values))),
            4 => variables.push((*name, "")),
            _ => {}
        }
    }
    variables
}
