//! Which account wrote to whom, for jobs that go through several.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::domain::id::InstanceName;
use crate::domain::recipient::Chat;
use crate::domain::sender::Senders;
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_claim::get;
use crate::store::{NewMessages, SqliteStore, StoreError};

pub(super) async fn senders(store: &SqliteStore, chats: Vec<Chat>) -> Result<Senders, StoreError> {
    let asked: Vec<Value> = chats.iter().map(|chat| json!(chat.as_str())).collect();
    let statement = "SELECT s.chat, s.instance FROM json_each(?1) AS j CROSS JOIN senders AS s ON s.chat = j.value
                     ORDER BY s.chat, s.at DESC, s.instance";
    let rows = sqlx::query(statement)
        .bind(Value::Array(asked).to_string())
        .fetch_all(&store.readers)
        .await
        .map_err(StoreError::database("look who was written to through which instance"))?;
    let mut known = Senders::new();
    for row in &rows {
        let (chat, instance) = (Chat::from_stored(get(row, 0)?), InstanceName::new(get(row, 1)?));
        known.entry(chat).or_default().push(instance);
    }
    Ok(known)
}

/// Remembers through which account new messages go.
pub(super) async fn remember(connection: &mut SqliteConnection, messages: &NewMessages) -> Result<(), StoreError> {
    let row = |chat: &Chat| json!([chat.as_str(), &*messages.instance.0, messages.now]);
    let rows = messages.rows.iter().filter(|m| m.step <= 0).map(|m| row(&m.chat)).collect();
    let statement = "INSERT INTO senders (chat, instance, at)
        SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true
        ON CONFLICT (chat, instance) DO UPDATE SET at = excluded.at";
    insert(connection, statement, rows, "remember who is written to through which instance").await?;
    Ok(())
}
