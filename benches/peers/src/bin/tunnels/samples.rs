//! Several measurements of the same, and their comparison with others of the same rounds.

/// One value of each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn greatest(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns the ratio of each round.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(value, other)| value / other)
                .collect(),
        )
    }

    /// Shows a value with its ratio to another one: the median, and the range if there are several rounds.
    pub(crate) fn beside(&self, other: &Self, show: impl Fn(f64) -> String) -> String {
        let (value, ratios) = (show(self.median()), self.over(other));
        format!(
            "{value} (×{:.2}, {:.2}–{:.2})",
            ratios.median(),
            ratios.least(),
            ratios.greatest()
        )
    }
}

/// Shows a value, and its ratio to ours if it is another's.
pub(crate) fn beside(samples: &Samples, ours: &Samples) -> String {
    match std::ptr::eq(samples, ours) {
        true => figures(samples.median()),
        false => samples.beside(ours, figures),
    }
}

/// A number of three figures.
pub(crate) fn figures(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.1}k", value / 1e3),
        value if value >= 1000.0 => format!("{:.2}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Samples, figures};

    #[test]
    fn ratios_are_of_the_same_round() {
        let (ours, other) = (Samples(vec![2.0, 4.0, 8.0]), Samples(vec![1.0, 4.0, 2.0]));
        assert_eq!(ours.median(), 4.0);
        assert_eq!(other.over(&ours).median(), 0.5);
        assert_eq!(other.beside(&ours, figures), "2.0 (×0.50, 0.25–1.00)");
    }
}
