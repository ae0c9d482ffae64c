//! JSON lines of recipients: what is read and written out again is read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onthedot::table::{ROW_LIMIT, Row, Table};
use serde_json::{Map, Value};

fuzz_target!(|bytes: &[u8]| {
    let Some(rows) = read(bytes) else { return };
    assert!(
        rows.iter().all(|row| row.cells.iter().all(|(_, value)| !value.trim().is_empty())),
        "a cell says something"
    );
    assert!(rows.is_sorted_by(|a, b| a.line < b.line), "the lines rise");
    let lines: Vec<String> = rows.iter().map(written).collect();
    // Quotes make a row longer, and a long one is refused.
    if lines.iter().any(|line| line.len() > ROW_LIMIT) {
        return;
    }
    let again = read(lines.concat().as_bytes()).unwrap_or_default();
    assert!(again.iter().map(|r| &r.cells).eq(rows.iter().map(|r| &r.cells)));
});

/// The good rows of a file.
fn read(bytes: &[u8]) -> Option<Vec<Row>> {
    let path = std::env::temp_dir().join(format!("onthedot-fuzz-{}.jsonl", std::process::id()));
    std::fs::write(&path, bytes).expect("the folder for temporary files can be written");
    let mut rows = Vec::new();
    let table = Table::open(&path).ok()?;
    table
        .rows(|row| {
            rows.extend(row);
            Ok(())
        })
        .ok()?;
    Some(rows)
}

fn written(row: &Row) -> String {
    let cells = row.cells.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    Value::Object(cells.collect::<Map<_, _>>()).to_string() + "\n"
}
