//! A database that was set back to an earlier state, or copied: what it takes for unsent may have gone out. It comes up
//! with everything paused, and with what may have gone out held, until a person says how to go on.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::Digest;
use sqlx::{Connection, SqliteConnection};

use crate::clock;
use crate::domain::state::{Reason, StateName};
use crate::domain::time::{Millis, Timestamp};
use crate::store::ballast::Ballast;
use crate::store::sqlite_upkeep::{meta, set_meta};
use crate::store::sqlite_writer::{DaemonsOwn, MARKS};
use crate::store::whereabouts::other_names;
use crate::store::witness::{Testimony, Witness};
use crate::store::{NewMessages, PauseScope, SqliteStore, StoreError};

/// Under these names the database keeps which one it is, on which machine, and that it was set back.
const GENERATION: &str = "generation";
const MACHINE: &str = "machine";
const SET_BACK: &str = "set_back";
const MAYBE_SENT: &str = "maybe_sent_until";

/// A mark comes before its slot by less than this.
const MARK_LEADS: Millis = Millis::seconds(1);

/// How a database came to be taken for one that was set back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetBack {
    /// When it was noticed.
    pub noticed_at: Timestamp,
    /// What was due up to then may have gone out.
    pub maybe_sent_until: Timestamp,
    /// What gave it away.
    pub why: String,
    /// Messages that were held.
    pub held: u64,
}

/// Compares a database with its witness, holds it where it was set back, and makes ready what its writer keeps beside it.
/// To be called while the daemon's lock is held.
pub(super) async fn begin(connection: &mut SqliteConnection, path: &Path) -> Result<DaemonsOwn, StoreError> {
    let now = clock::now();
    let generation = meta(connection, GENERATION).await?.and_then(|g| u64::from_str_radix(&g, 16).ok());
    let marks: u64 = meta(connection, MARKS).await?.and_then(|m| m.parse().ok()).unwrap_or(0);
    let machine = (meta(connection, MACHINE).await?, this_machine());
    if let Some(how) = other_names(path) {
        tracing::warn!(
            "the database {} can be reached by another name ({how}): use no other than this one",
            path.display()
        );
    }
    let testimony = match (generation, set_back(generation, marks, Witness::hear(path), &machine, now)) {
        (Some(generation), None) => Testimony { generation, marks, at: now },
        (known, found) => {
            let testimony = Testimony { generation: getrandom::u64().unwrap_or(1), marks, at: now };
            // A new database is witnessed first: one that died in between is still a new one. A witness that knows more than
            // the database is heard until the database is held.
            if known.is_none() && found.is_none() {
                Witness::call(path, testimony)?;
            }
            hold(connection, testimony, machine.1.as_deref(), found).await?;
            testimony
        }
    };
    let witness = Witness::call(path, testimony)?;
    Ok(DaemonsOwn { witness, testimony, ballast: Ballast::take(path) })
}

/// Whether a database that made `marks` is not the one that ran here last.
fn set_back(
    generation: Option<u64>,
    marks: u64,
    witness: Option<Testimony>,
    machine: &(Option<String>, Option<String>),
    now: Timestamp,
) -> Option<SetBack> {
    let found = |maybe_sent_until, why: String| Some(SetBack { noticed_at: now, maybe_sent_until, why, held: 0 });
    let Some(generation) = generation else {
        let used = witness.filter(|w| w.marks > 0)?;
        let why = format!(
            "{} sends were begun here, the last at {}, and it knows of none: it is a state from before the first start",
            used.marks, used.at
        );
        return found(used.at, why);
    };
    match witness {
        None => found(now, "the witness that was kept beside it is not there: it is a copy".to_owned()),
        Some(w) if w.generation != generation => {
            found(now, "the witness beside it belongs to another database: it is a copy".to_owned())
        }
        Some(w) if w.marks > marks => {
            let lost = w.marks - marks;
            found(
                w.at,
                format!("{lost} more sends were begun than it knows of, the last at {}: it is an earlier state", w.at),
            )
        }
        Some(_) => match machine {
            (Some(was), Some(is)) if was != is => found(now, "it was kept on another machine: it is a copy".to_owned()),
            _ => None,
        },
    }
}

/// All in one transaction: which database it is from now on, and, where it was set back, the pause and what is held.
async fn hold(
    connection: &mut SqliteConnection,
    testimony: Testimony,
    machine: Option<&str>,
    found: Option<SetBack>,
) -> Result<(), StoreError> {
    let doing = "hold a database that was set back";
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::database(doing))?;
    set_meta(&mut tx, GENERATION, &format!("{:016x}", testimony.generation)).await?;
    set_meta(&mut tx, MARKS, &testimony.marks.to_string()).await?;
    if let Some(machine) = machine {
        set_meta(&mut tx, MACHINE, machine).await?;
    }
    if let Some(mut found) = found {
        let reason = Reason::Restored.name();
        let until = found.maybe_sent_until + MARK_LEADS;
        sqlx::query(
            "INSERT INTO events (message, at, from_state, to_state, note)
             SELECT id, ?1, state, 'held', ?2 FROM messages
             WHERE state IN ('scheduled', 'typing') AND wake_at + lead_ms <= ?3",
        )
        .bind(found.noticed_at.0)
        .bind("the database was set back: it may have gone out already")
        .bind(until.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        let held = sqlx::query(
            "UPDATE messages SET state = 'held', reason = ?1
             WHERE state IN ('scheduled', 'typing') AND wake_at + lead_ms <= ?2",
        )
        .bind(reason)
        .bind(until.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        found.held = held.rows_affected();
        let (scope, name) = PauseScope::All.parts();
        sqlx::query(
            "INSERT INTO pauses (scope, name, note, since, until) VALUES (?1, ?2, ?3, ?4, NULL)
             ON CONFLICT (scope, name) DO UPDATE SET note = excluded.note, since = excluded.since, until = NULL",
        )
        .bind(scope)
        .bind(name)
        .bind(format!("{}; `onthedot resume --after-restore` goes on", found.why))
        .bind(found.noticed_at.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        set_meta(&mut tx, MAYBE_SENT, &found.maybe_sent_until.0.to_string()).await?;
        set_meta(&mut tx, SET_BACK, &serde_json::to_string(&found).unwrap_or_default()).await?;
    }
    tx.commit().await.map_err(StoreError::database(doing))
}

/// Up to when messages made from now on may have gone out in a life that the database does not know of.
pub(super) async fn maybe_sent_until(connection: &mut SqliteConnection) -> Result<Option<Timestamp>, StoreError> {
    Ok(meta(connection, MAYBE_SENT).await?.and_then(|t| t.parse().ok()).map(Timestamp))
}

impl SqliteStore {
    /// What was due in a life of the database that it does not know of may have gone out then: it is held. Of an occurrence
    /// with who `joined` it that is all of it, once it had begun.
    pub(super) fn hold_maybe_sent(&self, messages: &mut NewMessages, joined: bool) {
        let Some(until) = self.maybe_sent_until else { return };
        let began = messages.nominal_at.filter(|nominal| joined && *nominal <= until).is_some();
        for row in messages.rows.iter_mut().filter(|row| row.state == StateName::Scheduled) {
            if began || row.due_at <= until {
                (row.state, row.reason) = (StateName::Held, Some(Reason::Restored));
            }
        }
    }

    /// How the database was set back, as long as nobody said how to go on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn set_back(&self) -> Result<Option<SetBack>, StoreError> {
        Ok(self.setting(SET_BACK).await?.and_then(|json| serde_json::from_str(&json).ok()))
    }

    /// A person knows that the database was set back, and lets it go on.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_set_back(&self) -> Result<(), StoreError> {
        self.keep_setting(SET_BACK, String::new()).await
    }
}

/// A hash of the machine's own id, where the system has one.
fn this_machine() -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    if id.is_empty() {
        return None;
    }
    Some(sha2::Sha256::digest(format!("onthedot {id}"))[..8].iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_its_own_only_with_a_witness_that_knows_no_more() {
        let now = Timestamp(9);
        let seen = |marks| Some(Testimony { generation: 7, marks, at: Timestamp(5) });
        let here = (Some("a".to_owned()), Some("a".to_owned()));
        let judge = |g, marks, w, m: &(Option<String>, Option<String>)| {
            set_back(g, marks, w, m, now).map(|f| f.maybe_sent_until)
        };
        assert_eq!(judge(None, 0, None, &here), None, "a new one");
        assert_eq!(judge(None, 0, seen(0), &here), None, "one whose first start ended early");
        assert_eq!(judge(None, 0, seen(1), &here), Some(Timestamp(5)), "a backup from before the first start");
        assert_eq!(judge(Some(7), 3, seen(3), &here), None);
        assert_eq!(judge(Some(7), 3, seen(2), &here), None, "a power cut");
        assert_eq!(judge(Some(7), 3, seen(4), &here), Some(Timestamp(5)), "an earlier state");
        assert_eq!(judge(Some(7), 3, None, &here), Some(now), "a copy");
        assert_eq!(judge(Some(8), 3, seen(3), &here), Some(now), "another one's witness");
        assert_eq!(judge(Some(7), 3, seen(3), &(Some("a".into()), Some("b".into()))), Some(now), "another machine");
        assert_eq!(judge(Some(7), 3, seen(3), &(None, Some("b".into()))), None);
        assert_eq!(judge(Some(7), 3, seen(3), &(Some("a".into()), None)), None);
    }
}
