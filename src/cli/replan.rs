//! Waiting until what was changed a moment ago is planned: then a command finds all of it.

use std::sync::Arc;

use crate::clock;
use crate::domain::time::Millis;
use crate::intake::IdMaker;
use crate::planner::Planner;
use crate::store::{SqliteStore, Store, StoreError};

/// How long a daemon is waited for: planning a hundred thousand messages takes less.
const WAIT: Millis = Millis::seconds(5);

/// How often it is looked.
const LOOK_EVERY: Millis = Millis(20);

/// Waits until what waits of changed jobs is planned anew. Where no daemon does it, or it takes long, it is done here: two that
/// are at it make the same messages.
///
/// # Errors
/// When the database cannot be read or written.
pub(super) async fn settled(store: &Arc<SqliteStore>) -> Result<(), StoreError> {
    let until = clock::now() + WAIT;
    while store.is_served(clock::now()).await? && clock::now() < until {
        if !store.is_planning(clock::now()).await? {
            return Ok(());
        }
        clock::sleep(LOOK_EVERY).await;
    }
    let shared: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    Planner::new(shared, Arc::new(IdMaker::default()), store.seed()).renew_all(clock::now()).await
}
