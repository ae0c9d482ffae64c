//! Many messages from a file: every row checked before anything is stored, all or nothing, in chunks that never make a
//! due message late.
//!
//! The file is read twice: once to check every row, once to store them. What it says is hashed both times, so a file
//! that changed in between stores nothing.

mod batch;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use sha2::Digest;

use batch::Making;

use crate::clock::{self, Stopwatch};
use crate::domain::class::Class;
use crate::domain::country::Country;
use crate::domain::id::InstanceName;
use crate::domain::job::Job;
use crate::domain::recipient::Chat;
use crate::domain::render::CompiledContent;
use crate::domain::template::{Moments, Vars, ZONE_VAR};
use crate::domain::time::{Millis, Timestamp, parse_duration, parse_instant};
use crate::gateway::Kind;
use crate::intake::IdMaker;
use crate::store::{ImportEnd, ImportLock, OpenImport, Recipient, SqliteStore, Store, StoreError, StoredContent};
use crate::table::{Flaw, Row, Table};

/// Rows stored in one transaction: some milliseconds of the writer.
const CHUNK: usize = 400;

/// Flaws kept in memory; all of them are counted.
pub const FLAWS_KEPT: usize = 10_000;

/// Longest key, in bytes.
const KEY_LIMIT: usize = 255;

/// Columns with a meaning of their own; all others are variables.
const OWN_COLUMNS: [&str; 4] = ["at", "in", "key", "class"];

/// What is imported, and as what.
#[derive(Debug)]
pub struct Import {
    /// The file.
    pub file: PathBuf,
    /// The column that names the chat.
    pub chat_column: String,
    /// The job its messages belong to.
    pub job: String,
    /// Through which instance.
    pub instance: InstanceName,
    /// What kind that is.
    pub kind: Kind,
    /// What every recipient gets, in order.
    pub contents: Vec<Arc<StoredContent>>,
    /// The job whose contents they are, where it exists: it says whether they are variants, and how far apart.
    pub like: Option<Job>,
    /// When rows that say nothing are due; `None` = as soon as their typing was seen.
    pub at: Option<Timestamp>,
    /// Where numbers without a country code are dialled.
    pub country: Option<Country>,
    /// Store the good rows although some are bad.
    pub allow_partial: bool,
    /// Check only.
    pub dry_run: bool,
}

impl Import {
    /// How many messages a row makes.
    fn steps(&self) -> usize {
        self.like.as_ref().map_or(self.contents.len(), Job::steps)
    }

    /// Whether each recipient gets it through one of several accounts.
    fn goes_through_several(&self) -> bool {
        self.like.as_ref().is_some_and(|job| !job.others.is_empty())
    }

    /// Which of the contents a recipient gets alone, where they are variants.
    fn variant_of(&self, seed: u64, nominal: Timestamp, chat: &Chat) -> Option<usize> {
        self.like.as_ref().and_then(|job| job.variant_of(seed, nominal, chat))
    }
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file, as a whole.
    #[error("{file}: {flaw}{}", flaw.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
    File {
        /// As it was named.
        file: String,
        /// What is wrong.
        flaw: Flaw,
    },
}

/// What an import did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// Rows that say who gets what.
    pub rows: u64,
    /// Messages stored; in a dry run, or where bad rows forbade it, messages that would be.
    pub imported: u64,
    /// Rows that said the same as an earlier one: the same chat at the same instant.
    pub merged: u64,
    /// Rows whose key was known before.
    pub known: u64,
    /// Rows whose instant lay too far in the past: recorded as expired.
    pub expired: u64,
    /// Rows with something wrong.
    pub bad: u64,
    /// What is wrong, in the order of the file, the first ten thousand.
    pub flaws: Vec<Flaw>,
    /// Whether anything was stored.
    pub stored: bool,
    /// The occurrence the messages belong to.
    pub nominal: Option<Timestamp>,
}

/// A row that says who gets what and when.
struct Planned {
    chat: Chat,
    vars: Vars,
    key: Option<String>,
    class: Class,
    due: Option<Timestamp>,
}

/// Imports a file.
///
/// # Errors
/// [`ImportError`]; bad rows are no error but stand in the answer.
pub async fn import(store: &SqliteStore, import: Import, now: Timestamp) -> Result<Imported, ImportError> {
    let _lock = if import.dry_run { None } else { Some(ImportLock::take(store.path())?) };
    let import = Arc::new(import);
    let checker = Arc::clone(&import);
    let checked = tokio::task::spawn_blocking(move || check(&checker, now)).await.map_err(|_| StoreError::Closed)?;
    let (mut done, print) = checked.map_err(|flaw| whole(&import.file, flaw))?;
    let refused = done.bad > 0 && !import.allow_partial;
    if import.dry_run || refused || done.imported == 0 {
        return Ok(done);
    }
    let open = store.begin_import(import.job.clone(), import.file.display().to_string(), now).await?;
    match write(store, &import, open, now).await {
        Ok((new, again)) if again == print => {
            done.known = done.imported.saturating_sub(new);
            done.imported = new;
            let end = ImportEnd { imported: new, merged: done.merged, bad: done.bad };
            store.publish_import(open, end, clock::now()).await?;
            (done.stored, done.nominal) = (true, Some(now));
            Ok(done)
        }
        Ok(_) => {
            store.abandon_imports().await?;
            let flaw = Flaw::whole("the file changed while it was read; nothing was imported, run the command again");
            Err(whole(&import.file, flaw))
        }
        Err(e) => {
            store.abandon_imports().await?;
            Err(e)
        }
    }
}

fn whole(file: &Path, flaw: Flaw) -> ImportError {
    ImportError::File { file: file.display().to_string(), flaw }
}

/// Goes through the rows of a file in order, the same way each time.
struct Walk<'i> {
    import: &'i Import,
    zone: TimeZone,
    zones: HashMap<String, Option<TimeZone>>,
    met: Met,
    keys: HashMap<u128, u64>,
    print: sha2::Sha256,
    now: Timestamp,
}

/// The messages met so far, in as little memory as a file of millions asks for: sixteen bytes each.
#[derive(Default)]
struct Met {
    /// Half a hash of the chat → half a hash of the chat and its instant. Two that differ are not taken for the same:
    /// together the halves are 128 bits.
    first: HashMap<u64, u64>,
    /// The further messages of a chat.
    again: HashMap<u64, Vec<u64>>,
}

impl Met {
    /// How many messages the chat had before this one, or `None` when this very one was met.
    fn times(&self, chat: &Chat, due: Option<Timestamp>) -> Option<i32> {
        let (of_chat, of_both) = Met::hashes(chat, due);
        let Some(first) = self.first.get(&of_chat) else { return Some(0) };
        let again = self.again.get(&of_chat).map_or(&[][..], Vec::as_slice);
        (*first != of_both && !again.contains(&of_both)).then(|| i32::try_from(again.len() + 1).unwrap_or(i32::MAX))
    }

    /// Meets a message that was not met before.
    fn meet(&mut self, chat: &Chat, due: Option<Timestamp>) {
        let (of_chat, of_both) = Met::hashes(chat, due);
        match self.first.entry(of_chat) {
            Entry::Vacant(empty) => {
                empty.insert(of_both);
            }
            Entry::Occupied(_) => self.again.entry(of_chat).or_default().push(of_both),
        }
    }

    fn hashes(chat: &Chat, due: Option<Timestamp>) -> (u64, u64) {
        let moment = due.map_or(i64::MIN, |t| t.0);
        let of_chat = halves(hash(&[chat.as_str().as_bytes()])).0;
        (of_chat, halves(hash(&[chat.as_str().as_bytes(), &moment.to_le_bytes()])).1)
    }
}

fn halves(hash: u128) -> (u64, u64) {
    let bytes = hash.to_le_bytes();
    let half = |from: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[from..from + 8]);
        u64::from_le_bytes(half)
    };
    (half(0), half(8))
}

/// What a row comes to.
enum Verdict {
    /// A message, and which one of its chat it is.
    Message(Box<Planned>, i32),
    /// It says the same as an earlier row.
    Merged,
}

impl<'i> Walk<'i> {
    fn new(import: &'i Import, now: Timestamp) -> Walk<'i> {
        let zone = import.contents.first().and_then(|c| clock::zone(&c.zone).ok()).unwrap_or(TimeZone::UTC);
        Walk {
            import,
            zone,
            zones: HashMap::new(),
            met: Met::default(),
            keys: HashMap::new(),
            print: sha2::Sha256::new(),
            now,
        }
    }

    /// Reads a row. `place` finds a column's number for errors.
    fn take(&mut self, row: &Row, place: &impl Fn(&str) -> usize) -> Result<Verdict, Flaw> {
        add_to(&mut self.print, row);
        let flaw = |column: &str, message: String| Flaw::new(row.line, place(column), message);
        let chat_column = self.import.chat_column.as_str();
        let given = row.get(chat_column).ok_or_else(|| flaw(chat_column, format!("'{chat_column}' is empty")))?;
        let country = self.import.country;
        let chat = self.import.kind.parse_recipient_in(given, country).map_err(|e| flaw(chat_column, e.to_string()))?;
        let zone = match row.get(ZONE_VAR).map(str::trim) {
            None => self.zone.clone(),
            Some(name) => self.zone_named(name).ok_or_else(|| {
                flaw(ZONE_VAR, format!("'{name}' is no time zone; write a name such as Europe/Berlin"))
            })?,
        };
        let due = self.due(row, &zone, &flaw)?;
        let class = match row.get("class").map(str::trim) {
            None => self.import.contents.first().map_or(Class::Normal, |c| c.manner.class),
            Some(word) => Class::from_name(word).ok_or_else(|| {
                flaw("class", format!("'{word}' is no class; expected {}", Class::ALL.map(Class::name).join(", ")))
            })?,
        };
        let key = row.get("key").map(|k| k.trim().to_owned());
        if key.as_ref().is_some_and(|k| k.len() > KEY_LIMIT) {
            return Err(flaw("key", format!("the key is longer than {KEY_LIMIT} bytes")));
        }
        let Some(times) = self.met.times(&chat, due) else { return Ok(Verdict::Merged) };
        if let Some((key, first)) = key.as_ref().and_then(|k| Some((k, self.keys.get(&hash(&[k.as_bytes()]))?))) {
            let message = format!("the key '{key}' stands twice: on line {first} and on line {}", row.line);
            return Err(flaw("key", message));
        }
        let step = -times;
        if step < 0 && self.import.steps() > 1 {
            return Err(flaw(chat_column, format!("{chat} stands twice, and this job sends a sequence")));
        }
        let own = |name: &str| name == chat_column || OWN_COLUMNS.contains(&name);
        let vars = row.cells.iter().filter(|(name, _)| !own(name)).cloned().collect();
        Ok(Verdict::Message(Box::new(Planned { chat, vars, key, class, due }), step))
    }

    /// Keeps a message that is good, so that a later row that says the same is found. One with something wrong is not kept.
    fn keep(&mut self, message: &Planned, line: u64) {
        self.met.meet(&message.chat, message.due);
        if let Some(key) = &message.key {
            self.keys.insert(hash(&[key.as_bytes()]), line);
        }
    }

    fn zone_named(&mut self, name: &str) -> Option<TimeZone> {
        if let Some(known) = self.zones.get(name) {
            return known.clone();
        }
        let zone = clock::zone(name).ok();
        self.zones.insert(name.to_owned(), zone.clone());
        zone
    }

    fn due(&self, row: &Row, zone: &TimeZone, flaw: &impl Fn(&str, String) -> Flaw) -> Result<Option<Timestamp>, Flaw> {
        match (row.get("at"), row.get("in")) {
            (Some(_), Some(_)) => Err(flaw("in", "the row has both 'at' and 'in'; keep one".to_owned())),
            (Some(at), None) => match parse_instant(at, zone, false) {
                Some(t) => Ok(Some(t)),
                None => Err(flaw("at", format!("'{}' is no date and time such as 2026-12-01T10:00", at.trim()))),
            },
            (None, Some(after)) => match parse_duration(after) {
                Ok(length) => Ok(Some(self.now + length)),
                Err(e) => Err(flaw("in", e.to_string())),
            },
            (None, None) => Ok(self.import.at),
        }
    }
}

/// The first sixteen bytes of a SHA-256: two that differ are never taken for the same.
fn hash(parts: &[&[u8]]) -> u128 {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(0).to_le_bytes());
        hash.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    u128::from_le_bytes(first)
}

/// Whether a row's instant lies so far back that it is recorded as expired, as a job's own would be.
fn is_too_late(import: &Import, due: Option<Timestamp>, now: Timestamp) -> bool {
    let limit = import.contents.first().map_or(Millis::ZERO, |c| c.max_lateness);
    due.is_some_and(|t| now.since(t) > limit)
}

/// That a file has the column that names the chat.
pub(crate) fn has_chats(table: &Table, column: &str) -> Result<(), Flaw> {
    let Some(known) = table.without(column) else { return Ok(()) };
    let hint = Some(format!("--chat names it; the columns are {}", known.join(", ")));
    Err(Flaw { hint, ..Flaw::new(1, 0, format!("the file has no column '{column}'")) })
}

/// Lays a row to the hash by which a file that changed between two readings is known.
pub(crate) fn add_to(print: &mut sha2::Sha256, row: &Row) {
    for part in row.cells.iter().flat_map(|(name, value)| [name, value]) {
        print.update(part.as_bytes());
        print.update([0]);
    }
}

/// Checks every row and renders every content for it. Answers what importing would do, and the hash of what was read.
fn check(import: &Import, now: Timestamp) -> Result<(Imported, Vec<u8>), Flaw> {
    let table = Table::open(&import.file)?;
    has_chats(&table, &import.chat_column)?;
    let place = |name: &str| table.place(name);
    let mut compiled: Vec<CompiledContent> = Vec::new();
    for content in &import.contents {
        compiled.push(content.content.compile().map_err(|e| Flaw::whole(e.to_string()))?);
    }
    let mut walk = Walk::new(import, now);
    let mut done = Imported::default();
    let mut moments = Moments::trial(now, walk.zone.clone());
    table.rows(|row| {
        done.rows += 1;
        let verdict = row.and_then(|row| {
            let verdict = walk.take(&row, &place)?;
            if let Verdict::Message(m, _) = &verdict {
                moments.due = m.due.unwrap_or(now);
                try_for(import, &compiled, m, &moments).map_err(|e| Flaw::new(row.line, 0, e))?;
                walk.keep(m, row.line);
            }
            Ok(verdict)
        });
        match verdict {
            Ok(Verdict::Message(m, _)) => {
                done.imported += u64::try_from(import.steps()).unwrap_or(1);
                done.expired += u64::from(is_too_late(import, m.due, now));
            }
            Ok(Verdict::Merged) => done.merged += 1,
            Err(flaw) => {
                done.bad += 1;
                if done.flaws.len() < FLAWS_KEPT {
                    done.flaws.push(flaw);
                }
            }
        }
        Ok(())
    })?;
    if done.rows == 0 {
        return Err(Flaw::whole("the file holds no rows"));
    }
    Ok((done, walk.print.finalize().to_vec()))
}

fn try_for(import: &Import, compiled: &[CompiledContent], m: &Planned, moments: &Moments) -> Result<(), String> {
    for content in compiled {
        let rendered = content.render(&m.vars, moments).map_err(|e| format!("the content for {}: {e}", m.chat))?;
        import.kind.check_content(&rendered).map_err(|e| format!("the content for {}: {e}", m.chat))?;
    }
    Ok(())
}

/// Stores every good row, hidden. Answers how many messages are new, and the hash of what was read.
async fn write(
    store: &SqliteStore,
    import: &Arc<Import>,
    open: OpenImport,
    now: Timestamp,
) -> Result<(u64, Vec<u8>), ImportError> {
    let (sender, mut chunks) = tokio::sync::mpsc::channel::<Vec<(Planned, i32)>>(4);
    let reader = Arc::clone(import);
    let reading = tokio::task::spawn_blocking(move || read_again(&reader, now, &sender));
    let bodies: Vec<String> =
        import.contents.iter().map(|c| serde_json::to_string(&c.content).unwrap_or_default()).collect();
    let ids = IdMaker::default();
    let (mut new, mut place) = (0, 0_i64);
    while let Some(chunk) = chunks.recv().await {
        let took = Stopwatch::start();
        let mut recipients = Vec::new();
        let places: Vec<Option<i64>> = chunk
            .iter()
            .map(|(m, _)| {
                (!m.vars.is_empty()).then(|| {
                    place += 1;
                    recipients.push((place, Recipient { chat: m.chat.clone(), vars: m.vars.clone() }));
                    place
                })
            })
            .collect();
        let senders = match import.goes_through_several() {
            true => store.senders(chunk.iter().map(|(m, _)| m.chat.clone()).collect()).await?,
            false => HashMap::new(),
        };
        let making =
            Making { import, seed: store.seed(), audience: open.audience, ids: &ids, bodies: &bodies, senders, now };
        let batches = making.batches((&chunk, &places));
        new += store.import_chunk(open, recipients, batches).await?;
        // The writer is left to others as long as it was kept.
        clock::sleep(took.elapsed()).await;
    }
    let print = reading.await.map_err(|_| StoreError::Closed)?.map_err(|flaw| whole(&import.file, flaw))?;
    Ok((new, print))
}

fn read_again(
    import: &Import,
    now: Timestamp,
    sender: &tokio::sync::mpsc::Sender<Vec<(Planned, i32)>>,
) -> Result<Vec<u8>, Flaw> {
    let table = Table::open(&import.file)?;
    let compiled: Vec<CompiledContent> = import.contents.iter().filter_map(|c| c.content.compile().ok()).collect();
    let mut walk = Walk::new(import, now);
    let mut moments = Moments::trial(now, walk.zone.clone());
    let mut chunk = Vec::with_capacity(CHUNK);
    table.rows(|row| {
        // What is wrong was told by the check.
        let Ok(row) = row else { return Ok(()) };
        let Ok(Verdict::Message(m, step)) = walk.take(&row, &|_| 0) else { return Ok(()) };
        moments.due = m.due.unwrap_or(now);
        if import.allow_partial && try_for(import, &compiled, &m, &moments).is_err() {
            return Ok(());
        }
        walk.keep(&m, row.line);
        chunk.push((*m, step));
        if chunk.len() == CHUNK {
            let _ = sender.blocking_send(std::mem::take(&mut chunk));
        }
        Ok(())
    })?;
    let _ = sender.blocking_send(chunk);
    Ok(walk.print.finalize().to_vec())
}
