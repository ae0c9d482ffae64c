//! A hundred broken jobs files: every error of each is told in one run, with line, column and what to do.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/broken.rs"]
mod broken;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use broken::{HEAD, IN_JOBS};
use process::Bench;
use serde_json::Value;

fn errors(bench: &Bench, text: &str) -> Vec<Value> {
    bench.write("jobs.yaml", text);
    let output = bench.run(&["--json", "check", "jobs.yaml"]);
    assert_eq!(output.status.code(), Some(78), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["errors"].as_array().unwrap().clone()
}

#[test]
fn a_hundred_broken_files_tell_every_error_with_its_place_and_what_to_do() {
    let bench = Bench::new();
    let files = broken::files();
    assert!(files.len() >= 100, "{} files", files.len());
    let mut wrong = Vec::new();
    for (marked, words) in &files {
        let place = marked.split_once('§').map(|(before, _)| {
            let line = before.matches('\n').count() + 1;
            (line, before.rsplit('\n').next().unwrap().chars().count() + 1)
        });
        let all = errors(&bench, &marked.replace('§', ""));
        let found = all.iter().find(|e| {
            let message = format!("{} {}", e["message"].as_str().unwrap(), e["hint"].as_str().unwrap_or(""));
            message.contains(words)
        });
        let told = found.map(|e| (e["line"].as_u64().unwrap(), e["column"].as_u64().unwrap()));
        let expected = place.map_or((0, 0), |(l, c)| (u64::try_from(l).unwrap(), u64::try_from(c).unwrap()));
        if told != Some(expected) {
            wrong.push(format!("{marked}: '{words}' at {told:?}, expected {expected:?}, in {all:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[test]
fn ten_mistakes_in_one_file_are_told_in_one_run_in_the_order_of_the_file() {
    let bench = Bench::new();
    let mut text = HEAD.to_owned();
    for (n, (job, _)) in IN_JOBS.iter().enumerate().take(10) {
        text.push_str(&format!("  j{n}: {}\n", job.replace('§', "")));
    }
    let all = errors(&bench, &text);
    let lines: Vec<i64> = all.iter().map(|e| e["line"].as_i64().unwrap()).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    for line in 4..14 {
        assert!(lines.contains(&line), "line {line} has no error: {all:?}");
    }
}
