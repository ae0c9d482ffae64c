//! Acks: one row per message, participant and level; the highest shows on the message.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::store::sqlite_apply::insert;
use crate::store::{AckNews, AckTally, StoreError};

pub(super) async fn record(connection: &mut SqliteConnection, acks: &[AckNews]) -> Result<AckTally, StoreError> {
    let rows: Vec<Value> = acks
        .iter()
        .map(|a| json!([a.instance.0, a.gateway_id, a.participant, a.ack.level(), a.at, a.source]))
        .collect();
    let all = Value::Array(rows.clone()).to_string();
    let messages: Vec<String> = sqlx::query_scalar(include_str!("sql/messages_of_acks.sql"))
        .bind(all)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database("find the messages of acks"))?;
    let joined = insert(connection, include_str!("sql/insert_acks.sql"), rows.clone(), "write acks").await?;
    let orphaned = insert(connection, include_str!("sql/insert_orphan_acks.sql"), rows, "keep early acks").await?;
    if orphaned > 0 {
        // An unclear answer may have named its message all the same.
        let echoes = acks.iter().map(|a| json!([a.instance.0, a.gateway_id, "ack", null, null, a.at, a.at])).collect();
        insert(connection, include_str!("sql/insert_echoes.sql"), echoes, "keep echoes").await?;
    }
    raise(connection, messages.into_iter().map(Value::String).collect()).await?;
    Ok(AckTally { joined, orphaned })
}

/// Joins acks that came before the answer which named their message.
pub(super) async fn adopt_orphans(connection: &mut SqliteConnection, messages: Vec<Value>) -> Result<(), StoreError> {
    let statement = include_str!("sql/adopt_orphan_acks.sql");
    let adopted = insert(connection, statement, messages.clone(), "join early acks").await?;
    if adopted > 0 { take_in_adopted(connection, messages).await } else { Ok(()) }
}

/// After acks were joined to these messages: they wait no more for one, and show on it.
pub(super) async fn take_in_adopted(connection: &mut SqliteConnection, messages: Vec<Value>) -> Result<(), StoreError> {
    let statement = include_str!("sql/drop_adopted_orphans.sql");
    insert(connection, statement, messages.clone(), "forget joined early acks").await?;
    raise(connection, messages).await
}

async fn raise(connection: &mut SqliteConnection, messages: Vec<Value>) -> Result<(), StoreError> {
    insert(connection, include_str!("sql/raise_acks.sql"), messages.clone(), "raise acks").await?;
    super::sqlite_follow::wake(connection, messages).await
}
