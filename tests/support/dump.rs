//! Every row of every table of a database, as text.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::{Connection, SqliteConnection};

/// What moves by itself while a daemon only waits: its heartbeat.
const MOVES_BY_ITSELF: [(&str, &str); 1] = [("meta", "alive_at")];

/// What is written where the machine itself stood still for a while, whatever is being done.
const OF_THE_MACHINE: &str = "outages";

/// The rows that are in one of two dumps only, by table, for whoever wonders what changed.
pub(crate) fn difference(
    before: &BTreeMap<String, Vec<String>>,
    after: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let none = Vec::new();
    let only = |rows: &[String], other: &[String]| rows.iter().filter(|r| !other.contains(r)).cloned().collect();
    let tables = before.keys().chain(after.keys());
    let both = tables.map(|t| (t, before.get(t).unwrap_or(&none), after.get(t).unwrap_or(&none)));
    let differ = both.filter(|(_, before, after)| before != after);
    differ.map(|(t, before, after)| (t.clone(), (only(before, after), only(after, before)))).collect()
}

/// The rows by table, each with all its columns.
pub(crate) async fn dump(path: &Path) -> BTreeMap<String, Vec<String>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%' ORDER BY name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut all = BTreeMap::new();
    for table in tables.into_iter().filter(|table| table != OF_THE_MACHINE) {
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)")
            .bind(table.clone())
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let quoted: Vec<String> = columns.iter().map(|c| format!("quote(\"{c}\")")).collect();
        let rows = format!("SELECT {} FROM \"{table}\" ORDER BY 1", quoted.join(" || ' | ' || "));
        let mut rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_all(&mut connection).await.unwrap();
        rows.retain(|r| !MOVES_BY_ITSELF.iter().any(|(t, name)| *t == table && r.starts_with(&format!("'{name}'"))));
        all.insert(table, rows);
    }
    connection.close().await.unwrap();
    all
}
