//! What a watcher looks at again and again: the next departures and the lanes. Every statement here reads a handful
//! of index entries, however long the queue is.

use sqlx::sqlite::SqliteRow;

use crate::domain::id::InstanceName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_claim::{get, id};
use crate::store::view::{AnswerView, Coming, LaneView};
use crate::store::{SqliteStore, StoreError};

/// Waiting messages of a lane are counted up to here.
const WAITING_COUNTED: i64 = 10_000;

impl SqliteStore {
    /// The messages that leave next, of all instances, the earliest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn coming(&self, limit: usize) -> Result<Vec<Coming>, StoreError> {
        let mut all = Vec::new();
        for (lane, flow) in self.waiting_flows().await? {
            let rows = sqlx::query(include_str!("sql/coming.sql"))
                .bind(lane.clone())
                .bind(flow)
                .bind(i64::try_from(limit).unwrap_or(100))
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("look what leaves next"))?;
            for row in &rows {
                all.push(coming(row, &lane)?);
            }
        }
        all.sort_by_key(|c| (c.leaves_at, c.id));
        all.truncate(limit);
        Ok(all)
    }

    async fn waiting_flows(&self) -> Result<Vec<(String, i64)>, StoreError> {
        sqlx::query_as("SELECT instance, flow FROM waiting_flows")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find what waits"))
    }

    /// Whether nothing of an instance that wakes up to an instant waits or is out any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn rests_until(&self, instance: &InstanceName, until: Timestamp) -> Result<bool, StoreError> {
        sqlx::query_scalar(include_str!("sql/rests_until.sql"))
            .bind(until.0)
            .bind(&*instance.0)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("look whether anything waits"))
    }

    /// When the first attempt of all was marked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn first_marked_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = sqlx::query_scalar("SELECT min(marked_at) FROM attempts")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("find the first mark"))?;
        Ok(at.map(Timestamp))
    }

    /// How many acks are recorded.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn acks_recorded(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM acks")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("count acks"))?;
        Ok(count.unsigned_abs())
    }

    /// Every instance's lane: how it stands, and how many messages should have left through it by now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lanes(&self, now: Timestamp) -> Result<Vec<LaneView>, StoreError> {
        let rows = sqlx::query(include_str!("sql/lanes.sql"))
            .bind(now.0)
            .bind(WAITING_COUNTED)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the instances"))?;
        let lane = |row: &SqliteRow| {
            Ok(LaneView {
                name: get(row, 0)?,
                gateway: get(row, 1)?,
                state: get(row, 2)?,
                reason: get(row, 3)?,
                until: get::<Option<i64>>(row, 4)?.map(Timestamp),
                waiting: get(row, 5)?,
            })
        };
        rows.iter().map(lane).collect()
    }

    /// How an instance's gateway answered lately, the latest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recent_answers(&self, instance: &InstanceName, limit: u32) -> Result<Vec<AnswerView>, StoreError> {
        let rows = sqlx::query(include_str!("sql/recent_answers.sql"))
            .bind(&*instance.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read how a gateway answered lately"))?;
        let one = |row: &SqliteRow| {
            Ok(AnswerView { late: Millis(get(row, 0)?), took: Millis(get(row, 1)?), outcome: get(row, 2)? })
        };
        rows.iter().map(one).collect()
    }

    /// How many messages are in doubt.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn doubt_count(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM messages WHERE state = 'in_doubt'")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("count doubts"))
    }
}

fn coming(row: &SqliteRow, lane: &str) -> Result<Coming, StoreError> {
    let (wake_at, lead) = (Timestamp(get(row, 3)?), Millis(get(row, 4)?));
    Ok(Coming {
        id: id(row, 0)?,
        job: get(row, 1)?,
        instance: lane.to_owned(),
        chat: get(row, 2)?,
        leaves_at: wake_at + lead,
    })
}
