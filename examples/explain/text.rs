//! Text that fits a terminal of 80 columns.

use tower_outbound_proxy::Dialect;

const WIDTH: usize = 80;

/// Returns the text in lines that begin after `indent` columns. The first line begins with `label`, which fills them.
pub(crate) fn wrap(label: &str, indent: usize, text: &str) -> String {
    let mut lines = format!("{label:indent$}");
    // A label that is too long has a line of its own.
    let mut column = indent;
    if label.chars().count() >= indent && indent > 0 && !label.ends_with(' ') {
        lines.push('\n');
        lines.push_str(&" ".repeat(indent));
    }
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        }
        if column > indent {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

/// Returns the names of dialects and of their programs, in columns.
pub(crate) fn legend(dialects: &[Dialect]) -> String {
    let row = |dialect: &Dialect| format!("  {:<10}  {}\n", dialect.as_str(), dialect.program());
    let rows: String = dialects.iter().map(row).collect();
    format!("Programs:\n{rows}")
}

/// Returns the names of these dialects, separated by commas.
pub(crate) fn names(dialects: &[Dialect]) -> String {
    let names: Vec<_> = dialects.iter().map(|dialect| dialect.as_str()).collect();
    names.join(", ")
}
