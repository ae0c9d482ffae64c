//! The checker: what the gateway's journal says was asked and done, against what the database says. Every message must be
//! accounted for, whatever was done to the process, the disk or the clock in between.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use sha2::Digest;

use crate::process::Bench;

/// What the journal says of one text in one chat.
#[derive(Default, Clone, Debug)]
struct Asked {
    received_ms: Vec<i64>,
    done: usize,
}

/// What was found. The first four must be nought.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// Neither sent nor doubtful nor held nor ended for a reason, or said to be sent and was not.
    pub(crate) lost: Vec<String>,
    /// Sent more often than the database knows of, or asked for without an attempt.
    pub(crate) unaccounted: Vec<String>,
    /// Asked for before it was due.
    pub(crate) early: Vec<String>,
    /// Done although the database says that it was cancelled, expired or skipped before its first attempt.
    pub(crate) unwanted: Vec<String>,
    /// Done more than once, which the database knows.
    pub(crate) twice: usize,
    pub(crate) sent: usize,
    pub(crate) in_doubt: usize,
    pub(crate) held: usize,
    pub(crate) messages: usize,
}

impl Accounts {
    /// What was found, each list cut to its first few.
    pub(crate) fn told(&self) -> String {
        let some = |list: &[String]| format!("{} {:#?}", list.len(), &list[..list.len().min(3)]);
        format!(
            "{} messages: {} sent, {} in doubt, {} held, {} twice\nlost {}\nunaccounted {}\nearly {}\nunwanted {}",
            self.messages,
            self.sent,
            self.in_doubt,
            self.held,
            self.twice,
            some(&self.lost),
            some(&self.unaccounted),
            some(&self.early),
            some(&self.unwanted)
        )
    }

    pub(crate) fn assert_clean(&self) {
        let clean = self.lost.is_empty() && self.unaccounted.is_empty() && self.early.is_empty();
        assert!(clean && self.unwanted.is_empty(), "{}", self.told());
    }
}

fn key(chat: &str, text_sha256: &str) -> String {
    format!("{chat} {text_sha256}")
}

fn sha256(text: &str) -> String {
    sha2::Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

fn journal(path: &Path) -> HashMap<String, Asked> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut asked: HashMap<String, Asked> = HashMap::new();
    for line in text.lines() {
        let v: Value = serde_json::from_str(line).unwrap();
        if v["path"] != "/v2/send/text" {
            continue;
        }
        let (Some(chat), Some(text)) = (v["chat"].as_str(), v["text_sha256"].as_str()) else { continue };
        let entry = asked.entry(key(chat, text)).or_default();
        entry.received_ms.push(v["received_ms"].as_i64().unwrap());
        entry.done += usize::from(!v["done_ms"].is_null());
    }
    asked
}

/// One row of the database, as the checker reads it.
struct Row {
    id: String,
    chat: String,
    text: String,
    state: String,
    due_at: i64,
    attempts: usize,
    /// Attempts known as sent, the present one included.
    known_sent: usize,
    /// Attempts nobody knows about, or that were sent again or given up without knowing.
    unknown: usize,
}

/// Reads the rows straight from the file: the checker trusts no command.
async fn rows(database: &Path) -> Vec<Row> {
    use sqlx::{Connection, Row as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(sound, "ok", "the file is sound");
    let rows = sqlx::query(
        "SELECT hex(m.id), m.chat, json_extract(c.body, '$.text'), m.state, m.due_at, m.attempts,
                (SELECT count(*) FROM results AS r WHERE r.message = m.id AND r.outcome = 'accepted')
                  + (SELECT count(*) FROM doubts AS d WHERE d.message = m.id AND d.verdict = 'sent'),
                (SELECT count(*) FROM doubts AS d WHERE d.message = m.id
                   AND (d.verdict IS NULL OR d.verdict IN ('resent', 'dropped')))
         FROM messages AS m JOIN contents AS c ON c.id = m.content",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let count = |r: &sqlx::sqlite::SqliteRow, column| usize::try_from(r.get::<i64, _>(column)).unwrap();
    let read = rows.iter().map(|r| Row {
        id: r.get(0),
        chat: r.get(1),
        text: r.get::<Option<String>, _>(2).unwrap_or_default(),
        state: r.get(3),
        due_at: r.get(4),
        attempts: count(r, 5),
        known_sent: count(r, 6),
        unknown: count(r, 7),
    });
    let read = read.collect();
    connection.close().await.unwrap();
    read
}

/// Compares the journal with the database of a bench.
pub(crate) async fn accounts(bench: &Bench) -> Accounts {
    let mut asked = journal(&bench.path("journal"));
    let mut found = Accounts::default();
    for row in rows(&bench.path("db")).await {
        let of = asked.remove(&key(&row.chat, &sha256(&row.text))).unwrap_or_default();
        let told = || format!("{} {} {:?}: {} attempts, {of:?}", row.id, row.state, row.text, row.attempts);
        found.messages += 1;
        match row.state.as_str() {
            "sent" => {
                found.sent += 1;
                if of.done == 0 {
                    found.lost.push(told());
                }
            }
            "in_doubt" => found.in_doubt += 1,
            "held" => found.held += 1,
            "failed" | "cancelled" | "expired" | "skipped" => {
                if of.done > 0 && row.attempts == 0 {
                    found.unwanted.push(told());
                }
            }
            _ => found.lost.push(told()),
        }
        found.twice += usize::from(of.done > 1);
        if of.received_ms.len() > row.attempts || of.done > row.known_sent + row.unknown {
            found.unaccounted.push(told());
        }
        if of.received_ms.iter().any(|t| *t < row.due_at) {
            found.early.push(told());
        }
    }
    found.unaccounted.extend(asked.into_iter().map(|(key, of)| format!("{key}: of no message: {of:?}")));
    found
}
