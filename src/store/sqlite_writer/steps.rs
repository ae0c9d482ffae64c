//! A step of a transaction: what fails in it leaves nothing behind, and what was done before it stays.

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use crate::domain::message::{Change, Verdict};
use crate::store::StoreError;
use crate::store::sqlite_apply::apply_changes;

pub(super) async fn in_savepoint<T, F>(connection: &mut SqliteConnection, work: F) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
{
    step(connection, "SAVEPOINT step").await?;
    let done = work(&mut *connection).await;
    end_step(connection, done).await
}

pub(super) async fn apply_in_savepoint(
    connection: &mut SqliteConnection,
    all: &[Change],
) -> Result<Vec<Verdict>, StoreError> {
    step(connection, "SAVEPOINT step").await?;
    let done = apply_changes(&mut *connection, all).await;
    end_step(connection, done).await
}

pub(super) async fn step(connection: &mut SqliteConnection, how: &'static str) -> Result<(), StoreError> {
    sqlx::query(how).execute(connection).await.map_err(StoreError::database("begin or end a step"))?;
    Ok(())
}

/// Ends a step. One that failed leaves nothing behind. After a fault of the storage SQLite may have rolled everything back by itself:
/// then the transaction is given up as a whole.
pub(super) async fn end_step<T>(
    connection: &mut SqliteConnection,
    done: Result<T, StoreError>,
) -> Result<T, StoreError> {
    match &done {
        Ok(_) => step(connection, "RELEASE step").await?,
        Err(e) if e.storage_fault().is_some() => {}
        Err(_) => step(connection, "ROLLBACK TO step; RELEASE step").await?,
    }
    done
}
