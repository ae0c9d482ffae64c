//! One connection that commits whatever has come together since its last commit.

use bytes::Bytes;
use common::{given, now_us};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Mark = 0,
    Record = 1,
}

struct Write {
    id: i64,
    kind: Kind,
    status: u16,
    body: Bytes,
    at: i64,
    done: oneshot::Sender<()>,
}

pub struct Writer {
    queue: mpsc::Sender<Write>,
    /// Nothing is written: what comes is done.
    idle: bool,
}

/// Most writes of one commit.
const AT_ONCE: usize = 4_096;

/// Rows of one statement, the largest that fits first.
const SIZES: [usize; 3] = [64, 8, 1];

impl Writer {
    pub fn start(db: SqliteConnection) -> (Writer, JoinHandle<SqliteConnection>) {
        let (sender, receiver) = mpsc::channel(8_192);
        let idle = given("WRITER", String::new()) == "none";
        (Writer { queue: sender, idle }, tokio::spawn(write_all(db, receiver)))
    }

    /// Comes back when it is on the disk.
    pub async fn write(&self, id: i64, kind: Kind, status: u16, body: Bytes) {
        if self.idle {
            return;
        }
        let (done, told) = oneshot::channel();
        let write = Write { id, kind, status, body, at: now_us() as i64, done };
        if self.queue.send(write).await.is_ok() {
            let _ = told.await;
        }
    }
}

async fn write_all(mut db: SqliteConnection, mut receiver: mpsc::Receiver<Write>) -> SqliteConnection {
    let mut writes = Vec::with_capacity(AT_ONCE);
    while receiver.recv_many(&mut writes, AT_ONCE).await > 0 {
        commit(&mut db, &writes).await.expect("the disk takes it");
        for write in writes.drain(..) {
            let _ = write.done.send(());
        }
    }
    db
}

async fn commit(db: &mut SqliteConnection, writes: &[Write]) -> anyhow::Result<()> {
    let mut transaction = db.begin().await?;
    for kind in [Kind::Mark, Kind::Record] {
        let all: Vec<&Write> = writes.iter().filter(|w| w.kind == kind).collect();
        let mut rest = all.as_slice();
        while let Some(size) = SIZES.into_iter().find(|size| *size <= rest.len()) {
            let (now, later) = rest.split_at(size);
            rest = later;
            let set = if kind == Kind::Mark { "state = 1, marked_at = v.at" } else { "state = 2, sent_at = v.at" };
            let values = vec!["(?,?)"; size].join(",");
            let mut bound = SqliteArguments::default();
            for w in now {
                add(&mut bound, w.id)?;
                add(&mut bound, w.at)?;
            }
            let text =
                format!("WITH v(id, at) AS (VALUES {values}) UPDATE message SET {set} FROM v WHERE message.id = v.id");
            sqlx::query_with(sqlx::AssertSqlSafe(text), bound).execute(&mut *transaction).await?;

            let values = vec!["(?,?,?,?,?)"; size].join(",");
            let mut bound = SqliteArguments::default();
            for w in now {
                add(&mut bound, w.id)?;
                add(&mut bound, kind as i64)?;
                add(&mut bound, i64::from(w.status))?;
                add(&mut bound, w.at)?;
                add(&mut bound, String::from_utf8_lossy(&w.body).into_owned())?;
            }
            let text = format!("INSERT INTO response(message, kind, status, at, body) VALUES {values}");
            sqlx::query_with(sqlx::AssertSqlSafe(text), bound).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

fn add<'a, T>(bound: &mut SqliteArguments, value: T) -> anyhow::Result<()>
where
    T: sqlx::Encode<'a, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + 'a,
{
    bound.add(value).map_err(|e| anyhow::anyhow!("binding a value: {e}"))
}
