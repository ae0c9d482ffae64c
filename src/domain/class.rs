//! How pressing a message is.

use serde::{Deserialize, Serialize};

/// The class of a message. Urgent goes before reminder, both go before the rest; the rest share a lane by weight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Before everything else.
    Urgent,
    /// Before everything but urgent.
    Reminder,
    /// What a job is unless it says otherwise.
    #[default]
    Normal,
    /// A broadcast somebody waits for.
    Campaign,
    /// A broadcast nobody waits for.
    Bulk,
}

impl Class {
    /// All classes, the most pressing first.
    pub const ALL: [Class; 5] = [Class::Urgent, Class::Reminder, Class::Normal, Class::Campaign, Class::Bulk];

    /// The word used in files, commands and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Class::Urgent => "urgent",
            Class::Reminder => "reminder",
            Class::Normal => "normal",
            Class::Campaign => "campaign",
            Class::Bulk => "bulk",
        }
    }

    /// The class of a word.
    pub fn from_name(name: &str) -> Option<Class> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    /// Whether it goes before all classes behind it, however long they wait. Those that are not strict take turns.
    pub fn is_strict(self) -> bool {
        matches!(self, Class::Urgent | Class::Reminder)
    }

    /// Its part of a lane's sends where more than one class waits: of ten, normal ones have six, campaigns three and
    /// bulk one. Of no meaning for a strict class.
    pub fn weight(self) -> u32 {
        match self {
            Class::Urgent | Class::Reminder | Class::Normal => 6,
            Class::Campaign => 3,
            Class::Bulk => 1,
        }
    }

    /// The number stored in the database.
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The class of a stored number.
    pub fn from_code(code: i64) -> Option<Class> {
        usize::try_from(code).ok().and_then(|i| Self::ALL.get(i).copied())
    }
}
