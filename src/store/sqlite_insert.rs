//! New messages, and those that several callers store at once.

use std::sync::{Arc, LazyLock};

use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use crate::domain::flow::Flow;
use crate::domain::id::InstanceName;
use crate::store::sqlite_rows::{ForRows, MOST_ROWS, Places};
use crate::store::sqlite_senders;
use crate::store::{NewMessage, NewMessages, StoreError};

static MESSAGES: LazyLock<ForRows> = LazyLock::new(|| ForRows::new(include_str!("sql/insert_messages.sql")));

/// A message with what it shares with the others of its call.
struct Row<'m> {
    shared: &'m NewMessages,
    job: Option<Arc<str>>,
    occurrence: Option<i64>,
    message: &'m NewMessage,
}

/// Stores the rows of messages under an occurrence. Answers how many are new.
pub(super) async fn insert_rows(
    connection: &mut SqliteConnection,
    messages: &NewMessages,
    occurrence: Option<i64>,
) -> Result<u64, StoreError> {
    if messages.sticky {
        sqlite_senders::remember(&mut *connection, messages).await?;
    }
    insert(connection, &rows(messages, occurrence).collect::<Vec<_>>()).await
}

fn rows(shared: &NewMessages, occurrence: Option<i64>) -> impl Iterator<Item = Row<'_>> {
    let job: Option<Arc<str>> = shared.job.as_deref().map(Arc::from);
    shared.rows.iter().map(move |message| Row { shared, job: job.clone(), occurrence, message })
}

async fn insert(connection: &mut SqliteConnection, rows: &[Row<'_>]) -> Result<u64, StoreError> {
    let [new] = MESSAGES.execute(connection, rows, [row], "store messages").await?;
    Ok(new)
}

fn row(places: &mut Places<'_>, row: &Row<'_>) {
    let (shared, m) = (row.shared, row.message);
    let alone = Flow::of_class(m.class);
    let flow = row.occurrence.map_or(alone, |o| Flow::of_occurrence(o, m.class, shared.recipients));
    let InstanceName(instance) = shared.instance.clone();
    places.bind(m.id.0.to_vec()).bind(row.job.clone()).bind(row.occurrence).bind(instance);
    places.bind(Arc::clone(&m.chat.0)).bind(m.class.code()).bind(flow.code());
    places.bind(shared.content).bind(shared.audience).bind(m.place).bind(m.guard);
    places.bind(m.state.name()).bind(m.reason.map(|r| r.name()));
    places.bind(m.due_at.0).bind(m.wake_at.0).bind(m.lead.0).bind(m.expires_at.map(|t| t.0));
    places.bind(m.key.as_deref()).bind(m.step).bind(shared.steps).bind(shared.now.0);
    // What is followed, or follows, is looked at as soon as it rests.
    let follow_at = (m.followed || m.follows.is_some()).then_some(0);
    places.bind(m.followed.then_some("waiting")).bind(follow_at).bind(m.follows.map(|id| id.0.to_vec()));
    places.bind((shared.counted && m.step <= 0).then_some(1));
    places.bind(Some(m.after.0).filter(|after| *after > 0));
}

pub(super) type InsertReply = oneshot::Sender<Result<u64, StoreError>>;

/// Calls that store messages of no occurrence, each waiting for how many of its own are new.
#[derive(Default)]
pub(super) struct Inserts(Vec<(NewMessages, InsertReply)>);

impl Inserts {
    pub(super) fn push(&mut self, messages: NewMessages, reply: InsertReply) {
        self.0.push((messages, reply));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one call, whose messages take one statement.
    pub(super) fn is_one_statement(&self) -> bool {
        matches!(&self.0[..], [(messages, _)] if messages.rows.len() <= MOST_ROWS)
    }

    /// Stores the messages of all calls together, and answers how many of each are new. `None` where some are not, so that
    /// nobody knows whose: then all are to be taken back and stored call by call.
    ///
    /// # Errors
    /// When the database cannot be written; they are to be taken back then too.
    pub(super) async fn together(&self, connection: &mut SqliteConnection) -> Result<Option<Vec<u64>>, StoreError> {
        let all: Vec<Row<'_>> = self.0.iter().flat_map(|(messages, _)| rows(messages, None)).collect();
        let new = insert(connection, &all).await?;
        let counts = || self.0.iter().map(|(messages, _)| u64::try_from(messages.rows.len()).unwrap_or(u64::MAX));
        Ok(match self.0.len() {
            1 => Some(vec![new]),
            _ => (new == counts().sum::<u64>()).then(|| counts().collect()),
        })
    }

    /// The calls one by one.
    pub(super) fn calls(&self) -> impl Iterator<Item = &NewMessages> {
        self.0.iter().map(|(messages, _)| messages)
    }

    /// Answers every call.
    pub(super) fn answer(self, answers: impl Iterator<Item = Result<u64, StoreError>>) {
        for ((_, reply), answer) in self.0.into_iter().zip(answers) {
            let _ = reply.send(answer);
        }
    }
}
