//! Promise: the documents name tests and files that exist, and the source keeps to the style of the contributors' guide.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Returns the texts between single backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the path of a file that a document names. Without a folder of its own, it is in `tests/`.
fn path(name: &str) -> PathBuf {
    match ["src/", "examples/", "tests/", "benches/"]
        .iter()
        .any(|folder| name.starts_with(folder))
    {
        true => name.into(),
        false => Path::new("tests").join(name),
    }
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let model = fs::read_to_string(".github/SECURITY.md").unwrap();
    let tests: Vec<_> = quoted(&model).filter_map(|name| name.split_once(".rs: ")).collect();
    assert!(tests.len() > 70, "{}", tests.len());
    for (file, test) in tests {
        let text = fs::read_to_string(path(&format!("{file}.rs"))).unwrap_or_else(|error| panic!("{file}.rs: {error}"));
        let is_there = ["fn", "mod"]
            .iter()
            .any(|item| text.contains(&format!("{item} {test}")));
        assert!(is_there, "{file}.rs has no test `{test}`");
    }
}

#[test]
fn the_guide_names_files_that_exist_or_are_new() {
    let guide = fs::read_to_string(".github/CONTRIBUTING.md").unwrap();
    let mut files = 0;
    for (name, after) in quoted(&guide).zip(guide.split('`').skip(2).step_by(2)) {
        let is_new = after.starts_with(", new");
        if name.starts_with("src/") && name.ends_with(".rs") {
            assert_ne!(is_new, Path::new(name).exists(), "{name}");
            files += 1;
        }
    }
    assert!(files > 20, "{files}");
}

/// Returns the files of the source.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn doc_lines_say_what_an_item_is_or_does() {
    let questions = ["What", "Whether", "How", "Of", "Where", "Who"];
    let files = sources(Path::new("src"));
    assert!(files.len() > 100, "{}", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.lines().count() <= 500, "{} holds two things", file.display());
        for line in text.lines().map(str::trim_start) {
            let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let word = doc.and_then(|doc| doc.split_whitespace().next()).unwrap_or_default();
            assert!(!questions.contains(&word), "{}: {line}", file.display());
        }
    }
}
