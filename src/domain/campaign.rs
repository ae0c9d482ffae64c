//! Campaigns: the messages of one occurrence with many recipients, followed as one.

use crate::domain::state::StateName;
use crate::domain::time::Timestamp;

/// What a campaign is called: its job and the nominal instant of its occurrence. Shown as `launch@2026-12-01T09:00:00.000Z`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CampaignName {
    /// Its job, or the name under which its messages were imported.
    pub job: String,
    /// The nominal instant of its occurrence.
    pub nominal: Timestamp,
}

impl std::fmt::Display for CampaignName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.job, self.nominal.to_rfc3339())
    }
}

impl CampaignName {
    /// Reads what a person calls a campaign: a whole name, or a job, whose campaign is then to be found. What follows an `@` and
    /// is no instant belongs to the job's name.
    pub fn read(text: &str) -> (&str, Option<Timestamp>) {
        let instant = |t: &str| chrono::DateTime::parse_from_rfc3339(t).ok().map(|t| Timestamp(t.timestamp_millis()));
        match text.rsplit_once('@').and_then(|(job, at)| Some((job, instant(at)?))) {
            Some((job, at)) => (job, Some(at)),
            None => (text, None),
        }
    }
}

/// How a campaign stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CampaignState {
    /// All of it waits for a person's approval.
    Draft,
    /// Its time has not come.
    Scheduled,
    /// Some of it left or is due, some is undone.
    Running,
    /// Something stops it.
    Paused,
    /// A person called it off, and nothing of it is undone.
    Cancelled,
    /// Every one of its messages rests.
    Finished,
}

impl CampaignState {
    /// The word it is shown by.
    pub fn name(self) -> &'static str {
        match self {
            CampaignState::Draft => "draft",
            CampaignState::Scheduled => "scheduled",
            CampaignState::Running => "running",
            CampaignState::Paused => "paused",
            CampaignState::Cancelled => "cancelled",
            CampaignState::Finished => "finished",
        }
    }
}

/// What decides how a campaign stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'c> {
    /// How many of its messages are in each state.
    pub counts: &'c [(StateName, u64)],
    /// Whether a person called it off.
    pub cancelled: bool,
    /// Whether a pause stops it.
    pub paused: bool,
    /// Whether it is being planned anew, since its job was changed: messages are still to come.
    pub renewed: bool,
    /// When the first of its messages is due; `None` = it has none.
    pub first_due: Option<Timestamp>,
}

impl Standing<'_> {
    /// How many messages are undone: whatever does not rest, what is in doubt or held included.
    pub fn undone(&self) -> u64 {
        self.counts.iter().filter(|(state, _)| !rests(*state)).map(|(_, n)| n).sum()
    }

    /// How the campaign stands at `now`. It is never finished while a message is undone.
    pub fn state(&self, now: Timestamp) -> CampaignState {
        let undone = self.undone();
        let held: u64 = self.counts.iter().filter(|(state, _)| *state == StateName::Held).map(|(_, n)| n).sum();
        let all: u64 = self.counts.iter().map(|(_, n)| n).sum();
        match undone {
            0 if self.cancelled => CampaignState::Cancelled,
            0 if !self.renewed => CampaignState::Finished,
            _ if self.paused => CampaignState::Paused,
            _ if held == all && all > 0 => CampaignState::Draft,
            _ if undone == all && self.first_due.is_some_and(|due| due > now) => CampaignState::Scheduled,
            _ => CampaignState::Running,
        }
    }
}

/// Whether nothing more happens to a message in this state unless a person asks for it.
fn rests(state: StateName) -> bool {
    match state {
        StateName::Sent | StateName::Failed | StateName::Cancelled | StateName::Expired | StateName::Skipped => true,
        StateName::Scheduled
        | StateName::Claimed
        | StateName::Typing
        | StateName::Sending
        | StateName::InDoubt
        | StateName::Held => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(counts: &[(StateName, u64)], cancelled: bool, paused: bool, due: i64) -> CampaignState {
        Standing { counts, cancelled, paused, renewed: false, first_due: Some(Timestamp(due)) }.state(Timestamp(1_000))
    }

    #[test]
    fn a_campaign_is_finished_only_when_all_its_messages_rest() {
        let open = [StateName::Scheduled, StateName::Typing, StateName::Sending, StateName::InDoubt, StateName::Held];
        for one in open {
            assert_eq!(state(&[(StateName::Sent, 9), (one, 1)], false, false, 0), CampaignState::Running, "{one:?}");
            assert_eq!(state(&[(StateName::Sent, 9), (one, 1)], true, false, 0), CampaignState::Running, "{one:?}");
        }
        let resting = [(StateName::Sent, 9), (StateName::Failed, 1), (StateName::Skipped, 1), (StateName::Expired, 1)];
        assert_eq!(state(&resting, false, true, 0), CampaignState::Finished);
        assert_eq!(state(&resting, true, false, 0), CampaignState::Cancelled);
    }

    #[test]
    fn a_campaign_that_waits_says_for_what() {
        let waits = [(StateName::Scheduled, 3)];
        assert_eq!(state(&waits, false, false, 2_000), CampaignState::Scheduled);
        assert_eq!(state(&waits, false, false, 500), CampaignState::Running);
        assert_eq!(state(&waits, false, true, 2_000), CampaignState::Paused);
        assert_eq!(state(&[(StateName::Held, 3)], false, false, 2_000), CampaignState::Draft);
        assert_eq!(
            state(&[(StateName::Held, 1), (StateName::Scheduled, 2)], false, false, 500),
            CampaignState::Running
        );
    }

    #[test]
    fn a_campaign_that_is_planned_anew_is_not_finished() {
        let of = |counts, paused, due| {
            let first_due = Some(Timestamp(due));
            Standing { counts, cancelled: false, paused, renewed: true, first_due }.state(Timestamp(1_000))
        };
        assert_eq!(of(&[], false, 2_000), CampaignState::Scheduled);
        assert_eq!(of(&[], true, 2_000), CampaignState::Paused);
        assert_eq!(of(&[(StateName::Sent, 9)], false, 500), CampaignState::Running);
    }

    #[test]
    fn a_name_reads_back_and_a_job_may_bear_an_at_sign() {
        let name = CampaignName { job: "a@b".to_owned(), nominal: Timestamp(1_796_115_600_123) };
        assert_eq!(CampaignName::read(&name.to_string()), ("a@b", Some(name.nominal)));
        assert_eq!(CampaignName::read("a@b"), ("a@b", None));
        assert_eq!(CampaignName::read("launch@2026-12-01T10:00:00+01:00").1, Some(Timestamp(1_796_115_600_000)));
    }
}
