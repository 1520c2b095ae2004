//! A table that is as wide as its content.

use std::fmt;

/// Rows under a heading. A wrong row is marked at its end.
pub(crate) struct Table {
    rows: Vec<(Vec<String>, bool)>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|&cell| cell.to_owned()).collect();
        Self {
            rows: vec![(heading, true)],
        }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>, right: bool) {
        self.rows.push((cells.into(), right));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = Vec::new();
        for (cells, _) in &self.rows {
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        for (cells, right) in &self.rows {
            let padded: Vec<_> = cells
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"))
                .collect();
            let line = padded.join("  ");
            let mark = if *right { "" } else { "   WRONG" };
            writeln!(f, "  {}{mark}", line.trim_end())?;
        }
        Ok(())
    }
}
