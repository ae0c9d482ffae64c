//! Contacts from a file: every row checked before anything is stored; who joins a list joins it with all the others.
//!
//! What is known of a contact is stored in chunks. Cut off halfway, nobody has joined the list, and running the command again
//! does the rest.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::Digest;

use crate::clock::{self, Stopwatch};
use crate::domain::country::Country;
use crate::domain::recipient::Chat;
use crate::domain::template::ZONE_VAR;
use crate::domain::time::Timestamp;
use crate::gateway::Kind;
use crate::import::{FLAWS_KEPT, ImportError, add_to, has_chats};
use crate::store::{ContactsStored, ImportLock, Joining, Recipient, SqliteStore, StoreError};
use crate::table::{Flaw, Row, Table};

/// Contacts stored in one transaction: some milliseconds of the writer.
const CHUNK: usize = 500;

/// What is imported, and how.
#[derive(Clone, Debug)]
pub struct ContactImport {
    /// The file.
    pub file: PathBuf,
    /// The column that names the chat.
    pub chat_column: String,
    /// The list they join; it is made if it is not there.
    pub list: Option<String>,
    /// How their chats are written.
    pub kind: Kind,
    /// Where numbers without a country code are dialled.
    pub country: Option<Country>,
    /// Write down that they opted in. Who is suppressed stays so.
    pub opted_in: bool,
    /// Store the good rows although some are bad.
    pub allow_partial: bool,
    /// Check only.
    pub dry_run: bool,
}

/// What an import of contacts did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImportedContacts {
    /// Rows of the file.
    pub rows: u64,
    /// Contacts in them.
    pub contacts: u64,
    /// Rows of a contact that an earlier row named: laid over it.
    pub merged: u64,
    /// Rows with something wrong.
    pub bad: u64,
    /// What is wrong, in the order of the file, the first ten thousand.
    pub flaws: Vec<Flaw>,
    /// Contacts that were new, and of whom something else is known now.
    pub stored: ContactsStored,
    /// Contacts that are new in the list.
    pub joined: u64,
    /// Contacts whose opt-in is recorded now and was not before.
    pub opted_in: u64,
    /// Whether anything was stored.
    pub done: bool,
}

/// Imports contacts.
///
/// # Errors
/// [`ImportError`]; bad rows are no error but stand in the answer.
pub async fn import_contacts(
    store: &SqliteStore,
    import: ContactImport,
    now: Timestamp,
) -> Result<ImportedContacts, ImportError> {
    let _lock = if import.dry_run { None } else { Some(ImportLock::take(store.path())?) };
    let import = Arc::new(import);
    let whole = |flaw| ImportError::File { file: import.file.display().to_string(), flaw };
    let checker = Arc::clone(&import);
    let checked = tokio::task::spawn_blocking(move || check(&checker)).await.map_err(|_| StoreError::Closed)?;
    let (mut done, print) = checked.map_err(whole)?;
    if import.dry_run || done.contacts == 0 || (done.bad > 0 && !import.allow_partial) {
        return Ok(done);
    }
    let joining = match &import.list {
        Some(list) => Some(store.begin_joining(list.clone(), import.file.display().to_string(), now).await?),
        None => None,
    };
    let (stored, opted_in, again) = write(store, &import, joining).await?;
    if again != print {
        return Err(whole(Flaw::whole(
            "the file changed while it was read; nobody joined a list, run the command again",
        )));
    }
    if let Some(joining) = joining {
        done.joined = store.end_joining(joining, clock::now()).await?;
    }
    (done.stored, done.opted_in, done.done) = (stored, opted_in, true);
    Ok(done)
}

type Print = sha2::digest::Output<sha2::Sha256>;

/// Reads every row. Hands those that are good to `each`, and what is wrong with the others.
fn rows(
    import: &ContactImport,
    mut each: impl FnMut(Result<Recipient, Flaw>) -> Result<(), Flaw>,
) -> Result<Print, Flaw> {
    let table = Table::open(&import.file)?;
    has_chats(&table, &import.chat_column)?;
    let mut print = sha2::Sha256::new();
    table.rows(|row| {
        each(row.and_then(|row| {
            add_to(&mut print, &row);
            contact(import, row, &table)
        }))
    })?;
    Ok(print.finalize())
}

fn contact(import: &ContactImport, row: Row, table: &Table) -> Result<Recipient, Flaw> {
    let column = import.chat_column.as_str();
    let flaw = |column: &str, message: String| Flaw::new(row.line, table.place(column), message);
    let given = row.get(column).ok_or_else(|| flaw(column, format!("'{column}' is empty")))?;
    let chat = import.kind.parse_recipient_in(given, import.country).map_err(|e| flaw(column, e.to_string()))?;
    if let Some(Err(e)) = row.get(ZONE_VAR).map(|name| clock::zone(name.trim())) {
        return Err(flaw(ZONE_VAR, e.to_string()));
    }
    Ok(Recipient { chat, vars: row.cells.into_iter().filter(|(name, _)| name != column).collect() })
}

fn check(import: &ContactImport) -> Result<(ImportedContacts, Print), Flaw> {
    let mut done = ImportedContacts::default();
    let mut met: HashSet<Chat> = HashSet::new();
    let print = rows(import, |row| {
        done.rows += 1;
        match row {
            Ok(contact) if met.insert(contact.chat.clone()) => done.contacts += 1,
            Ok(_) => done.merged += 1,
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
    Ok((done, print))
}

async fn write(
    store: &SqliteStore,
    import: &Arc<ContactImport>,
    joining: Option<Joining>,
) -> Result<(ContactsStored, u64, Print), ImportError> {
    let (sender, mut chunks) = tokio::sync::mpsc::channel::<Vec<Recipient>>(4);
    let reader = Arc::clone(import);
    let reading = tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(CHUNK);
        let print = rows(&reader, |row| {
            chunk.extend(row.ok());
            if chunk.len() == CHUNK {
                let _ = sender.blocking_send(std::mem::take(&mut chunk));
            }
            Ok(())
        });
        let _ = sender.blocking_send(chunk);
        print
    });
    let (mut stored, mut opted_in) = (ContactsStored::default(), 0);
    while let Some(chunk) = chunks.recv().await {
        let took = Stopwatch::start();
        let contacts = laid_over(chunk);
        let chats: Vec<Chat> = contacts.iter().map(|c| c.chat.clone()).collect();
        let new = store.store_contacts(joining, contacts, clock::now()).await?;
        if import.opted_in {
            opted_in += store.record_imported_opt_ins(chats, clock::now()).await?;
        }
        stored = ContactsStored { added: stored.added + new.added, changed: stored.changed + new.changed };
        // The writer is left to others as long as it was kept.
        clock::sleep(took.elapsed()).await;
    }
    let print = reading.await.map_err(|_| StoreError::Closed)?;
    let print = print.map_err(|flaw| ImportError::File { file: import.file.display().to_string(), flaw })?;
    Ok((stored, opted_in, print))
}

/// Each contact once: what a later row says of it is laid over what an earlier one said.
fn laid_over(rows: Vec<Recipient>) -> Vec<Recipient> {
    let mut all: Vec<Recipient> = Vec::with_capacity(rows.len());
    let mut places: HashMap<Chat, usize> = HashMap::new();
    for row in rows {
        match places.get(&row.chat).and_then(|place| all.get_mut(*place)) {
            Some(before) => before.vars.extend(row.vars),
            None => {
                places.insert(row.chat.clone(), all.len());
                all.push(row);
            }
        }
    }
    all
}
