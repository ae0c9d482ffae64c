//! Which account wrote to whom, for jobs that go through several.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::id::InstanceName;
use crate::domain::recipient::Chat;
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_claim::get;
use crate::store::{NewMessages, SqliteStore, StoreError};

pub(super) async fn senders(store: &SqliteStore, chats: Vec<Chat>) -> Result<HashMap<Chat, InstanceName>, StoreError> {
    let asked: Vec<Value> = chats.iter().map(|chat| json!(chat.as_str())).collect();
    let statement = "SELECT s.chat, s.instance FROM json_each(?1) AS j CROSS JOIN senders AS s ON s.chat = j.value";
    let rows = sqlx::query(statement)
        .bind(Value::Array(asked).to_string())
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("look who was written to through which instance"))?;
    let one = |row: &SqliteRow| Ok((Chat::from_stored(get(row, 0)?), InstanceName::new(get(row, 1)?)));
    rows.iter().map(one).collect()
}

/// Remembers through which account new messages go.
pub(super) async fn remember(connection: &mut SqliteConnection, messages: &NewMessages) -> Result<(), StoreError> {
    let row = |chat: &Chat| json!([chat.as_str(), &*messages.instance.0]);
    let rows = messages.rows.iter().filter(|m| m.step <= 0).map(|m| row(&m.chat)).collect();
    let statement = "INSERT INTO senders (chat, instance)
        SELECT value ->> 0, value ->> 1 FROM json_each(?1) WHERE true
        ON CONFLICT (chat) DO UPDATE SET instance = excluded.instance WHERE instance IS NOT excluded.instance";
    insert(connection, statement, rows, "remember who is written to through which instance").await?;
    Ok(())
}
