//! Words about being written to: each is kept with its message and its own instant, and how a chat stands follows from all of them.

use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::domain::consent::{Consent, ConsentSource};
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::words::{Effect, Standing, Word, latest_of, standing};
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_claim::get;
use crate::store::sqlite_insert::insert_rows;
use crate::store::sqlite_plan::store_content;
use crate::store::{Confirmation, ConsentNews, NewMessage, NewMessages, StoreError, guard};

/// Words of a chat that are kept beside those that changed something, the latest: a machine that answers everything with its
/// keyword would fill the disk, and one that is earlier than so many others decides nothing.
const KEPT_BESIDE: i64 = 100;

/// Writes words down, and how their chats stand by them. Answers how many changed something.
pub(super) async fn record(connection: &mut SqliteConnection, news: &[ConsentNews]) -> Result<u64, StoreError> {
    let mut new = 0;
    for said in news {
        if !is_known(connection, said).await? {
            new += u64::from(record_one(connection, said).await?);
        }
    }
    Ok(new)
}

/// Whether the message was told before, also by somebody whose name was forgotten since.
async fn is_known(connection: &mut SqliteConnection, said: &ConsentNews) -> Result<bool, StoreError> {
    let Some((instance, gateway_id)) = &said.message else { return Ok(false) };
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM consents WHERE chat IN (?1, 'erased') AND instance = ?2 AND gateway_id = ?3)",
    )
    .bind(said.chat.as_str().to_owned())
    .bind(instance.0.to_string())
    .bind(gateway_id.clone())
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("look whether a word was told before"))
}

async fn record_one(connection: &mut SqliteConnection, said: &ConsentNews) -> Result<bool, StoreError> {
    let mut words = words(connection, &said.chat).await?;
    let before = standing(&words);
    let said_at = match said.source {
        ConsentSource::Person => Some(latest_of(&words, said.at)),
        ConsentSource::Keyword | ConsentSource::Import => said.said_at,
    };
    let lifts_manual = said.lifts_manual;
    words.push(Word { verdict: said.verdict, source: said.source, said_at, lifts_manual });
    let after = standing(&words);
    let effect = match before.effect(said.verdict, &after) {
        // A person's word is the latest: where it changes nothing it says what stood already.
        Effect::Overruled if said.source == ConsentSource::Person => Effect::Again,
        effect => effect,
    };
    keep(connection, said, said_at, effect).await?;
    if effect != Effect::Changed {
        forget_surplus(connection, &said.chat).await?;
        return Ok(false);
    }
    stand(connection, said, &after).await?;
    if before.is_news(said.verdict, &after) {
        confirm(connection, said).await?;
    }
    Ok(true)
}

/// All words about a chat, as far as they decide.
async fn words(connection: &mut SqliteConnection, chat: &Chat) -> Result<Vec<Word>, StoreError> {
    let rows = sqlx::query("SELECT verdict, source, said_at, lifts_manual FROM consents WHERE chat = ?1")
        .bind(chat.as_str().to_owned())
        .fetch_all(connection)
        .await
        .map_err(StoreError::database("read what was said about writing to somebody"))?;
    let one = |row: &SqliteRow| {
        Ok(Word {
            verdict: verdict(get(row, 0)?),
            source: source(get(row, 1)?)?,
            said_at: get::<Option<i64>>(row, 2)?.map(Timestamp),
            lifts_manual: get(row, 3)?,
        })
    };
    rows.iter().map(one).collect()
}

async fn keep(
    connection: &mut SqliteConnection,
    said: &ConsentNews,
    said_at: Option<Timestamp>,
    effect: Effect,
) -> Result<(), StoreError> {
    let (instance, gateway_id) = said.message.as_ref().map(|(i, id)| (i.0.as_ref(), id.as_str())).unzip();
    let row = json!([
        said.chat.as_str(),
        said.at,
        said_at,
        said.verdict.name(),
        said.source.name(),
        said.note,
        instance,
        gateway_id,
        i64::from(said.lifts_manual),
        effect.name(),
    ]);
    let statement =
        "INSERT INTO consents (chat, at, said_at, verdict, source, note, instance, gateway_id, lifts_manual, effect)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
               value ->> 8, value ->> 9 FROM json_each(?1)";
    insert(connection, statement, vec![row], "note what was said about writing to somebody").await.map(|_| ())
}

async fn forget_surplus(connection: &mut SqliteConnection, chat: &Chat) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM consents WHERE chat = ?1 AND effect <> 'changed' AND id NOT IN
         (SELECT id FROM consents WHERE chat = ?1 AND effect <> 'changed' ORDER BY said_at DESC, id DESC LIMIT ?2)",
    )
    .bind(chat.as_str().to_owned())
    .bind(KEPT_BESIDE)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(StoreError::database("forget old words about writing to somebody"))
}

/// Writes down how a chat stands, where every claim and every mark looks.
async fn stand(connection: &mut SqliteConnection, said: &ConsentNews, now: &Standing) -> Result<(), StoreError> {
    let (silence, open) = (now.silenced_by(), now.opted_in);
    let doing = "write down who is not to be written to";
    let row =
        |source: Option<ConsentSource>| vec![json!([said.chat.as_str(), said.at, source.map(ConsentSource::name)])];
    let statement = match silence {
        // Whose opt-out is in force may change; since when there is one does not.
        Some(_) => {
            "INSERT INTO suppressions (chat, since, source, note)
             SELECT v.value ->> 0, v.value ->> 1, v.value ->> 2,
                    (SELECT c.note FROM consents AS c
                     WHERE c.chat = v.value ->> 0 AND c.verdict = 'out' AND c.source = v.value ->> 2
                     ORDER BY c.said_at DESC, c.id DESC LIMIT 1)
             FROM json_each(?1) AS v WHERE true
             ON CONFLICT (chat) DO UPDATE SET source = excluded.source, note = excluded.note
             WHERE suppressions.source <> excluded.source"
        }
        None => "DELETE FROM suppressions WHERE chat IN (SELECT value ->> 0 FROM json_each(?1))",
    };
    insert(connection, statement, row(silence), doing).await?;
    let statement = match open {
        Some(_) => {
            "INSERT INTO opt_ins (chat, since, source)
             SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING"
        }
        None => "DELETE FROM opt_ins WHERE chat IN (SELECT value ->> 0 FROM json_each(?1))",
    };
    insert(connection, statement, row(open), "write down who opted in").await.map(|_| ())
}

/// How late the answer to an opt-out or an opt-in may be: the next morning, where an instance is silent at night.
const LATEST_CONFIRMATION: Millis = Millis(86_400_000);

/// Stores what is answered, if anything. What an opt-out is answered with is exempt from it.
async fn confirm(connection: &mut SqliteConnection, said: &ConsentNews) -> Result<(), StoreError> {
    let Some(answer) = &said.confirm else { return Ok(()) };
    let Confirmation { id, instance, content, manner, zone, lead } = (**answer).clone();
    let guard = guard(&said.chat, &serde_json::to_string(&content).unwrap_or_default(), None);
    let content = store_content(connection, &content, &manner, &zone, LATEST_CONFIRMATION).await?;
    let row = NewMessage {
        id,
        chat: said.chat.clone(),
        place: None,
        guard,
        due_at: said.at + lead,
        wake_at: said.at,
        lead,
        expires_at: None,
        class: manner.class,
        // Nobody needs to vouch that it is no repetition.
        key: Some(format!("consent:{id}")),
        step: 0,
        after: Millis::ZERO,
        state: StateName::Scheduled,
        reason: None,
        followed: false,
        follows: None,
    };
    let messages = NewMessages::single(instance, content, row, said.at);
    insert_rows(connection, &messages, None).await?;
    if said.verdict == Consent::Out {
        sqlx::query("UPDATE suppressions SET farewell = ?2 WHERE chat = ?1")
            .bind(said.chat.as_str().to_owned())
            .bind(id.0.to_vec())
            .execute(connection)
            .await
            .map_err(StoreError::database("let the answer to an opt-out through"))?;
    }
    Ok(())
}

pub(super) fn verdict(name: &str) -> Consent {
    if name == Consent::Out.name() { Consent::Out } else { Consent::In }
}

pub(super) fn source(name: &str) -> Result<ConsentSource, StoreError> {
    let wrong = || StoreError::Inconsistent { table: "consents", column: "source", what: format!("'{name}'") };
    ConsentSource::from_name(name).ok_or_else(wrong)
}
