//! Recipients that stand in the database: the members of a list.

use std::path::PathBuf;

use tokio::runtime::Handle;

use crate::config::read::suggest;
use crate::store::{Opening, Recipient, SqliteStore, StoreError};

/// Members read at a time.
const PAGE: u32 = 1_000;

/// A list of contacts in a database.
#[derive(Clone, Debug)]
pub struct ListSource {
    /// The database.
    pub database: PathBuf,
    /// The list.
    pub name: String,
}

/// Why a list cannot be read: what is wrong, and what to do.
pub(super) struct ListError {
    pub message: String,
    pub hint: Option<String>,
}

impl From<StoreError> for ListError {
    fn from(e: StoreError) -> Self {
        ListError { message: format!("the lists of the database cannot be read: {e}"), hint: None }
    }
}

impl ListSource {
    /// Hands every member to `each`, by chat. Needs the runtime of the program around it.
    pub(super) fn members(&self, each: &mut dyn FnMut(Recipient)) -> Result<(), ListError> {
        // A file is read without waiting for anything else, by threads that may be kept. Whoever takes the members may wait in
        // turn, so they are handed over outside of what the runtime drives.
        tokio::task::block_in_place(|| {
            let runtime = Handle::current();
            let store = match runtime.block_on(SqliteStore::open(&self.database, Opening::Reading)) {
                Err(StoreError::Absent { .. }) => return Err(self.unknown("there is no database yet")),
                opened => opened?,
            };
            let read = self.read(&store, &runtime, each);
            runtime.block_on(store.close());
            read
        })
    }

    fn read(&self, store: &SqliteStore, runtime: &Handle, each: &mut dyn FnMut(Recipient)) -> Result<(), ListError> {
        let Some(list) = runtime.block_on(store.find_list(&self.name))? else {
            let known = runtime.block_on(store.lists())?;
            let names: Vec<&str> = known.iter().map(|l| l.name.as_str()).collect();
            return Err(self.unknown(&if names.is_empty() { String::new() } else { suggest(&self.name, &names) }));
        };
        let mut after = String::new();
        loop {
            let page = runtime.block_on(store.members(list, &after, PAGE))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.chat.as_str().to_owned();
            page.into_iter().for_each(&mut *each);
        }
    }

    fn unknown(&self, why: &str) -> ListError {
        let make = format!("onthedot contact import FILE --list {}", self.name);
        let hint = if why.is_empty() { make } else { format!("{why}; a list is made by: {make}") };
        ListError { message: format!("there is no list '{}'", self.name), hint: Some(hint) }
    }
}
