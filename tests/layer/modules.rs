//! Promise: a module uses only modules below it, in the order of the contributors' guide, which has all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Reads the modules of the guide's picture, lowest first.
fn order() -> Vec<String> {
    let guide = fs::read_to_string(".github/CONTRIBUTING.md").unwrap();
    let picture = guide.split("src/\n").nth(1).unwrap();
    let rows = picture.lines().take_while(|line| line.starts_with("  "));
    rows.filter(|row| !row.starts_with("   "))
        .map(|row| row.split_whitespace().next().unwrap())
        .map(|name| name.trim_end_matches(".rs").trim_end_matches('/').to_owned())
        .collect()
}

/// Reads the modules that each top-level module names by `crate::`, outside of comments and tests.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let mut uses = BTreeMap::new();
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module != "lib" && path.extension().is_none_or(|extension| extension == "rs") {
            read(&path, uses.entry(module).or_default());
        }
    }
    uses
}

fn read(path: &Path, uses: &mut BTreeSet<String>) {
    if path.is_dir() {
        return fs::read_dir(path)
            .unwrap()
            .for_each(|entry| read(&entry.unwrap().path(), uses));
    }
    if path
        .components()
        .any(|part| part.as_os_str().to_str().unwrap().starts_with("tests"))
    {
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code: Vec<_> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    for used in code.split("crate::").skip(1) {
        match used.strip_prefix('{') {
            None => uses.extend(first_word(used)),
            // One name a line, or all in one.
            Some(group) if group.starts_with('\n') => {
                let group = group.split("\n}").next().unwrap();
                let names = group.lines().filter_map(|line| line.strip_prefix("    "));
                uses.extend(names.filter_map(first_word));
            }
            Some(group) => uses.extend(group.split('}').next().unwrap().split(", ").filter_map(first_word)),
        }
    }
}

fn first_word(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[test]
fn a_module_uses_only_those_below_it() {
    let (order, uses) = (order(), uses());
    assert!(order.len() > 15, "{order:?}");
    let rank = |module: &String| {
        let rank = order.iter().position(|listed| listed == module);
        rank.unwrap_or_else(|| panic!("`{module}` is not in the guide's picture"))
    };
    let mut checked = 0;
    for (module, uses) in &uses {
        for used in uses.iter().filter(|used| *used != module) {
            assert!(
                rank(used) < rank(module),
                "`{module}` uses `{used}`, which is not below it"
            );
            checked += 1;
        }
        rank(module);
    }
    assert!(checked > 60, "{checked}");
}
