//! Changes that go as they usually do, a whole batch in a statement or two of each kind: typing shown, marks, records of
//! accepted sends. Whatever is otherwise is left to `sqlite_apply`.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde_json::json;
use sqlx::SqliteConnection;

use crate::domain::ack::Ack;
use crate::domain::message::{Change, Facts, TypingFacts};
use crate::domain::state::State;
use crate::store::StoreError;
use crate::store::sqlite_acks::take_in_adopted;
use crate::store::sqlite_apply::hex;
use crate::store::sqlite_rows::{ForRows, Places};

static TYPING: LazyLock<ForRows> = LazyLock::new(|| ForRows::new(include_str!("sql/usual_typing.sql")));
static MARKS: LazyLock<ForRows> = LazyLock::new(|| ForRows::new(include_str!("sql/usual_marks.sql")));
static RECORDS: LazyLock<ForRows> = LazyLock::new(|| ForRows::new(include_str!("sql/usual_records.sql")));

/// The changes of one batch, by kind.
#[derive(Default)]
pub(super) struct Usual<'c> {
    typing: Vec<&'c Change>,
    marks: Vec<&'c Change>,
    records: Vec<&'c Change>,
}

impl<'c> Usual<'c> {
    /// The changes by kind, where all are of a usual kind and none is of the same message as another.
    pub(super) fn of(changes: impl Iterator<Item = &'c Change>) -> Option<Usual<'c>> {
        let (mut usual, mut met) = (Usual::default(), HashSet::new());
        for change in changes {
            if !met.insert(change.id) {
                return None;
            }
            match (&change.facts, change.transition.to(), change.transition.reason()) {
                (Facts::TypingShown { .. }, State::Typing, None) => usual.typing.push(change),
                (Facts::Mark { .. }, State::Sending, None) => usual.marks.push(change),
                (Facts::Record { send: Some(_), .. }, State::Sent { .. }, None) => usual.records.push(change),
                _ => return None,
            }
        }
        Some(usual)
    }

    /// How many marks are among them.
    pub(super) fn marks(&self) -> u64 {
        count(&self.marks)
    }

    /// Carries them out in the transaction that is open. Answers whether every message was as it was expected to be: where
    /// one was not, the transaction must be taken back, since it holds what belongs to changes that were not made.
    ///
    /// # Errors
    /// When the database fails, after which the transaction must be taken back too.
    pub(super) async fn apply(&self, connection: &mut SqliteConnection) -> Result<bool, StoreError> {
        let [typing] = TYPING.execute(connection, &self.typing, [typing_row], "write typing").await?;
        let [marks, _] = MARKS.execute(connection, &self.marks, [mark_row, attempt_row], "write marks").await?;
        let bind = [record_row, result_row, id_row];
        let [records, _, adopted] = RECORDS.execute(connection, &self.records, bind, "write records").await?;
        if adopted > 0 {
            take_in_adopted(connection, self.records.iter().map(|c| json!(hex(c.id))).collect()).await?;
        }
        Ok([typing, marks, records] == [&self.typing, &self.marks, &self.records].map(|c| count(c)))
    }
}

fn count(changes: &[&Change]) -> u64 {
    u64::try_from(changes.len()).unwrap_or(u64::MAX)
}

fn id_row(places: &mut Places<'_>, change: &Change) {
    places.bind(change.id.0.to_vec());
}

fn typing_row(places: &mut Places<'_>, change: &Change) {
    let Facts::TypingShown { started_at, slot, due_at } = &change.facts else { return };
    id_row(places, change);
    places.bind(change.attempts).bind(started_at.0).bind(slot.0).bind(due_at.0);
}

fn mark_row(places: &mut Places<'_>, change: &Change) {
    let Facts::Mark { number, marked_at, slot, typing, due_at, .. } = &change.facts else { return };
    id_row(places, change);
    places.bind(change.attempts).bind(slot.0).bind(*number).bind(marked_at.0);
    places.bind(typing.as_ref().map(|t| t.started_at.0)).bind(due_at.0);
}

fn attempt_row(places: &mut Places<'_>, change: &Change) {
    let Facts::Mark { number, marked_at, slot, paced, typing, body, .. } = &change.facts else { return };
    id_row(places, change);
    places.bind(*number).bind(marked_at.0).bind(slot.0).bind(*paced);
    places.bind(typing.as_ref().map(|t| t.started_at.0));
    bind_typing(places, typing.as_ref());
    places.bind(*body);
}

fn record_row(places: &mut Places<'_>, change: &Change) {
    let (Facts::Record { tries, send, gateway_id, ack, .. }, State::Sent { sent_at }) =
        (&change.facts, change.transition.to())
    else {
        return;
    };
    id_row(places, change);
    places.bind(change.attempts).bind(*tries).bind(sent_at.0).bind(gateway_id.as_deref());
    places.bind(ack.map(Ack::level)).bind(ack.and(send.as_ref()).map(|s| s.finished_at.0));
}

fn result_row(places: &mut Places<'_>, change: &Change) {
    let Facts::Record { number, send: Some(send), late_typing, .. } = &change.facts else { return };
    id_row(places, change);
    places.bind(*number).bind(change.at.0).bind(send.started_at.0).bind(send.finished_at.0).bind(send.status);
    places.bind(send.outcome).bind(&*send.response);
    bind_typing(places, late_typing.as_ref());
}

fn bind_typing(places: &mut Places<'_>, typing: Option<&TypingFacts>) {
    places.bind(typing.and_then(|t| t.status)).bind(typing.and_then(|t| t.response.as_deref()));
    places.bind(typing.map(|t| t.refreshes)).bind(typing.and_then(|t| t.stopped_at).map(|t| t.0));
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection, Row};

    use super::*;
    use crate::store::sqlite::MIGRATIONS;
    use crate::store::sqlite_upkeep::forget_statistics;

    #[tokio::test]
    async fn every_row_is_found_by_its_id_however_little_the_database_held_when_it_was_analysed() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        MIGRATIONS.run(&mut connection).await.unwrap();
        let one = "PRAGMA foreign_keys = OFF;
            INSERT INTO messages (id, instance, chat, class, flow, content, guard, state, due_at, wake_at, lead_ms, created_at)
            VALUES (zeroblob(16), 'shop', 'a', 2, 2, 1, 0, 'scheduled', 0, 0, 0, 0);
            ANALYZE";
        sqlx::query(one).execute(&mut connection).await.unwrap();
        assert!(!scans(&mut connection).await.is_empty(), "the search is broken, or SQLite has become wiser");
        forget_statistics(&mut connection).await.unwrap();
        assert_eq!(scans(&mut connection).await, Vec::<String>::new());
    }

    /// Steps of plans that read more than the rows asked for.
    async fn scans(connection: &mut SqliteConnection) -> Vec<String> {
        let mut scans = Vec::new();
        let texts = TYPING.texts().chain(MARKS.texts()).chain(RECORDS.texts());
        for statement in texts.flat_map(|t| t.split(';')) {
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            let steps = plan.fetch_all(&mut *connection).await.unwrap().into_iter().map(|row| row.get::<String, _>(3));
            let wrong = ["SCAN messages", "SCAN m ", "SEARCH messages USING INDEX", "AUTOMATIC"];
            scans.extend(steps.filter(|step| wrong.iter().any(|w| step.contains(w))));
        }
        scans
    }
}
