//! Nasty files, each in a file of its own, with the exact report it must get: what was expected was written down before
//! the files were first imported.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

use serde_json::{Map, Value};

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use process::Bench;

/// The files, and `expected.json`: by file name the exit code and either the counts and errors of the JSON document, or
/// what standard error says of the file as a whole.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/import_corpus");

#[test]
fn every_file_of_the_corpus_ends_in_the_exact_report_expected() {
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    let text = std::fs::read_to_string(format!("{FOLDER}/expected.json")).unwrap();
    let expected: Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert!(expected.len() >= 40, "the corpus holds {} files", expected.len());
    let mut wrong = Vec::new();
    for (name, wanted) in &expected {
        let file = format!("{FOLDER}/{name}");
        let text = "Hi {{ name | default(\"you\") }}";
        let output = bench.run(&["--json", "import", &file, "--job", "greet", "--text", text, "--dry-run"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut found = Map::new();
        found.insert("exit".to_owned(), output.status.code().into());
        match wanted.get("error_contains").and_then(Value::as_str) {
            Some(part) if said.contains(part) => {
                found.insert("error_contains".to_owned(), part.into());
            }
            Some(_) => {
                found.insert("error_contains".to_owned(), said.into());
            }
            None => {
                let done: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                for key in ["rows", "imported", "merged", "known", "expired", "bad"] {
                    found.insert(key.to_owned(), done[key].clone());
                }
                let errors = done["errors"].as_array().cloned().unwrap_or_default();
                let place = |e: &Value| serde_json::json!({ "line": e["line"], "column": e["column"], "message": e["message"] });
                found.insert("errors".to_owned(), errors.iter().map(place).collect());
            }
        }
        if Value::Object(found.clone()) != *wanted {
            wrong.push(format!("{name}\n  expected {wanted}\n  found    {}", Value::Object(found)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), expected.len(), wrong.join("\n"));
}

#[test]
fn numbers_as_they_are_dialled_at_home_are_read_where_the_country_is_named() {
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    bench.write("home.csv", "to\n0170 1234567\n+44 7400 123456\n");
    let import = ["import", "home.csv", "--job", "new", "--text", "hi", "--at", "2097-01-01T10:00"];
    let refused = bench.run(&import);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    let done = bench.json(&[&import[..], &["--country", "DE"]].concat());
    assert_eq!(done["imported"], 2, "{done}");
    let mut chats: Vec<String> = bench.messages().iter().map(|m| m["to"].as_str().unwrap().to_owned()).collect();
    chats.sort();
    assert_eq!(chats, ["447400123456@c.us", "491701234567@c.us"]);
    assert_eq!(bench.run(&[&import[..], &["--country", "Narnia"]].concat()).status.code(), Some(2));
}
