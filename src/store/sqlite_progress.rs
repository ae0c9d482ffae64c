//! How campaigns get on, for whoever watches: each look costs what happened since the last one, not what a campaign holds.

use sqlx::sqlite::SqliteRow;

use crate::domain::campaign::CampaignName;
use crate::domain::flow::Flow;
use crate::domain::id::MessageId;
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::{get, id};
use crate::store::sqlite_read::state_name;
use crate::store::view::{CampaignView, RecordView};
use crate::store::{SqliteStore, StoreError};

impl SqliteStore {
    /// Campaigns of which something waits whose time may have come by `now`, or that is on its way, the latest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn under_way(&self, now: Timestamp, limit: u32) -> Result<Vec<CampaignName>, StoreError> {
        let rows = sqlx::query(include_str!("sql/under_way.sql"))
            .bind(now.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find the campaigns that are under way"))?;
        rows.iter().map(|row| Ok(CampaignName { job: get(row, 0)?, nominal: Timestamp(get(row, 1)?) })).collect()
    }

    /// The number of the latest record of an attempt's answer; 0 where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_record(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT coalesce(max(rowid), 0) FROM results")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("look what was recorded"))
    }

    /// How many attempts were answered after a record, or are out now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn left_since(&self, record: i64) -> Result<u64, StoreError> {
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM results WHERE rowid > ?1)
                  + (SELECT count(*) FROM messages WHERE state = 'sending')",
        )
        .bind(record)
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("count what left lately"))?;
        Ok(left.try_into().unwrap_or(0))
    }

    /// What was recorded of attempts after a record, in the order of the records.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn records_after(&self, record: i64, limit: u32) -> Result<Vec<RecordView>, StoreError> {
        let rows = sqlx::query(include_str!("sql/records_after.sql"))
            .bind(record)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read what was recorded"))?;
        let one = |row: &SqliteRow| {
            Ok(RecordView {
                number: get(row, 0)?,
                occurrence: get(row, 1)?,
                state: state_name(&get::<String>(row, 2)?)?,
                reason: get(row, 3)?,
                left_at: get::<Option<i64>>(row, 4)?.map(Timestamp),
            })
        };
        rows.iter().map(one).collect()
    }

    /// How many messages of a campaign left in each second (of Unix time) since an instant, and the number of the latest record
    /// that they were counted with.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sends_since(&self, occurrence: i64, since: Timestamp) -> Result<(Vec<(i64, u64)>, i64), StoreError> {
        let rows = sqlx::query(include_str!("sql/sends_since.sql"))
            .bind(occurrence)
            .bind(since.0)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("count the sends of a campaign"))?;
        let (mut seconds, mut record) = (Vec::with_capacity(rows.len()), 0);
        for row in &rows {
            match get::<Option<i64>>(row, 0)? {
                Some(second) => seconds.push((second, get::<i64>(row, 1)?.try_into().unwrap_or(0))),
                None => record = get(row, 1)?,
            }
        }
        Ok((seconds, record))
    }

    /// The message of a campaign that wakes first; where none waits, one that is in doubt.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn first_waiting(&self, campaign: &CampaignView) -> Result<Option<MessageId>, StoreError> {
        let flow = campaign.flow.unwrap_or(Flow::of_class(campaign.class));
        for instance in &campaign.instances {
            let row = sqlx::query(include_str!("sql/first_waiting.sql"))
                .bind(instance.clone())
                .bind(flow.code())
                .bind(campaign.occurrence)
                .fetch_optional(&self.readers)
                .await
                .map_err(StoreError::database("find the next message of a campaign"))?;
            if let Some(row) = row {
                return Ok(Some(id(&row, 0)?));
            }
        }
        let row = sqlx::query("SELECT id FROM messages WHERE state = 'in_doubt' AND occurrence = ?1 LIMIT 1")
            .bind(campaign.occurrence)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find what is in doubt of a campaign"))?;
        row.map(|row| id(&row, 0)).transpose()
    }
}
