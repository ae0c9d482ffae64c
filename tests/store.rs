//! The store's promises on a real SQLite file.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

use onthedot::domain::ack::Ack;
use onthedot::domain::claim::Wanted;
use onthedot::domain::class::Class;
use onthedot::domain::consent::Consent;
use onthedot::domain::content::Content;
use onthedot::domain::frequency::Frequency;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::job::Manner;
use onthedot::domain::message::{Change, DoubtVerdict, Facts, SendFacts, TypingFacts, Verdict};
use onthedot::domain::recipient::Chat;
use onthedot::domain::state::{self, Event, Reason, State, StateName};
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::erasure::{self, Erasure};
use onthedot::repair::{Repair, repair};
use onthedot::store::{
    AckNews, ConsentNews, Making, NewMessage, NewMessages, Opening, Pause, PauseScope, Recipient, SqliteStore, Store,
    StoreError, guard,
};
use tempfile::TempDir;

const SHOP: &str = "shop";

async fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("db"), Opening::Daemon).await.unwrap()
}

fn id(n: u8) -> MessageId {
    let mut bytes = [0; 16];
    bytes[15] = n;
    MessageId(bytes)
}

/// A message due at 10,000 ms without typing.
fn message(n: u8, chat: Chat) -> NewMessage {
    NewMessage {
        id: id(n),
        guard: 0,
        chat,
        place: None,
        due_at: Timestamp(10_000),
        wake_at: Timestamp(10_000),
        lead: Millis(0),
        expires_at: None,
        class: Class::Normal,
        key: None,
        step: 0,
        after: Millis::ZERO,
        state: StateName::Scheduled,
        reason: None,
        followed: false,
        follows: None,
    }
}

/// A call that stores one message of no occurrence.
fn call(content: i64, row: NewMessage) -> NewMessages {
    NewMessages {
        job: None,
        nominal_at: None,
        instance: InstanceName::new(SHOP),
        content,
        counted: false,
        sticky: false,
        steps: 1,
        audience: None,
        recipients: 1,
        making: Making::Beside,
        applied_at: None,
        rows: vec![row],
        publish: None,
        now: Timestamp(1),
    }
}

/// Stores messages 1 to `n`, due at 10,000 ms with a lead of 1,000 ms.
async fn insert(store: &SqliteStore, n: u8, class: Class) {
    let content = Content::text("hi");
    let body = serde_json::to_string(&content).unwrap();
    let content = store.store_content(content, Manner::default(), "UTC".into(), Millis(3_600_000)).await.unwrap();
    for i in 1..=n {
        let chat = Chat::from_stored(&format!("2010000000{i:02}@c.us"));
        let guard = guard(&chat, &body, None);
        let (wake_at, lead) = (Timestamp(9_000), Millis(1_000));
        let messages = call(content, NewMessage { class, guard, wake_at, lead, ..message(i, chat) });
        assert_eq!(store.insert(messages.clone()).await.unwrap(), 1);
        assert_eq!(store.insert(messages).await.unwrap(), 0, "storing twice is harmless");
    }
}

fn mark(n: u8, attempts: u32, slot: i64) -> Change {
    let transition = state::apply(&State::Claimed, &Event::Marked).unwrap();
    let (marked_at, slot) = (Timestamp(9_990), Timestamp(slot));
    let due_at = Timestamp(10_000);
    let facts = Facts::Mark { number: attempts + 1, marked_at, slot, paced: false, typing: None, due_at, body: None };
    Change { id: id(n), attempts, at: marked_at, transition, facts }
}

fn record(n: u8, number: u32, event: &Event, gateway_id: Option<&str>) -> Change {
    let transition = state::apply(&State::Sending, event).unwrap();
    let send = SendFacts {
        started_at: Timestamp(10_001),
        finished_at: Timestamp(10_050),
        status: Some(200),
        outcome: "accepted",
        response: "{}".into(),
    };
    let gateway_id = gateway_id.map(str::to_owned);
    let facts =
        Facts::Record { number, tries: 0, send: Some(send), late_typing: None, gateway_id, ack: None, named: None };
    Change { id: id(n), attempts: number, at: Timestamp(10_050), transition, facts }
}

fn cancel(n: u8, attempts: u32) -> Change {
    let transition = state::apply(&State::Typing, &Event::Cancelled { reason: Reason::CancelledByPerson }).unwrap();
    Change { id: id(n), attempts, at: Timestamp(9_500), transition, facts: Facts::Note("by a test".into()) }
}

fn ack(gateway_id: &str, ack: Ack, at: i64) -> AckNews {
    let (instance, gateway_id) = (InstanceName::new(SHOP), gateway_id.to_owned());
    AckNews { instance, gateway_id, participant: String::new(), ack, at: Timestamp(at), source: "webhook" }
}

const SENT: Event = Event::Accepted { sent_at: Timestamp(10_001) };

#[tokio::test]
async fn a_change_is_carried_out_only_from_the_state_and_attempt_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 3, Class::Normal).await;
    let verdicts = store.apply(vec![mark(1, 0, 10_000), mark(2, 1, 10_000), mark(3, 0, 8_000)]).await.unwrap();
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Stale, Verdict::Stale], "a wrong attempt, and a later wake");
    assert_eq!(store.apply(vec![mark(1, 0, 10_000)]).await.unwrap(), [Verdict::Stale], "marked once");
    assert_eq!(store.apply(vec![cancel(1, 1)]).await.unwrap(), [Verdict::Stale], "nothing marked can be cancelled");
    assert_eq!(store.apply(vec![cancel(2, 0)]).await.unwrap(), [Verdict::Applied]);
    assert_eq!(store.apply(vec![mark(2, 0, 10_000)]).await.unwrap(), [Verdict::Stale], "nothing cancelled is marked");
    store.close().await;
}

#[tokio::test]
async fn two_changes_of_one_message_in_one_batch_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    let verdicts = store.apply(vec![mark(1, 0, 10_000), record(1, 1, &SENT, Some("3EB0"))]).await.unwrap();
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Applied]);
    let shown = store.show(id(1)).await.unwrap().unwrap();
    assert_eq!((shown.message.state, shown.message.gateway_id.as_deref()), (StateName::Sent, Some("3EB0")));
    assert_eq!(shown.attempts.len(), 1);
    store.close().await;
}

/// Every row that changes of messages write, as text.
async fn written(folder: &TempDir) -> Vec<String> {
    use sqlx::Connection;
    let file = format!("sqlite:{}", folder.path().join("db").display());
    let mut connection = sqlx::SqliteConnection::connect(&file).await.unwrap();
    let rows = "SELECT (SELECT json_group_array(json_array(hex(id), state, reason, due_at, wake_at, attempts, tries,
                       first_marked_at, typing_at, slot_at, sent_at, gateway_id, ack, ack_at, crashes)) FROM messages)
                UNION ALL SELECT json_array(hex(message), number, marked_at, slot_at, paced, typing_started_at, typing_status,
                       typing_response, typing_refreshes, typing_stopped_at, body) FROM attempts
                UNION ALL SELECT json_array(hex(message), number, at, started_at, finished_at, status, outcome, response,
                       state, reason, typing_status, typing_response, typing_refreshes, typing_stopped_at) FROM results
                UNION ALL SELECT json_array(hex(message), participant, level, at, source) FROM acks
                UNION ALL SELECT 'early: ' || count(*) FROM orphan_acks";
    sqlx::query_scalar(rows).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_goes_as_usual_writes_what_its_changes_write_one_by_one() {
    let typing = Some(TypingFacts {
        started_at: Timestamp(9_100),
        status: Some(201),
        response: Some("{}".into()),
        refreshes: 3,
        stopped_at: None,
    });
    let shown = |n| {
        let transition = state::apply(&State::Claimed, &Event::TypingShown).unwrap();
        let facts =
            Facts::TypingShown { started_at: Timestamp(9_100), slot: Timestamp(10_000), due_at: Timestamp(10_000) };
        Change { id: id(n), attempts: 0, at: Timestamp(9_100), transition, facts }
    };
    let marked = |n| match mark(n, 0, 10_000) {
        Change { facts: Facts::Mark { number, marked_at, slot, due_at, .. }, id, attempts, at, transition } => {
            let facts = Facts::Mark {
                number,
                marked_at,
                slot,
                paced: n % 2 == 0,
                typing: typing.clone(),
                due_at,
                body: Some(7),
            };
            Change { id, attempts, at, transition, facts }
        }
        other => other,
    };
    let sent = |n: u8| {
        let mut change = record(n, 1, &SENT, Some(&format!("3EB{n}")));
        if let (Facts::Record { ack, late_typing, .. }, 2) = (&mut change.facts, n) {
            (*ack, *late_typing) = (Some(Ack::Server), typing.clone());
        }
        change
    };
    let mut both = Vec::new();
    for one_by_one in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        insert(&store, 70, Class::Normal).await;
        store.record_acks(vec![ack("3EB5", Ack::Device, 10_010)]).await.unwrap();
        let batches: [Vec<Change>; 3] =
            [(1..=70).map(shown).collect(), (1..=70).map(marked).collect(), (1..=70).map(sent).collect()];
        for mut batch in batches {
            if one_by_one {
                // A message that moved on keeps its batch from going as usual.
                batch.push(Change { id: id(99), ..mark(1, 9, 10_000) });
            }
            let verdicts = store.apply(batch).await.unwrap();
            assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Applied).count(), 70);
        }
        store.close().await;
        both.push(written(&folder).await);
    }
    assert_eq!(both[0], both[1]);
    assert_eq!(both[0].len(), 1 + 70 + 70 + 1 + 1, "every kind of row was compared");
}

#[tokio::test]
async fn callers_that_store_at_once_each_learn_how_many_of_their_own_are_new() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    let content =
        store.store_content(Content::text("hi"), Manner::default(), "UTC".into(), Millis(3_600_000)).await.unwrap();
    let keyed = |n, key: &str| NewMessage { key: Some(key.to_owned()), ..message(n, Chat::from_stored("2@c.us")) };
    let call = |n, key| call(content, keyed(n, key));
    let calls = [call(11, "a"), call(12, "b"), call(13, "a"), call(14, "c")];
    let new = futures_util::future::join_all(calls.map(|call| store.insert(call))).await;
    assert_eq!(new.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 1, 0, 1]);
    assert_eq!(store.message_by_key("a").await.unwrap(), Some(id(11)));
    let mut wrong = call(15, "d");
    wrong.content = content + 1_000;
    let calls = [call(16, "e"), wrong, call(17, "f")];
    let new = futures_util::future::join_all(calls.map(|call| store.insert(call))).await;
    assert_eq!(new.iter().map(|n| n.as_ref().ok()).collect::<Vec<_>>(), [Some(&1), None, Some(&1)], "one wrong call");
    store.close().await;
}

#[tokio::test]
async fn an_ack_before_the_answer_is_kept_and_joined() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    store.apply(vec![mark(1, 0, 10_000)]).await.unwrap();
    let tally = store.record_acks(vec![ack("3EB0", Ack::Device, 10_010)]).await.unwrap();
    assert_eq!((tally.joined, tally.orphaned), (0, 1));
    store.apply(vec![record(1, 1, &SENT, Some("3EB0"))]).await.unwrap();
    let shown = store.show(id(1)).await.unwrap().unwrap();
    assert_eq!(shown.message.ack, Some(Ack::Device));
    assert_eq!(store.forget_orphan_acks(Timestamp(i64::MAX)).await.unwrap(), 0, "joined, so no longer kept aside");
    store.close().await;
}

#[tokio::test]
async fn acks_in_every_order_end_at_the_highest_and_never_go_down() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let levels = [Ack::Server, Ack::Device, Ack::Read, Ack::Error];
    let mut orders: Vec<Vec<Ack>> = vec![Vec::new()];
    for _ in 0..levels.len() {
        orders = orders
            .iter()
            .flat_map(|o| {
                levels.iter().filter(|l| !o.contains(l)).map(|l| [o.clone(), vec![*l]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    assert_eq!(orders.len(), 24);
    insert(&store, 24, Class::Normal).await;
    for (n, order) in (1_u8..).zip(&orders) {
        let name = format!("3EB0{n}");
        store.apply(vec![mark(n, 0, 10_000)]).await.unwrap();
        store.apply(vec![record(n, 1, &SENT, Some(&name))]).await.unwrap();
        let mut last = None;
        for a in order {
            store.record_acks(vec![ack(&name, *a, 11_000), ack(&name, *a, 11_001)]).await.unwrap();
            let now = store.show(id(n)).await.unwrap().unwrap().message.ack.unwrap();
            assert!(last.is_none_or(|l: Ack| now.rank() >= l.rank()), "{order:?}");
            last = Some(now);
        }
        assert_eq!(last, Some(Ack::Read), "{order:?}");
        assert_eq!(store.show(id(n)).await.unwrap().unwrap().acks.len(), 4, "one row a level");
    }
    store.close().await;
}

#[tokio::test]
async fn a_claim_takes_the_most_pressing_first_and_leaves_what_is_in_hand() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 4, Class::Normal).await;
    let shop = InstanceName::new(SHOP);
    let early = store
        .claim(&shop, Timestamp(6_000), &Wanted { limit: 10, ..Wanted::up_to(Timestamp(8_000), 10, vec![]) })
        .await
        .unwrap();
    assert_eq!((early.messages.len(), early.next_wake), (0, Some(Timestamp(9_000))));
    let some = store
        .claim(&shop, Timestamp(7_000), &Wanted { limit: 3, ..Wanted::up_to(Timestamp(9_000), 10, vec![id(1)]) })
        .await
        .unwrap();
    let ids: Vec<MessageId> = some.messages.iter().map(|m| m.due.id).collect();
    assert_eq!((ids, some.more), (vec![id(2), id(3), id(4)], true));
    assert_eq!(some.messages[0].due.target, Timestamp(10_000));
    store.apply(vec![cancel(2, 0)]).await.unwrap();
    let (now, horizon) = (Timestamp(7_000), Timestamp(9_000));
    assert_eq!(store.verify(&[id(1), id(2)], now, horizon).await.unwrap().gone, [id(2)]);
    let earlier = store.verify(&[id(1)], now, Timestamp(8_999)).await.unwrap();
    assert_eq!(earlier.gone, [id(1)], "what was put off is claimed again later");
    store.close().await;
}

#[tokio::test]
async fn a_start_puts_what_was_out_in_doubt_and_is_harmless_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 3, Class::Normal).await;
    store.apply(vec![mark(1, 0, 10_000)]).await.unwrap();
    let shown = state::apply(&State::Claimed, &Event::TypingShown).unwrap();
    let facts = Facts::TypingShown { started_at: Timestamp(9_000), slot: Timestamp(10_000), due_at: Timestamp(10_000) };
    store.apply(vec![Change { id: id(2), attempts: 0, at: Timestamp(9_000), transition: shown, facts }]).await.unwrap();
    store.close().await;
    let store = open(&folder).await;
    let recovery = store.recover(Timestamp(20_000), 60_000).await.unwrap();
    assert_eq!((recovery.in_doubt, recovery.rescheduled), (1, 1));
    let again = store.recover(Timestamp(21_000), 60_000).await.unwrap();
    assert_eq!((again.in_doubt, again.rescheduled), (0, 0));
    let (doubts, _) = store.doubts(None, 10).await.unwrap();
    assert_eq!(doubts[0].message.id, id(1));
    assert_eq!(doubts[0].next_look_at, Some(Timestamp(80_000)));
    let shop = InstanceName::new(SHOP);
    assert!(
        store.doubts_to_look_at(&shop, Timestamp(79_999), 10).await.unwrap().is_empty(),
        "not before the quarantine"
    );
    assert_eq!(store.doubts_to_look_at(&shop, Timestamp(80_000), 10).await.unwrap().len(), 1);
    store.close().await;
}

#[tokio::test]
async fn what_three_starts_in_a_row_find_in_dead_hands_is_held_and_a_release_counts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    let typing = || {
        let transition = state::apply(&State::Claimed, &Event::TypingShown).unwrap();
        let facts =
            Facts::TypingShown { started_at: Timestamp(9_000), slot: Timestamp(10_000), due_at: Timestamp(10_000) };
        vec![Change { id: id(1), attempts: 0, at: Timestamp(9_000), transition, facts }]
    };
    let seen = async |start: i64| {
        assert_eq!(store.apply(typing()).await.unwrap(), [Verdict::Applied]);
        let recovery = store.recover(Timestamp(start), 0).await.unwrap();
        (recovery.rescheduled, recovery.poisoned)
    };
    assert_eq!((seen(20_000).await, seen(21_000).await, seen(22_000).await), ((1, 0), (1, 0), (0, 1)));
    let shown = store.show(id(1)).await.unwrap().unwrap();
    assert_eq!((shown.message.state, shown.message.reason.as_deref()), (StateName::Held, Some("poison")));
    let event = Event::Resumed { wake_at: Timestamp(9_000), reason: Reason::Released };
    let transition = state::apply(&State::Held, &event).unwrap();
    let change =
        Change { id: id(1), attempts: 0, at: Timestamp(23_000), transition, facts: Facts::Note("released".into()) };
    assert_eq!(store.apply(vec![change]).await.unwrap(), [Verdict::Applied]);
    assert_eq!((seen(24_000).await, seen(25_000).await, seen(26_000).await), ((1, 0), (1, 0), (0, 1)));
    store.close().await;
}

#[tokio::test]
async fn what_was_out_at_three_starts_in_a_row_is_held_too_and_stays_an_open_doubt_until_one_is_proved() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    for attempt in 0..3 {
        assert_eq!(store.apply(vec![mark(1, attempt, 10_000)]).await.unwrap(), [Verdict::Applied]);
        let recovery = store.recover(Timestamp(20_000), 0).await.unwrap();
        assert_eq!((recovery.in_doubt, recovery.poisoned), if attempt < 2 { (1, 0) } else { (0, 1) });
        if attempt < 2 {
            let event = Event::TryAgain { wake_at: Timestamp(9_000), reason: Reason::ResentOnDoubt };
            let transition = state::apply(&State::InDoubt { look_at: Timestamp(0) }, &event).unwrap();
            let verdict = DoubtVerdict::Resent;
            let facts = Facts::Verdict {
                number: attempt + 1,
                verdict,
                tries: 0,
                gateway_id: None,
                due_at: None,
                note: "again".into(),
            };
            let change = Change { id: id(1), attempts: attempt + 1, at: Timestamp(20_000), transition, facts };
            assert_eq!(store.apply(vec![change]).await.unwrap(), [Verdict::Applied]);
        }
    }
    let shown = store.show(id(1)).await.unwrap().unwrap();
    assert_eq!((shown.message.state, shown.message.reason.as_deref()), (StateName::Held, Some("poison")));
    let figures = store.doubt_figures().await.unwrap();
    assert_eq!((figures.open, figures.resent), (1, 2));
    // The first turns out to have gone out: nobody looks for the others any more.
    let proved = Event::ProvedSent { sent_at: Timestamp(10_001), reason: Reason::ToldSent };
    let transition = state::apply(&State::Held, &proved).unwrap();
    let (verdict, gateway_id) = (DoubtVerdict::Sent, Some("3EB0".to_owned()));
    let facts = Facts::Verdict { number: 1, verdict, tries: 0, gateway_id, due_at: None, note: "told".into() };
    let change = Change { id: id(1), attempts: 3, at: Timestamp(30_000), transition, facts };
    assert_eq!(store.apply(vec![change]).await.unwrap(), [Verdict::Applied]);
    let figures = store.doubt_figures().await.unwrap();
    assert_eq!((figures.open, figures.sent, figures.resent, figures.dropped), (0, 1, 1, 1));
    store.close().await;
}

#[tokio::test]
async fn migrations_are_applied_one_by_one_on_a_database_with_rows() {
    use sqlx::Connection;
    let folder = tempfile::tempdir().unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("db")).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let mut migrations: Vec<std::path::PathBuf> =
        std::fs::read_dir("migrations/sqlite").unwrap().map(|e| e.unwrap().path()).collect();
    migrations.sort();
    assert!(!migrations.is_empty());
    for path in migrations {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let rows = format!("tests/data/migration_{}.sql", &name[..4]);
        let rows =
            std::fs::read_to_string(&rows).unwrap_or_else(|_| panic!("{name} comes without its sample rows {rows}"));
        for text in [std::fs::read_to_string(&path).unwrap(), rows] {
            assert!(!text.to_lowercase().contains("current_timestamp"), "{name}: time is a parameter");
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        }
    }
    let broken: Vec<String> =
        sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert!(broken.is_empty(), "{broken:?}");
}

#[tokio::test]
async fn a_check_of_the_whole_file_ends_where_it_may_not_go_on_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 200, Class::Normal).await;
    assert!(!store.check_whole(|| false).await.unwrap(), "given up");
    assert!(store.check_whole(|| true).await.unwrap(), "sound");
    store.close().await;
}

#[tokio::test]
async fn the_hot_statements_search_and_never_scan_messages() {
    use sqlx::{Connection, Row};
    let folder = tempfile::tempdir().unwrap();
    open(&folder).await.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("db"));
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for name in [
        "apply_changes",
        "claim",
        "claimed",
        "typing_now",
        "next_wake",
        "flows",
        "coming",
        "lanes",
        "wakes_until",
        "rests_until",
        "still_ours",
        "expiring",
        "recent_bodies",
        "break_sequences",
        "insert_acks",
        "raise_acks",
        "messages_of_acks",
        "adopt_orphan_acks",
        "to_follow",
        "family",
        "followed",
        "wake_followers",
        "wake_replied",
        "news_taken_in",
        "make_room",
        "unfinished",
        "renewals",
        "half_removed",
        "keep_words",
        "take_over_words",
        "carry_holds",
        "left_behind",
        "known_sends",
        "rivals",
        "displaced",
        "first_waiting",
        "in_motion",
        "overdue",
        "open_doubts",
        "insert_echoes",
        "echoes_to_settle",
        "doubts",
        "instances_in_doubt",
        "campaign",
        "campaigns_under_way",
        "latest_sends",
        "campaign_variants",
        "campaign_counts",
        "campaign_messages",
        "campaign_people",
        "revived",
        "occurrences_to_join",
        "waits_for_leavers",
        "replaced",
        "forgotten",
        "back_in_list",
        "recallable",
        "next_recall",
        "recalls_in_hand",
        "unsettled_recalls",
    ] {
        let sql = std::fs::read_to_string(format!("src/store/sql/{name}.sql")).unwrap();
        let numbers = std::fs::read_to_string("src/store/sql/numbers.sql").unwrap();
        let unwanted = std::fs::read_to_string("src/store/sql/unwanted.sql").unwrap().replace("{now}", "?2");
        let part = |name: &str| std::fs::read_to_string(format!("src/store/sql/{name}.sql")).unwrap();
        let allowed = part("allowed_from").replace("{now}", "?2");
        let sql = sql.replace("{numbers}", &numbers).replace("{unwanted}", &unwanted);
        let sql = sql
            .replace("{too_often}", &format!("{allowed} > ?2"))
            .replace("{allowed_from}", &allowed)
            .replace("{gone}", &part("gone"));
        let sql = sql.replace("{expires_at}", &part("expires_at").replace("{due}", "5").replace("{draft}", "0"));
        let sql = sql.replace("{event}", &part("event")).replace("{left}", &part("left"));
        let sql =
            sql.replace("{flow}", "2").replace("{after}", " AND (m.wake_at, m.id) > (?8, ?9)").replace("{limit}", "?4");
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let lines: Vec<String> = plan.iter().map(|r| r.get::<String, _>(3)).collect();
        let whole = ["SCAN messages", "SCAN m ", "SCAN t "];
        let scans = lines.iter().any(|l| whole.iter().any(|s| l.starts_with(s)) || l == "SCAN m" || l == "SCAN t");
        assert!(!scans, "{name}: {lines:#?}");
    }
}

#[tokio::test]
async fn what_a_person_moved_is_neither_marked_nor_ended_by_when_it_was_due_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    let change = |before: &State, event: &Event, facts| {
        let transition = state::apply(before, event).unwrap();
        Change { id: id(1), attempts: 0, at: Timestamp(9_500), transition, facts }
    };
    let later = Event::Resumed { wake_at: Timestamp(11_000), reason: Reason::Rescheduled };
    let facts = Facts::Moved { due_at: Timestamp(12_000), afresh: false, note: "rescheduled".into() };
    let moved = change(&State::Scheduled { wake_at: Timestamp(9_000) }, &later, facts);
    assert_eq!(store.apply(vec![moved]).await.unwrap(), [Verdict::Applied]);
    let seen = store.verify(&[id(1)], Timestamp(9_500), Timestamp(11_500)).await.unwrap();
    assert_eq!(seen.ours.iter().map(|o| o.due_at).collect::<Vec<_>>(), [Timestamp(12_000)]);
    assert_eq!(store.apply(vec![change_to_typing(1, 20_000)]).await.unwrap(), [Verdict::Stale]);
    assert_eq!(store.apply(vec![mark(1, 0, 20_000)]).await.unwrap(), [Verdict::Stale]);
    let too_late = |due_at| {
        let facts = Facts::Judged { due_at: Timestamp(due_at), note: "too late".into() };
        change(&State::Claimed, &Event::TooLate { reason: Reason::TooLate }, facts)
    };
    assert_eq!(store.apply(vec![too_late(10_000)]).await.unwrap(), [Verdict::Stale]);
    assert_eq!(store.apply(vec![too_late(12_000)]).await.unwrap(), [Verdict::Applied]);
}

#[tokio::test]
async fn a_pause_is_seen_by_claims_by_verification_and_by_the_mark_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 2, Class::Normal).await;
    let shop = InstanceName::new(SHOP);
    let pause = |scope, until| Pause { scope, note: Some("lunch".into()), since: Timestamp(1), until };
    for scope in [PauseScope::All, PauseScope::Instance(SHOP.to_owned())] {
        store.pause(pause(scope.clone(), Some(Timestamp(60_000)))).await.unwrap();
        let none = store
            .claim(&shop, Timestamp(9_000), &Wanted { limit: 10, ..Wanted::up_to(Timestamp(11_000), 10, vec![]) })
            .await
            .unwrap();
        assert_eq!((none.messages.len(), none.next_wake), (0, Some(Timestamp(62_000))), "asked again when it ends");
        let seen = store.verify(&[id(1)], Timestamp(9_000), Timestamp(11_000)).await.unwrap();
        assert_eq!((seen.gone, seen.paused), (vec![], vec![id(1)]));
        assert_eq!(store.apply(vec![mark(1, 0, 10_000)]).await.unwrap(), [Verdict::Paused]);
        assert!(store.resume(scope, Timestamp(9_000)).await.unwrap());
    }
    store.pause(pause(PauseScope::Job("other".into()), None)).await.unwrap();
    store.pause(pause(PauseScope::All, Some(Timestamp(5_000)))).await.unwrap();
    let both = store
        .claim(&shop, Timestamp(9_000), &Wanted { limit: 10, ..Wanted::up_to(Timestamp(11_000), 10, vec![]) })
        .await
        .unwrap();
    assert_eq!(both.messages.len(), 2, "another job's pause and one that is over stop nothing");
    assert_eq!(store.apply(vec![mark(1, 0, 10_000)]).await.unwrap(), [Verdict::Applied]);
    store.close().await;
}

#[tokio::test]
async fn what_follows_a_message_is_not_marked_once_whom_that_went_to_opted_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 2, Class::Normal).await;
    let content = Content::text("told");
    let body = serde_json::to_string(&content).unwrap();
    let content = store.store_content(content, Manner::default(), "UTC".into(), Millis(3_600_000)).await.unwrap();
    let boss = Chat::from_stored("201000000099@c.us");
    for n in [3, 4] {
        let boss = boss.clone();
        let told =
            NewMessage { guard: guard(&boss, &body, None), follows: Some(id(1)), step: -1_000, ..message(n, boss) };
        store.insert(call(content, told)).await.unwrap();
    }
    let out = ConsentNews::by_person(Chat::from_stored("201000000001@c.us"), Consent::Out, None, Timestamp(9_980));
    store.record_consents(vec![out]).await.unwrap();
    // Alone, and in one batch with what goes as usual.
    assert_eq!(store.apply(vec![mark(3, 0, 10_000)]).await.unwrap(), [Verdict::Stale]);
    let both = store.apply(vec![mark(2, 0, 10_000), mark(4, 0, 10_000)]).await.unwrap();
    assert_eq!(both, [Verdict::Applied, Verdict::Stale]);
    for n in [3, 4] {
        assert_eq!(state_and_reason(&store, n).await, (StateName::Skipped, Some("opted_out".to_owned())));
    }
    store.close().await;
}

#[tokio::test]
async fn what_frequency_refuses_at_its_slot_ends_there_and_is_not_judged_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let content = Content::text("hi");
    let body = serde_json::to_string(&content).unwrap();
    let frequency = Some(Frequency { at_most: 1, within: Millis(1_000) });
    let manner = Manner { frequency, ..Manner::default() };
    let content = store.store_content(content, manner, "UTC".into(), Millis(3_600_000)).await.unwrap();
    let chat = Chat::from_stored("201000000001@c.us");
    for n in 1..=5 {
        let row = NewMessage { guard: guard(&chat, &body, Some(&n.to_string())), ..message(n, chat.clone()) };
        store.insert(NewMessages { counted: true, ..call(content, row) }).await.unwrap();
    }
    // Of two that are marked at once the first leaves.
    let both = store.apply(vec![mark(1, 0, 10_000), mark(2, 0, 10_000)]).await.unwrap();
    assert_eq!(both, [Verdict::Applied, Verdict::Stale]);
    assert_eq!(state_and_reason(&store, 2).await, (StateName::Skipped, Some("too_often".to_owned())));
    let sent = record(1, 1, &Event::Accepted { sent_at: Timestamp(10_001) }, Some("w1"));
    assert_eq!(store.apply(vec![sent]).await.unwrap(), [Verdict::Applied]);
    // The first one falls out of the span between these two slots.
    assert_eq!(store.apply(vec![mark(3, 0, 11_000)]).await.unwrap(), [Verdict::Stale]);
    assert_eq!(store.apply(vec![mark(3, 0, 12_000)]).await.unwrap(), [Verdict::Stale], "it has ended");
    assert_eq!(state_and_reason(&store, 3).await, (StateName::Skipped, Some("too_often".to_owned())));
    // What was put off is not marked, and not judged either.
    assert_eq!(store.apply(vec![mark(4, 0, 9_999)]).await.unwrap(), [Verdict::Stale]);
    assert_eq!(state_and_reason(&store, 4).await, (StateName::Scheduled, None));
    let typing = change_to_typing(4, 11_500);
    assert_eq!(store.apply(vec![typing, mark(4, 0, 11_500)]).await.unwrap(), [Verdict::Applied; 2]);
    assert_eq!(store.apply(vec![mark(5, 0, 11_500)]).await.unwrap(), [Verdict::Stale], "what is being sent counts");
    store.close().await;
}

async fn state_and_reason(store: &SqliteStore, n: u8) -> (StateName, Option<String>) {
    let message = store.show(id(n)).await.unwrap().unwrap().message;
    (message.state, message.reason)
}

fn change_to_typing(n: u8, slot: i64) -> Change {
    let transition = state::apply(&State::Claimed, &Event::TypingShown).unwrap();
    let facts = Facts::TypingShown { started_at: Timestamp(9_500), slot: Timestamp(slot), due_at: Timestamp(10_000) };
    Change { id: id(n), attempts: 0, at: Timestamp(9_500), transition, facts }
}

#[tokio::test]
async fn a_person_s_other_chance_moves_the_due_and_begins_the_tries_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    store.apply(vec![cancel(1, 0)]).await.unwrap();
    let event = Event::Resumed { wake_at: Timestamp(19_000), reason: Reason::Retried };
    let transition = state::apply(&State::Cancelled, &event).unwrap();
    let facts = Facts::Moved { due_at: Timestamp(20_000), afresh: true, note: "again".into() };
    let change = Change { id: id(1), attempts: 0, at: Timestamp(12_000), transition, facts };
    assert_eq!(store.apply(vec![change.clone()]).await.unwrap(), [Verdict::Applied]);
    assert_eq!(store.apply(vec![change]).await.unwrap(), [Verdict::Stale]);
    let shown = store.show(id(1)).await.unwrap().unwrap().message;
    assert_eq!(
        (shown.state, shown.due_at, shown.wake_at),
        (StateName::Scheduled, Timestamp(20_000), Some(Timestamp(19_000)))
    );
    store.close().await;
}

#[tokio::test]
async fn a_message_whose_content_cannot_be_read_ends_as_damaged_and_keeps_no_other_waiting() {
    use sqlx::Connection;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 2, Class::Normal).await;
    store.close().await;
    // Two kinds of damage in contents of their own: no JSON of ours, and no text at all.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for (n, manner) in [(1, "CAST(x'22ff22' AS TEXT)"), (2, "'{}'")] {
        let sql = format!(
            "INSERT INTO contents (fingerprint, kind, body, manner, zone, max_lateness_ms)
             SELECT x'0{n}', kind, body, {manner}, zone, 1 FROM contents LIMIT 1;
             UPDATE messages SET content = (SELECT max(id) FROM contents) WHERE state = 'scheduled' AND hex(id) LIKE '%0{n}'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut other).await.unwrap();
    }
    other.close().await.unwrap();
    let store = open(&folder).await;
    let claimed = store
        .claim(
            &InstanceName::new(SHOP),
            Timestamp(9_500),
            &Wanted { limit: 9, ..Wanted::up_to(Timestamp(20_000), 9, vec![]) },
        )
        .await
        .unwrap();
    assert!(claimed.messages.is_empty());
    for n in [1, 2] {
        let m = store.show(id(n)).await.unwrap().unwrap().message;
        assert_eq!((m.state, m.reason.as_deref()), (StateName::Skipped, Some("damaged")), "{n}");
    }
    store.close().await;
}

#[tokio::test]
async fn two_commands_that_store_the_same_recipients_do_not_mix_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let some = |from: u8, to: u8| -> Vec<Recipient> {
        (from..to)
            .map(|n| Recipient { chat: Chat::from_stored(&format!("{n}@c.us")), vars: Default::default() })
            .collect()
    };
    let print = vec![7; 32];
    // The second begins while the first is at work, and the first ends while the second is.
    let first = store.begin_audience(Timestamp(1_000)).await.unwrap();
    store.add_recipients(first.clone(), 0, some(0, 2)).await.unwrap();
    let second = store.begin_audience(Timestamp(1_001)).await.unwrap();
    store.add_recipients(second.clone(), 0, some(0, 1)).await.unwrap();
    store.add_recipients(first.clone(), 2, some(2, 4)).await.unwrap();
    let stored = store.complete_audience(first, print.clone(), 4).await.unwrap();
    store.add_recipients(second.clone(), 1, some(1, 4)).await.unwrap();
    assert_eq!(store.complete_audience(second, print.clone(), 4).await.unwrap(), stored, "it is one audience");
    assert_eq!(store.find_audience(&print).await.unwrap(), Some(stored));
    let all = store.recipients(stored, -1, 100).await.unwrap();
    let chats: Vec<&str> = all.iter().map(|(_, r)| r.chat.as_str()).collect();
    assert_eq!(chats, ["0@c.us", "1@c.us", "2@c.us", "3@c.us"]);
    // Whoever was taken to be dead is told so, and mixes into nothing.
    let late = store.begin_audience(Timestamp(1_000)).await.unwrap();
    store.begin_audience(Timestamp(1_000 + 3_600_001)).await.unwrap();
    let told = store.add_recipients(late, 0, some(0, 1)).await;
    assert!(matches!(told, Err(StoreError::AudienceAbandoned)), "{told:?}");
    store.close().await;
}

#[tokio::test]
async fn what_gets_another_chance_while_its_recipient_is_forgotten_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    insert(&store, 1, Class::Normal).await;
    let chat = Chat::from_stored("201000000001@c.us");
    store.apply(vec![cancel(1, 0)]).await.unwrap();
    let traces = store.traces(&chat).await.unwrap();
    assert_eq!((traces.messages.len(), traces.waiting, traces.open), (1, 0, 0));
    // Somebody retries it between the look and the forgetting.
    let message = store.show(id(1)).await.unwrap().unwrap().message;
    repair(&store, Repair::Retry, &[message], false, Timestamp(9_600)).await.unwrap();
    assert_eq!(store.erase(&chat, traces).await.unwrap().messages, 0);
    let kept = store.show(id(1)).await.unwrap().unwrap().message;
    assert_eq!((kept.state, kept.chat), (StateName::Scheduled, chat.as_str().to_owned()));
    // Forgetting goes on until nothing of them is left.
    let done = erasure::erase(&store, &chat, || Timestamp(9_700)).await.unwrap();
    let Erasure::Done { erased, cancelled } = done else { unreachable!("{done:?}") };
    assert_eq!((erased.messages, cancelled), (1, vec![id(1)]));
    assert!(store.show(id(1)).await.unwrap().unwrap().message.chat.starts_with("erased-"));
    store.close().await;
}
