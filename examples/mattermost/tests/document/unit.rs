//! A unit file's `Environment=` lines are read as systemd.syntax(7) and systemd.exec(5) define.

use std::{fs, path::Path};

use crate::app::unit::Unit;

fn parse(text: &str) -> Unit {
    Unit::parse("x.service", text).unwrap()
}

/// Returns the variables that this text sets in the section [Service].
fn set(text: &str) -> Vec<(String, String)> {
    let unit = parse(&format!("[Service]\n{text}"));
    assert!(unit.warnings.is_empty(), "{text}: {:?}", unit.warnings);
    unit.environment
}

#[track_caller]
fn assert_sets(text: &str, expected: &[(&str, &str)]) {
    let found = set(text);
    let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn lines_and_assignments_add_up_and_the_last_wins() {
    assert_sets(
        "Environment=A=1 B=2\nEnvironment=C=3",
        &[("A", "1"), ("B", "2"), ("C", "3")],
    );
    assert_sets(
        "Environment=A=1\nEnvironment=B=2\nEnvironment=A=3 A=4",
        &[("B", "2"), ("A", "4")],
    );
    assert_sets(" Environment \t=  A=1  \t B=2  ", &[("A", "1"), ("B", "2")]);
    assert_sets("Environment=A=b=c", &[("A", "b=c")]);
    assert_sets("Environment=A=", &[("A", "")]);
    assert_sets("Environment=_a9=x", &[("_a9", "x")]);
    assert_sets("Environment=A=$B", &[("A", "$B")]);
    assert_sets("Type=notify\nExecStart=/bin/true -- %i\n", &[]);
}

#[test]
fn an_empty_line_resets_the_list() {
    assert_sets("Environment=A=1\nEnvironment=\nEnvironment=B=2", &[("B", "2")]);
    assert_sets("Environment=A=1\nEnvironment=  ", &[]);
}

#[test]
fn quotes_keep_blanks_and_go() {
    assert_sets(
        r#"Environment="A=a b" 'B=c d' C="e f" D='g "h"'"#,
        &[("A", "a b"), ("B", "c d"), ("C", "e f"), ("D", "g \"h\"")],
    );
    assert_sets("Environment=A=#1 B=;2", &[("A", "#1"), ("B", ";2")]);
}

#[test]
fn escapes_are_those_of_c() {
    assert_sets(
        r#"Environment="A=\t\n\\\"\'\s" B=a\x20b C='\u00fc\U0001f600' D=\101\a"#,
        &[("A", "\t\n\\\"' "), ("B", "a b"), ("C", "ü😀"), ("D", "A\u{7}")],
    );
    assert_sets(r"Environment=A=\xc3\xbc", &[("A", "ü")]);
}

#[test]
fn a_backslash_at_the_end_goes_on_in_the_next_line_that_is_no_comment() {
    assert_sets(
        "Environment=A=1 \\\n  B=2 \\\n# a comment\n; and another\nC=3\nEnvironment=D=4",
        &[("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")],
    );
    assert_sets("Environment=A=1\\\nB=2", &[("A", "1"), ("B", "2")]);
    // An escaped one does not.
    assert_sets("Environment=A=1\\\\\nEnvironment=B=2", &[("A", "1\\"), ("B", "2")]);
    assert_sets("Environment=A=1 \\", &[("A", "1")]);
}

#[test]
fn comments_and_other_sections_do_not_count() {
    let unit = parse(
        "\u{feff}# Environment=A=1\r\n[Unit]\r\nEnvironment=B=2\r\n\r\n[Service]\r\n ; Environment=C=3\r\n\
         Environment=D=4\r\n[Install]\r\nEnvironment=E=5\r\n[Service]\r\nEnvironment=F=6\r\n[X-Own]\r\nG = 7\r\n",
    );
    assert_eq!(
        unit.environment,
        [("D", "4"), ("F", "6")].map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(
        unit.warnings,
        [
            "x.service:3: `Environment=` counts in the section [Service] only: ignored",
            "x.service:9: `Environment=` counts in the section [Service] only: ignored",
        ]
    );
}

#[test]
fn what_is_not_read_is_told() {
    let unit = parse(
        "[Service]\nEnvironmentFile=-/etc/default/x\nPassEnvironment=A\nUnsetEnvironment=A\nEnvironmentFile=\nwhat\n",
    );
    assert_eq!(
        unit.warnings,
        [
            "x.service:2: `EnvironmentFile=` is not supported here: ignored",
            "x.service:3: `PassEnvironment=` is not supported here: ignored",
            "x.service:4: `UnsetEnvironment=` is not supported here: ignored",
            "x.service:6: no `=`: the line is ignored",
        ]
    );
}

#[test]
fn a_percent_sign_is_written_twice() {
    assert_sets(
        "Environment=A=p%%40ss B=50%% C=100% D=%-%",
        &[("A", "p%40ss"), ("B", "50%"), ("C", "100%"), ("D", "%-%")],
    );
    // `@` percent-encoded, as in a URL. (systemd would start the service without the variable.)
    let error = Unit::parse(
        "x.service",
        "[Service]\nEnvironment=HTTP_PROXY=http://u:secr%40et@p:3128",
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "x.service:2: Environment=: assignment 1: HTTP_PROXY: systemd takes `%` and a letter or digit for a specifier; in \
         a unit file a percent sign is written `%%`, also in a percent-encoded URL"
    );
}

#[test]
fn errors_name_file_and_line_and_show_no_value() {
    for (line, reason) in [
        // A password with a blank in it: what follows the blank is the next assignment.
        (
            "HTTP_PROXY=http://u:secret secret@p",
            "assignment 2: it is not `NAME=value`",
        ),
        (
            "\"HTTP_PROXY=http://u:secret@p",
            "a quotation that \" opens is not closed",
        ),
        (
            "'HTTP_PROXY=http://u:secret@p",
            "a quotation that ' opens is not closed",
        ),
        (r"HTTP_PROXY=http://u:secret\q@p", "a backslash begins an escape"),
        (r"HTTP_PROXY=secret\x00", "a backslash begins an escape"),
        (r"HTTP_PROXY=secret\x4", "a backslash begins an escape"),
        (r"HTTP_PROXY=secret\ud800", "a backslash begins an escape"),
        (r"HTTP_PROXY=secret\477", "a backslash begins an escape"),
        (r"HTTP_PROXY=secret\xff", "assignment 1: not UTF-8"),
        (
            "HTTP_PROXY=http://u:secret%Z@p",
            "assignment 1: HTTP_PROXY: systemd takes `%`",
        ),
        ("9secret=x", "assignment 1: it is not `NAME=value`"),
        ("=secret", "assignment 1: it is not `NAME=value`"),
        ("A B=secret", "assignment 1: it is not `NAME=value`"),
    ] {
        let error = Unit::parse("x.service", &format!("# one\n[Service]\n\nEnvironment= \\\n {line}\n")).unwrap_err();
        let (text, debug) = (error.to_string(), format!("{error:?}"));
        assert!(
            text.starts_with(&format!("x.service:4: Environment=: {reason}")),
            "{line}: {text}"
        );
        assert!(
            !text.contains("secret") && !debug.contains("secret"),
            "{line}: {text} {debug}"
        );
    }
}

/// As to systemd, which does not load such a unit. Read on, all that follows would be in no section, and not read.
#[test]
fn a_header_that_is_not_closed_is_an_error() {
    let error = Unit::parse("x.service", "[Unit]\n[Service\nEnvironment=HTTP_PROXY=http://p:3128\n").unwrap_err();
    assert_eq!(error.to_string(), "x.service:2: a section's header ends in `]`");
}

#[test]
fn files_that_cannot_be_read_are_errors() {
    let missing = Unit::read(Path::new("/nowhere/x.service")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/x.service: No such file"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.service");
    fs::write(&file, b"[Service]\nEnvironment=A=\xff\n").unwrap();
    let error = Unit::read(&file).unwrap_err().to_string();
    assert!(error.ends_with("x.service:2: not UTF-8"), "{error}");
}
