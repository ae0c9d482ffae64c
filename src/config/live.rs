//! Whoever joins a list while a job that follows it runs, read as those who were there from the beginning.

use crate::config::whereabouts::Whereabouts;
use crate::domain::job::Job;
use crate::domain::selection::{Selection, SelectionError};
use crate::domain::time::Timestamp;
use crate::store::Recipient;

/// Reads joiners of one job.
#[derive(Debug)]
pub struct Joiners {
    selection: Option<Selection>,
    whereabouts: Option<Whereabouts>,
}

impl Joiners {
    /// For a job that follows a list; `None` for any other, and where its condition is of another version.
    pub fn of(job: &Job, now: Timestamp) -> Option<Joiners> {
        let live = job.live.as_ref()?;
        let selection = match &live.selection {
            Some(text) => Some(Selection::read(text).ok()?),
            None => None,
        };
        let whereabouts = live.guesses_zones.map(|guesses| Whereabouts::new(&job.zone, guesses, now));
        Some(Joiners { selection, whereabouts })
    }

    /// A recipient as the job writes to it, if the job means it.
    ///
    /// # Errors
    /// [`SelectionError`] where that cannot be said, as of a word that is compared with a number.
    pub fn read(&mut self, mut recipient: Recipient) -> Result<Option<Recipient>, SelectionError> {
        if let Some(selection) = &self.selection
            && !selection.takes(&recipient.vars)?
        {
            return Ok(None);
        }
        if let Some(w) = &mut self.whereabouts {
            w.fill_in(&recipient.chat, &mut recipient.vars);
        }
        Ok(Some(recipient))
    }
}
