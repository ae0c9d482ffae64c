//! Holds the floors: who may import whom, that no file is part of a circle, that named paths exist, and that functions
//! do not grow.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import of the crate, itself always included. Arrows point down only.
const ALLOWED: [(&str, &[&str]); 40] = [
    ("crash_point", &[]),
    ("yield_point", &[]),
    ("domain", &[]),
    ("engine", &["domain"]),
    ("clock", &["domain"]),
    ("feed", &["domain"]),
    ("table", &[]),
    ("gateway", &["domain", "clock"]),
    ("store", &["domain", "clock", "crash_point", "yield_point"]),
    ("config", &["domain", "clock", "table", "gateway", "store"]),
    ("intake", &["domain", "clock", "config", "store"]),
    ("import", &["domain", "clock", "table", "gateway", "store", "intake"]),
    ("contacts", &["domain", "clock", "table", "gateway", "store", "import"]),
    ("planner", &["domain", "clock", "store", "intake"]),
    ("live_lists", &["domain", "clock", "config", "store", "planner"]),
    ("follower", &["domain", "clock", "store", "intake"]),
    ("repair", &["domain", "store"]),
    ("erasure", &["domain", "store", "repair"]),
    ("repeats", &["domain", "store"]),
    ("resend", &["domain", "clock", "store", "intake", "repair"]),
    ("hours", &["domain", "clock", "store"]),
    ("rendering", &["domain", "clock", "store"]),
    (
        "worker",
        &["domain", "engine", "clock", "crash_point", "feed", "gateway", "store", "repeats", "hours", "rendering"],
    ),
    ("receipts", &["domain", "clock", "feed", "gateway", "store"]),
    ("doubt", &["domain", "clock", "crash_point", "gateway", "store", "rendering"]),
    ("recall", &["domain", "clock", "crash_point", "gateway", "store", "repair"]),
    ("upkeep", &["domain", "clock", "store"]),
    ("brake", &["domain", "clock", "store"]),
    ("rescuer", &["domain", "clock", "store"]),
    ("check", &["domain", "clock", "store", "worker"]),
    ("chores", &["domain", "clock", "config", "store"]),
    ("zones", &["domain", "clock", "store"]),
    ("report", &["domain", "engine", "store"]),
    ("explain", &["domain", "engine", "clock", "store", "config", "intake", "hours"]),
    ("future", &["domain", "engine", "clock", "store", "config", "intake", "hours"]),
    ("bench", &["domain", "clock", "store", "intake"]),
    ("sandbox", &["domain", "clock", "config", "gateway"]),
    ("http", &["domain", "clock", "receipts"]),
    (
        "daemon",
        &[
            "domain",
            "engine",
            "clock",
            "crash_point",
            "feed",
            "gateway",
            "store",
            "config",
            "intake",
            "planner",
            "live_lists",
            "worker",
            "follower",
            "receipts",
            "doubt",
            "recall",
            "upkeep",
            "brake",
            "rescuer",
            "check",
            "chores",
            "zones",
            "sandbox",
            "http",
        ],
    ),
    (
        "cli",
        &[
            "domain",
            "engine",
            "bench",
            "explain",
            "future",
            "import",
            "clock",
            "table",
            "feed",
            "gateway",
            "store",
            "config",
            "contacts",
            "intake",
            "planner",
            "repair",
            "erasure",
            "rendering",
            "resend",
            "report",
            "chores",
            "zones",
            "sandbox",
            "daemon",
        ],
    ),
];

/// Crates the first two floors may calculate with.
const CALCULATORS: [&str; 10] = [
    "std",
    "serde",
    "serde_json",
    "jiff",
    "minijinja",
    "chrono",
    "thiserror",
    "rlibphonenumber",
    "icu_casemap",
    "icu_normalizer",
];

/// The longest function, in lines. Lower it when you can; it never goes up.
const LONGEST_FUNCTION: usize = 79;

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(Path::new("src"), &mut paths);
    paths.sort();
    let module = |p: &Path| {
        let first = p.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
        first.trim_end_matches(".rs").to_owned()
    };
    paths.into_iter().map(|p| (module(&p), p.clone(), fs::read_to_string(&p).unwrap())).collect()
}

/// Modules of this crate that a source names.
fn imports(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in source.lines().filter(|l| !l.trim_start().starts_with("//")) {
        for part in line.split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                found.insert(name);
            }
        }
    }
    found
}

#[test]
fn arrows_point_down_only() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(m, list)| (*m, list.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for (module, path, source) in sources() {
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let Some(list) = allowed.get(module.as_str()) else {
            wrong.push(format!("{} has no floor yet", path.display()));
            continue;
        };
        for import in imports(&source) {
            if import != module && !list.contains(import.as_str()) {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_itself_has_no_circles() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (module, list) in ALLOWED {
        for import in list {
            assert!(seen.contains(import), "{module} may import {import}, which stands above it");
        }
        seen.insert(module);
    }
}

#[test]
fn the_first_floors_only_calculate() {
    let forbidden =
        ["tokio", "sqlx", "reqwest", "axum", "std::fs", "std::net", "std::env", "std::thread", "async fn", ".await"];
    for (module, path, source) in sources() {
        if !matches!(module.as_str(), "domain" | "engine") {
            continue;
        }
        for word in forbidden {
            assert!(!source.contains(word), "{} uses {word}", path.display());
        }
        for line in source.lines().filter_map(|l| l.strip_prefix("use ")) {
            let root = line.split("::").next().unwrap();
            let known = matches!(root, "crate" | "super") || CALCULATORS.contains(&root);
            let own = matches!(root, "effect" | "hand" | "input" | "lane" | "lateness");
            assert!(known || own, "{} imports {root}", path.display());
        }
    }
}

#[test]
fn paths_named_in_the_documents_exist() {
    let mut documents = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    for folder in ["docs", "docs/reference"] {
        documents.extend(
            fs::read_dir(folder)
                .unwrap()
                .map(|e| e.unwrap().path())
                .filter(|p| p.extension().is_some_and(|e| e == "md")),
        );
    }
    let mut named = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let looks_like_a_path =
                ["src/", "tests/", "docs/", "examples/", "migrations/"].iter().any(|p| word.starts_with(p))
                    || matches!(word, "README.md" | "CHANGELOG.md" | "jobs.example.yaml");
            if looks_like_a_path {
                named += 1;
                assert!(Path::new(word).exists(), "{} names {word}, which is not there", document.display());
            }
        }
    }
    assert!(named > 10, "only {named} paths were found: the search is broken");
}

#[test]
fn functions_stay_short() {
    let mut longest = (0, String::new());
    for (_, path, source) in sources() {
        let source = source.split("#[cfg(test)]").next().unwrap();
        let lines: Vec<&str> = source.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let begins = code.starts_with("fn ")
                || ["pub fn ", "async fn ", "pub async fn ", "pub(super) fn ", "pub(crate) fn "]
                    .iter()
                    .any(|p| code.starts_with(p))
                || code.contains(") async fn ");
            if !begins {
                continue;
            }
            let indent = &line[..line.len() - code.len()];
            // A declaration without a body, as in a trait, has no length.
            if lines[start..].iter().find(|l| l.ends_with('{') || l.ends_with(';')).is_some_and(|l| l.ends_with(';')) {
                continue;
            }
            let close = format!("{indent}}}");
            if let Some(length) = lines[start..].iter().position(|l| *l == close)
                && length + 1 > longest.0
            {
                longest = (length + 1, format!("{}:{}", path.display(), start + 1));
            }
        }
    }
    assert!(longest.0 <= LONGEST_FUNCTION, "{} has {} lines; the limit is {LONGEST_FUNCTION}", longest.1, longest.0);
    assert!(longest.0 > 20, "the search is broken");
}

#[test]
fn every_reason_stands_in_the_reference() {
    let reference = fs::read_to_string("docs/reference/json.md").unwrap();
    for (_, name, sentence) in onthedot::domain::state::Reason::ALL {
        assert!(
            reference.contains(&format!("| `{name}` | {sentence} |")),
            "the reference lacks {name}, or words it otherwise"
        );
    }
    let (states, reasons) = (onthedot::domain::recall::RecallState::ALL, onthedot::domain::recall::RecallReason::ALL);
    let recalls = states.map(|(_, n, s)| (n, s)).into_iter().chain(reasons.map(|(_, n, s)| (n, s)));
    for (name, sentence) in recalls {
        let row = format!("| `{name}` | {sentence} |");
        assert!(reference.contains(&row), "the reference lacks {name} of a recall, or words it otherwise");
    }
    for state in onthedot::domain::state::StateName::ALL {
        assert!(reference.contains(&format!("| `{}` |", state.name())), "the reference lacks {}", state.name());
    }
}

/// What an `UPDATE messages` sets, and under which condition.
fn updates(text: &str) -> Vec<(String, String)> {
    let told = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let plain = told.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
    let statements = plain.split("UPDATE messages ").skip(1).map(|rest| {
        let statement = &rest[..rest.find(['"', ';']).unwrap_or(rest.len())];
        let (set, condition) = statement.split_once(" WHERE ").unwrap_or((statement, ""));
        (set.to_owned(), condition.to_owned())
    });
    statements.collect()
}

/// Whether a list of assignments has one to the column `state`.
fn sets_state(set: &str) -> bool {
    set.match_indices("state").any(|(at, _)| {
        let before = set[..at].trim_end();
        let after = set[at + "state".len()..].trim_start();
        (before.ends_with("SET") || before.ends_with(',')) && after.starts_with('=')
    })
}

#[test]
fn no_statement_changes_a_state_by_id_alone() {
    let mut seen = 0;
    let mut check = |path: &Path, text: &str| {
        for (set, condition) in updates(text).into_iter().filter(|(set, _)| sets_state(set)) {
            seen += 1;
            let by_state = ["state = ", "state IN (", "messages.state || ','"].iter().any(|c| condition.contains(c));
            assert!(by_state, "{}: a state is changed whatever it was: SET {set} WHERE {condition}", path.display());
            let by_attempt = condition.contains("messages.attempts = v.attempts");
            let one = condition.contains("messages.id = v.id") || condition.contains("id = ?1");
            assert!(by_attempt || !one, "{}: a message's state is changed whatever its attempt", path.display());
        }
    };
    for entry in fs::read_dir("src/store/sql").unwrap() {
        let path = entry.unwrap().path();
        check(&path, &fs::read_to_string(&path).unwrap());
    }
    sources().iter().for_each(|(_, path, source)| check(path, source));
    assert!(seen >= 4, "only {seen} statements were found");
    let bad = updates("UPDATE messages SET reason = ?2, state = 'scheduled' WHERE id = ?1\"");
    assert!(bad.len() == 1 && sets_state(&bad[0].0), "the search is broken");
}
