//! [`Programs`]: some of the programs that are compared.

use std::fmt;

use crate::dialect::Dialect;

/// The programs of a finding, each named by its dialect.
///
/// `Display` writes `curl, requests and urllib`, or `every program` for all that were compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    dialects: Vec<Dialect>,
    is_all: bool,
}

impl Programs {
    /// Returns the programs' dialects, in the order of [`Dialect::ALL`].
    #[must_use]
    pub fn dialects(&self) -> &[Dialect] {
        &self.dialects
    }

    /// Returns true for all programs that were compared.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.is_all
    }

    /// Returns true if there is no program.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dialects.is_empty()
    }

    /// Returns true for the program of this dialect.
    #[must_use]
    pub fn contains(&self, dialect: Dialect) -> bool {
        self.dialects.contains(&dialect)
    }
}

impl fmt::Display for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_all, self.dialects.split_last()) {
            (true, _) => f.write_str("every program"),
            (false, None) => f.write_str("no program"),
            (false, Some((last, []))) => last.fmt(f),
            (false, Some((last, others))) => {
                let others: Vec<_> = others.iter().map(|dialect| dialect.as_str()).collect();
                write!(f, "{} and {last}", others.join(", "))
            }
        }
    }
}

/// A set of the panel's programs: the bit of each is that of its place in the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Votes(u32);

impl Votes {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn len(self) -> u32 {
        self.0.count_ones()
    }
}

/// The programs that are compared.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    dialects: Vec<Dialect>,
}

impl Panel {
    /// Creates a panel of these dialects, each once and in the order of [`Dialect::ALL`].
    pub(super) fn new(dialects: &[Dialect]) -> Self {
        let named = Dialect::ALL.iter().filter(|dialect| dialects.contains(dialect));
        Self {
            dialects: named.copied().collect(),
        }
    }

    pub(super) fn dialects(&self) -> &[Dialect] {
        &self.dialects
    }

    pub(super) fn all(&self) -> Votes {
        self.votes(self.dialects.iter().map(|_| true))
    }

    pub(super) fn only(&self, place: usize) -> Votes {
        Votes(1 << place)
    }

    /// Returns the programs whose answer is true. The answers are in the panel's order.
    pub(super) fn votes(&self, answers: impl IntoIterator<Item = bool>) -> Votes {
        let bits = answers.into_iter().enumerate();
        Votes(bits.fold(0, |votes, (place, answer)| votes | (u32::from(answer) << place)))
    }

    /// Returns the dialects of these programs with their places.
    pub(super) fn members(&self, votes: Votes) -> impl Iterator<Item = (usize, Dialect)> {
        let dialects = self.dialects.iter().copied().enumerate();
        dialects.filter(move |(place, _)| votes.0 >> place & 1 == 1)
    }

    pub(super) fn programs(&self, votes: Votes) -> Programs {
        Programs {
            dialects: self.members(votes).map(|(_, dialect)| dialect).collect(),
            is_all: votes == self.all(),
        }
    }

    /// Groups the programs by their answers, which are in the panel's order. The group of the first program comes
    /// first.
    pub(super) fn groups<T: PartialEq>(&self, answers: impl IntoIterator<Item = T>) -> Vec<(T, Votes)> {
        let mut groups: Vec<(T, Votes)> = Vec::new();
        for (place, answer) in answers.into_iter().enumerate() {
            let vote = self.only(place);
            match groups.iter_mut().find(|(other, _)| *other == answer) {
                Some((_, votes)) => *votes = votes.or(vote),
                None => groups.push((answer, vote)),
            }
        }
        groups
    }
}
