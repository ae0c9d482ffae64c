//! A CSV file of recipients: what is read and written out again, as an export writes it, is read the same.

#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use onthedot::table::{ROW_LIMIT, Row, Table, harmless};

fuzz_target!(|bytes: &[u8]| {
    let Some((columns, rows)) = read("csv", bytes) else { return };
    let told = |row: &Row| row.cells.iter().all(|(name, value)| columns.contains(name) && !value.trim().is_empty());
    assert!(rows.iter().all(told), "a cell has a column and says something");
    assert!(rows.is_sorted_by_key(|row| row.line), "the lines rise");
    let said: Vec<&Row> = rows.iter().filter(|row| !row.cells.is_empty()).collect();
    for delimiter in [",", ";", "\t"] {
        let text = written(&columns, &said, delimiter);
        // Quotes make a row longer, and a long one is refused.
        if text.len() > ROW_LIMIT {
            continue;
        }
        let (columns_again, rows_again) = read("again.csv", text.as_bytes()).expect("what was written can be read");
        assert_eq!(columns_again, columns, "parted by {delimiter:?}");
        assert!(rows_again.iter().map(|r| &r.cells).eq(said.iter().map(|r| &r.cells)), "parted by {delimiter:?}");
    }
});

/// The columns and the good rows of a file.
fn read(name: &str, bytes: &[u8]) -> Option<(Vec<String>, Vec<Row>)> {
    let path: PathBuf = std::env::temp_dir().join(format!("onthedot-fuzz-{}.{name}", std::process::id()));
    std::fs::write(&path, bytes).expect("the folder for temporary files can be written");
    let table = Table::open(&path).ok()?;
    let mut rows = Vec::new();
    table
        .rows(|row| {
            rows.extend(row);
            Ok(())
        })
        .ok()?;
    Some((table.columns?, rows))
}

fn written(columns: &[String], rows: &[&Row], delimiter: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", harmless(text).replace('"', "\"\""));
    let line = |cells: Vec<String>| cells.join(delimiter) + "\r\n";
    let header = line(columns.iter().map(|c| quoted(c)).collect());
    let rows = rows.iter().map(|row| line(columns.iter().map(|c| quoted(row.get(c).unwrap_or(""))).collect()));
    header + &rows.collect::<String>()
}
