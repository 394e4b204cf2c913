//! What the compiler does not check about this tree: who may use whom, where `unsafe` and clocks are, how large things
//! grow, what nothing may be called, and that what one file says of another is true.
//!
//! A rule is a function from the [`Tree`] to complaints, each `file:line: what is wrong`. Rules about code look at it
//! with comments and texts blanked out, so prose and test data never trip them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

// --- the rules ---

/// Which modules a module may name as `crate::…`. Every module has a row, and an arrow points towards the socket.
const LAYERS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("timer", &[]),
    ("identity", &[]),
    ("sip", &["limits", "identity"]),
    ("sdp", &["limits"]),
    ("rtp", &["limits"]),
    ("auth", &["sip", "limits", "timer", "identity"]),
    ("transport", &["sip", "limits", "timer"]),
    ("transaction", &["transport", "sip", "limits", "timer"]),
    ("dialog", &["auth", "srtp", "webrtc", "transaction", "transport", "sip", "sdp", "codec", "limits", "timer"]),
    ("route", &["sip", "limits", "identity"]),
    ("locate", &["transport", "sip", "limits", "timer"]),
    ("registrar", &["auth", "transport", "sip", "limits", "timer", "identity"]),
    (
        "call",
        &[
            "registrar",
            "locate",
            "auth",
            "route",
            "dialog",
            "transaction",
            "transport",
            "sip",
            "sdp",
            "codec",
            "limits",
            "timer",
            "identity",
        ],
    ),
    ("capture", &["transport", "limits", "timer", "identity"]),
    ("srtp", &["rtp", "limits", "timer"]),
    ("webrtc", &["rtp", "limits", "timer"]),
    ("codec", &["limits"]),
    ("media", &["codec", "srtp", "webrtc", "rtp", "limits", "timer", "identity"]),
    ("agent", &["codec", "limits", "timer", "identity"]),
    ("platform", &["capture", "limits", "timer", "identity"]),
    ("config", &["agent", "platform", "route", "srtp", "codec", "sip", "limits", "identity"]),
    ("server", ANYTHING),
];
const ANYTHING: &[&str] = &["*"];

/// The files that may contain `unsafe`: batched socket calls, the loading of the speech libraries, and an allocator that
/// counts for benchmarks and tests.
const UNSAFE_FILES: &[&str] = &[
    "benches/allocations/mod.rs",
    "tests/media_thread/counted.rs",
    "src/server/batched_udp.rs",
    "src/server/speech/flite_ffi.rs",
    "src/server/speech/pocketsphinx_ffi.rs",
];

/// The files that may read a clock or start a task; in `timer.rs`, the origin of simulated time.
const CLOCK_FILES: &[&str] = &["src/server/clock.rs", "src/server/task.rs", "src/timer.rs"];

/// Where code may ask for the feature `server`; elsewhere a core would differ with it.
const SHELL_SWITCHES: &[&str] = &["src/lib.rs", "src/platform/"];

/// Names of files that say nothing about what is inside.
const NAMES_THAT_SAY_NOTHING: &[&str] =
    &["common", "core", "handler", "helpers", "manager", "misc", "service", "types", "util", "utils"];

/// What no file of the tree contains: plans belong elsewhere, and so do the paths of the machine it was written on. Cut
/// in two here, as this file is read too.
const FORBIDDEN: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X:"), ("/wo", "rk/"), ("/ro", "ot/")];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// How far above an `unsafe` block its reason may stand.
const SAFETY_LINES_MAX: usize = 8;

#[test]
fn modules_depend_towards_the_socket() {
    let rows: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    check(|tree, complaints| {
        for file in tree.under("src/") {
            let Some(module) = file.module() else {
                continue;
            };
            let Some(allowed) = rows.get(module) else {
                complaints.push(format!("{}: module `{module}` has no row in LAYERS", file.path));
                continue;
            };
            for (line, used) in crate_paths(&file.production_code()) {
                let fits = used == module || *allowed == ANYTHING || allowed.contains(&used.as_str());
                if rows.contains_key(used.as_str()) && !fits {
                    complaints.push(format!("{}:{line}: `{module}` must not use `{used}`", file.path));
                }
            }
        }
        let modules: BTreeSet<_> = tree.under("src/").filter_map(File::module).collect();
        let stale = rows.keys().filter(|row| !modules.contains(*row));
        complaints.extend(stale.map(|row| format!("LAYERS has a row for `{row}`, which is not there")));
    });
}

#[test]
fn only_the_shell_knows_that_there_is_a_shell() {
    check(|tree, complaints| {
        for file in tree.under("src/").filter(|file| !SHELL_SWITCHES.iter().any(|it| file.path.starts_with(it))) {
            for (line, text) in file.lines() {
                if text.trim_start().starts_with("#[cfg") && text.contains("feature = \"server\"") {
                    complaints.push(format!("{}:{line}: a core is the same with and without `server`", file.path));
                }
            }
        }
    });
}

#[test]
fn unsafe_code_stays_in_its_files_and_gives_its_reasons() {
    check(|tree, complaints| {
        for file in tree.rust() {
            let lines: Vec<_> = file.lines().collect();
            for (line, text) in numbered(&file.code()) {
                if !has_word(text, "unsafe") {
                    continue;
                }
                if !UNSAFE_FILES.contains(&file.path.as_str()) {
                    complaints.push(format!("{}:{line}: `unsafe` is for {}", file.path, UNSAFE_FILES.join(", ")));
                }
                let needs_reason = text.contains("unsafe {") || text.contains("unsafe impl");
                let above = lines.iter().take(line).rev().take(SAFETY_LINES_MAX + 1);
                if needs_reason && !above.into_iter().any(|(_, text)| text.contains("SAFETY:")) {
                    complaints.push(format!("{}:{line}: `unsafe` without a `SAFETY:` comment above", file.path));
                }
            }
        }
    });
}

#[test]
fn clocks_and_tasks_stay_in_their_files() {
    check(|tree, complaints| {
        for file in tree.under("src/").filter(|file| !CLOCK_FILES.contains(&file.path.as_str())) {
            for (line, text) in numbered(&file.production_code()) {
                if has_word(text, "disallowed_methods") {
                    complaints.push(format!("{}:{line}: only {} may", file.path, CLOCK_FILES.join(", ")));
                }
            }
        }
    });
}

#[test]
fn every_queue_has_a_bound() {
    check(|tree, complaints| {
        for file in tree.rust() {
            for (line, text) in numbered(&file.code()) {
                if ["unbounded", "unbounded_channel", "UnboundedSender"].iter().any(|it| has_word(text, it)) {
                    complaints.push(format!("{}:{line}: a queue without a bound", file.path));
                }
            }
        }
    });
}

#[test]
fn nothing_outgrows_a_reader() {
    check(|tree, complaints| {
        for file in tree.under("src/") {
            let code = file.production_code();
            let length = code.lines().count();
            if length > FILE_LINES_MAX {
                complaints.push(format!("{}: {length} lines, {FILE_LINES_MAX} are the limit", file.path));
            }
            for function in functions(&code) {
                let length = function.len();
                if length > FUNCTION_LINES_MAX {
                    let first = function.start;
                    complaints.push(format!("{}:{first}: a function of {length} lines", file.path));
                }
            }
        }
    });
}

#[test]
fn files_are_called_after_their_subject_and_open_with_it() {
    check(|tree, complaints| {
        for file in tree.rust() {
            if !file.text.starts_with("//!") {
                complaints.push(format!("{}:1: opens without `//!`", file.path));
            }
            let name = Path::new(&file.path).file_stem().and_then(|it| it.to_str()).unwrap_or_default();
            if NAMES_THAT_SAY_NOTHING.contains(&name) {
                complaints.push(format!("{}: `{name}` says nothing", file.path));
            }
        }
    });
}

#[test]
fn tests_run_and_never_wait_for_time_to_pass() {
    check(|tree, complaints| {
        for file in tree.rust() {
            for (line, text) in numbered(&file.code()) {
                if text.contains("sleep(") {
                    complaints.push(format!("{}:{line}: sleeps", file.path));
                }
                if text.contains("#[ignore") || text.contains("#[should_panic") {
                    complaints.push(format!("{}:{line}: a test runs, and asserts what it expects", file.path));
                }
            }
        }
    });
}

#[test]
fn no_file_has_plans_or_paths_of_a_machine_in_it() {
    check(|tree, complaints| {
        for file in &tree.files {
            for (line, text) in file.lines() {
                for word in FORBIDDEN.iter().map(|(left, right)| format!("{left}{right}")) {
                    if text.contains(&word) {
                        complaints.push(format!("{}:{line}: contains `{word}`", file.path));
                    }
                }
            }
        }
    });
}

#[test]
fn migrations_are_numbered_and_compiled_in() {
    check(|tree, complaints| {
        let mut expected = 0;
        for file in tree.under("migrations/") {
            expected += 1;
            let name = file.path.trim_start_matches("migrations/");
            let fits = name.starts_with(&format!("{expected:04}_")) && name.ends_with(".sql") && !name.contains('/');
            if !fits {
                complaints.push(format!("{}: expected {expected:04}_subject.sql", file.path));
            }
        }
        // The macro takes the whole directory in, so one use of it refers to every file.
        if expected > 0 && !tree.under("src/").any(|file| file.code().contains("sqlx::migrate!(")) {
            complaints.push("migrations/: nothing compiles them in".to_owned());
        }
    });
}

#[test]
fn links_between_documents_lead_somewhere() {
    check(|tree, complaints| {
        for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
            for (line, target) in links(&file.text) {
                let (target, _anchor) = target.split_once('#').unwrap_or((target, ""));
                let elsewhere = target.contains("://") || target.starts_with("mailto:");
                let directory = Path::new(&file.path).parent().unwrap_or_else(|| Path::new(""));
                if !elsewhere && !target.is_empty() && !root().join(directory).join(target).exists() {
                    complaints.push(format!("{}:{line}: there is no {target}", file.path));
                }
            }
        }
    });
}

#[test]
fn benches_and_their_entries_agree() {
    check(|tree, complaints| {
        let manifest = tree.files.iter().find(|file| file.path == "Cargo.toml").expect("this is a package");
        let entries: BTreeSet<_> = bench_names(&manifest.text).collect();
        let name = |file: &File| Some(file.path.strip_prefix("benches/")?.strip_suffix(".rs")?.to_owned());
        let files: BTreeSet<_> = tree.under("benches/").filter_map(name).filter(|it| !it.contains('/')).collect();
        let without_file = entries.difference(&files);
        complaints.extend(without_file.map(|it| format!("Cargo.toml: there is no benches/{it}.rs")));
        let without_entry = files.difference(&entries);
        complaints.extend(without_entry.map(|it| format!("benches/{it}.rs: never runs without a [[bench]] entry")));
    });
}

// --- the tree ---

struct Tree {
    /// In the order of their paths.
    files: Vec<File>,
}

struct File {
    /// From the root of the package, with `/`.
    path: String,
    text: String,
    /// Whether it is compiled for tests only.
    is_test: bool,
}

impl Tree {
    fn read() -> Self {
        let mut files = vec![];
        read_directory(&root(), &mut files);
        files.sort_by(|left, right| left.path.cmp(&right.path));
        assert!(files.iter().any(|file| file.path == "src/lib.rs"), "the sources are where this test looks");
        let tests: BTreeSet<_> = files.iter().flat_map(File::test_modules).collect();
        for file in &mut files {
            file.is_test = tests.contains(&file.path) || !file.path.starts_with("src/");
        }
        Self { files }
    }

    fn under(&self, directory: &'static str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.path.starts_with(directory))
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

impl File {
    /// The first name below `src`, except of `main.rs` and `lib.rs`.
    fn module(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?.trim_end_matches(".rs");
        (!matches!(first, "main" | "lib")).then_some(first)
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.text)
    }

    fn code(&self) -> String {
        blank_out(&self.text)
    }

    /// The files of the modules that this one declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let own = Path::new(&self.path).with_extension("");
        let is_folder = matches!(own.file_stem().and_then(|it| it.to_str()), Some("mod" | "lib" | "main"));
        let folder = if is_folder { own.parent().unwrap_or(&own) } else { &own };
        let declared = self.text.split("#[cfg(test)]\nmod ").skip(1).map(name_at).filter(|it| it != "tests");
        declared.map(|name| folder.join(name).with_extension("rs").to_string_lossy().into_owned()).collect()
    }

    /// The code above the inline tests.
    fn production_code(&self) -> String {
        if self.is_test {
            return String::new();
        }
        let code = self.code();
        code.split("\nmod tests {").next().unwrap_or_default().to_owned()
    }
}

fn read_directory(directory: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(directory).expect("the tree is readable") {
        let path = entry.expect("the tree is readable").path();
        let below =
            path.strip_prefix(root()).expect("it was found there").to_str().expect("names are UTF-8").to_owned();
        let is_ours = ![".git", "data", "target", "fuzz/target"].contains(&below.as_str());
        if path.is_dir() && is_ours {
            read_directory(&path, files);
        } else if is_ours && let Ok(text) = fs::read_to_string(&path) {
            files.push(File { path: below, text, is_test: false });
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn check(rule: impl Fn(&Tree, &mut Vec<String>)) {
    let mut complaints = vec![];
    rule(&Tree::read(), &mut complaints);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

// --- reading code ---

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// The code with every character of a comment, a text or a character literal turned into a space; lines stay lines.
fn blank_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let in_word = before.is_alphanumeric() || before == '_';
        let length = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            '\'' => character(rest),
            'r' | 'b' | 'c' if !in_word => raw_text(rest),
            _ => 0,
        };
        let (blank, after) = rest.split_at(length.max(next.len_utf8()));
        if length == 0 {
            out.push(next);
        } else {
            out.extend(blank.chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        }
        before = next;
        rest = after;
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, _) in text.char_indices() {
        let rest = text.split_at(at).1;
        if rest.starts_with("/*") {
            depth += 1;
        } else if rest.starts_with("*/") {
            depth -= 1;
        }
        if depth == 0 && at > 1 {
            return at + 2;
        }
    }
    text.len()
}

/// The length of a text that begins and ends with `mark`.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, it) in text.char_indices().skip(1) {
        if it == mark && !escaped {
            return at + 1;
        }
        escaped = it == '\\' && !escaped;
    }
    text.len()
}

/// The length of a character literal; zero for a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

/// The length of a text with a prefix, as `r#"…"#` or `b"…"`; zero if that is not one.
fn raw_text(text: &str) -> usize {
    let marks =
        text.trim_start_matches(['b', 'c']).strip_prefix('r').map(|it| it.split('"').next().unwrap_or_default());
    match marks {
        Some(marks) if marks.bytes().all(|it| it == b'#') && text.contains('"') => {
            let start = text.find('"').map_or(0, |at| at + 1);
            let end = format!("\"{marks}");
            let body = text.split_at(start).1;
            start + body.find(&end).map_or(body.len(), |at| at + end.len())
        }
        _ => 0,
    }
}

/// The first names of all `crate::…` paths, groups like `crate::{a, b::c}` included, with their lines.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = vec![];
    for (at, mark) in code.match_indices("crate::") {
        let (above, below) = code.split_at(at);
        let line = above.matches('\n').count() + 1;
        let after = below.strip_prefix(mark).unwrap_or_default();
        match after.strip_prefix('{') {
            Some(group) => found.extend(group_names(group).into_iter().map(|name| (line, name))),
            None => found.push((line, name_at(after))),
        }
    }
    found
}

/// The first names in a group of which the opening brace is cut off.
fn group_names(group: &str) -> Vec<String> {
    let mut names = vec![];
    let mut depth = 0_usize;
    let mut item = String::new();
    for it in group.chars() {
        match it {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name_at(std::mem::take(&mut item).trim_start())),
            it if depth == 0 => item.push(it),
            _ => {}
        }
    }
    names.push(name_at(item.trim_start()));
    names
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|it: char| !it.is_alphanumeric() && it != '_').any(|it| it == word)
}

/// The lines of each function that has a body: formatted code ends it at the indentation it began with.
fn functions(code: &str) -> Vec<Range<usize>> {
    let mut found = vec![];
    let mut open: Vec<(usize, usize)> = vec![];
    for (number, line) in numbered(code) {
        let indentation = line.len() - line.trim_start().len();
        let is_head = line.split_whitespace().take(5).any(|it| it == "fn");
        if is_head && !line.trim_end().ends_with([';', '}']) {
            open.push((number, indentation));
        }
        if line.trim() == "}"
            && let Some((first, _)) = open.pop_if(|(_, at)| *at == indentation)
        {
            found.push(first..number + 1);
        }
    }
    found
}

// --- reading documents ---

/// The targets of links like `[text](target)`, outside of code, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = vec![];
    let mut in_block = false;
    for (number, line) in numbered(text) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        let pieces = line.split('`').step_by(2).flat_map(|prose| prose.split("](").skip(1));
        if !in_block {
            found.extend(pieces.filter_map(|piece| Some((number, piece.split_once(')')?.0.trim()))));
        }
    }
    found
}

fn bench_names(manifest: &str) -> impl Iterator<Item = String> {
    manifest.split("[[bench]]").skip(1).filter_map(|entry| {
        let line = entry.lines().find(|line| line.starts_with("name"))?;
        Some(line.split('"').nth(1)?.to_owned())
    })
}

// --- the rules' own tests ---

#[test]
fn code_is_told_from_prose() {
    let code = r###"let a = "unsafe \" {"; // unsafe
let b = r#"un"safe"#; /* unsafe /* nested */ unsafe */ let c = 'x';
fn f<'a>(it: &'a str) -> char { '\'' } let brace = b'{'; let bar = 1;"###;
    let expected = "let a =              ;          \n\
                    let b =             ;                                  let c =    ;\n\
                    fn f<'a>(it: &'a str) -> char {      } let brace = b   ; let bar = 1;";
    let blanked = blank_out(code);
    assert_eq!(
        blanked.lines().map(str::trim_end).collect::<Vec<_>>(),
        expected.lines().map(str::trim_end).collect::<Vec<_>>()
    );
}

#[test]
fn paths_are_found_in_groups() {
    let code = "use crate::{limits, timer::{Now, Deadlines}, sip};\nlet x = crate::media::Session;";
    let expected = [(1, "limits"), (1, "timer"), (1, "sip"), (2, "media")];
    assert_eq!(crate_paths(code), expected.map(|(line, name)| (line, name.to_owned())));
}

#[test]
fn functions_end_where_their_indentation_returns() {
    let code = "fn a() {\n    if b {\n    }\n}\ntrait T {\n    fn c();\n    fn d() {\n    }\n}\n";
    assert_eq!(functions(code), [1..5, 7..9]);
}

#[test]
fn links_are_found_outside_of_code() {
    let text = "see [a](docs/a.md) and `[b](b.md)`\n```\n[c](c.md)\n```\n[d](d.md#e)";
    assert_eq!(links(text), [(1, "docs/a.md"), (5, "d.md#e")]);
}
