//! What the database tells of recipients and lists.

use crate::domain::consent::{Consent, ConsentSource};
use crate::domain::template::Vars;
use crate::domain::time::Timestamp;

/// Somebody who is not to be written to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuppressionView {
    /// Who.
    pub chat: String,
    /// Since when.
    pub since: Timestamp,
    /// Who said so.
    pub source: ConsentSource,
    /// In which words.
    pub note: Option<String>,
}

/// What was said about writing to somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsentView {
    /// When it was told.
    pub at: Timestamp,
    /// When it was said, where that is known.
    pub said_at: Option<Timestamp>,
    /// What.
    pub verdict: Consent,
    /// By whom.
    pub source: ConsentSource,
    /// In which words.
    pub note: Option<String>,
    /// Whether it changed nothing, since another word is later or counts for more.
    pub overruled: bool,
}

/// What is known of somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContactView {
    /// Who.
    pub chat: String,
    /// Attributes by name.
    pub vars: Vars,
    /// Since when they are known.
    pub added_at: Timestamp,
    /// When something else was said of them.
    pub changed_at: Timestamp,
    /// Whether they are not to be written to.
    pub suppressed: bool,
    /// Whether it is recorded that they want to be written to.
    pub opted_in: bool,
    /// The lists they are in.
    pub lists: Vec<String>,
}

/// A list of contacts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListView {
    /// Its name.
    pub name: String,
    /// How many contacts are in it.
    pub members: u64,
    /// When it was made.
    pub made_at: Timestamp,
}
