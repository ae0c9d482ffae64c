//! Messages stored for another day: how many a second are durable.

use std::sync::Arc;

use crate::bench::drain::{ANOTHER_DAY, per_second};
use crate::bench::figures::Figures;
use crate::bench::machine::{Bench, BenchError};
use crate::bench::supply::{Maker, instance};
use crate::clock::{self, Stopwatch};
use crate::domain::time::Millis;
use crate::intake::IdMaker;
use crate::store::{Opening, SqliteStore, Store, StoreError};

#[derive(Clone, Copy, Debug)]
pub(super) struct Enqueue {
    /// Who store at a time, each waiting for its own.
    pub(super) callers: u64,
    /// Messages a caller stores at a time.
    pub(super) at_once: u64,
}

impl Enqueue {
    pub(super) async fn run(self, bench: &Bench) -> Result<Figures, BenchError> {
        let folder = bench.folder()?;
        let store = Arc::new(SqliteStore::open(&folder.database(), Opening::Beside).await?);
        let maker = Maker::new(&store, Millis::ZERO, 1).await?;
        let due_at = clock::now() + ANOTHER_DAY;
        let share = bench.messages / self.callers;
        let took = Stopwatch::start();
        let callers = (0..self.callers).map(|caller| {
            let (store, maker) = (Arc::clone(&store), maker.clone());
            tokio::spawn(async move {
                let mut ids = IdMaker::default();
                let mut from = caller * share;
                while from < (caller + 1) * share {
                    let to = (from + self.at_once).min((caller + 1) * share);
                    store.insert(maker.make(&mut ids, instance(0), from..to, |_| due_at)).await?;
                    from = to;
                }
                Ok::<(), StoreError>(())
            })
        });
        for done in futures_util::future::join_all(callers).await {
            done.map_err(|_| StoreError::Closed)??;
        }
        let took = took.elapsed();
        store.close().await;
        let messages = share * self.callers;
        Ok(Figures { messages, per_second: Some(per_second(messages, took)), ..Figures::default() })
    }
}
