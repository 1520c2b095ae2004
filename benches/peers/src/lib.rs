//! The page that the programs write: Markdown tables and SVG charts, generated and never edited by hand.

pub mod chart;
mod page;
mod table;

pub use self::{page::Page, table::Table};
