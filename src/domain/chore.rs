//! What the daemon does for itself, by cron pattern. No message depends on a chore: one that comes late or not at all
//! costs tidiness, never a send.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::cron::Cron;
use crate::domain::time::{Millis, Timestamp};

/// The chores by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChoreName {
    /// Forgets early acks without a message, and refreshes the database's statistics.
    Tidy,
    /// Folds the write-ahead log into the database file and keeps it short.
    Checkpoint,
    /// Rolls up the latest days in figures.
    Report,
    /// Forgets what was settled long ago.
    Prune,
    /// Writes a copy of the database.
    Backup,
}

impl ChoreName {
    /// All of them, with their names and what each does in one sentence.
    pub const ALL: [(ChoreName, &'static str, &'static str); 5] = [
        (ChoreName::Tidy, "tidy", "Forgets early acks whose message never became known, and refreshes statistics."),
        (ChoreName::Checkpoint, "checkpoint", "Folds the write-ahead log into the database file and keeps it short."),
        (ChoreName::Report, "report", "Rolls up the latest days: messages by state and ack, and lateness."),
        (ChoreName::Prune, "prune", "Forgets messages settled long ago, with their attempts and acks."),
        (ChoreName::Backup, "backup", "Writes a copy of the database into a folder and keeps the newest ones."),
    ];

    /// Its name in the jobs file, the database and JSON.
    pub fn name(self) -> &'static str {
        match self {
            ChoreName::Tidy => "tidy",
            ChoreName::Checkpoint => "checkpoint",
            ChoreName::Report => "report",
            ChoreName::Prune => "prune",
            ChoreName::Backup => "backup",
        }
    }

    /// The chore of a name.
    pub fn parse(name: &str) -> Option<ChoreName> {
        ChoreName::ALL.into_iter().find(|(_, n, _)| *n == name).map(|(c, ..)| c)
    }
}

/// What a chore does, with all it needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// See [`ChoreName::Tidy`].
    Tidy,
    /// See [`ChoreName::Checkpoint`].
    Checkpoint,
    /// See [`ChoreName::Report`].
    Report,
    /// See [`ChoreName::Prune`].
    Prune {
        /// How long settled messages are kept after they were due.
        keep: Millis,
        /// How long those that failed or came too late are kept.
        keep_failed: Millis,
    },
    /// See [`ChoreName::Backup`].
    Backup {
        /// The folder, as an absolute path.
        to: String,
        /// How many copies are kept, at least one.
        keep: u32,
    },
}

impl Task {
    /// Whose task it is.
    pub fn name(&self) -> ChoreName {
        match self {
            Task::Tidy => ChoreName::Tidy,
            Task::Checkpoint => ChoreName::Checkpoint,
            Task::Report => ChoreName::Report,
            Task::Prune { .. } => ChoreName::Prune,
            Task::Backup { .. } => ChoreName::Backup,
        }
    }
}

/// A chore as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chore {
    /// What it does.
    pub task: Task,
    /// When: a cron pattern of five fields that [`Cron::parse`] accepted.
    pub cron: String,
}

/// How long settled messages are kept where `prune` does not say.
pub const KEPT: Millis = Millis(90 * 86_400_000);

/// How long failed messages are kept where `prune` does not say.
pub const FAILED_KEPT: Millis = Millis(180 * 86_400_000);

/// How many copies are kept where `backup` does not say.
pub const BACKUPS_KEPT: u32 = 7;

impl Chore {
    /// The chores that are done unless the file switches them off.
    pub fn defaults() -> Vec<Chore> {
        let chore = |task: Task| Chore { cron: default_cron(task.name()).to_owned(), task };
        vec![chore(Task::Tidy), chore(Task::Checkpoint), chore(Task::Report)]
    }
}

/// When a chore is done that does not say.
pub fn default_cron(name: ChoreName) -> &'static str {
    match name {
        ChoreName::Tidy => "17 * * * *",
        ChoreName::Checkpoint => "*/30 * * * *",
        ChoreName::Report => "5 0 * * *",
        ChoreName::Prune => "23 * * * *",
        ChoreName::Backup => "0 3 * * *",
    }
}

/// When a chore runs next, judged at `now`: at the instant that was noted, past ones included (what nobody could do in
/// time is done once), but never later than its pattern says from now on, as a clock that was set back would have it.
/// `None` where the pattern cannot be read or has no instant left.
pub fn next_run(cron: &str, zone: &TimeZone, noted: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let coming = Cron::parse(cron).ok()?.next_after(now, zone)?;
    Some(noted.map_or(coming, |t| t.min(coming)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_chore_missed_while_nobody_ran_is_due_at_once_and_a_clock_set_back_does_not_silence_it() {
        let next = |noted: Option<i64>, now: i64| {
            next_run("0 * * * *", &TimeZone::UTC, noted.map(Timestamp), Timestamp(now)).map(|t| t.0)
        };
        assert_eq!(next(None, 10), Some(HOUR), "a new one waits for its instant");
        assert_eq!(next(Some(HOUR), 5 * HOUR), Some(HOUR), "a missed one is due");
        assert_eq!(next(Some(900 * HOUR), 5 * HOUR + 1), Some(6 * HOUR), "the clock was set back");
        assert_eq!(next_run("nonsense", &TimeZone::UTC, None, Timestamp(0)), None);
    }

    #[test]
    fn every_chore_is_found_by_its_name_and_its_default_pattern_is_one() {
        for (name, text, _) in ChoreName::ALL {
            assert_eq!((name.name(), ChoreName::parse(text)), (text, Some(name)));
            assert!(Cron::parse(default_cron(name)).is_ok());
        }
    }
}
