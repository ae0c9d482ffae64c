//! Contacts and the lists they are in.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;
use crate::store::sqlite_apply::insert;
use crate::store::sqlite_claim::{get, read_vars};
use crate::store::view::{ContactView, ListView};
use crate::store::{Recipient, SqliteStore, StoreError, vars_json};

/// Memberships of an interrupted import removed in one transaction.
const REMOVED_AT_ONCE: i64 = 5_000;

/// Members that join a list together: none of them counts before all have joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joining {
    id: i64,
    list: i64,
}

/// A list, found by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundList {
    /// Its row.
    pub id: i64,
    /// Raised with every change of its members or of what is known of them.
    pub revision: i64,
}

/// What storing contacts changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContactsStored {
    /// Contacts that were not known.
    pub added: u64,
    /// Contacts of whom other things are known now.
    pub changed: u64,
}

pub(super) const VISIBLE: &str = "joining NOT IN (SELECT id FROM joinings WHERE done_at IS NULL)";

impl SqliteStore {
    /// Begins to fill a list, which is made if it is not there. What an interrupted import left is removed first; the
    /// caller holds the import lock.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_joining(&self, list: String, file: String, now: Timestamp) -> Result<Joining, StoreError> {
        while self.writer()?.run(|c| Box::pin(remove_unjoined(c))).await? > 0 {}
        self.writer()?.run(move |c| Box::pin(async move { begin(c, list, file, now).await })).await
    }

    /// Stores contacts: what is known of them already stays where nothing else is said. With a joining, they are going to be
    /// members of its list.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn store_contacts(
        &self,
        joining: Option<Joining>,
        contacts: Vec<Recipient>,
        now: Timestamp,
    ) -> Result<ContactsStored, StoreError> {
        self.writer()?.run(move |c| Box::pin(async move { store(c, joining, &contacts, now).await })).await
    }

    /// Those who were to join a list are members now, all at once. Answers how many are new in it.
    ///
    /// # Errors
    /// When the database cannot be written; then none is.
    pub async fn end_joining(&self, joining: Joining, now: Timestamp) -> Result<u64, StoreError> {
        let writer = self.writer()?;
        let joined = writer.run(move |c| Box::pin(async move { end(c, joining, now).await })).await?;
        writer.tell();
        Ok(joined)
    }

    /// Takes contacts out of a list. Answers how many were in it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn leave_list(&self, list: FoundList, chats: Vec<Chat>) -> Result<u64, StoreError> {
        let writer = self.writer()?;
        let left = writer.run(move |c| Box::pin(async move { leave(c, list.id, &chats).await })).await?;
        writer.tell();
        Ok(left)
    }

    /// The lists by name, with how many members each has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lists(&self) -> Result<Vec<ListView>, StoreError> {
        let statement = format!(
            "SELECT l.name, (SELECT count(*) FROM members WHERE list = l.id AND {VISIBLE}), l.made_at
             FROM lists AS l ORDER BY l.name"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the lists"))?;
        let one = |r: &SqliteRow| {
            Ok(ListView {
                name: get(r, 0)?,
                members: u64::try_from(get::<i64>(r, 1)?).unwrap_or(0),
                made_at: Timestamp(get(r, 2)?),
            })
        };
        rows.iter().map(one).collect()
    }

    /// A list by its name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find_list(&self, name: &str) -> Result<Option<FoundList>, StoreError> {
        let row = sqlx::query("SELECT id, revision FROM lists WHERE name = ?1")
            .bind(name.to_owned())
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("find a list"))?;
        row.map(|r| Ok(FoundList { id: get(&r, 0)?, revision: get(&r, 1)? })).transpose()
    }

    /// The members of a list by chat, after one of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn members(&self, list: FoundList, after: &str, limit: u32) -> Result<Vec<Recipient>, StoreError> {
        let statement = format!(
            "SELECT m.chat, c.vars FROM members AS m JOIN contacts AS c ON c.chat = m.chat
             WHERE m.list = ?1 AND m.chat > ?2 AND m.{VISIBLE} ORDER BY m.chat LIMIT ?3"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(list.id)
            .bind(after.to_owned())
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the members of a list"))?;
        let one = |r: &SqliteRow| {
            let chat = Chat::from_stored(&get::<String>(r, 0)?);
            Ok(Recipient { chat, vars: read_vars(get::<Option<String>>(r, 1)?.as_deref()) })
        };
        rows.iter().map(one).collect()
    }

    /// Contacts by chat, after one of them: of a list, or all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn contacts(
        &self,
        list: Option<FoundList>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<ContactView>, StoreError> {
        // Of a list its members are gone through, not everybody.
        let members =
            format!("members AS i CROSS JOIN contacts AS c ON c.chat = i.chat AND i.list = ?3 AND i.{VISIBLE}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(match list {
            Some(_) => contacts_from(&members, "i.chat > ?1 ORDER BY i.chat"),
            None => contacts_from("contacts AS c", "c.chat > ?1 ORDER BY c.chat"),
        }))
        .bind(after.to_owned())
        .bind(limit)
        .bind(list.map(|l| l.id))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("read contacts"))?;
        rows.iter().map(contact).collect()
    }

    /// The names of all attributes of contacts: of a list, or of all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn attributes(&self, list: Option<FoundList>) -> Result<Vec<String>, StoreError> {
        let of_list = format!("members AS m JOIN contacts AS c ON c.chat = m.chat AND m.list = ?1 AND m.{VISIBLE}");
        let whose = list.map_or("contacts AS c", |_| of_list.as_str());
        let statement = format!(
            "SELECT DISTINCT v.key FROM {whose} CROSS JOIN json_each(c.vars) AS v WHERE c.vars IS NOT NULL ORDER BY v.key"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(list.map(|l| l.id))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::database("read the attributes of contacts"))
    }

    /// What is known of somebody.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn contact(&self, chat: &str) -> Result<Option<ContactView>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(contacts_from("contacts AS c", "c.chat = ?1")))
            .bind(chat.to_owned())
            .bind(1)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::database("read a contact"))?;
        row.as_ref().map(contact).transpose()
    }
}

fn contacts_from(whom: &str, which: &str) -> String {
    format!(
        "SELECT c.chat, c.vars, c.added_at, c.changed_at,
                EXISTS (SELECT 1 FROM suppressions AS s WHERE s.chat = c.chat),
                EXISTS (SELECT 1 FROM opt_ins AS o WHERE o.chat = c.chat),
                (SELECT json_group_array(l.name) FROM members AS m JOIN lists AS l ON l.id = m.list
                 WHERE m.chat = c.chat AND m.{VISIBLE})
         FROM {whom} WHERE {which} LIMIT ?2"
    )
}

fn contact(row: &SqliteRow) -> Result<ContactView, StoreError> {
    let lists: String = get(row, 6)?;
    Ok(ContactView {
        chat: get(row, 0)?,
        vars: read_vars(get::<Option<String>>(row, 1)?.as_deref()),
        added_at: Timestamp(get(row, 2)?),
        changed_at: Timestamp(get(row, 3)?),
        suppressed: get(row, 4)?,
        opted_in: get(row, 5)?,
        lists: serde_json::from_str(&lists).unwrap_or_default(),
    })
}

async fn begin(
    connection: &mut SqliteConnection,
    list: String,
    file: String,
    now: Timestamp,
) -> Result<Joining, StoreError> {
    let doing = "begin to fill a list";
    sqlx::query("INSERT INTO lists (name, made_at) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING")
        .bind(list.clone())
        .bind(now.0)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let row = sqlx::query(
        "INSERT INTO joinings (list, file, began_at) SELECT id, ?2, ?3 FROM lists WHERE name = ?1 RETURNING id, list",
    )
    .bind(list)
    .bind(file)
    .bind(now.0)
    .fetch_one(connection)
    .await
    .map_err(StoreError::database(doing))?;
    Ok(Joining { id: get(&row, 0)?, list: get(&row, 1)? })
}

async fn store(
    connection: &mut SqliteConnection,
    joining: Option<Joining>,
    contacts: &[Recipient],
    now: Timestamp,
) -> Result<ContactsStored, StoreError> {
    let doing = "store contacts";
    let rows: Vec<Value> = contacts.iter().map(|r| json!([r.chat.as_str(), vars_json(&r.vars)])).collect();
    let rows = Value::Array(rows).to_string();
    let stored = sqlx::query(include_str!("sql/store_contacts.sql"))
        .bind(rows.clone())
        .bind(now.0)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let mut done = ContactsStored::default();
    let mut changed = Vec::new();
    for row in &stored {
        let is_new: bool = row.try_get(0).map_err(StoreError::database(doing))?;
        match is_new {
            true => done.added += 1,
            false => {
                done.changed += 1;
                changed.push(json!(get::<String>(row, 1)?));
            }
        }
    }
    let raise = "UPDATE lists SET revision = revision + 1
                 WHERE id IN (SELECT m.list FROM json_each(?1) AS v CROSS JOIN members AS m ON m.chat = v.value)";
    insert(connection, raise, changed, "note that a list changed").await?;
    if let Some(Joining { id, list }) = joining {
        sqlx::query(
            "INSERT INTO members (list, chat, joining) SELECT ?2, value ->> 0, ?3 FROM json_each(?1) WHERE true
             ON CONFLICT (list, chat) DO NOTHING",
        )
        .bind(rows)
        .bind(list)
        .bind(id)
        .execute(connection)
        .await
        .map_err(StoreError::database(doing))?;
    }
    Ok(done)
}

async fn end(connection: &mut SqliteConnection, joining: Joining, now: Timestamp) -> Result<u64, StoreError> {
    let doing = "end filling a list";
    sqlx::query("UPDATE joinings SET done_at = ?2 WHERE id = ?1")
        .bind(joining.id)
        .bind(now.0)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let joined: i64 = sqlx::query_scalar("SELECT count(*) FROM members WHERE list = ?1 AND joining = ?2")
        .bind(joining.list)
        .bind(joining.id)
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    if joined > 0 {
        raise(connection, joining.list).await?;
    }
    Ok(u64::try_from(joined).unwrap_or(0))
}

async fn raise(connection: &mut SqliteConnection, list: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE lists SET revision = revision + 1 WHERE id = ?1")
        .bind(list)
        .execute(connection)
        .await
        .map_err(StoreError::database("note that a list changed"))?;
    Ok(())
}

async fn leave(connection: &mut SqliteConnection, list: i64, chats: &[Chat]) -> Result<u64, StoreError> {
    let chats: Vec<&str> = chats.iter().map(Chat::as_str).collect();
    let left = sqlx::query("DELETE FROM members WHERE list = ?2 AND chat IN (SELECT value FROM json_each(?1))")
        .bind(json!(chats).to_string())
        .bind(list)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::database("take contacts out of a list"))?
        .rows_affected();
    if left > 0 {
        raise(connection, list).await?;
    }
    Ok(left)
}

/// Removes some of the memberships that an import left which never ended. Answers how many rows.
async fn remove_unjoined(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let doing = "remove what an interrupted import left";
    let left: Option<(i64, i64)> = sqlx::query_as("SELECT id, list FROM joinings WHERE done_at IS NULL LIMIT 1")
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::database(doing))?;
    let Some((joining, list)) = left else { return Ok(0) };
    let removed = sqlx::query(
        "DELETE FROM members WHERE list = ?1 AND chat IN
         (SELECT chat FROM members WHERE list = ?1 AND joining = ?2 LIMIT ?3)",
    )
    .bind(list)
    .bind(joining)
    .bind(REMOVED_AT_ONCE)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::database(doing))?
    .rows_affected();
    if removed == 0 {
        sqlx::query("DELETE FROM joinings WHERE id = ?1")
            .bind(joining)
            .execute(connection)
            .await
            .map_err(StoreError::database(doing))?;
        return Ok(1);
    }
    Ok(removed)
}
