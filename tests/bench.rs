//! The tool that measures: what it measured is there, and nothing is left behind.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use process::Bench;

#[test]
fn every_scenario_tells_its_figures_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let told =
        bench.json(&["bench", "drain", "drain-typing", "enqueue", "enqueue-64", "enqueue-bulk", "--messages", "128"]);
    let scenarios = told["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 5);
    for scenario in scenarios {
        let (name, figures) = (scenario["name"].as_str().unwrap(), &scenario["median"]);
        assert_eq!(figures["messages"], 128, "{name}");
        assert!(figures["per_second"].as_u64().unwrap() > 0, "{name}");
        assert_eq!(scenario["runs"].as_array().unwrap().len(), 1, "{name}");
        if name.starts_with("drain") {
            assert!(figures["memory_kib"].as_u64().unwrap() > 1_000, "{name}");
            assert!(figures["first_send_ms"].as_u64().unwrap() > 0, "{name}");
        }
    }
    let left: Vec<_> = std::fs::read_dir(bench.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("bench")), "{left:?}");
}

#[test]
fn a_beginning_is_told_part_by_part_and_messages_spread_over_instances_all_leave() {
    let bench = Bench::new();
    let told = bench.json(&["bench", "start", "drain", "--behind", "1000", "--instances", "5", "--messages", "128"]);
    let [start, drain] = [0, 1].map(|n| &told["scenarios"][n]["median"]);
    for part in ["new", "open", "claim", "check"] {
        assert!(start["start_ms"][part].as_i64().unwrap() >= 0, "{part}");
    }
    assert!(start["first_send_ms"].as_u64().unwrap() > 0);
    assert!(drain["per_second"].as_u64().unwrap() > 0);
}

#[test]
fn lateness_is_measured_in_microseconds_and_never_negative() {
    let bench = Bench::new();
    let told = bench.json(&["bench", "late-50"]);
    let late = &told["scenarios"][0]["median"]["late_us"];
    let [min, p50, p99, max] = ["min", "p50", "p99", "max"].map(|f| late[f].as_i64().unwrap());
    assert!(0 <= min && min <= p50 && p50 <= p99 && p99 <= max, "{late}");
    assert_eq!(told["scenarios"][0]["median"]["messages"], 500);
}

#[test]
fn acks_are_recorded_while_messages_leave_and_turned_away_where_another_process_takes_them() {
    let bench = Bench::new();
    let told = bench.json(&["bench", "acks", "acks-elsewhere", "--seconds", "1"]);
    let [recorded, elsewhere] = [0, 1].map(|n| &told["scenarios"][n]["median"]);
    assert_eq!((&recorded["messages"], &elsewhere["messages"]), (&5_500.into(), &5_500.into()));
    assert!(recorded["acks_per_second"].as_u64().unwrap() > 0, "{recorded}");
    assert!(elsewhere["acks_per_second"].is_null(), "{elsewhere}");
    assert!(recorded["late_us"]["min"].as_i64().unwrap() >= 0, "{recorded}");
}

#[test]
fn an_unknown_scenario_is_told_with_those_that_there_are() {
    let bench = Bench::new();
    let output = bench.run(&["bench", "drian"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("there is no scenario 'drian'") && told.contains("drain-typing"), "{told}");
}
