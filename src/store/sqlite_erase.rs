//! Forgetting a person: who they were goes, that something was sent stays.

use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

use crate::domain::content::Content;
use crate::domain::id::MessageId;
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::store::sqlite_apply::{hex, insert};
use crate::store::sqlite_claim::{get, id};
use crate::store::{SqliteStore, StoreError};

/// Messages made nameless in one transaction: some milliseconds of the writer.
const AT_ONCE: usize = 200;

/// Everything that names a chat.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traces {
    /// Messages to it.
    pub messages: Vec<MessageId>,
    /// Those of them that are on the way, in doubt or being recalled: what becomes of them is found by the chat.
    pub open: u64,
    /// Those of them that wait.
    pub waiting: u64,
    /// What waits to tell others of them.
    pub beside: Vec<MessageId>,
    /// Contents of no job that were written for it alone.
    contents: Vec<i64>,
    /// Places in lists of recipients.
    places: Vec<(i64, i64)>,
}

/// What was forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Erased {
    /// Whether they were a contact.
    pub contact: bool,
    /// Lists they were in.
    pub lists: u64,
    /// Messages that name nobody now.
    pub messages: u64,
    /// Whether they are suppressed and stay so.
    pub suppressed: bool,
}

impl SqliteStore {
    /// Looks for everything that names a chat. It reads all messages and lists of recipients.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn traces(&self, chat: &Chat) -> Result<Traces, StoreError> {
        let doing = "look for what names a contact";
        let mut traces = Traces::default();
        let statement = "SELECT id, state, audience, place,
             EXISTS (SELECT 1 FROM recalls AS r WHERE r.message = messages.id AND r.state = 'open')
             FROM messages WHERE chat = ?1";
        let rows = sqlx::query(statement).bind(chat.as_str().to_owned()).fetch_all(&self.readers);
        for row in rows.await.map_err(StoreError::database(doing))? {
            traces.messages.push(id(&row, 0)?);
            match StateName::from_name(get(&row, 1)?) {
                _ if get(&row, 4)? => traces.open += 1,
                Some(StateName::Scheduled | StateName::Claimed | StateName::Typing | StateName::Held) => {
                    traces.waiting += 1;
                }
                Some(StateName::Sending | StateName::InDoubt) => traces.open += 1,
                _ => {}
            }
            traces.places.extend(get::<Option<i64>>(&row, 2)?.zip(get::<Option<i64>>(&row, 3)?));
        }
        // What would be told of them to others.
        let statement = "SELECT m.id FROM messages AS f JOIN messages AS m ON m.follows = f.id
             WHERE f.chat = ?1 AND f.followed IS NOT NULL AND m.chat <> ?1 AND m.state IN ('scheduled', 'typing', 'held')";
        let rows = sqlx::query(statement).bind(chat.as_str().to_owned()).fetch_all(&self.readers);
        for row in rows.await.map_err(StoreError::database(doing))? {
            traces.beside.push(id(&row, 0)?);
        }
        let statement = "SELECT audience, place FROM recipients WHERE chat IN (?1, '~' || ?1)";
        let rows = sqlx::query(statement).bind(chat.as_str().to_owned()).fetch_all(&self.readers);
        for row in rows.await.map_err(StoreError::database(doing))? {
            traces.places.push((get(&row, 0)?, get(&row, 1)?));
        }
        let statement = "SELECT content FROM messages
             WHERE content IN (SELECT content FROM messages WHERE chat = ?1 AND job IS NULL)
             GROUP BY content HAVING max(chat <> ?1) = 0 AND max(job IS NOT NULL) = 0";
        let rows = sqlx::query(statement).bind(chat.as_str().to_owned()).fetch_all(&self.readers);
        for row in rows.await.map_err(StoreError::database(doing))? {
            traces.contents.push(get(&row, 0)?);
        }
        Ok(traces)
    }

    /// What forgetting them would do, with so many messages to them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn would_erase(&self, chat: &Chat, messages: usize) -> Result<Erased, StoreError> {
        let found = self.contact(chat.as_str()).await?;
        Ok(Erased {
            contact: found.is_some(),
            lists: found.map_or(0, |c| u64::try_from(c.lists.len()).unwrap_or(0)),
            messages: u64::try_from(messages).unwrap_or(0),
            suppressed: self.suppression(chat.as_str()).await?.is_some(),
        })
    }

    /// Forgets a person. Messages keep what was done and when, and name nobody. An opt-out is kept: whoever wants to be
    /// forgotten does not want to be written to.
    ///
    /// # Errors
    /// When the database cannot be written; run again it goes on.
    pub async fn erase(&self, chat: &Chat, traces: Traces) -> Result<Erased, StoreError> {
        let mut done = Erased::default();
        let Traces { messages, contents, places, .. } = traces;
        // What is found by the messages goes before their names do: whoever runs it again after it was cut off finds the rest.
        for chunk in places.chunks(AT_ONCE) {
            let rows: Vec<Value> = chunk.iter().map(|place| json!(place)).collect();
            self.writer()?.run(move |c| Box::pin(forget_places(c, rows))).await?;
        }
        for chunk in contents.chunks(AT_ONCE) {
            let rows: Vec<Value> = chunk.iter().map(|id| json!(id)).collect();
            self.writer()?.run(move |c| Box::pin(forget_words(c, rows))).await?;
        }
        for chunk in messages.chunks(AT_ONCE) {
            let ids: Vec<Value> = chunk.iter().map(|id| json!(hex(*id))).collect();
            done.messages += self.writer()?.run(move |c| Box::pin(nameless(c, ids))).await?;
        }
        let chat = chat.as_str().to_owned();
        let Erased { contact, lists, suppressed, .. } =
            self.writer()?.run(move |c| Box::pin(forget_contact(c, chat))).await?;
        self.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        Ok(Erased { contact, lists, suppressed, ..done })
    }
}

async fn run(c: &mut SqliteConnection, statements: &[&'static str], rows: &[Value]) -> Result<u64, StoreError> {
    let mut changed = 0;
    for statement in statements {
        changed = insert(c, statement, rows.to_vec(), "forget a contact").await?;
    }
    Ok(changed)
}

async fn nameless(c: &mut SqliteConnection, ids: Vec<Value>) -> Result<u64, StoreError> {
    let statements = [
        "UPDATE attempts SET typing_response = NULL WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "UPDATE results SET response = NULL, typing_response = NULL
         WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "UPDATE recalls SET response = NULL WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "DELETE FROM acks WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "UPDATE evidence SET note = NULL WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        "UPDATE doubts SET chat = 'erased', body = NULL WHERE message IN (SELECT unhex(value) FROM json_each(?1))",
        // An occurrence has a chat once. Nobody is there to be reminded.
        "UPDATE messages SET chat = 'erased-' || lower(hex(id)), followed = NULL, follow_at = NULL WHERE id IN (SELECT unhex(value) FROM json_each(?1))",
    ];
    // What was given another chance meanwhile, or is on its way, needs its name still.
    let doing = "look what of a contact's messages has ended";
    let ended: Vec<String> = sqlx::query_scalar(
        "SELECT hex(id) FROM messages AS m WHERE id IN (SELECT unhex(value) FROM json_each(?1))
           AND state NOT IN ('scheduled', 'claimed', 'typing', 'sending', 'in_doubt', 'held')
           AND NOT EXISTS (SELECT 1 FROM recalls AS r WHERE r.message = m.id AND r.state = 'open')",
    )
    .bind(json!(ids).to_string())
    .fetch_all(&mut *c)
    .await
    .map_err(StoreError::database(doing))?;
    if ended.is_empty() {
        return Ok(0);
    }
    run(c, &statements, &ended.into_iter().map(Value::from).collect::<Vec<_>>()).await
}

async fn forget_places(c: &mut SqliteConnection, places: Vec<Value>) -> Result<u64, StoreError> {
    let statement = "DELETE FROM recipients
        WHERE (audience, place) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))";
    run(c, &[statement], &places).await
}

async fn forget_contact(c: &mut SqliteConnection, chat: String) -> Result<Erased, StoreError> {
    let doing = "forget a contact";
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM contacts WHERE chat = ?1), (SELECT count(*) FROM members WHERE chat = ?1),
                EXISTS (SELECT 1 FROM suppressions WHERE chat = ?1)",
    )
    .bind(chat.clone())
    .fetch_one(&mut *c)
    .await
    .map_err(StoreError::database(doing))?;
    let count: i64 = row.try_get(1).map_err(StoreError::database(doing))?;
    let done = Erased {
        contact: get(&row, 0)?,
        lists: u64::try_from(count).unwrap_or(0),
        messages: 0,
        suppressed: get(&row, 2)?,
    };
    let statements = [
        "UPDATE lists SET revision = revision + 1
         WHERE id IN (SELECT list FROM members WHERE chat IN (SELECT value FROM json_each(?1)))",
        "DELETE FROM members WHERE chat IN (SELECT value FROM json_each(?1))",
        "DELETE FROM contacts WHERE chat IN (SELECT value FROM json_each(?1))",
        "DELETE FROM senders WHERE chat IN (SELECT value FROM json_each(?1))",
        "DELETE FROM opt_ins WHERE chat IN (SELECT value FROM json_each(?1))",
        "DELETE FROM replies WHERE chat IN (SELECT value FROM json_each(?1))",
        "UPDATE echoes SET chat = NULL, body = NULL WHERE chat IN (SELECT value FROM json_each(?1))",
        "UPDATE suppressions SET note = NULL WHERE chat IN (SELECT value FROM json_each(?1))",
        // A word that is told again by its gateway is known by its message, which names nobody.
        "UPDATE OR REPLACE consents SET chat = 'erased', note = NULL WHERE chat IN (SELECT value FROM json_each(?1))
            AND gateway_id IS NOT NULL AND chat NOT IN (SELECT chat FROM suppressions)",
        "DELETE FROM consents WHERE chat IN (SELECT value FROM json_each(?1))
            AND chat NOT IN (SELECT chat FROM suppressions)",
        "UPDATE consents SET note = NULL WHERE chat IN (SELECT value FROM json_each(?1))",
    ];
    run(c, &statements, &[json!(chat)]).await?;
    Ok(done)
}

/// Takes the words of contents that were written for one person.
async fn forget_words(c: &mut SqliteConnection, contents: Vec<Value>) -> Result<u64, StoreError> {
    let erased = serde_json::to_string(&Content::text("(erased)".to_owned())).unwrap_or_default();
    let rows: Vec<Value> = contents.iter().map(|id| json!([id, erased])).collect();
    let statement =
        "UPDATE contents SET body = (SELECT value ->> 1 FROM json_each(?1) WHERE value ->> 0 = contents.id),
            fingerprint = CAST('erased ' || id AS BLOB), kind = 'text'
        WHERE id IN (SELECT value ->> 0 FROM json_each(?1))";
    run(c, &[statement], &rows).await
}
