//! How pressing a message is.

use serde::{Deserialize, Serialize};

/// The class of a message. Urgent goes before reminder, both go before the rest; the rest go in due order.
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

    /// Place in a lane: lower goes first. Classes of the same rank share it in due order.
    pub fn rank(self) -> u8 {
        match self {
            Class::Urgent => 0,
            Class::Reminder => 1,
            Class::Normal | Class::Campaign | Class::Bulk => 2,
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
