//! The title of an HTML page, as far as a link preview needs it.

/// The maximum length of a title, in characters. A longer title is cut off: a page may have a title of half a megabyte,
/// which does not fit into a chat message.
const MAX_TITLE: usize = 300;

/// Returns the text of the first `<title>`, with character references decoded and white space collapsed. Returns `None`
/// if there is no title, it is empty, or the page breaks off in it.
///
/// Reads bytes as UTF-8, and invalid bytes as U+FFFD. Skips comments, scripts and styles. Looks at each byte at most
/// once per mark, whatever the page: a search that finds nothing ends the whole scan.
pub fn title(page: &[u8]) -> Option<String> {
    let mut rest = page;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix(b"<!--") {
            rest = after(comment, b"-->")?;
        } else if let Some(attributes) = start_of(rest, b"title") {
            let content = after(attributes, b">")?;
            return text(&content[..find(content, b"</title")?]);
        } else if let Some(attributes) = start_of(rest, b"script") {
            rest = after(after(attributes, b">")?, b"</script")?;
        } else if let Some(attributes) = start_of(rest, b"style") {
            rest = after(after(attributes, b">")?, b"</style")?;
        } else {
            rest = &rest[1..];
        }
    }
    None
}

/// Returns the text after the name, if a start tag of this name begins here.
fn start_of<'p>(page: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let (start, rest) = page[1..].split_at_checked(name.len())?;
    let ends = |byte: &u8| byte.is_ascii_whitespace() || [b'>', b'/'].contains(byte);
    (start.eq_ignore_ascii_case(name) && rest.first().is_some_and(ends)).then_some(rest)
}

fn after<'p>(page: &'p [u8], mark: &[u8]) -> Option<&'p [u8]> {
    Some(&page[find(page, mark)? + mark.len()..])
}

fn find(page: &[u8], mark: &[u8]) -> Option<usize> {
    page.windows(mark.len())
        .position(|window| window.eq_ignore_ascii_case(mark))
}

fn text(content: &[u8]) -> Option<String> {
    let content = String::from_utf8_lossy(content);
    let text = html_escape::decode_html_entities(&content);
    let words: Vec<_> = text.split_whitespace().collect();
    let mut title = words.join(" ");
    if let Some((end, _)) = title.char_indices().nth(MAX_TITLE) {
        title.truncate(end);
        title.push('…');
    }
    (!title.is_empty()).then_some(title)
}
