//! Checks the properties of the source tree that the compiler cannot:
//! layering, size, names, module documentation, and that no test sleeps.
#![expect(clippy::string_slice, reason = "source text is cut at ASCII marks")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules a module may name as `crate::…`; `*` is any.
const LAYERS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("timer", &[]),
    ("identity", &[]),
    ("sip", &["limits", "identity"]),
    ("sdp", &["limits"]),
    ("rtp", &["limits"]),
    ("transport", &["sip", "limits", "timer"]),
    ("transaction", &["transport", "sip", "limits", "timer"]),
    ("dialog", &["transaction", "transport", "sip", "sdp", "limits", "timer"]),
    ("route", &["sip", "limits", "identity"]),
    ("call", &["route", "dialog", "transaction", "transport", "sip", "sdp", "limits", "timer", "identity"]),
    ("codec", &["limits"]),
    ("media", &["codec", "rtp", "limits", "timer", "identity"]),
    ("agent", &["codec", "limits", "timer", "identity"]),
    ("platform", &["limits", "timer", "identity"]),
    ("config", &["agent", "platform", "route", "sip", "limits", "identity"]),
    ("server", &["*"]),
];

/// Names that say nothing about what is inside.
const FILE_NAMES_BANNED: &[&str] =
    &["common", "core", "handler", "helpers", "manager", "misc", "service", "types", "util", "utils"];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;

#[test]
fn modules_only_depend_downwards() {
    let allowed: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut errors = vec![];
    for (path, text) in sources() {
        let Some(module) = module_of(&path) else {
            continue;
        };
        let Some(may_use) = allowed.get(module.as_str()) else {
            errors.push(format!("{}: module `{module}` is not in LAYERS", path.display()));
            continue;
        };
        for (number, line) in production_lines(&text) {
            for used in line.match_indices("crate::").map(|(at, token)| ident(&line[at + token.len()..])) {
                let may = may_use.contains(&used) || may_use.contains(&"*");
                if used != module && allowed.contains_key(used) && !may {
                    errors.push(format!("{}:{number}: `{module}` must not use `{used}`", path.display()));
                }
            }
        }
    }
    report(errors);
}

#[test]
fn functions_and_files_fit_on_a_screen() {
    let mut errors = vec![];
    for (path, text) in sources() {
        let lines: Vec<_> = production_lines(&text).collect();
        if lines.len() > FILE_LINES_MAX {
            errors.push(format!("{}: {} lines, the limit is {FILE_LINES_MAX}", path.display(), lines.len()));
        }
        let mut open: Vec<(usize, usize)> = vec![]; // (first line, indentation)
        for (number, line) in lines {
            let indentation = line.len() - line.trim_start().len();
            if is_function(line) && !line.trim_end().ends_with([';', '}']) {
                open.push((number, indentation));
            }
            if line.trim_end() == format!("{}}}", " ".repeat(indentation))
                && open.last().is_some_and(|(_, at)| *at == indentation)
            {
                let (first, _) = open.pop().expect("checked above");
                let length = number - first + 1;
                if length > FUNCTION_LINES_MAX {
                    errors.push(format!("{}:{first}: function of {length} lines", path.display()));
                }
            }
        }
    }
    report(errors);
}

#[test]
fn files_say_what_they_are() {
    let mut errors = vec![];
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            errors.push(format!("{}: starts without a `//!` comment", path.display()));
        }
        let stem = path.file_stem().and_then(|it| it.to_str()).expect("file names are UTF-8");
        if FILE_NAMES_BANNED.contains(&stem) {
            errors.push(format!("{}: `{stem}` says nothing", path.display()));
        }
    }
    report(errors);
}

#[test]
fn no_test_sleeps() {
    let mut found = sources();
    walk(&root().join("tests"), &mut found);
    let call = concat!("sleep", "(");
    let errors = found
        .iter()
        .flat_map(|(path, text)| text.lines().enumerate().map(move |line| (path, line)))
        .filter(|(_, (_, line))| line.contains(call))
        .map(|(path, (index, _))| format!("{}:{}: sleeps", path.display(), index + 1))
        .collect();
    report(errors);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    walk(&root().join("src"), &mut found);
    assert!(!found.is_empty());
    found
}

fn walk(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).expect("the source tree is readable") {
        let path = entry.expect("the source tree is readable").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            found.push((path, text));
        }
    }
}

/// The first path component below `src`, or `None` for `main.rs` and `lib.rs`.
fn module_of(path: &Path) -> Option<String> {
    let below = path.strip_prefix(root().join("src")).ok()?;
    let first = below.iter().next()?.to_str()?.trim_end_matches(".rs");
    (!matches!(first, "main" | "lib")).then(|| first.to_owned())
}

/// Lines above the inline `#[cfg(test)] mod`, numbered from one, comments excluded.
fn production_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

fn is_function(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    words.iter().take(5).any(|it| *it == "fn")
}

fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[track_caller]
fn report(errors: Vec<String>) {
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}
