//! The days in figures: what became of the messages that were due on each, kept when they themselves are forgotten.

use serde_json::{Map, json};

use crate::domain::ack::Ack;
use crate::domain::state::StateName;
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::get;
use crate::store::{SqliteStore, StoreError};

/// A day to be counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Day {
    /// Its name: `2026-11-24`.
    pub name: String,
    /// The zone whose day it is.
    pub zone: String,
    /// Its first instant.
    pub begins: Timestamp,
    /// The first instant after it.
    pub ends: Timestamp,
}

/// A day as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptDay {
    /// Its name: `2026-11-24`.
    pub name: String,
    /// The zone whose day it is.
    pub zone: String,
    /// What became of its messages.
    pub figures: DayFigures,
    /// When it was last counted.
    pub counted_at: Timestamp,
}

/// A day in figures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DayFigures {
    /// Messages due on it.
    pub messages: i64,
    /// By state.
    pub states: Vec<(StateName, i64)>,
    /// Of the sent ones by ack; `None` = none came.
    pub acks: Vec<(Option<Ack>, i64)>,
    /// Half, 99 % and the latest of its first attempts that no pacing held back, in ms after due.
    pub late_ms: Option<(i64, i64, i64)>,
}

impl SqliteStore {
    /// Counts a day and keeps the figures. A day is never kept with fewer messages than before: what was forgotten
    /// since stays counted.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn roll_up(&self, day: Day, now: Timestamp) -> Result<DayFigures, StoreError> {
        let figures = self.figures(day.begins, day.ends).await?;
        let named = |pairs: Vec<(&str, i64)>| {
            let map: Map<String, serde_json::Value> =
                pairs.into_iter().map(|(k, n)| (k.to_owned(), json!(n))).collect();
            serde_json::Value::Object(map).to_string()
        };
        let states = named(figures.states.iter().map(|(s, n)| (s.name(), *n)).collect());
        let acks = named(figures.acks.iter().map(|(a, n)| (a.map_or("none", Ack::name), *n)).collect());
        let (messages, late) = (figures.messages, figures.late_ms);
        self.writer()?
            .run(move |c| {
                Box::pin(async move {
                    sqlx::query(include_str!("sql/keep_day.sql"))
                        .bind(day.name)
                        .bind(day.zone)
                        .bind(messages)
                        .bind(states)
                        .bind(acks)
                        .bind(late.map(|l| l.0))
                        .bind(late.map(|l| l.1))
                        .bind(late.map(|l| l.2))
                        .bind(now.0)
                        .execute(c)
                        .await
                        .map_err(StoreError::database("keep a day's figures"))
                })
            })
            .await?;
        Ok(figures)
    }

    /// The latest `limit` days that were counted, the latest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn days(&self, limit: u32) -> Result<Vec<KeptDay>, StoreError> {
        let rows = sqlx::query(
            "SELECT day, zone, messages, states, acks, late_p50_ms, late_p99_ms, late_max_ms, counted_at
             FROM days ORDER BY day DESC, zone LIMIT ?1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("read days in figures"))?;
        rows.iter()
            .map(|r| {
                let (states, acks): (String, String) = (get(r, 3)?, get(r, 4)?);
                let pairs = |text: &str| -> Vec<(String, i64)> {
                    let map: Map<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
                    map.into_iter().filter_map(|(k, v)| Some((k, v.as_i64()?))).collect()
                };
                let late: (Option<i64>, Option<i64>, Option<i64>) = (get(r, 5)?, get(r, 6)?, get(r, 7)?);
                let figures = DayFigures {
                    messages: get(r, 2)?,
                    states: pairs(&states).iter().filter_map(|(k, n)| Some((StateName::from_name(k)?, *n))).collect(),
                    acks: pairs(&acks).iter().map(|(k, n)| (Ack::from_name(k), *n)).collect(),
                    late_ms: late.0.zip(late.1).zip(late.2).map(|((a, b), c)| (a, b, c)),
                };
                Ok(KeptDay { name: get(r, 0)?, zone: get(r, 1)?, figures, counted_at: Timestamp(get(r, 8)?) })
            })
            .collect()
    }

    async fn figures(&self, begins: Timestamp, ends: Timestamp) -> Result<DayFigures, StoreError> {
        let rows = sqlx::query(
            "SELECT state, ack, count(*) FROM messages
             WHERE due_at >= ?1 AND due_at < ?2 AND reason IS NOT 'replaced' GROUP BY state, ack",
        )
        .bind(begins.0)
        .bind(ends.0)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("count a day"))?;
        let mut figures = DayFigures::default();
        for row in &rows {
            let (state, level, n): (String, Option<i64>, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            let Some(state) = StateName::ALL.into_iter().find(|s| s.name() == state) else { continue };
            figures.messages += n;
            match figures.states.iter_mut().find(|(s, _)| *s == state) {
                Some((_, count)) => *count += n,
                None => figures.states.push((state, n)),
            }
            if state == StateName::Sent {
                let ack = level.and_then(Ack::from_level);
                match figures.acks.iter_mut().find(|(a, _)| *a == ack) {
                    Some((_, count)) => *count += n,
                    None => figures.acks.push((ack, n)),
                }
            }
        }
        figures.late_ms = self.lateness(begins, ends).await?;
        Ok(figures)
    }
}
