//! A bare insert of one row of 200 bytes, durable before the next.

use std::time::Instant;

use common::{Said, rate};
use sqlx::Executor;
use sqlx::sqlite::SqliteConnection;

pub async fn measure(db: &mut SqliteConnection, rows: u64) -> anyhow::Result<()> {
    db.execute("CREATE TABLE bare(id INTEGER PRIMARY KEY, text TEXT NOT NULL)").await?;
    let text = "m".repeat(200);
    let began = Instant::now();
    for _ in 0..rows {
        sqlx::query("INSERT INTO bare(text) VALUES (?)").bind(&text).execute(&mut *db).await?;
    }
    Said { enqueue_one: Some(rate(rows, began)), recorded: rows, ..Said::default() }.print()
}
