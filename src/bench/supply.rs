//! Messages put straight into a database, each to a chat of its own.

use crate::bench::BenchError;
use crate::clock;
use crate::domain::class::Class;
use crate::domain::content::Content;
use crate::domain::id::InstanceName;
use crate::domain::job::Manner;
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::Late;
use crate::intake::IdMaker;
use crate::store::{NewMessage, NewMessages, SqliteStore, Store, guard};

/// The first of the numbers the messages go to.
const FIRST_NUMBER: u64 = 491_510_000_000;

/// Rows stored in one go.
pub(super) const AT_ONCE: u64 = 1_000;

/// The one instance.
pub(super) fn instance() -> InstanceName {
    InstanceName::new("bench")
}

/// The chat of a number.
pub(super) fn chat(number: u64) -> String {
    format!("{}@c.us", FIRST_NUMBER + number)
}

/// Makes messages of one text.
#[derive(Clone)]
pub(super) struct Maker {
    content: i64,
    body: String,
    lead: Millis,
}

impl Maker {
    pub(super) async fn new(store: &SqliteStore, lead: Millis) -> Result<Maker, BenchError> {
        let content = Content::text("The doors open at eight. Bring the letter, and somebody you like.".to_owned());
        let body = serde_json::to_string(&content).unwrap_or_default();
        // What is overdue when the daemon begins is typed in full.
        let manner = Manner { late: Late::KeepLead, ..Manner::default() };
        let content = store.store_content(content, manner, "UTC".into(), Millis(86_400_000)).await?;
        Ok(Maker { content, body, lead })
    }

    /// The messages of some numbers, due when `due_at` says.
    pub(super) fn make(
        &self,
        ids: &mut IdMaker,
        numbers: std::ops::Range<u64>,
        due_at: impl Fn(u64) -> Timestamp,
    ) -> NewMessages {
        let now = clock::now();
        let row = |number: u64| {
            let chat = Chat::from_stored(&chat(number));
            let due_at = due_at(number);
            NewMessage {
                id: ids.make(now),
                guard: guard(&chat, &self.body, None),
                chat,
                place: None,
                due_at,
                wake_at: due_at - self.lead,
                lead: self.lead,
                expires_at: None,
                class: Class::default(),
                key: None,
                step: 0,
                state: StateName::Scheduled,
                reason: None,
                followed: false,
                follows: None,
            }
        };
        NewMessages {
            job: None,
            nominal_at: None,
            instance: instance(),
            content: self.content,
            steps: 1,
            audience: None,
            rows: numbers.map(row).collect(),
            publish: None,
            now,
        }
    }

    /// Stores all of some numbers, a thousand at a time.
    pub(super) async fn fill(
        &self,
        store: &SqliteStore,
        numbers: std::ops::Range<u64>,
        due_at: impl Fn(u64) -> Timestamp,
    ) -> Result<(), BenchError> {
        let mut ids = IdMaker::default();
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + AT_ONCE);
            store.insert(self.make(&mut ids, from..to, &due_at)).await?;
            from = to;
        }
        Ok(())
    }
}
