//! What follows a message that was sent: asking again until it is answered, and telling somebody else.

use serde::{Deserialize, Serialize};

use crate::domain::ack::Ack;
use crate::domain::content::Content;
use crate::domain::id::InstanceName;
use crate::domain::recipient::Chat;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::Window;

/// What a message is followed for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// It reached a device.
    Device,
    /// It was read.
    Read,
    /// The recipient wrote back.
    Reply,
}

impl Until {
    /// All words of the jobs file.
    pub const WORDS: [&str; 3] = ["device", "read", "reply"];

    /// The word used in the jobs file and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Until::Device => "device",
            Until::Read => "read",
            Until::Reply => "reply",
        }
    }

    /// The goal of a word.
    pub fn from_name(name: &str) -> Option<Until> {
        [Until::Device, Until::Read, Until::Reply].into_iter().find(|u| u.name() == name)
    }
}

/// Sending a message again until it is answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Nag {
    /// How long after the one before.
    pub every: Millis,
    /// How often at most, besides the first.
    pub max: u32,
    /// What ends it.
    pub until: Until,
    /// When it may be sent, instead of the job's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// Telling somebody else, or through another account, when a message is not answered in time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Escalation {
    /// How long after the first message left.
    pub after: Millis,
    /// What makes it needless.
    pub until: Until,
    /// To whom; absent = the same recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Chat>,
    /// Through which account; absent = the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceName>,
    /// What it says; absent = the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// What ends where those it was told to read it, or answer.
    #[serde(default, skip_serializing_if = "Ends::is_own")]
    pub ends: Ends,
}

/// What ends where those who were told of a message read that, or answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// What else is escalated to them.
    #[default]
    Own,
    /// All that follows the message: it is as if its recipient had read it, or answered.
    All,
}

impl Ends {
    /// All words of the jobs file.
    pub const WORDS: [&str; 2] = ["own", "all"];

    /// The word of the jobs file.
    pub fn from_name(name: &str) -> Option<Ends> {
        match name {
            "own" => Some(Ends::Own),
            "all" => Some(Ends::All),
            _ => None,
        }
    }

    fn is_own(&self) -> bool {
        *self == Ends::Own
    }
}

/// What follows the messages of a job.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FollowUp {
    /// Asking again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nag: Option<Nag>,
    /// Telling others, the earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate: Vec<Escalation>,
}

/// Steps of `escalate` at most.
pub const ESCALATIONS_LIMIT: usize = 16;

/// Which follower of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The nag of this number, from 1.
    Nag(u32),
    /// The escalation at this place of the list, from 0.
    Escalation(usize),
}

/// A message that follows, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Follower {
    /// Which.
    pub kind: Kind,
    /// Where it is.
    pub state: StateName,
    /// Whether a person took it back.
    pub taken_back: bool,
    /// When it is due.
    pub due_at: Timestamp,
    /// When it left.
    pub sent_at: Option<Timestamp>,
    /// What whom it went to said to it.
    pub answer: Answer,
}

/// What somebody said to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// The highest ack.
    pub ack: Option<Ack>,
    /// Whether they wrote since it left.
    pub replied: bool,
}

impl Answer {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Answer) -> Answer {
        let ack = other.ack.map_or(self.ack, |ack| Some(Ack::raise(self.ack, ack)));
        Answer { ack, replied: self.replied || other.replied }
    }

    fn reaches(self, until: Until) -> bool {
        match until {
            Until::Device => matches!(self.ack, Some(Ack::Device | Ack::Read | Ack::Played)),
            Until::Read => matches!(self.ack, Some(Ack::Read | Ack::Played)),
            Until::Reply => self.replied,
        }
    }
}

impl Follower {
    fn rests(&self) -> bool {
        use StateName::{Cancelled, Expired, Failed, Sent, Skipped};
        matches!(self.state, Sent | Failed | Expired | Skipped | Cancelled)
    }

    fn at(&self) -> Timestamp {
        self.sent_at.unwrap_or(self.due_at)
    }
}

/// A message with everything that decides about what follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Family {
    /// Where the message is; it rests, or is in doubt.
    pub state: StateName,
    /// When it left, or was due where it did not.
    pub since: Timestamp,
    /// What its recipient said to it, and to what followed it to them.
    pub answer: Answer,
    /// From when on asking again is of no use: the event that it reminds of has begun.
    pub useless_from: Option<Timestamp>,
    /// Its followers so far, without those that were replaced.
    pub followers: Vec<Follower>,
}

/// How following a message stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Followed {
    /// It goes on.
    Waiting,
    /// What it was followed for came.
    Reached,
    /// Everything was done and nothing came: whether it was read is unknown, since receipts may be switched off.
    Unknown,
}

impl Followed {
    /// Every standing with its sentence, for the reference.
    pub const ALL: [(Followed, &'static str, &'static str); 3] = [
        (Followed::Waiting, "waiting", "It is being followed: the next look is `next_at`."),
        (Followed::Reached, "reached", "What it was followed for came; what still waited was cancelled."),
        (
            Followed::Unknown,
            "unknown",
            "Nothing more is done, and what it was followed for is not known to have come. Receipts may be switched off, so this is no failure; a late one still counts.",
        ),
    ];

    /// The word in the database and in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(f, ..)| *f == self).map_or("", |(_, name, _)| name)
    }

    /// The standing of a word.
    pub fn from_name(name: &str) -> Option<Followed> {
        Self::ALL.iter().find(|(_, n, _)| *n == name).map(|(f, ..)| *f)
    }
}

/// What is to be done about a message that is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Followers to create, with the instants at which they are due.
    pub create: Vec<(Kind, Timestamp)>,
    /// Kinds of followers that still wait and are needless now.
    pub take_back: Vec<Kind>,
    /// When to look again, where nothing is told before.
    pub look_at: Option<Timestamp>,
    /// How it stands after that.
    pub followed: Followed,
}

/// A follower is created this long before its typing begins: a row that waits for days would be cancelled nearly
/// always.
pub const CREATED_AHEAD: Millis = Millis::seconds(10);

/// How often what is in doubt is looked at: evidence is not looked for more often.
const LOOK_AT_DOUBTS: Millis = Millis::seconds(10);

/// How often a follower that should have left is looked at.
const LOOK_AGAIN: Millis = Millis::seconds(1);

impl FollowUp {
    /// Decides at `now` about a message. `lead` is how long typing leads a follower.
    pub fn decide(&self, family: &Family, lead: Millis, now: Timestamp) -> Decision {
        let mut d = Decision { create: Vec::new(), take_back: Vec::new(), look_at: None, followed: Followed::Reached };
        let mut open = false;
        let mut reached = true;
        if let Some(nag) = &self.nag {
            let (goes_on, answered) = nag.decide(family, self.reached(family, nag.until, None), (lead, now), &mut d);
            open |= goes_on;
            reached &= answered;
        }
        for (place, step) in self.escalate.iter().enumerate() {
            let follower = family.followers.iter().find(|f| f.kind == Kind::Escalation(place));
            if self.reached(family, step.until, Some(step)) {
                d.take_back.extend(follower.filter(|f| !f.rests()).map(|f| f.kind));
                continue;
            }
            reached = false;
            match follower {
                Some(f) if f.rests() => {}
                Some(f) => {
                    open = true;
                    d.look((f.due_at + LOOK_AGAIN).max(now + LOOK_AGAIN));
                }
                None => {
                    open = true;
                    d.plan(Kind::Escalation(place), family.since + step.after, lead, now);
                }
            }
        }
        d.followed = match (open, reached) {
            (true, _) => Followed::Waiting,
            (false, true) => Followed::Reached,
            (false, false) => Followed::Unknown,
        };
        if d.followed != Followed::Waiting {
            d.look_at = None;
        }
        d
    }

    /// Whether what is waited for has come: from the recipient, or from those it was escalated to where that counts for all, or for what
    /// is escalated to them.
    fn reached(&self, family: &Family, until: Until, escalation: Option<&Escalation>) -> bool {
        let counts = |follower: &&Follower| match follower.kind {
            Kind::Nag(_) => false,
            Kind::Escalation(place) => self.escalate.get(place).is_some_and(|told| {
                told.ends == Ends::All || escalation.is_some_and(|e| e.to.is_some() && e.to == told.to)
            }),
        };
        let told = family.followers.iter().filter(counts).any(|follower| follower.answer.reaches(until));
        family.answer.reaches(until) || told
    }
}

impl FollowUp {
    /// Which steps of `escalate`, as it stands now, messages are that told somebody: each by its place in the list it was made from,
    /// and whom it went to. A list that was changed meanwhile has the same people elsewhere; who is told no more has no place.
    pub fn places(&self, told: &[(usize, &Chat)], own: &Chat) -> Vec<Option<usize>> {
        let whom = |step: &Escalation| step.to.clone().unwrap_or_else(|| own.clone());
        let mut places: Vec<Option<usize>> =
            told.iter().map(|(at, chat)| self.escalate.get(*at).filter(|s| whom(s) == **chat).map(|_| *at)).collect();
        for (place, step) in self.escalate.iter().enumerate() {
            if places.contains(&Some(place)) {
                continue;
            }
            let chat = whom(step);
            if let Some(other) = (0..told.len()).find(|n| places[*n].is_none() && *told[*n].1 == chat) {
                places[other] = Some(place);
            }
        }
        places
    }
}

impl Nag {
    /// Whether the nagging goes on, and whether it was answered.
    fn decide(
        &self,
        family: &Family,
        reached: bool,
        (lead, now): (Millis, Timestamp),
        d: &mut Decision,
    ) -> (bool, bool) {
        let nags = || family.followers.iter().filter(|f| matches!(f.kind, Kind::Nag(_)));
        if reached {
            d.take_back.extend(nags().filter(|f| !f.rests()).map(|f| f.kind));
            return (false, true);
        }
        // Whether it is to be asked about again is not known before that of it is.
        if family.state == StateName::InDoubt {
            d.look(now + LOOK_AT_DOUBTS);
            return (true, false);
        }
        // What never left is not asked about again, and what a person stopped is stopped.
        if family.state != StateName::Sent || nags().any(|f| f.taken_back) {
            return (false, false);
        }
        if let Some(waits) = nags().find(|f| !f.rests()) {
            d.look((waits.due_at + LOOK_AGAIN).max(now + LOOK_AGAIN));
            return (true, false);
        }
        let count = u32::try_from(nags().count()).unwrap_or(u32::MAX);
        let next = nags().map(Follower::at).max().unwrap_or(family.since) + self.every;
        if family.useless_from.is_some_and(|event| next.max(now) >= event) {
            return (false, false);
        }
        if count < self.max {
            d.plan(Kind::Nag(count + 1), next, lead, now);
            return (true, false);
        }
        // The last one is given as much time as those before it.
        if now < next {
            d.look(next);
        }
        (now < next, false)
    }
}

impl Decision {
    fn look(&mut self, at: Timestamp) {
        self.look_at = Some(self.look_at.map_or(at, |l| l.min(at)));
    }

    /// Creates a follower, or waits until it is time to. One whose instant has passed is due as soon as its typing was
    /// seen.
    fn plan(&mut self, kind: Kind, due: Timestamp, lead: Millis, now: Timestamp) {
        let create_at = due - lead - CREATED_AHEAD;
        if now < create_at {
            self.look(create_at);
        } else {
            let due = if due < now { now + lead } else { due };
            self.create.push((kind, due));
            self.look((due + LOOK_AGAIN).max(now + LOOK_AGAIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;

    const READ: Answer = Answer { ack: Some(Ack::Read), replied: false };

    fn nag(max: u32) -> FollowUp {
        let nag = Nag { every: Millis::seconds(600), max, until: Until::Read, window: None };
        FollowUp { nag: Some(nag), escalate: Vec::new() }
    }

    fn escalation(after: i64) -> Escalation {
        Escalation {
            after: Millis::seconds(after),
            until: Until::Read,
            to: None,
            instance: None,
            content: None,
            ends: Ends::Own,
        }
    }

    fn sent(followers: Vec<Follower>) -> Family {
        Family {
            state: StateName::Sent,
            since: Timestamp(0),
            answer: Answer { ack: Some(Ack::Device), replied: false },
            useless_from: None,
            followers,
        }
    }

    fn follower(kind: Kind, state: StateName, at: i64) -> Follower {
        let at = Timestamp(at * SECOND);
        let (sent_at, answer) = ((state == StateName::Sent).then_some(at), Answer::default());
        Follower { kind, state, taken_back: false, due_at: at, sent_at, answer }
    }

    fn decide(follow: &FollowUp, family: &Family, now: i64) -> Decision {
        follow.decide(family, Millis(2_500), Timestamp(now * SECOND))
    }

    #[test]
    fn who_was_told_is_found_in_a_list_that_was_changed() {
        let (boss, other, own) =
            (Chat::from_stored("1@c.us"), Chat::from_stored("2@c.us"), Chat::from_stored("3@c.us"));
        let to = |chat: Option<&Chat>| Escalation { to: chat.cloned(), ..escalation(60) };
        let list = |escalate| FollowUp { nag: None, escalate };
        let before = [(0, &boss), (1, &own)];
        assert_eq!(list(vec![to(Some(&boss)), to(None)]).places(&before, &own), [Some(0), Some(1)]);
        assert_eq!(list(vec![to(Some(&other)), to(Some(&boss))]).places(&before, &own), [Some(1), None]);
        let twice = list(vec![to(Some(&boss)), to(Some(&boss))]);
        assert_eq!(twice.places(&[(1, &boss)], &own), [Some(1)], "each stays where it is");
        assert_eq!(twice.places(&[(1, &boss), (5, &boss)], &own), [Some(1), Some(0)]);
    }

    #[test]
    fn a_nag_is_created_shortly_before_its_typing_and_each_counts_from_the_one_before() {
        let d = decide(&nag(2), &sent(vec![]), 1);
        assert_eq!((d.create.len(), d.look_at, d.followed), (0, Some(Timestamp(587_500)), Followed::Waiting));
        let d = decide(&nag(2), &sent(vec![]), 588);
        assert_eq!(d.create, [(Kind::Nag(1), Timestamp(600_000))]);
        let first = follower(Kind::Nag(1), StateName::Sent, 603);
        let d = decide(&nag(2), &sent(vec![first]), 1_195);
        assert_eq!(d.create, [(Kind::Nag(2), Timestamp(1_203_000))]);
    }

    #[test]
    fn being_read_takes_back_what_waits_and_a_receipt_that_never_comes_is_unknown() {
        let waits = follower(Kind::Nag(1), StateName::Scheduled, 600);
        let read = Family { answer: READ, ..sent(vec![waits]) };
        let d = decide(&nag(2), &read, 595);
        assert_eq!((d.take_back, d.followed), (vec![Kind::Nag(1)], Followed::Reached));
        let last = follower(Kind::Nag(1), StateName::Sent, 600);
        let d = decide(&nag(1), &sent(vec![last]), 700);
        assert_eq!((d.look_at, d.followed), (Some(Timestamp(1_200_000)), Followed::Waiting));
        let d = decide(&nag(1), &sent(vec![last]), 1_200);
        assert_eq!((d.look_at, d.followed), (None, Followed::Unknown));
        // A late receipt still counts.
        let late = Family { answer: READ, ..sent(vec![last]) };
        assert_eq!(decide(&nag(1), &late, 9_000).followed, Followed::Reached);
    }

    #[test]
    fn nobody_is_asked_again_once_the_event_has_begun() {
        let soon = Family { useless_from: Some(Timestamp(601_000)), ..sent(vec![]) };
        assert_eq!(decide(&nag(3), &soon, 590).create.len(), 1);
        let first = follower(Kind::Nag(1), StateName::Sent, 600);
        let past = Family { useless_from: Some(Timestamp(601_000)), ..sent(vec![first]) };
        let d = decide(&nag(3), &past, 600);
        assert_eq!((d.create.len(), d.followed), (0, Followed::Unknown));
    }

    #[test]
    fn a_nag_whose_instant_passed_while_nobody_worked_is_sent_once() {
        let d = decide(&nag(3), &sent(vec![]), 5_000);
        assert_eq!(d.create, [(Kind::Nag(1), Timestamp(5_002_500))]);
    }

    #[test]
    fn what_a_person_took_back_is_not_asked_again() {
        let mut gone = follower(Kind::Nag(1), StateName::Cancelled, 600);
        gone.taken_back = true;
        let d = decide(&nag(3), &sent(vec![gone]), 5_000);
        assert_eq!((d.create.len(), d.followed), (0, Followed::Unknown));
    }

    #[test]
    fn escalations_count_from_the_first_and_also_follow_what_never_left() {
        let follow = FollowUp { nag: None, escalate: vec![escalation(60), escalation(120)] };
        let d = decide(&follow, &sent(vec![]), 50);
        assert_eq!(d.create, [(Kind::Escalation(0), Timestamp(60_000))]);
        assert_eq!(d.look_at, Some(Timestamp(61_000)));
        let both = [0, 1].map(|n| follower(Kind::Escalation(n), StateName::Sent, 60 + 60 * i64::try_from(n).unwrap()));
        assert_eq!(decide(&follow, &sent(both.to_vec()), 300).followed, Followed::Unknown);
        let failed = Family { state: StateName::Failed, answer: Answer::default(), ..sent(vec![]) };
        assert_eq!(decide(&follow, &failed, 50).create.len(), 1);
        let read = Family { answer: READ, ..sent(vec![]) };
        assert_eq!(decide(&follow, &read, 50).followed, Followed::Reached);
    }

    #[test]
    fn what_those_who_were_told_read_ends_what_is_told_to_them_and_all_where_that_is_said() {
        let to = |chat: &str, after: i64, ends: Ends| Escalation {
            to: Some(Chat::from_stored(chat)),
            ends,
            ..escalation(after)
        };
        let steps = |ends| vec![to("1@c.us", 60, ends), to("1@c.us", 300, Ends::Own), to("2@c.us", 300, Ends::Own)];
        let told = Follower { answer: READ, ..follower(Kind::Escalation(0), StateName::Sent, 60) };
        let own = FollowUp { escalate: steps(Ends::Own), ..nag(9) };
        let d = decide(&own, &sent(vec![told]), 590);
        assert_eq!(d.create.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Nag(1), Kind::Escalation(2)]);
        let all = FollowUp { escalate: steps(Ends::All), ..nag(9) };
        assert_eq!(decide(&all, &sent(vec![told]), 590).followed, Followed::Reached);
    }

    #[test]
    fn what_is_in_doubt_is_escalated_and_not_asked_again() {
        let follow = FollowUp { escalate: vec![escalation(60)], ..nag(3) };
        let unknown = Family { state: StateName::InDoubt, answer: Answer::default(), ..sent(vec![]) };
        let d = decide(&follow, &unknown, 595);
        assert_eq!((d.create.len(), d.followed), (1, Followed::Waiting));
        assert_eq!(d.create[0].0, Kind::Escalation(0));
    }

    #[test]
    fn a_reply_is_waited_for_beyond_being_read() {
        let mut follow = nag(1);
        follow.nag.as_mut().unwrap().until = Until::Reply;
        let read = Family { answer: READ, ..sent(vec![]) };
        assert_eq!(decide(&follow, &read, 595).create.len(), 1);
        let replied = Family { answer: Answer { replied: true, ..READ }, ..read };
        assert_eq!(decide(&follow, &replied, 595).followed, Followed::Reached);
    }
}
