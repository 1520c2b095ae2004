//! The text of a page that is its title.

use crate::app::title::title;

#[test]
fn a_title_is_found_and_read_as_html_has_it() {
    for (page, expected) in [
        ("<title>Home</title>", Some("Home")),
        ("<!DOCTYPE html><HTML><HEAD><TITLE lang=en>Home</TITLE>", Some("Home")),
        ("<title\n>\n  Two \t words\r\n</title >", Some("Two words")),
        (
            "<title>Q&amp;A &lt;b&gt; &quot;x&quot; &eacute; &#8211; &#x2013;</title>",
            Some("Q&A <b> \"x\" é – –"),
        ),
        ("<title>1 < 2 <b>bold</b></title>", Some("1 < 2 <b>bold</b>")),
        ("<title>first</title><title>second</title>", Some("first")),
        ("<!-- <title>old</title> --><title>new</title>", Some("new")),
        (
            "<script>var t = '<title>no</title>';</script><title>yes</title>",
            Some("yes"),
        ),
        ("<style>/* <title>no</title> */</style><title>yes</title>", Some("yes")),
        ("<titles>no</titles><title>yes</title>", Some("yes")),
        ("<title/>Home</title>", Some("Home")),
        ("<title></title>", None),
        ("<title> &#32; </title>", None),
        ("<title>broken off", None),
        ("<title", None),
        ("<!-- <title>no</title>", None),
        ("no page at all <", None),
        ("", None),
    ] {
        assert_eq!(title(page.as_bytes()).as_deref(), expected, "{page}");
    }
    assert_eq!(title(b"<title>caf\xe9</title>").as_deref(), Some("caf\u{fffd}"));
}

/// Or a stranger's page keeps the server busy, and no time-out ends what does not wait.
#[test]
fn a_page_of_tags_that_never_end_is_read_once() {
    let started = std::time::Instant::now();
    for tag in ["<title ", "<script ", "<style ", "<!-- ", "<"] {
        let page = tag.repeat((512 << 10) / tag.len());
        assert_eq!(title(page.as_bytes()), None, "{tag}");
    }
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn a_long_title_is_cut_off() {
    let of = |length: usize| title(format!("<title>{}</title>", "ü".repeat(length)).as_bytes()).unwrap();
    assert_eq!(of(300), "ü".repeat(300));
    assert_eq!(of(250_000), format!("{}…", "ü".repeat(300)));
}
