//! Random sequences of the store's verbs give the same answers on SQLite as on the model that the simulation runs against.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/model_store.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod model_store;

use model_store::ModelStore;
use onthedot::domain::claim::Wanted;
use onthedot::domain::class::Class;
use onthedot::domain::content::Content;
use onthedot::domain::draw::Draw;
use onthedot::domain::flow::Flow;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::job::Manner;
use onthedot::domain::message::{Change, DoubtVerdict, Due, Facts, SendFacts};
use onthedot::domain::recipient::Chat;
use onthedot::domain::retry::RetryPolicy;
use onthedot::domain::state::{self, Event, Reason, State, StateName};
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::domain::timeline::Late;
use onthedot::store::{NewMessage, NewMessages, Opening, Pause, PauseScope, SqliteStore, Store, guard};
use proptest::prelude::*;

const MESSAGES: u8 = 6;

/// How long after a start a doubt is looked at.
const LOOK_AFTER: i64 = 60_000;

fn id(n: u8) -> MessageId {
    let mut bytes = [0; 16];
    bytes[15] = n;
    MessageId(bytes)
}

fn shop() -> InstanceName {
    InstanceName::new("shop")
}

/// What is done to the store; numbers are read modulo what there is.
#[derive(Clone, Debug)]
enum Verb {
    /// One or two changes in one batch: message, which change, attempts its row shall have, relative to what it has.
    Apply(Vec<(u8, u8, i8)>),
    Recover,
    Claim {
        ahead: i64,
        limit: usize,
        strict: usize,
        except: u8,
    },
    Verify,
    Pause(i64),
    Pass(i64),
}

fn verbs() -> impl Strategy<Value = Vec<Verb>> {
    let change = (0..MESSAGES, 0..16_u8, prop_oneof![8 => Just(0_i8), 1 => Just(1), 1 => Just(-1)]);
    let verb = prop_oneof![
        12 => prop::collection::vec(change, 1..4).prop_map(Verb::Apply),
        2 => Just(Verb::Recover),
        4 => (0..30_000_i64, 0..8_usize, 0..4_usize, 0..=MESSAGES)
            .prop_map(|(ahead, limit, strict, except)| Verb::Claim { ahead, limit, strict, except }),
        2 => Just(Verb::Verify),
        1 => (1..5_000_i64).prop_map(Verb::Pause),
        3 => (1..9_000_i64).prop_map(Verb::Pass),
    ];
    prop::collection::vec(verb, 1..60)
}

fn due(n: u8) -> Due {
    let chat = Chat::from_stored(&format!("2010000000{n:02}@c.us"));
    let due_at = Timestamp(10_000 + i64::from(n) * 1_500);
    Due {
        id: id(n),
        instance: shop(),
        class: Class::ALL[usize::from(n) % Class::ALL.len()],
        flow: Flow::of_class(Class::ALL[usize::from(n) % Class::ALL.len()]),
        due_at,
        target: due_at,
        lead: Millis(1_000),
        late: Late::KeepDue,
        attempts: 0,
        tries: 0,
        first_marked_at: None,
        retry: RetryPolicy::default(),
        max_lateness: Millis(3_600_000),
        event_at: None,
        expires_at: None,
        hours: Vec::new(),
        free_from: Timestamp(i64::MIN),
        stopped: Vec::new(),
        allowed_from: None,
        kept_waiting: false,
        leads_on: false,
        draw: Draw::new(1, "message").with_text(chat.as_str()),
        chat,
    }
}

async fn insert(store: &SqliteStore, due: &Due) {
    let content = Content::text("hi");
    let body = serde_json::to_string(&content).unwrap();
    let content = store.store_content(content, Manner::default(), "UTC".into(), Millis(3_600_000)).await.unwrap();
    let row = NewMessage {
        id: due.id,
        guard: guard(&due.chat, &body, None),
        chat: due.chat.clone(),
        place: None,
        due_at: due.due_at,
        wake_at: due.due_at - due.lead,
        lead: due.lead,
        expires_at: None,
        class: due.class,
        key: None,
        step: 0,
        after: Millis::ZERO,
        state: StateName::Scheduled,
        reason: None,
        followed: false,
        follows: None,
    };
    let (job, instance, rows) = (None, shop(), vec![row]);
    let (nominal_at, audience, publish, now) = (None, None, None, Timestamp(1));
    let messages = NewMessages {
        job,
        nominal_at,
        instance,
        content,
        counted: false,
        sticky: false,
        steps: 1,
        audience,
        recipients: 1,
        making: onthedot::store::Making::Beside,
        applied_at: None,
        rows,
        publish,
        now,
    };
    assert_eq!(store.insert(messages).await.unwrap(), 1);
}

/// The `which`-th change of a message at `now`, whatever state its row is in: the store must refuse what does not fit.
fn change(n: u8, which: u8, attempts: u32, now: Timestamp) -> Option<Change> {
    let (sending, doubt) = (State::Sending, State::InDoubt { look_at: now });
    let wake_at = now + Millis(500);
    let r = Reason::Refused;
    let (before, event) = match which {
        0 => (State::Claimed, Event::TypingShown),
        1..=3 => (State::Typing, Event::Marked),
        4 | 5 => (sending, Event::Accepted { sent_at: now }),
        6 => (sending, Event::TryAgain { wake_at, reason: Reason::RefusedForNow }),
        7 => (sending, Event::GivenUp { reason: r }),
        8 => (sending, Event::Unclear { reason: Reason::NoClearAnswer, look_at: wake_at }),
        9 => (doubt, Event::ProvedSent { sent_at: now, reason: Reason::FoundInHistory }),
        10 => (doubt, Event::TryAgain { wake_at, reason: Reason::ProvedUnsent }),
        11 => (State::Typing, Event::Cancelled { reason: Reason::CancelledByPerson }),
        12 => (State::Typing, Event::Held { reason: Reason::HeldByPerson }),
        13 => (State::Held, Event::Resumed { wake_at, reason: Reason::Released }),
        14 => (State::Failed, Event::ProvedSent { sent_at: now, reason: Reason::ToldSent }),
        _ => (State::Typing, Event::LeadEnded { wake_at }),
    };
    let note = String::new();
    let facts = match (&before, &event) {
        (_, Event::TypingShown) => Facts::TypingShown { started_at: now, slot: wake_at, due_at: due(n).due_at },
        (_, Event::Marked) => {
            let (number, due_at) = (attempts + 1, due(n).due_at);
            Facts::Mark { number, marked_at: now, slot: now, paced: false, typing: None, due_at, body: Some(7) }
        }
        (State::Sending, _) => {
            let (status, outcome, response) = (Some(200), "accepted", "{}".into());
            let send = Some(SendFacts { started_at: now, finished_at: now, status, outcome, response });
            let gateway_id = matches!(event, Event::Accepted { .. }).then(|| format!("ID{n}-{attempts}"));
            let tries = attempts;
            Facts::Record { number: attempts, tries, send, late_typing: None, gateway_id, ack: None, named: None }
        }
        (State::InDoubt { .. } | State::Failed, Event::ProvedSent { .. }) => {
            let (number, verdict) = (attempts, DoubtVerdict::Sent);
            Facts::Verdict {
                number,
                verdict,
                tries: attempts,
                gateway_id: Some(format!("ID{n}-{attempts}")),
                note,
                due_at: None,
            }
        }
        (State::InDoubt { .. }, _) => {
            let (number, verdict) = (attempts, DoubtVerdict::Unsent);
            Facts::Verdict { number, verdict, tries: attempts, gateway_id: None, note, due_at: None }
        }
        _ => Facts::Note(note),
    };
    let transition = state::apply(&before, &event).ok()?;
    Some(Change { id: id(n), attempts, at: now, transition, facts })
}

async fn compare(verbs: Vec<Verb>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("db"), Opening::Daemon).await.unwrap();
    let mut model = ModelStore::default();
    for n in 0..MESSAGES {
        insert(&store, &due(n)).await;
        model.insert(&due(n));
    }
    let mut now = Timestamp(8_000);
    for verb in verbs {
        match &verb {
            Verb::Apply(list) => {
                let attempts = |n: u8, off: i8| model.rows[&id(n)].attempts.checked_add_signed(i32::from(off));
                let changes: Vec<Change> =
                    list.iter().filter_map(|(n, which, off)| change(*n, *which, attempts(*n, *off)?, now)).collect();
                // A mark is not written twice for one attempt, nor a record: that is the engine's part.
                let mut met = std::collections::BTreeSet::new();
                let changes: Vec<Change> = changes.into_iter().filter(|c| met.insert(c.id)).collect();
                let expected: Vec<_> = changes.iter().map(|c| model.apply(c)).collect();
                assert_eq!(store.apply(changes).await.unwrap(), expected, "{verb:?} at {}", now.0);
            }
            Verb::Recover => {
                model.recover(now + Millis(LOOK_AFTER));
                store.recover(now, LOOK_AFTER).await.unwrap();
            }
            Verb::Claim { ahead, limit, strict, except } => {
                let except: Vec<MessageId> = (0..*except).map(id).collect();
                let horizon = now + Millis(*ahead);
                let wanted = Wanted { horizon, limit: *limit, strict_limit: *strict, except, held: Vec::new() };
                let (expected, ..) = model.claim(&shop(), now, &wanted);
                let found = store.claim(&shop(), now, &wanted).await.unwrap();
                let told = |d: &Due| (d.id, d.target, d.attempts, d.tries, d.first_marked_at);
                let found: Vec<_> = found.messages.iter().map(|c| told(&c.due)).collect();
                assert_eq!(found, expected.iter().map(told).collect::<Vec<_>>(), "{verb:?} at {}", now.0);
            }
            Verb::Verify => {
                let ids: Vec<MessageId> = (0..MESSAGES).map(id).collect();
                let found = store.verify(&ids, now, Timestamp::MAX).await.unwrap();
                assert_eq!(found.gone, model.gone(&ids), "{verb:?} at {}", now.0);
                assert_eq!(!found.paused.is_empty(), model.is_paused(now) && found.gone.len() < ids.len());
            }
            Verb::Pause(length) => {
                if !model.is_paused(now) {
                    let until = now + Millis(*length);
                    model.pause = Some((now, until));
                    let pause = Pause { scope: PauseScope::All, note: None, since: now, until: Some(until) };
                    store.pause(pause).await.unwrap();
                }
            }
            Verb::Pass(length) => now = now + Millis(*length),
        }
        for n in 0..MESSAGES {
            let (row, seen) = (&model.rows[&id(n)], store.show(id(n)).await.unwrap().unwrap().message);
            let attempts = i64::from(row.attempts);
            assert_eq!((seen.state, seen.attempts), (row.state, attempts), "message {n} after {verb:?}");
        }
    }
    store.close().await;
}

#[test]
fn the_store_answers_as_its_model_does() {
    let cases = std::env::var("CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(60);
    let config =
        ProptestConfig { cases, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let done = runner.run(&verbs(), |verbs| {
        let told = format!("{verbs:?}");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(compare(verbs))));
        outcome.map_err(|_| TestCaseError::fail(told))
    });
    assert!(done.is_ok(), "{}", done.unwrap_err());
}
