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
