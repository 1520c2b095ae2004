//! Markdown tables.

use std::{fmt, ops::Range};

/// A table, of whose columns some hold text and the others numbers.
#[derive(Debug)]
pub struct Table {
    text: Range<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with this header. The columns `text` are aligned to the left, the others to the right.
    pub fn new<S: Into<String>>(text: Range<usize>, header: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self { text, rows: Vec::new() };
        table.row(header);
        table
    }

    /// Adds a row, which has as many cells as the header.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, row) in self.rows.iter().enumerate() {
            let line = format!("| {} |", row.join(" | "));
            // An empty cell is one blank wide.
            writeln!(f, "{}", line.replace("|  |", "| |"))?;
            if n == 0 {
                f.write_str("|")?;
                for column in 0..row.len() {
                    f.write_str(if self.text.contains(&column) { "---|" } else { "---:|" })?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
