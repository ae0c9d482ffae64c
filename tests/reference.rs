//! The reference pages say what the program does: generated from it, or held against it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use process::Bench;
use serde_json::Value;

fn help(bench: &Bench, path: &[String]) -> String {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_onthedot"))
        .args(&arguments)
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env_remove("ONTHEDOT_CONFIG")
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{path:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The names of the subcommands a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or("");
    let list = list.split("\n\n").next().unwrap_or("");
    let lines = list.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    lines.filter_map(|l| l.split_whitespace().next().map(str::to_owned)).collect()
}

fn document(bench: &Bench, path: &mut Vec<String>, text: &mut String) {
    let help = help(bench, path);
    let title = if path.is_empty() { "onthedot".to_owned() } else { format!("onthedot {}", path.join(" ")) };
    // The options every command takes are told once.
    let shown = if path.is_empty() { help.clone() } else { without_global(&help) };
    write!(text, "## {title}\n\n```text\n{}\n```\n\n", shown.trim_end()).unwrap();
    for name in subcommands(&help) {
        path.push(name);
        document(bench, path, text);
        path.pop();
    }
}

fn without_global(help: &str) -> String {
    let global = ["--db <", "--config <", "--json ", "--color <", "--verbose", "--quiet", "--help"];
    let mut kept = Vec::new();
    let mut skipping = false;
    for line in help.lines() {
        let option = line.trim_start().starts_with('-') && line.starts_with("  ");
        if option {
            skipping = global.iter().any(|g| format!("{line} ").contains(g));
        } else if !line.starts_with("          ") {
            skipping = false;
        }
        if !skipping {
            kept.push(line);
        }
    }
    kept.join("\n")
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let bench = Bench::new();
    let mut text = "# Commands\n\nWhat `--help` says, command by command; the options of the first stand for all. Written by\n`UPDATE_REFERENCE=1 cargo test --test reference`.\n\n".to_owned();
    document(&bench, &mut Vec::new(), &mut text);
    let path = "docs/reference/commands.md";
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(kept == text, "{path} is out of date: UPDATE_REFERENCE=1 cargo test --test reference writes it anew");
    assert!(text.matches("\n## ").count() > 40, "every command has its section");
}

#[test]
fn every_gate_stands_in_the_reference() {
    let reference = std::fs::read_to_string("docs/reference/json.md").unwrap();
    for (_, name, sentence) in onthedot::engine::explain::GateName::ALL {
        let row = format!("| `{name}` | {sentence} |");
        assert!(reference.contains(&row), "the reference lacks {row}");
    }
    for code in [0, 1, 2, 3, 4, 5, 65, 69, 74, 75, 78, 124, 130] {
        assert!(reference.contains(&format!("\n| {code} | ")), "the reference lacks exit code {code}");
    }
}

/// The keys that reading a file knows at some place: its own words, from the hint to an unknown key.
fn keys_known(bench: &Bench, file: &str) -> BTreeSet<String> {
    bench.write("jobs.yaml", file);
    let output = bench.run(&["--json", "check", "jobs.yaml", "--sandbox"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = document["errors"].as_array().unwrap();
    let error = all.iter().find(|e| e["message"].as_str().unwrap().contains("unknown key 'zzzzzz'"));
    let hint = error.unwrap_or_else(|| panic!("{file}: {all:?}"))["hint"].as_str().unwrap();
    hint.strip_prefix("known: ").unwrap().split(", ").map(str::to_owned).collect()
}

/// The property names of a schema at a pointer.
fn keys_of(schema: &Value, pointer: &str) -> BTreeSet<String> {
    let node = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema lacks {pointer}"));
    node["properties"].as_object().unwrap_or_else(|| panic!("{pointer} has no properties")).keys().cloned().collect()
}

#[test]
fn the_schema_knows_every_key_and_the_reference_tells_it() {
    let bench = Bench::new();
    let schema = bench.json(&["schema"]);
    let head = "version: 1\ninstances: { shop: { gateway: sandbox } }\n";
    let job = |more: &str| format!("{head}jobs: {{ a: {{ in: 1s, to: \"201000000001\", {more} }} }}\n");
    let jobs = "/properties/jobs/additionalProperties";
    let shop = "/properties/instances/additionalProperties";
    let places = [
        (format!("{head}zzzzzz: 1\n"), String::new()),
        (job("text: hi, zzzzzz: 1"), jobs.to_owned()),
        (format!("{head}defaults: {{ zzzzzz: 1 }}\n"), "/properties/defaults".to_owned()),
        (format!("{head}daemon: {{ zzzzzz: 1 }}\n"), "/properties/daemon".to_owned()),
        (format!("{head}maintenance: {{ zzzzzz: 1 }}\n"), "/properties/maintenance".to_owned()),
        (
            format!("{head}maintenance: {{ tidy: {{ zzzzzz: 1 }} }}\n"),
            "/properties/maintenance/properties/tidy/anyOf/1".to_owned(),
        ),
        (
            format!("{head}maintenance: {{ prune: {{ zzzzzz: 1 }} }}\n"),
            "/properties/maintenance/properties/prune/anyOf/1".to_owned(),
        ),
        (
            format!("{head}maintenance: {{ backup: {{ zzzzzz: 1 }} }}\n"),
            "/properties/maintenance/properties/backup/anyOf/1".to_owned(),
        ),
        ("version: 1\ninstances: { shop: { gateway: sandbox, zzzzzz: 1 } }\n".to_owned(), shop.to_owned()),
        (
            "version: 1\ninstances: { shop: { gateway: sandbox, pacing: { zzzzzz: 1 } } }\n".to_owned(),
            format!("{shop}/properties/pacing"),
        ),
        (
            "version: 1\ninstances: { shop: { gateway: sandbox, timeouts: { zzzzzz: 1 } } }\n".to_owned(),
            format!("{shop}/properties/timeouts"),
        ),
        (
            "version: 1\ninstances: { shop: { gateway: sandbox, webhook: { zzzzzz: 1 } } }\n".to_owned(),
            format!("{shop}/properties/webhook"),
        ),
        (
            "version: 1\ninstances: { shop: { gateway: sandbox, doubt: { zzzzzz: 1 } } }\n".to_owned(),
            format!("{shop}/properties/doubt"),
        ),
        (
            "version: 1\ninstances: { shop: { gateway: sandbox, window: { zzzzzz: 1 } } }\n".to_owned(),
            format!("{shop}/properties/window"),
        ),
        (
            "version: 1\ninstances: { shop: { gateway: sandbox, opt_out: { zzzzzz: 1 } } }\n".to_owned(),
            format!("{shop}/properties/opt_out"),
        ),
        (
            "version: 1\ninstances: { shop: { gateway: sandbox, opt_in: { zzzzzz: 1 } } }\n".to_owned(),
            format!("{shop}/properties/opt_in"),
        ),
        (job("text: hi, retry: { zzzzzz: 1 }"), format!("{jobs}/properties/retry")),
        (job("text: hi, typing: { zzzzzz: 1 }"), format!("{jobs}/properties/typing/anyOf/1")),
        (job("image: { zzzzzz: 1 }"), format!("{jobs}/properties/image/anyOf/1")),
        (job("video: { zzzzzz: 1 }"), format!("{jobs}/properties/video/anyOf/1")),
        (job("voice: { zzzzzz: 1 }"), format!("{jobs}/properties/voice/anyOf/1")),
        (job("location: { zzzzzz: 1 }"), format!("{jobs}/properties/location")),
        (job("poll: { zzzzzz: 1 }"), format!("{jobs}/properties/poll")),
        (job("contact: { zzzzzz: 1 }"), format!("{jobs}/properties/contact/anyOf/0")),
        (job("list: { zzzzzz: 1 }"), format!("{jobs}/properties/list")),
        (job("event: { zzzzzz: 1 }"), format!("{jobs}/properties/event/anyOf/0")),
        (job("text: hi, nag: { zzzzzz: 1 }"), format!("{jobs}/properties/nag")),
        (job("text: hi, escalate: { zzzzzz: 1 }"), format!("{jobs}/properties/escalate/anyOf/0")),
        (job("messages: [{ zzzzzz: 1 }]"), format!("{jobs}/properties/messages/items")),
    ];
    let reference = std::fs::read_to_string("docs/reference/jobs.md").unwrap();
    let mut wrong = Vec::new();
    for (file, pointer) in places {
        let known: BTreeSet<String> = keys_known(&bench, &file);
        let schema_keys = keys_of(&schema, &pointer);
        if known != schema_keys {
            wrong.push(format!("{pointer}: the program knows {known:?}, the schema {schema_keys:?}"));
        }
        for key in &schema_keys {
            if !reference.contains(key.as_str()) {
                wrong.push(format!("{pointer}: the reference does not tell '{key}'"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn completions_man_pages_and_care_of_the_database_work() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = bench.run(&["completions", shell]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("reschedule"), "{shell}");
    }
    assert!(String::from_utf8_lossy(&bench.run(&["man"]).stdout).contains(".TH onthedot 1"));
    assert!(bench.run(&["man", "--to", "pages"]).status.success());
    assert!(std::fs::read_dir(bench.path("pages")).unwrap().count() > 30);
    bench.write("jobs.yaml", "version: 1\ninstances: { shop: { gateway: sandbox } }\njobs:\n  a: { in: 100ms, to: \"201000000001\", text: hi, typing: off }\n  b: { at: 2099-01-01T00:00, to: \"201000000002\", text: hi }\n");
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    assert_eq!(bench.json(&["db", "check"])["ok"], true);
    assert_eq!(bench.json(&["db", "migrate"])["done"], false);
    assert!(bench.run(&["db", "backup", "copy.db"]).status.success());
    assert_eq!(bench.run(&["db", "backup", "copy.db"]).status.code(), Some(5), "a backup overwrites nothing");
    let copy = std::process::Command::new(env!("CARGO_BIN_EXE_onthedot"))
        .args(["--json", "--db"])
        .arg(bench.path("copy.db"))
        .arg("stats")
        .output()
        .unwrap();
    let copy: Value = serde_json::from_slice(&copy.stdout).unwrap();
    assert_eq!((copy["states"]["sent"].as_i64(), copy["states"]["scheduled"].as_i64()), (Some(1), Some(1)));
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s", "--dry-run"])["messages"], 1);
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 1);
    let states = bench.json(&["stats"])["states"].clone();
    assert_eq!((states["sent"].as_i64(), states["scheduled"].as_i64()), (Some(0), Some(1)), "what waits is kept");
    assert_eq!(bench.json(&["db", "check"])["ok"], true);
    bench.write(
        "jobs.yaml",
        "version: 1\ninstances: { shop: { gateway: sandbox, base_url: \"http://127.0.0.1:9\" } }\njobs: {}\n",
    );
    let doctor = bench.json(&["doctor", "--config", "jobs.yaml"]);
    let topics: Vec<&str> =
        doctor["findings"].as_array().unwrap().iter().map(|f| f["topic"].as_str().unwrap()).collect();
    for topic in ["clock", "zones", "files", "database", "daemon", "jobs file"] {
        assert!(topics.contains(&topic), "{doctor}");
    }
}
