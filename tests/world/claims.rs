//! What must be true of every history, whatever persons and peers did. Each claim answers what breaks it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use onthedot::clock;
use onthedot::domain::consent::Consent;
use onthedot::domain::id::MessageId;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::explain;
use onthedot::future;
use onthedot::receipts::Taken;
use onthedot::repair::Repair;
use onthedot::store::Store;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection};

use crate::machine::{BEGIN, BUSY, END, Fact, World};
use crate::persons::Told;

/// What was broken, in words.
pub(crate) type Broken = Vec<String>;

/// What was foreseen of a message.
#[derive(Clone, Debug)]
pub(crate) struct Foreseen {
    at: Timestamp,
    earliest: Timestamp,
}

/// What is remembered of the looks at a history.
#[derive(Default)]
pub(crate) struct Looks {
    pub(crate) broken: Broken,
    /// By `explain`.
    pub(crate) foreseen: HashMap<MessageId, Foreseen>,
    /// By what `timeline` and `campaign eta` play ahead.
    pub(crate) played: HashMap<MessageId, Foreseen>,
}

async fn connect(world: &World) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(&world.path).read_only(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn id(hex: &str) -> MessageId {
    hex.parse().unwrap()
}

impl World {
    /// Looks at what must be true at any moment.
    pub(crate) async fn look(&mut self) {
        let mut connection = connect(self).await;
        let broken = in_motion(self, &mut connection).await;
        self.looks.broken.extend(broken);
        let broken = campaigns_found(self, &mut connection, 3).await;
        self.looks.broken.extend(broken);
        let broken = waits_as_its_job_says(&mut connection).await;
        self.looks.broken.extend(broken);
        if self.calm {
            self.foresee(&mut connection).await;
            self.play_ahead(&mut connection).await;
        }
        self.rescue().await;
        connection.close().await.unwrap();
    }

    /// The daemon's own belt: it must never find anything but what commands left that died with a crash.
    async fn rescue(&mut self) {
        let Some(mut rescuer) = self.rescuer.take() else { return };
        let mut unheld = rescuer.suspects().await.unwrap();
        unheld.retain(|m| !self.holds(m.id));
        let before = self.store.rescued().await.unwrap();
        rescuer.look(unheld, self.now).await.unwrap();
        let after = self.store.rescued().await.unwrap();
        let crashed = self.log.iter().any(|e| matches!(e.fact, Fact::Crash));
        if after[..2] != before[..2] || after[2] != before[2] && !crashed {
            self.looks.broken.push(format!("the rescuer was needed: {before:?} became {after:?}"));
        }
        if let Some(stuck) = rescuer.trouble().borrow().clone() {
            let doing = self.doing();
            self.looks.broken.push(format!("nobody looks any more: {stuck}; at work: {doing}"));
        }
        self.rescuer = Some(rescuer);
    }

    /// Asks when a message leaves that waits.
    async fn foresee(&mut self, connection: &mut SqliteConnection) {
        let waiting: Vec<String> =
            sqlx::query_scalar("SELECT hex(id) FROM messages WHERE state = 'scheduled' ORDER BY wake_at, id LIMIT 12")
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        if waiting.is_empty() {
            return;
        }
        let of = id(&waiting[usize::try_from(self.dice.roll(0, 99)).unwrap() % waiting.len()]);
        if takes_turns(connection, of).await {
            return;
        }
        let Some(detail) = self.store.show(of).await.unwrap() else { return };
        let said = explain::of(&self.store, &detail, self.now).await.unwrap();
        if let Some(earliest) = said.earliest {
            self.looks.foreseen.insert(of, Foreseen { at: self.now, earliest });
        }
    }
}

impl World {
    /// Plays ahead what waits, and keeps which message of each account is to leave first.
    async fn play_ahead(&mut self, connection: &mut SqliteConnection) {
        let (store, now) = (Arc::clone(&self.store), self.now);
        let Ok(premise) = future::of_store(&store, now, now + AHEAD).await else { return };
        let mut first: BTreeMap<String, future::Foreseen> = BTreeMap::new();
        let keep = |f: &future::Foreseen| {
            if f.sends_at.is_some_and(|at| at > now + EXACT) {
                let known = first.entry(f.instance.to_string()).or_insert_with(|| f.clone());
                if f.sends_at < known.sends_at {
                    *known = f.clone();
                }
            }
            Ok::<(), ()>(())
        };
        future::play(&premise, keep).unwrap();
        for f in first.into_values() {
            let found: Vec<String> = sqlx::query_scalar(
                "SELECT hex(id) FROM messages
                 WHERE chat = ?1 AND due_at = ?2 AND instance = ?3 AND state IN ('scheduled', 'typing') AND reason IS NOT 'replaced'",
            )
            .bind(f.to.as_str().to_owned())
            .bind(f.due_at.0)
            .bind(f.instance.to_string())
            .fetch_all(&mut *connection)
            .await
            .unwrap();
            let ([hex], Some(earliest)) = (&found[..], f.sends_at) else { continue };
            if !takes_turns(connection, id(hex)).await {
                self.looks.played.insert(id(hex), Foreseen { at: now, earliest });
            }
        }
    }
}

/// How far ahead is played.
const AHEAD: Millis = Millis(8_000);

/// Whether a message takes turns with another class in its lane, or waits for an earlier occurrence of its job: where the turns
/// stand, and when the gate is asked, the running daemon alone knows.
async fn takes_turns(connection: &mut SqliteConnection, of: MessageId) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM messages AS m JOIN messages AS x
                        ON x.state IN ('scheduled', 'typing', 'sending') AND x.id <> m.id
                        WHERE m.id = ?1 AND (x.instance = m.instance AND x.class <> m.class
                                             OR x.job = m.job AND x.occurrence <> m.occurrence AND x.due_at <= m.due_at))",
    )
    .bind(of.0.to_vec())
    .fetch_one(connection)
    .await
    .unwrap()
}

/// The rows at the end of a history, in lines.
pub(crate) async fn rows(world: &World) -> Vec<String> {
    let mut connection = connect(world).await;
    let occurrences = sqlx::query_scalar::<_, String>(
        "SELECT format('%s@%d: %s, gate %s, renew %d, planned at %s, extra %d, cancelled at %s, for %s', job, nominal_at - ?1, state,
                       coalesce(gate_at - ?1, '-'), renew, coalesce(planned_at - ?1, '-'), extra, coalesce(cancelled_at - ?1, '-'),
                       coalesce(recipients, '-'))
         FROM occurrences ORDER BY job, nominal_at",
    );
    let mut lines = occurrences.bind(BEGIN).fetch_all(&mut connection).await.unwrap();
    let messages = sqlx::query_scalar::<_, String>(
        "SELECT format('%s %s@%s %s step %d through %s: %s %s, due %d, wakes %d, %d attempts', lower(hex(m.id)), m.job,
                       coalesce(o.nominal_at - ?1, '-'), m.chat, m.step, m.instance, m.state, coalesce(m.reason, ''),
                       m.due_at - ?1, m.wake_at - ?1, m.attempts)
         FROM messages AS m LEFT JOIN occurrences AS o ON o.id = m.occurrence ORDER BY m.id",
    );
    lines.extend(messages.bind(BEGIN).fetch_all(&mut connection).await.unwrap());
    let doubts = sqlx::query_scalar::<_, String>(
        "SELECT format('doubt of %s, attempt %d: %s; %s', lower(hex(d.message)), d.number, coalesce(d.verdict, '-'),
                       (SELECT group_concat(format('%d %s %s', e.at - ?1, e.kind, e.verdict), ', ') FROM evidence AS e
                        WHERE e.message = d.message AND e.number = d.number))
         FROM doubts AS d ORDER BY d.message, d.number",
    );
    lines.extend(doubts.bind(BEGIN).fetch_all(&mut connection).await.unwrap());
    connection.close().await.unwrap();
    lines
}

/// Nothing stays in motion that nobody has in hand.
async fn in_motion(world: &World, connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT hex(id), state FROM messages WHERE state IN ('typing', 'sending')")
            .fetch_all(connection)
            .await
            .unwrap();
    let lost = rows.into_iter().filter(|(hex, _)| !world.holds(id(hex)));
    lost.map(|(hex, state)| format!("{} is {state} and nobody has it in hand", id(&hex))).collect()
}

/// A planned campaign is always found, and tells as many recipients as have a message of it: also where others were named when it
/// was planned first, and who joined or came back since.
async fn campaigns_found(world: &World, connection: &mut SqliteConnection, latest: i64) -> Broken {
    let rows: Vec<(String, i64, bool, i64)> = sqlx::query_as(
        "SELECT job, nominal_at, recipients > 1,
                -- Who was forgotten has another name in each message.
                (SELECT count(DISTINCT iif(m.chat GLOB 'erased-*', iif(m.step = 0, m.chat, NULL), m.chat)) FROM messages AS m
                 WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' AND m.follows IS NULL)
         FROM occurrences AS o WHERE planned_at IS NOT NULL OR state = 'planned' ORDER BY id DESC LIMIT ?1",
    )
    .bind(latest)
    .fetch_all(connection)
    .await
    .unwrap();
    let mut broken = Broken::new();
    for (job, nominal, is_campaign, people) in rows {
        let name = format!("{job}@{}", nominal - BEGIN);
        let Some(view) = world.store.campaign(&job, Some(Timestamp(nominal)), world.now).await.unwrap() else {
            broken.push(format!("the campaign {name} is not found"));
            continue;
        };
        if view.renewed {
            continue;
        }
        if people > 1 && !is_campaign {
            broken.push(format!("{name} is listed as no campaign, and {people} have a message of it"));
        }
        if i64::try_from(view.recipients).unwrap() != people {
            broken.push(format!("{name} tells {} recipients, and {people} have a message of it", view.recipients));
        }
    }
    broken
}

/// What waits says what its job says, also what waits for a person; nothing waits of a job that is gone. What was asked for
/// beside the schedule, what follows a message, what was tried or typed before and what may have gone out stays as it was.
async fn waits_as_its_job_says(connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<(String, String, i64, bool)> = sqlx::query_as(
        "SELECT hex(m.id), m.job, o.nominal_at, j.name IS NULL FROM messages AS m
         JOIN occurrences AS o ON o.id = m.occurrence
         LEFT JOIN jobs AS j ON j.name = m.job
         WHERE m.state IN ('scheduled', 'held') AND m.reason IS NOT 'replaced' AND m.follows IS NULL AND m.attempts = 0
           AND m.typing_at IS NULL AND o.renew = 0 AND o.state = 'planned' AND o.extra = 0 AND o.cancelled_at IS NULL
           AND o.id NOT IN (SELECT occurrence FROM imports)
           -- A person gives what has ended another chance as it was.
           AND NOT EXISTS (SELECT 1 FROM events AS e
                           WHERE e.message = m.id
                             AND (e.note GLOB 'due again by command*' OR e.note GLOB 'back in its draft by command*'
                                  OR e.note = 'the message of its sequence before it goes out after all'))
           AND (j.name IS NULL
                OR (m.content <> j.content AND m.content NOT IN (SELECT value FROM json_each(coalesce(j.then_contents, '[]')))))",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let words = |gone| if gone { "waits although its job is gone" } else { "waits with what its job said before" };
    rows.into_iter()
        .map(|(hex, job, nominal, gone)| format!("{} of {job}@{} {}", id(&hex), nominal - BEGIN, words(gone)))
        .collect()
}

/// All claims about a history that has ended.
pub(crate) async fn broken(world: &World) -> Broken {
    let mut connection = connect(world).await;
    let c = &mut connection;
    let mut broken = world.looks.broken.clone();
    broken.extend(in_motion(world, c).await);
    broken.extend(one_message_a_step(world, c).await);
    broken.extend(nothing_hidden_for_ever(world, c).await);
    broken.extend(nothing_overdue(world, c).await);
    broken.extend(sequences_go_on(c).await);
    broken.extend(drafts_wait(c).await);
    broken.extend(nothing_leaves_early(c).await);
    broken.extend(gates_pass(world, c).await);
    broken.extend(occurrences_run(world, c).await);
    broken.extend(everybody_has_a_row(world, c).await);
    broken.extend(campaigns_found(world, c, i64::MAX).await);
    broken.extend(cancelled_stays_unsent(world, c).await);
    broken.extend(suppressed_gets_nothing(world, c).await);
    broken.extend(carried_is_known(world, c).await);
    broken.extend(a_reply_ends_a_drip(world, c).await);
    broken.extend(foreseen_happens(world, c).await);
    broken.extend(lists_are_followed(c).await);
    broken.extend(distances_are_kept(c).await);
    broken.extend(what_follows_stops_nothing(world, c).await);
    broken.extend(windows_are_kept(c).await);
    broken.extend(frequency_is_kept(c).await);
    broken.extend(who_is_too_late_lost_that_time(world, c).await);
    broken.extend(who_is_gone_is_followed_no_more(c).await);
    broken.extend(forged_is_refused(world));
    connection.close().await.unwrap();
    broken
}

/// The occurrence, the chat and the step of a message; its id where it has no occurrence.
type Place = (Option<i64>, String, i64, Option<String>);

/// A recipient gets one message an occurrence and step, whatever was edited. What its job says may be sent again, and what a
/// person gave another chance, may come again.
async fn one_message_a_step(world: &World, connection: &mut SqliteConnection) -> Broken {
    let again: BTreeSet<String> =
        // What was sent again by its policy never had a proof of silence.
        sqlx::query_scalar(
            "SELECT hex(m.id) FROM messages AS m JOIN contents AS c ON c.id = m.content
             WHERE EXISTS (SELECT 1 FROM events AS e WHERE e.message = m.id AND e.note GLOB 'due again by command*')
                OR EXISTS (SELECT 1 FROM doubts AS d
                           WHERE d.message = m.id
                             AND (d.verdict IN ('resent', 'dropped') OR c.manner ->> '$.on_doubt' = 'resend')
                             AND (SELECT count(*) FROM evidence AS e WHERE e.message = d.message AND e.number = d.number
                                  AND e.verdict = 'not_found') < 2)",
        )
        .fetch_all(&mut *connection)
            .await
            .unwrap()
            .into_iter()
            .collect();
    let rows = sqlx::query("SELECT hex(id), occurrence, chat, step, follows IS NOT NULL FROM messages")
        .fetch_all(connection)
        .await
        .unwrap();
    let mut places: HashMap<MessageId, (Option<i64>, String, i64)> = HashMap::new();
    for row in &rows {
        if !row.get::<bool, _>(4) {
            places.insert(id(row.get(0)), (row.get(1), row.get(2), row.get(3)));
        }
    }
    let mut got: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for carried in &world.gateway.known().carried {
        let Some((occurrence, chat, step)) = places.get(&carried.id).cloned() else { continue };
        let hex = carried.id.to_string().replace('-', "").to_uppercase();
        if again.contains(&hex) {
            continue;
        }
        let alone = occurrence.is_none().then_some(hex);
        got.entry((occurrence, chat, step, alone)).or_default().push(format!("{} {:?}", carried.id, carried.text));
    }
    let twice = got.into_iter().filter(|(_, all)| all.len() > 1);
    twice.map(|(place, all)| format!("{place:?} got {all:?}")).collect()
}

/// What is hidden is being planned, or waits at its gate.
async fn nothing_hidden_for_ever(world: &World, connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT job, nominal_at, renew FROM occurrences AS o
         -- An import that a crash cut off was never told to be done: the next one removes what it left.
         WHERE o.id NOT IN (SELECT occurrence FROM imports WHERE done_at IS NULL) AND (state = 'planning' AND gate_at IS NULL OR renew > 0) AND nominal_at < ?1
           AND EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced'
                       AND m.state IN ('scheduled', 'typing', 'held'))",
    )
    // The planner is at work on what is to come.
    .bind(world.now.0 - 5_000)
    .fetch_all(connection)
    .await
    .unwrap();
    rows.into_iter().map(|(job, nominal, renew)| format!("{job}@{nominal} stays hidden (renew {renew})")).collect()
}

/// What is due leaves, as long as its lane does anything else or nothing at all.
async fn nothing_overdue(world: &World, connection: &mut SqliteConnection) -> Broken {
    let rows = sqlx::query(
        "SELECT hex(m.id), m.instance, m.wake_at, m.job, m.chat, m.reason FROM messages AS m
         LEFT JOIN occurrences AS o ON o.id = m.occurrence
         WHERE m.state = 'scheduled' AND m.wake_at < ?1 AND (o.id IS NULL OR o.state = 'planned')
           AND (m.step <= 0 OR EXISTS (SELECT 1 FROM messages AS p
                WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1
                  AND p.reason IS NOT 'replaced' AND p.state = 'sent'))",
    )
    .bind(world.now.0 - 25_000)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    // What is more pressing than anything else may be typed to without end, where each occurrence replaces the one before.
    let pressing: Vec<(String, String)> =
        sqlx::query_as("SELECT hex(id), instance FROM messages WHERE class IN ('urgent', 'reminder')")
            .fetch_all(connection)
            .await
            .unwrap();
    let pressing: HashMap<MessageId, String> = pressing.into_iter().map(|(hex, i)| (id(&hex), i)).collect();
    let lately = world.now - Millis(15_000);
    let mut broken = Broken::new();
    for row in &rows {
        let instance: String = row.get(1);
        let through = |id: &MessageId| world.instance_of(*id).as_deref() == Some(instance.as_str());
        // An account that was down is asked again some seconds later.
        let sent = |e: &&crate::machine::Entry| match &e.fact {
            Fact::Left { id, .. } => e.at > lately && through(id),
            Fact::Typing(id) => e.at > lately && pressing.get(id) == Some(&instance),
            Fact::Answered(id, "instance_down") => e.at > lately - Millis(15_000) && through(id),
            // A disk that was full for a moment costs a whole lead.
            Fact::Write(_, _, None) => e.at > lately,
            _ => false,
        };
        // One that has sent all that its rate allows waits until the minute has passed. What came back unsent does not count.
        let minute = world.now - Millis(60_000);
        let of_the_minute = |e: &&crate::machine::Entry| matches!(&e.fact, Fact::Answered(id, how) if e.at > minute && *how != "not_sent" && through(id));
        let is_spent =
            world.file.rate_of(&instance).is_some_and(|most| world.log.iter().filter(of_the_minute).count() >= most);
        if world.log.iter().find(sent).is_none() && world.can_send() && !is_spent {
            let (hex, wake): (String, i64) = (row.get(0), row.get(2));
            let reason: Option<String> = row.get(5);
            broken.push(format!(
                "{} of {:?} should have woken {} ms after the beginning, and waits ({reason:?})",
                id(&hex),
                row.get::<Option<String>, _>(3),
                wake - BEGIN
            ));
        }
    }
    broken
}

/// Nothing waits for an earlier message of its sequence that ended without going out, or that is gone; and nothing ended for one that
/// goes out after all.
async fn sequences_go_on(connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT hex(m.id), 'waits behind one that is ' || coalesce(p.state, 'gone') FROM messages AS m
         LEFT JOIN messages AS p
           ON p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1 AND p.reason IS NOT 'replaced'
         WHERE m.state IN ('scheduled', 'held') AND m.reason IS NOT 'replaced' AND m.step > 0
           AND (p.id IS NULL OR p.state IN ('failed', 'cancelled', 'expired', 'skipped'))
         UNION ALL
         SELECT hex(m.id), 'is skipped, and nothing before it ended' FROM messages AS m
         JOIN occurrences AS o ON o.id = m.occurrence
         WHERE m.state = 'skipped' AND m.reason = 'sequence' AND m.step > 0 AND m.attempts = 0
           AND o.forgotten = 0 AND m.chat NOT GLOB 'erased-*'
           -- What a person ended comes back by no evidence.
           AND o.cancelled_at IS NULL
           AND (EXISTS (SELECT 1 FROM jobs WHERE name = m.job) OR EXISTS (SELECT 1 FROM imports AS i WHERE i.occurrence = o.id))
           AND NOT EXISTS (SELECT 1 FROM messages AS b
                           WHERE b.occurrence = m.occurrence AND b.chat = m.chat AND b.step >= 0 AND b.step < m.step
                             AND b.reason IS NOT 'replaced' AND b.state IN ('failed', 'cancelled', 'expired', 'skipped'))",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    rows.into_iter().map(|(hex, why)| format!("{} {why}", id(&hex))).collect()
}

/// Nothing leaves before it is due, also where a person moved it at the last moment.
async fn nothing_leaves_early(connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT hex(m.id), m.due_at - m.sent_at FROM messages AS m
         WHERE m.state = 'sent' AND m.attempts = 1 AND m.sent_at < m.due_at
           -- What evidence says of an instant is in whole seconds.
           AND NOT EXISTS (SELECT 1 FROM doubts AS d WHERE d.message = m.id)",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    rows.iter().map(|(hex, early)| format!("{} left {early} ms before it was due", id(hex))).collect()
}

/// A draft does not expire by waiting: a length counts from its approval. Nor does it leave without one.
async fn drafts_wait(connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT hex(m.id) FROM messages AS m
         JOIN contents AS c ON c.id = m.content
         JOIN events AS e ON e.message = m.id AND e.from_state = 'held' AND e.to_state = 'expired'
         WHERE m.state = 'expired' AND m.reason = 'expires'
           AND c.manner ->> '$.hold' = 1 AND c.manner ->> '$.expires.after' IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM events AS a
                           WHERE a.message = m.id AND a.from_state = 'held' AND a.to_state = 'scheduled')",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let sent: Vec<String> = sqlx::query_scalar(
        "SELECT hex(m.id) FROM messages AS m
         JOIN contents AS c ON c.id = m.content
         WHERE c.manner ->> '$.hold' = 1 AND m.attempts > 0
           AND (SELECT e.from_state FROM events AS e WHERE e.message = m.id ORDER BY e.id LIMIT 1) = 'held'
           AND NOT EXISTS (SELECT 1 FROM events AS a
                           WHERE a.message = m.id AND a.from_state = 'held' AND a.to_state = 'scheduled')",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let expired = rows.iter().map(|hex| format!("the draft {} expired while it waited", id(hex)));
    expired.chain(sent.iter().map(|hex| format!("the draft {} left, and nobody let it go", id(hex)))).collect()
}

/// Who waits at a gate waits for somebody.
async fn gates_pass(world: &World, connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT o.job, o.nominal_at FROM occurrences AS o
         WHERE o.gate_at < ?1 AND o.state = 'planning'
           AND EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.reason IS NOT 'replaced' AND m.state = 'scheduled')
           AND NOT EXISTS (SELECT 1 FROM occurrences AS b JOIN messages AS m ON m.occurrence = b.id
                           WHERE b.job = o.job AND b.nominal_at < o.nominal_at AND b.id <> o.id
                             AND m.reason IS NOT 'replaced' AND m.state IN ('scheduled', 'typing'))",
    )
    // The planner is at work on others for some seconds where the disk is slow.
    .bind(world.now.0 - 5_000)
    .fetch_all(connection)
    .await
    .unwrap();
    rows.into_iter().map(|(job, nominal)| format!("{job}@{} waits at its gate for nobody", nominal - BEGIN)).collect()
}

/// An occurrence that may run does run: each instant of a schedule is planned, or noted as missed.
async fn occurrences_run(world: &World, connection: &mut SqliteConnection) -> Broken {
    let mut broken = Broken::new();
    for name in world.store.job_names().await.unwrap() {
        let Some(stored) = world.store.job(&name).await.unwrap() else { continue };
        if !stored.job.schedule.recurs() {
            continue;
        }
        let applied: i64 = sqlx::query_scalar("SELECT applied_at FROM jobs WHERE name = ?1")
            .bind(name.clone())
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        let from = Timestamp(applied.max(BEGIN + BUSY.0) + 1_000);
        let until = Timestamp(BEGIN) + END - Millis(20_000);
        let zone = clock::zone(stored.job.schedule_zone()).unwrap();
        let due = stored.job.schedule.all_after(from, stored.first_applied_at, &zone).take_while(|t| *t < until);
        for nominal in due {
            let known: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM occurrences WHERE job = ?1
                 AND (nominal_at = ?2 OR state = 'missed' AND nominal_at <= ?2 AND until_at >= ?2))",
            )
            .bind(name.clone())
            .bind(nominal.0)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
            if !known {
                broken.push(format!("{name}@{} did not run", nominal.0 - BEGIN));
            }
        }
    }
    broken
}

/// When somebody forgot last what was settled.
fn last_pruned(world: &World) -> Option<Timestamp> {
    let prunes = |e: &&crate::machine::Entry| matches!(&e.fact, Fact::Began(what) if what.starts_with("db prune"));
    world.log.iter().rev().find(prunes).map(|e| e.at)
}

/// Counts add up to the recipients: whoever is in a job's list has a row in each occurrence planned with it.
async fn everybody_has_a_row(world: &World, connection: &mut SqliteConnection) -> Broken {
    let rows: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT o.job, o.nominal_at, r.chat FROM occurrences AS o
         JOIN jobs AS j ON j.name = o.job
         JOIN recipients AS r ON r.audience = j.audience
         WHERE o.state = 'planned' AND r.chat NOT GLOB '~*' AND o.planned_at >= j.applied_at AND o.extra = 0 AND o.event_at IS NULL
           -- Who joins a list gets what is to come.
           AND (j.definition ->> '$.live' IS NULL OR o.nominal_at > ?1)
           -- What was forgotten has none.
           AND o.forgotten = 0
           AND EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.audience = j.audience AND m.reason IS NOT 'replaced')
           AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.occurrence = o.id AND m.chat = r.chat AND m.reason IS NOT 'replaced')",
    )
    .bind(world.now.0)
    .fetch_all(connection)
    .await
    .unwrap();
    let mut broken = Broken::new();
    for (job, nominal, chat) in rows {
        // What its schedule does not know any more stays as it was, also where it was planned in the moment of the change.
        let stored = world.store.job(&job).await.unwrap().unwrap();
        let before = Timestamp(nominal - 1);
        let known = stored.job.schedule.next_after(before, stored.first_applied_at, &jiff::tz::TimeZone::UTC);
        if known == Some(Timestamp(nominal)) {
            broken.push(format!("{chat} has no row in {job}@{}", nominal - BEGIN));
        }
    }
    broken
}

/// The occurrence, the chat and the step of what stands in a sequence; all that was erased counts as one chat.
async fn places_in_sequences(connection: &mut SqliteConnection) -> HashMap<MessageId, (i64, String, i64)> {
    let rows: Vec<(String, i64, String, i64)> = sqlx::query_as(
        "SELECT hex(id), occurrence, CASE WHEN chat GLOB 'erased-*' THEN 'erased' ELSE chat END, step FROM messages
         WHERE occurrence IS NOT NULL AND step >= 0 AND reason IS NOT 'replaced'",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    rows.into_iter().map(|(hex, occurrence, chat, step)| (id(&hex), (occurrence, chat, step))).collect()
}

/// What a person was told was cancelled is not sent, unless a person gives it, or what it waits for in its sequence, another
/// chance.
async fn cancelled_stays_unsent(world: &World, connection: &mut SqliteConnection) -> Broken {
    let mut broken = Broken::new();
    let places = places_in_sequences(connection).await;
    let behind = |id: &MessageId, before: &MessageId| match (places.get(id), places.get(before)) {
        (Some(a), Some(b)) => (a.0, &a.1) == (b.0, &b.1) && a.2 > b.2,
        _ => false,
    };
    let mut off: HashMap<MessageId, (Timestamp, &'static str)> = HashMap::new();
    // Of what was on its way, so many may still go out.
    let mut may_leave: HashMap<String, (u64, BTreeSet<MessageId>)> = HashMap::new();
    let mut of: HashMap<MessageId, String> = HashMap::new();
    let chances = chances(world);
    for entry in &world.log {
        match &entry.fact {
            Fact::Told(Told::Repaired { how: Repair::Cancel, done }) => {
                off.extend(done.iter().map(|id| (*id, (entry.at, "cancelled"))));
            }
            Fact::Told(Told::Repaired { how: Repair::Hold, done }) => {
                off.extend(done.iter().map(|id| (*id, (entry.at, "held"))));
            }
            Fact::Told(Told::Repaired { done, .. }) => {
                done.iter().for_each(|id| _ = off.remove(id));
                of.retain(|id, _| !done.iter().any(|chance| id == chance || behind(id, chance)));
            }
            Fact::Told(Told::Removed { job, known, in_motion }) => {
                let key = format!("{job} {}", entry.at);
                may_leave.insert(key.clone(), (*in_motion, BTreeSet::new()));
                of.extend(known.iter().map(|id| (*id, key.clone())));
            }
            Fact::Told(Told::CalledOff { campaign, known, out }) => {
                let key = format!("{campaign} {}", entry.at);
                may_leave.insert(key.clone(), (*out, BTreeSet::new()));
                of.extend(known.iter().map(|id| (*id, key.clone())));
            }
            Fact::Left { id, .. } => {
                if chances
                    .get(id)
                    .is_some_and(|all| all.iter().any(|(began, told)| (*began..=*told).contains(&entry.at)))
                {
                    continue;
                }
                if let Some((at, what)) = off.get(id) {
                    broken.push(format!("{id} leaves although it was {what} {} ms before", entry.at.since(*at).0));
                }
                if let Some((most, left)) = of.get(id).and_then(|key| may_leave.get_mut(key)) {
                    left.insert(*id);
                    if u64::try_from(left.len()).unwrap() > *most {
                        broken.push(format!(
                            "{id} leaves although its job was removed, or its campaign called off: {most} were said to"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    broken
}

/// While which persons were giving messages another chance: each has its effect before its person is told.
fn chances(world: &World) -> HashMap<MessageId, Vec<(Timestamp, Timestamp)>> {
    let mut began = Timestamp(BEGIN);
    let mut chances: HashMap<MessageId, Vec<(Timestamp, Timestamp)>> = HashMap::new();
    for entry in &world.log {
        match &entry.fact {
            Fact::Began(what) if ["retry", "release", "snooze", "campaign"].iter().any(|w| what.starts_with(w)) => {
                began = entry.at;
            }
            Fact::Told(Told::Repaired { how, done }) if !matches!(how, Repair::Cancel | Repair::Hold) => {
                done.iter().for_each(|id| chances.entry(*id).or_default().push((began, entry.at)));
            }
            _ => {}
        }
    }
    chances
}

/// Who is in a list is in the jobs that follow it, with a message in each occurrence that is to come; nothing waits for who left.
async fn lists_are_followed(connection: &mut SqliteConnection) -> Broken {
    let following = "FROM jobs AS j JOIN lists AS l ON l.name = j.definition ->> '$.live.list'";
    let member = "joining NOT IN (SELECT id FROM joinings WHERE done_at IS NULL)";
    let lacks = format!(
        "SELECT format('%s is in the list of %s and not in the job', m.chat, j.name) {following}
         JOIN members AS m ON m.list = l.id AND m.{member}
         WHERE NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.audience = j.audience AND r.chat = m.chat)"
    );
    let waits = format!(
        "SELECT format('%s of %s waits for %s, who left the list', lower(hex(m.id)), j.name, m.chat) {following}
         JOIN messages AS m ON m.job = j.name AND m.audience = j.audience
         WHERE m.state IN ('scheduled', 'held', 'typing') AND m.reason IS NOT 'replaced' AND m.follows IS NULL
           AND NOT EXISTS (SELECT 1 FROM members AS x WHERE x.list = l.id AND x.chat = m.chat AND x.{member})"
    );
    let mut broken = Broken::new();
    for statement in [lacks, waits] {
        let rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(statement)).fetch_all(&mut *connection).await;
        broken.extend(rows.unwrap());
    }
    broken
}

/// A distance declared is a distance kept: from what the message before really did.
async fn distances_are_kept(connection: &mut SqliteConnection) -> Broken {
    sqlx::query_scalar(
        "SELECT format('%s left %d ms after the one before it, of %d declared', lower(hex(m.id)), m.sent_at - p.sent_at, m.after_ms)
         FROM messages AS m
         JOIN messages AS p ON p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1 AND p.reason IS NOT 'replaced'
         -- What was judged by a person, or sent again, has another instant than what went before it knew.
         WHERE m.state = 'sent' AND p.state = 'sent' AND m.attempts = 1 AND p.attempts = 1 AND m.sent_at < p.sent_at + m.after_ms
           AND NOT EXISTS (SELECT 1 FROM doubts AS d WHERE d.message IN (m.id, p.id))",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// What follows a message never stops what is planned: where an occurrence was skipped for the one before it, that one waited itself.
async fn what_follows_stops_nothing(world: &World, connection: &mut SqliteConnection) -> Broken {
    // Of what was forgotten nobody can tell.
    if last_pruned(world).is_some() {
        return Broken::new();
    }
    sqlx::query_scalar(
        "SELECT format('%s of %s@%d is skipped for an occurrence of which nothing waited', lower(hex(m.id)), o.job, o.nominal_at)
         FROM messages AS m
         JOIN occurrences AS o ON o.id = m.occurrence
         JOIN events AS e ON e.message = m.id AND e.to_state = 'skipped'
         WHERE m.state = 'skipped' AND m.reason = 'overlap'
           AND NOT EXISTS (
               SELECT 1 FROM occurrences AS b JOIN messages AS x ON x.occurrence = b.id
               WHERE b.job = o.job AND b.nominal_at < o.nominal_at AND x.follows IS NULL
                 AND (x.state IN ('scheduled', 'typing', 'sending', 'in_doubt', 'held')
                      OR coalesce(x.sent_at, 0) >= e.at - 2000
                      OR (SELECT max(y.at) FROM events AS y WHERE y.message = x.id) >= e.at - 2000
                      OR (SELECT max(r.at) FROM results AS r WHERE r.message = x.id) >= e.at - 2000))",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Nothing leaves while its window is closed. All windows of these files are those of every day, in UTC.
async fn windows_are_kept(connection: &mut SqliteConnection) -> Broken {
    sqlx::query_scalar(
        "SELECT format('%s left %d ms after midnight, outside its window', lower(hex(m.id)), r.started_at % 86400000)
         FROM results AS r
         JOIN messages AS m ON m.id = r.message
         JOIN contents AS c ON c.id = m.content
         WHERE r.started_at IS NOT NULL
           AND (r.started_at % 86400000 < (c.manner ->> '$.window.hours.from') * 60000
                OR r.started_at % 86400000 >= (c.manner ->> '$.window.hours.to') * 60000)",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Nobody gets more within a span than the `frequency` of the job allows. What was in doubt may turn out either way, and is left out.
async fn frequency_is_kept(connection: &mut SqliteConnection) -> Broken {
    sqlx::query_scalar(
        "WITH went AS (
             SELECT m.id, m.chat, m.sent_at, m.content FROM messages AS m
             WHERE m.counted = 1 AND m.state = 'sent' AND NOT EXISTS (SELECT 1 FROM doubts AS d WHERE d.message = m.id))
         SELECT format('%s is one of %d within %d ms to one recipient', lower(hex(m.id)), count(*) + 1, c.manner ->> '$.frequency.within')
         FROM went AS m
         JOIN contents AS c ON c.id = m.content
         JOIN went AS t ON t.chat = m.chat AND t.id <> m.id
          AND (t.sent_at < m.sent_at OR t.sent_at = m.sent_at AND t.id < m.id)
          AND t.sent_at > m.sent_at - (c.manner ->> '$.frequency.within')
         GROUP BY m.id HAVING count(*) >= c.manner ->> '$.frequency.at_most'",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// What nobody could have sent earlier does not expire for it: what was never tried and is too late lost more than it may to
/// outages, while its window was open.
async fn who_is_too_late_lost_that_time(world: &World, connection: &mut SqliteConnection) -> Broken {
    let outages = world.store.outages(Timestamp(0)).await.unwrap();
    let rows = sqlx::query(
        "SELECT hex(m.id), m.instance, m.due_at, max(e.at), c.max_lateness_ms,
                coalesce(c.manner ->> '$.window.hours.from', 0) * 60000, coalesce(c.manner ->> '$.window.hours.to', 1440) * 60000
         FROM messages AS m
         JOIN contents AS c ON c.id = m.content
         JOIN events AS e ON e.message = m.id AND e.to_state = 'expired'
         WHERE m.state = 'expired' AND m.reason = 'too_late' AND m.attempts = 0 GROUP BY m.id",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let mut broken = Broken::new();
    for row in &rows {
        let (instance, due, ended): (String, i64, i64) = (row.get(1), row.get(2), row.get(3));
        let (allowed, opens, closes): (i64, i64, i64) = (row.get(4), row.get(5), row.get(6));
        // A history lies within one day.
        let midnight = due / 86_400_000 * 86_400_000;
        let concerns = |o: &&onthedot::store::Outage| o.instance.as_ref().is_none_or(|name| *name.0 == *instance);
        let lost: i64 = outages
            .iter()
            .filter(concerns)
            .map(|o| {
                let from = o.began_at.0.max(due).max(midnight + opens);
                (o.ended_at.0.min(ended).min(midnight + closes) - from).max(0)
            })
            .sum();
        if lost <= allowed {
            let id = id(row.get(0));
            broken.push(format!("{id} is too late, and lost {lost} ms to outages, of {allowed} allowed"));
        }
    }
    broken
}

/// Nothing follows a message any more from the moment at which nobody was to follow it.
async fn who_is_gone_is_followed_no_more(connection: &mut SqliteConnection) -> Broken {
    sqlx::query_scalar(
        "SELECT format('%s is marked %d ms after nobody was to follow the message before it', lower(hex(n.id)), a.marked_at - p.unfollowed_at)
         FROM messages AS n
         JOIN messages AS p ON p.id = n.follows
         JOIN attempts AS a ON a.message = n.id
         -- It is noted with the instant at which the look began that found it.
         WHERE a.marked_at > p.unfollowed_at + 5000
         UNION ALL
         SELECT format('%s is followed on, and nobody was to', lower(hex(p.id))) FROM messages AS p
         WHERE p.unfollowed_at IS NOT NULL AND p.followed = 'waiting'",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// What is not signed by the gateway is let in nowhere.
fn forged_is_refused(world: &World) -> Broken {
    let taken = world.log.iter().filter_map(|e| match &e.fact {
        Fact::Told(Told::Forged(taken)) if *taken != Taken::Forbidden => Some(*taken),
        _ => None,
    });
    taken.map(|taken| format!("a forged webhook is {taken:?}")).collect()
}

/// A word about being written to: when it was said, and what.
struct Word {
    said: i64,
    out: bool,
    by_person: bool,
    id: String,
}

/// A suppressed chat gets nothing after the later of its words.
async fn suppressed_gets_nothing(world: &World, connection: &mut SqliteConnection) -> Broken {
    // Of what follows a message also whom that went to: nobody is told of them either.
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT hex(m.id), m.chat, f.chat FROM messages AS m LEFT JOIN messages AS f ON f.id = m.follows",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let chats: HashMap<String, Vec<String>> =
        rows.into_iter().map(|(id, chat, of)| (id, [Some(chat), of].into_iter().flatten().collect())).collect();
    let mut words: HashMap<String, Vec<Word>> = HashMap::new();
    let mut broken = Broken::new();
    for entry in &world.log {
        match &entry.fact {
            Fact::Told(Told::Suppressed { chat, verdict, at }) => {
                // Persons know all that was told before.
                let all = words.entry(chat.clone()).or_default();
                let said = all.iter().map(|w| w.said + 1).max().unwrap_or(0).max(at.0);
                all.push(Word { said, out: *verdict == Consent::Out, by_person: true, id: String::new() });
            }
            // A word has its effect before its sender is answered: speech counts from when it came, silence once it was taken in.
            Fact::Hook(body) | Fact::Told(Told::Hook { body, taken: Taken::Recorded }) => {
                let v: Value = serde_json::from_str(body).unwrap();
                let (payload, says) = (&v["payload"], v["payload"]["body"].as_str().unwrap_or(""));
                let counts =
                    ["STOP", "START"].contains(&says) && (says == "START" || !matches!(entry.fact, Fact::Hook(_)));
                if v["event"] == "message" && counts {
                    let chat = payload["id"].as_str().unwrap().split('_').nth(1).unwrap().to_owned();
                    // A stamp of whole seconds: an opt-out is taken to be said at the end of its second.
                    let end = if says == "STOP" { 999 } else { 0 };
                    let said = payload["timestamp"].as_i64().unwrap() * 1_000 + end;
                    let id = payload["id"].to_string();
                    let all = words.entry(chat).or_default();
                    if all.iter().all(|w| w.id != id) {
                        all.push(Word { said, out: says == "STOP", by_person: false, id });
                    }
                }
            }
            Fact::Marked(id) => {
                let hex = id.to_string().replace('-', "").to_uppercase();
                for all in chats.get(&hex).into_iter().flatten().filter_map(|chat| words.get(chat)) {
                    // A person's word is lifted by a person alone; of recipients' words the later counts, silence at one instant.
                    let last = |by_person: bool| {
                        let some = all.iter().filter(|w| w.by_person == by_person);
                        some.max_by_key(|w| (w.said, w.out)).map(|w| (w.said, w.out))
                    };
                    let (person, own) = (last(true), last(false));
                    let lifted = |said: i64| person.is_some_and(|(at, out)| !out && at >= said);
                    let silenced =
                        person.is_some_and(|(_, out)| out) || own.is_some_and(|(said, out)| out && !lifted(said));
                    if silenced {
                        broken.push(format!(
                            "{id} is marked although its recipient opted out: person {person:?}, own {own:?}"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    broken
}

/// A reply ends a drip, also while its next message is being typed: nothing of it is marked once the reply was taken in.
async fn a_reply_ends_a_drip(world: &World, connection: &mut SqliteConnection) -> Broken {
    let rows = sqlx::query(
        "SELECT hex(m.id), m.chat, f.sent_at FROM messages AS m
         JOIN contents AS c ON c.id = m.content
         JOIN messages AS f ON f.occurrence = m.occurrence AND f.chat = m.chat AND f.step = 0 AND f.reason IS NOT 'replaced'
         WHERE m.step > 0 AND c.manner ->> '$.stop_on_reply' = 1 AND f.state = 'sent'
           -- What had ended, and a person gave another chance, may come after its reply was forgotten.
           AND NOT (?1 AND EXISTS (SELECT 1 FROM events AS e WHERE e.message = m.id AND e.note GLOB 'due again by command*'))",
    )
    .bind(last_pruned(world).is_some())
    .fetch_all(connection)
    .await
    .unwrap();
    let drips: HashMap<MessageId, (String, i64)> = rows.iter().map(|r| (id(r.get(0)), (r.get(1), r.get(2)))).collect();
    let mut replies: HashMap<String, Vec<Timestamp>> = HashMap::new();
    let mut met: BTreeSet<String> = BTreeSet::new();
    let mut broken = Broken::new();
    for entry in &world.log {
        match &entry.fact {
            Fact::Told(Told::Hook { body, taken: Taken::Recorded }) => {
                let v: Value = serde_json::from_str(body).unwrap();
                let told = v["payload"]["id"].as_str().unwrap().to_owned();
                // Told again it is the same reply.
                if v["event"] == "message" && met.insert(told.clone()) {
                    replies.entry(told.split('_').nth(1).unwrap().to_owned()).or_default().push(entry.at);
                }
            }
            Fact::Marked(id) => {
                let Some((chat, since)) = drips.get(id) else { continue };
                // The reply itself was taken in a moment before its sender was answered.
                let replied = replies.get(chat).and_then(|all| all.iter().find(|at| at.0 > since + 1_000));
                if let Some(at) = replied {
                    broken.push(format!(
                        "{id} is marked although its recipient wrote {} ms before",
                        entry.at.since(*at).0
                    ));
                }
            }
            _ => {}
        }
    }
    broken
}

/// What the network carried is known as sent, or as in doubt, or was given up or judged by a person or by its job's policy.
async fn carried_is_known(world: &World, connection: &mut SqliteConnection) -> Broken {
    let rows = sqlx::query("SELECT hex(id), state, attempts FROM messages").fetch_all(&mut *connection).await.unwrap();
    let states: HashMap<MessageId, (String, i64)> = rows.iter().map(|r| (id(r.get(0)), (r.get(1), r.get(2)))).collect();
    let judged: BTreeSet<String> = sqlx::query_scalar("SELECT hex(message) FROM doubts")
        .fetch_all(connection)
        .await
        .unwrap()
        .into_iter()
        .collect();
    let mut broken = Broken::new();
    for carried in &world.gateway.known().carried {
        let known = states.get(&carried.id).cloned();
        if known.is_none() && last_pruned(world).is_some() {
            continue;
        }
        let (state, attempts) = known.unwrap_or_default();
        let hex = carried.id.to_string().replace('-', "").to_uppercase();
        if attempts == 0 || !(state == "sent" || state == "sending" || judged.contains(&hex)) {
            broken.push(format!("{} was carried and is {state} after {attempts} attempts", carried.id));
        }
    }
    broken
}

/// How far a send may be from what was foreseen: a commit, and the gateway's answer before it.
const EXACT: Millis = Millis(30);

/// Only what was said so shortly before is held against what happened: later much may go otherwise.
const FORESEEN_WITHIN: Millis = Millis(5_000);

/// What `explain` said last, and what was played ahead, with nothing happening since, is what happened.
async fn foreseen_happens(world: &World, connection: &mut SqliteConnection) -> Broken {
    let mut broken = Broken::new();
    let left = world.log.iter().filter_map(|e| match &e.fact {
        Fact::Left { id, .. } => Some((e, id)),
        _ => None,
    });
    let both = |(entry, id)| {
        let said = [("explain", &world.looks.foreseen), ("timeline", &world.looks.played)];
        said.into_iter().filter_map(move |(by, all)| Some((entry, id, by, all.get(id)?)))
    };
    for (entry, id, by, foreseen) in left.flat_map(both) {
        let (entry, id): (&crate::machine::Entry, &MessageId) = (entry, id);
        if entry.at.since(foreseen.at) > FORESEEN_WITHIN {
            continue;
        }
        // New messages, and whatever is noted beside sends, are something that happened.
        let new: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE created_at >= ?1 AND created_at <= ?2)
                 OR EXISTS (SELECT 1 FROM events WHERE at >= ?1 AND at <= ?2)",
        )
        .bind(foreseen.at.0 - 1_000)
        .bind(entry.at.0)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        let off = entry.at.since(foreseen.earliest).0.abs();
        if !new && off > EXACT.0 {
            broken.push(format!(
                "{id} left {} ms after the beginning; {} ms after it {} was foreseen by {by}",
                entry.at.0 - BEGIN,
                foreseen.at.0 - BEGIN,
                foreseen.earliest.0 - BEGIN
            ));
        }
    }
    broken
}
