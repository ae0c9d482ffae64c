//! What pauses a campaign by itself is judged by: its latest sends.

use sqlx::sqlite::SqliteRow;

use crate::domain::ack::Ack;
use crate::domain::brake::{LatestSends, PauseOn};
use crate::domain::campaign::CampaignName;
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::{content, get};
use crate::store::{SqliteStore, StoreError};

impl SqliteStore {
    /// Campaigns of which something waits and that are paused by themselves where they go wrong, with their occurrences.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn braked_campaigns(&self) -> Result<Vec<(CampaignName, i64, PauseOn)>, StoreError> {
        let rows = sqlx::query(include_str!("sql/campaigns_under_way.sql"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("find the campaigns that are under way"))?;
        let mut braked: Vec<(CampaignName, i64, PauseOn)> = Vec::new();
        for row in &rows {
            let occurrence = get(row, 0)?;
            let manner = &content(self, get(row, 3)?).await?.manner;
            if let Some(on) = manner.pause_on {
                let name = CampaignName { job: get(row, 1)?, nominal: Timestamp(get(row, 2)?) };
                braked.push((name, occurrence, on));
            }
        }
        Ok(braked)
    }

    /// What became of the latest sends of a campaign, of those only that left after `since`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_sends(
        &self,
        occurrence: i64,
        on: &PauseOn,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<LatestSends, StoreError> {
        let looked = self.sends_of(occurrence, since, now, on.of).await?;
        let mut latest = LatestSends::default();
        for send in &looked {
            latest.answered += 1;
            latest.errors += u32::from(matches!(send.outcome.as_str(), "refused" | "refused_for_now" | "in_doubt"));
            latest.sent += u32::from(send.outcome == "accepted");
            latest.opt_outs += u32::from(send.outcome == "accepted" && send.opted_out);
        }
        for send in self.sends_of(occurrence, since, now - on.patience, on.of).await? {
            if send.outcome == "accepted" {
                latest.waited_for += 1;
                latest.undelivered += u32::from(!matches!(send.ack, Some(Ack::Device | Ack::Read | Ack::Played)));
            }
        }
        Ok(latest)
    }

    async fn sends_of(
        &self,
        occurrence: i64,
        since: Option<Timestamp>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Send>, StoreError> {
        let rows = sqlx::query(include_str!("sql/latest_sends.sql"))
            .bind(occurrence)
            .bind(since.map_or(0, |t| t.0))
            .bind(until.0)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the latest sends of a campaign"))?;
        let one = |row: &SqliteRow| {
            let ack = get::<Option<i64>>(row, 1)?.and_then(Ack::from_level);
            Ok(Send { outcome: get(row, 0)?, ack, opted_out: get(row, 2)? })
        };
        rows.iter().map(one).collect()
    }
}

struct Send {
    outcome: String,
    ack: Option<Ack>,
    opted_out: bool,
}
