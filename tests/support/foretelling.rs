//! What is foretold beside what then happens, message by message.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{Connection, Row};

use crate::process::Bench;

pub(crate) fn ms(value: &Value) -> Option<i64> {
    Some(value.as_str()?.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// Job, occurrence, recipient, and which one of its sequence.
pub(crate) type Key = (String, i64, String, usize);

/// One message as foretold or as it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) instance: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) slot: Option<i64>,
    pub(crate) typing_from: Option<i64>,
    /// When its request was answered, of one that was.
    pub(crate) answered: Option<i64>,
}

/// What a document of `simulate` or `timeline` foretells.
pub(crate) fn foretold(document: &Value) -> BTreeMap<Key, Told> {
    let mut all = BTreeMap::new();
    for m in document["messages"].as_array().unwrap() {
        let text = |name: &str| m[name].as_str().unwrap_or("").to_owned();
        let told = Told {
            instance: text("instance"),
            state: text("state"),
            reason: text("reason"),
            slot: ms(&m["sends_at"]),
            typing_from: ms(&m["typing_from"]),
            answered: None,
        };
        let base = (text("job"), ms(&m["occurrence"]).unwrap(), text("to"));
        let step = (0..9).find(|s| !all.contains_key(&(base.0.clone(), base.1, base.2.clone(), *s))).unwrap();
        all.insert((base.0, base.1, base.2, step), told);
    }
    all
}

/// What happened, from the rows themselves: the slot as it was fixed when typing began.
pub(crate) async fn happened(bench: &Bench) -> BTreeMap<Key, Told> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path("db")).read_only(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query(
        "SELECT m.job, o.nominal_at, m.chat, m.step, m.instance, m.state, m.reason, a.slot_at, a.typing_started_at,
                m.lead_ms, r.finished_at
         FROM messages AS m JOIN occurrences AS o ON o.id = m.occurrence
         LEFT JOIN attempts AS a ON a.message = m.id LEFT JOIN results AS r ON r.message = m.id",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    rows.iter()
        .map(|r| {
            let step = usize::try_from(r.get::<i64, _>(3)).unwrap();
            let slot: Option<i64> = r.get(7);
            // The plan: a full lead before the slot. The call itself is made a millisecond or two later.
            let lead: i64 = r.get(9);
            let began: Option<i64> = r.get(8);
            let told = Told {
                instance: r.get(4),
                state: r.get(5),
                reason: r.get::<Option<String>, _>(6).unwrap_or_default(),
                slot,
                typing_from: slot.zip(began).map(|(slot, _)| slot - lead),
                answered: r.get(10),
            };
            ((r.get(0), r.get(1), r.get(2), step), told)
        })
        .collect()
}

/// A step of a sequence begins once the record of the one before it is durable.
const COMMIT: i64 = 250;

/// A busy machine wakes the daemon so late at most. Whom it should have begun to type to by then is typed to in full all the
/// same, so their slot is later by as much.
const WAKE: i64 = 50;

/// Compares message by message. Through a lane that spaces its sends, or has only so many places, a slot counts from
/// when the one before it really left, so it may be later by what all those before it in the lane were late, and by
/// what the daemon woke late for it; everywhere else it is the very same millisecond.
pub(crate) fn compare(predicted: &BTreeMap<Key, Told>, actual: &BTreeMap<Key, Told>, free: &[&str]) -> Vec<String> {
    let mut by_slot: Vec<(&Key, &Told)> = predicted.iter().collect();
    by_slot.sort_by_key(|(_, t)| t.slot);
    let mut slipped: BTreeMap<&str, i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (key, told) in by_slot {
        let was = &actual[key];
        let steps = i64::try_from(key.3).unwrap() * COMMIT;
        let allowed = match &*told.instance {
            lane if free.contains(&lane) => steps,
            lane => slipped.get(lane).copied().unwrap_or(0) + WAKE + steps,
        };
        let shift = |a: Option<i64>, b: Option<i64>| b.zip(a).map(|(b, a)| b - a);
        let (slot, typing) = (shift(told.slot, was.slot), shift(told.typing_from, was.typing_from));
        let fits = |s: Option<i64>, known: bool| s.map_or(!known, |s| (0..=allowed).contains(&s));
        let same = (&told.instance, &told.state, &told.reason) == (&was.instance, &was.state, &was.reason);
        if !same || !fits(slot, told.slot.is_some()) || !fits(typing, told.typing_from.is_some()) {
            wrong.push(format!("{key:?}: slot {slot:?}, typing {typing:?} of {allowed}, {told:?} {was:?}"));
        }
        if let Some((left, answered)) = was.slot.zip(was.answered) {
            let before = slipped.entry(&told.instance).or_default();
            let woke_late = (slot.unwrap_or(0) - *before).max(0);
            *before += woke_late + (answered - left).max(0) + 1;
        }
    }
    wrong
}
