//! Campaigns: how the messages of an occurrence stand, and calling one off.

use std::collections::HashMap;

use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::campaign::CampaignName;
use crate::domain::class::Class;
use crate::domain::flow::Flow;
use crate::domain::recipient::Chat;
use crate::domain::state::{Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::store::sqlite_claim::{get, read_vars, unwanted};
use crate::store::sqlite_plan::state_list;
use crate::store::sqlite_read::{ack, message, state_name};
use crate::store::sqlite_renew::end;
use crate::store::view::{CampaignCount, CampaignMessage, CampaignView, Place, VariantView};
use crate::store::{SqliteStore, StoreError};

/// The spans over which the rate of sends is told.
const MINUTE: Millis = Millis::seconds(60);
const FIVE_MINUTES: Millis = Millis::seconds(300);

/// Followers cancelled in one transaction: some milliseconds of the writer.
const FOLLOWERS_AT_ONCE: i64 = 500;

impl SqliteStore {
    /// Campaigns of one job or of all, the latest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn campaigns(
        &self,
        job: Option<&str>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<CampaignView>, StoreError> {
        let rows = sqlx::query(include_str!("sql/campaigns.sql"))
            .bind(job.map(str::to_owned))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("list campaigns"))?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            all.push(self.campaign_of(row, now).await?);
        }
        Ok(all)
    }

    /// The messages of a job's occurrence; without an instant of the latest that has come by `now`, else of the first that is to
    /// come.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn campaign(
        &self,
        job: &str,
        nominal: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<CampaignView>, StoreError> {
        let row = sqlx::query(include_str!("sql/campaign.sql"))
            .bind(job.to_owned())
            .bind(nominal.map(|t| t.0))
            .bind(now.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find a campaign"))?;
        match row {
            Some(row) => Ok(Some(self.campaign_of(&row, now).await?)),
            None => Ok(None),
        }
    }

    async fn campaign_of(&self, planned: &SqliteRow, now: Timestamp) -> Result<CampaignView, StoreError> {
        let occurrence = get(planned, 0)?;
        let rows = sqlx::query(include_str!("sql/campaign_counts.sql"))
            .bind(occurrence)
            .bind((now - MINUTE).0)
            .bind((now - FIVE_MINUTES).0)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("count a campaign"))?;
        let people: i64 = sqlx::query_scalar(include_str!("sql/campaign_people.sql"))
            .bind(occurrence)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("count the recipients of a campaign"))?;
        let instant = |row: &SqliteRow, column| get::<Option<i64>>(row, column).map(|t| t.map(Timestamp));
        let mut view = CampaignView {
            occurrence,
            name: CampaignName { job: get(planned, 1)?, nominal: Timestamp(get(planned, 2)?) },
            recipients: people.try_into().unwrap_or(0),
            cancelled_at: instant(planned, 4)?,
            renewed: get::<i64>(planned, 6)? != 0,
            replaced: count(planned, 7)?,
            file: get(planned, 5)?,
            instances: Vec::new(),
            class: Class::default(),
            flow: None,
            expires: None,
            counts: Vec::with_capacity(rows.len()),
            due: None,
            sent: None,
            sent_lately: (0, 0),
            recorded: 0,
        };
        for row in &rows {
            let count = CampaignCount {
                state: state_name(&get::<String>(row, 0)?)?,
                reason: get(row, 1)?,
                ack: get::<Option<i64>>(row, 2)?.map(ack).transpose()?,
                messages: count(row, 5)?,
            };
            let instance: String = get(row, 3)?;
            if !view.instances.contains(&instance) {
                view.instances.push(instance);
            }
            view.class = Class::from_code(get(row, 4)?).unwrap_or_default();
            view.due = span(view.due, instant(row, 6)?, instant(row, 7)?);
            view.sent = span(view.sent, instant(row, 8)?, instant(row, 9)?);
            view.sent_lately.0 += count_of(row, 10)?;
            view.sent_lately.1 += count_of(row, 11)?;
            view.recorded = get::<Option<i64>>(row, 12)?.unwrap_or(0);
            view.flow = view.flow.max(get::<Option<i64>>(row, 13)?.map(Flow::from_code));
            let expires = instant(row, 14)?;
            view.expires = view.expires.into_iter().chain(expires).min();
            view.counts.push(count);
        }
        if view.renewed {
            // Until all of them have their messages again it is those it was planned for.
            view.recipients = view.recipients.max(count_of(planned, 3)?);
        }
        Ok(view)
    }

    /// What became of the variants of a campaign, one by one; nothing where its job has none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn variants_of_campaign(&self, occurrence: i64) -> Result<Vec<VariantView>, StoreError> {
        // Counting them goes through all of its messages once more.
        let has_some: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM occurrences AS o JOIN jobs AS j ON j.name = o.job
                            WHERE o.id = ?1 AND json_extract(j.definition, '$.weights') IS NOT NULL)",
        )
        .bind(occurrence)
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("look whether a campaign has variants"))?;
        if !has_some {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(include_str!("sql/campaign_variants.sql"))
            .bind(occurrence)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("count the variants of a campaign"))?;
        let one = |row: &SqliteRow| {
            Ok(VariantView {
                content: get::<Option<String>>(row, 1)?.unwrap_or_default(),
                messages: count_of(row, 2)?,
                sent: count_of(row, 3)?,
                device: count_of(row, 4)?,
                read: count_of(row, 5)?,
                failed: count_of(row, 6)?,
                replied: count_of(row, 7)?,
                opted_out: count_of(row, 8)?,
            })
        };
        rows.iter().map(one).collect()
    }

    /// Messages of a campaign in any of these states (none = all), by chat, after a place.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn campaign_messages(
        &self,
        occurrence: i64,
        states: &[StateName],
        after: &Place,
        limit: u32,
    ) -> Result<Vec<CampaignMessage>, StoreError> {
        self.messages_of(occurrence, states, (after, limit), false).await
    }

    /// The same, with what follows these messages.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn campaign_messages_and_followers(
        &self,
        occurrence: i64,
        states: &[StateName],
        after: &Place,
        limit: u32,
    ) -> Result<Vec<CampaignMessage>, StoreError> {
        self.messages_of(occurrence, states, (after, limit), true).await
    }

    async fn messages_of(
        &self,
        occurrence: i64,
        states: &[StateName],
        (after, limit): (&Place, u32),
        followers: bool,
    ) -> Result<Vec<CampaignMessage>, StoreError> {
        let rows = sqlx::query(include_str!("sql/campaign_messages.sql"))
            .bind(occurrence)
            .bind(after.chat.clone())
            .bind(after.step)
            .bind(state_list(states))
            .bind(limit)
            .bind(followers)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the messages of a campaign"))?;
        let one = |row: &SqliteRow| {
            let message = message(row)?;
            let place = Place { chat: message.chat.clone(), step: get(row, 21)? };
            Ok(CampaignMessage {
                message,
                vars: read_vars(get::<Option<String>>(row, 20)?.as_deref()),
                place,
                content: get(row, 22)?,
                after: Millis(get::<Option<i64>>(row, 23)?.unwrap_or(0)),
                steps: get::<i64>(row, 24)?.try_into().unwrap_or(1),
            })
        };
        rows.iter().map(one).collect()
    }

    /// How many messages of a campaign wait for somebody who is suppressed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn suppressed_of_campaign(&self, occurrence: i64) -> Result<u64, StoreError> {
        let found: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM suppressions AS s
             CROSS JOIN messages AS m ON m.occurrence = ?1 AND m.chat = s.chat AND m.reason IS NOT 'replaced'
             WHERE m.state = 'scheduled' AND m.follows IS NULL",
        )
        .bind(occurrence)
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::database("count who is suppressed in a campaign"))?;
        Ok(found.try_into().unwrap_or(0))
    }

    /// How many messages of a campaign wait for somebody who has had as many as `frequency` allows, as things stand at `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn too_often_of_campaign(&self, occurrence: i64, now: Timestamp) -> Result<u64, StoreError> {
        let unwanted = unwanted("max(m.wake_at, ?2)");
        let statement = format!(
            "SELECT count(*) FROM messages AS m JOIN occurrences AS o ON o.id = m.occurrence
             WHERE m.occurrence = ?1 AND m.reason IS NOT 'replaced' AND m.state = 'scheduled' AND m.counted = 1
               AND {unwanted} = 'too_often'"
        );
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(occurrence)
            .bind(now.0)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::database("count who has had enough in a campaign"))?;
        Ok(found.try_into().unwrap_or(0))
    }

    /// When messages left since an instant that count for `frequency`, by recipient.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn counted_since(&self, since: Timestamp) -> Result<HashMap<Chat, Vec<Timestamp>>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT m.chat, coalesce(m.sent_at, m.first_marked_at) FROM messages AS m
             WHERE m.counted = 1 AND m.first_marked_at IS NOT NULL AND m.state IN ('sending', 'sent', 'in_doubt')
               AND coalesce(m.sent_at, m.first_marked_at) > ?1",
        )
        .bind(since.0)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("count who was written to lately"))?;
        let mut all: HashMap<Chat, Vec<Timestamp>> = HashMap::new();
        for (chat, at) in rows {
            all.entry(Chat::from_stored(&chat)).or_default().push(Timestamp(at));
        }
        Ok(all)
    }

    /// The names of the variables of a campaign's recipients, in the order of the alphabet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn variables_of_campaign(&self, occurrence: i64) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT DISTINCT v.key FROM messages AS m
             JOIN recipients AS r ON r.audience = m.audience AND r.place = m.place
             CROSS JOIN json_each(r.vars) AS v
             WHERE m.occurrence = ?1 AND m.reason IS NOT 'replaced' AND r.vars IS NOT NULL
             ORDER BY v.key",
        )
        .bind(occurrence)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("read the variables of a campaign"))
    }

    /// Writes down that a person called a campaign off, and cancels what waits to follow its messages (nags, escalations).
    ///
    /// # Errors
    /// When the database cannot be written; then it can be done again.
    pub async fn call_off(&self, occurrence: i64, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let step = self.writer()?.run(move |c| Box::pin(async move { call_off_step(c, occurrence, now).await }));
            if step.await? == 0 {
                return Ok(());
            }
        }
    }
}

/// Answers how many followers were cancelled.
async fn call_off_step(connection: &mut SqliteConnection, occurrence: i64, now: Timestamp) -> Result<u64, StoreError> {
    let doing = "call a campaign off";
    sqlx::query("UPDATE occurrences SET cancelled_at = coalesce(cancelled_at, ?2) WHERE id = ?1")
        .bind(occurrence)
        .bind(now.0)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT hex(id) FROM messages
         WHERE occurrence = ?1 AND follows IS NOT NULL AND state IN ('scheduled', 'typing', 'held')
           AND reason IS NOT 'replaced' LIMIT ?2",
    )
    .bind(occurrence)
    .bind(FOLLOWERS_AT_ONCE)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?;
    let note = "the campaign of what it follows was called off";
    end(connection, json!(rows).to_string(), Reason::CancelledByPerson.name(), note, now).await
}

/// A span made wide enough for two more instants.
fn span(
    known: Option<(Timestamp, Timestamp)>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
) -> Option<(Timestamp, Timestamp)> {
    let (Some(first), Some(last)) = (first, last) else { return known };
    Some(known.map_or((first, last), |(a, b)| (a.min(first), b.max(last))))
}

fn count(row: &SqliteRow, column: usize) -> Result<u64, StoreError> {
    Ok(get::<i64>(row, column)?.try_into().unwrap_or(0))
}

/// A sum, which is nothing where there was nothing to sum up.
fn count_of(row: &SqliteRow, column: usize) -> Result<u64, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.unwrap_or(0).try_into().unwrap_or(0))
}
