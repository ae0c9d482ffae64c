//! Messages put straight into a database, each to a chat of its own.

use futures_util::{StreamExt, TryStreamExt, future, stream};

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
const AT_ONCE: u64 = 1_000;

/// Who store at a time.
const CALLERS: usize = 64;

/// An instance by its number.
pub(super) fn instance(number: u32) -> InstanceName {
    InstanceName::new(&format!("bench{number}"))
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
    /// Over how many instances they are spread.
    instances: u32,
}

impl Maker {
    pub(super) async fn new(store: &SqliteStore, lead: Millis, instances: u32) -> Result<Maker, BenchError> {
        let content = Content::text("The doors open at eight. Bring the letter, and somebody you like.".to_owned());
        let body = serde_json::to_string(&content).unwrap_or_default();
        // What is overdue when the daemon begins is typed in full.
        let manner = Manner { late: Late::KeepLead, ..Manner::default() };
        let content = store.store_content(content, manner, "UTC".into(), Millis(86_400_000)).await?;
        Ok(Maker { content, body, lead, instances })
    }

    /// The messages of some numbers through one instance, due when `due_at` says.
    pub(super) fn make(
        &self,
        ids: &mut IdMaker,
        instance: InstanceName,
        numbers: impl Iterator<Item = u64>,
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
                after: Millis::ZERO,
                state: StateName::Scheduled,
                reason: None,
                followed: false,
                follows: None,
            }
        };
        NewMessages {
            job: None,
            nominal_at: None,
            instance,
            content: self.content,
            counted: false,
            sticky: false,
            steps: 1,
            audience: None,
            recipients: 1,
            making: crate::store::Making::Beside,
            applied_at: None,
            rows: numbers.map(row).collect(),
            publish: None,
            now,
        }
    }

    /// Stores all of some numbers, in turns over the instances, a thousand or one for each instance at a time.
    pub(super) async fn fill(
        &self,
        store: &SqliteStore,
        numbers: std::ops::Range<u64>,
        due_at: impl Fn(u64) -> Timestamp,
    ) -> Result<(), BenchError> {
        let mut ids = IdMaker::default();
        let (instances, mut from) = (u64::from(self.instances), numbers.start);
        while from < numbers.end {
            let to = numbers.end.min(from + AT_ONCE.max(instances));
            let own = |number: u32| (from + u64::from(number)..to).step_by(self.instances as usize);
            let some = (0..self.instances).filter(|number| own(*number).next().is_some());
            let all: Vec<NewMessages> =
                some.map(|number| self.make(&mut ids, instance(number), own(number), &due_at)).collect();
            let stored = stream::iter(all).map(|messages| store.insert(messages)).buffered(CALLERS);
            stored.try_for_each(|_| future::ready(Ok(()))).await?;
            from = to;
        }
        Ok(())
    }
}

/// Looks whether the messages of all instances rest.
pub(super) struct Rest {
    instances: u32,
    /// Up to which one they do. None begins again.
    rested: u32,
}

impl Rest {
    pub(super) fn of(instances: u32) -> Rest {
        Rest { instances, rested: 0 }
    }

    /// Whether every message that wakes up to an instant rests.
    pub(super) async fn until(&mut self, store: &SqliteStore, at: Timestamp) -> Result<bool, BenchError> {
        while self.rested < self.instances && store.rests_until(&instance(self.rested), at).await? {
            self.rested += 1;
        }
        Ok(self.rested == self.instances)
    }
}
