//! The title of an HTML page, as far as a link preview needs it.

/// In characters. What is longer is cut off: a page may have a title of half a megabyte, a chat message has no room for it.
const MAX_TITLE: usize = 300;

/// The text of the first `<title>`, with character references decoded and white space collapsed. `None` where there is
/// none, it is empty, or the page breaks off in it.
///
/// Reads bytes as UTF-8, and what is not UTF-8 as U+FFFD. Comments, scripts and styles are skipped. No byte is looked at
/// for one mark more than once, whatever the page: a search that finds nothing ends it all.
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

/// What follows the name in a start tag of this name, if one stands here.
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
