//! A declared piece of sending, as it is kept in the database.

use serde::{Deserialize, Serialize};

use crate::domain::brake::PauseOn;
use crate::domain::class::Class;
use crate::domain::content::Content;
use crate::domain::draw::Draw;
use crate::domain::follow::FollowUp;
use crate::domain::frequency::Frequency;
use crate::domain::id::InstanceName;
use crate::domain::misfire::Misfire;
use crate::domain::occurrence::SLOWEST_CLOCK;
use crate::domain::recipient::Chat;
use crate::domain::retry::RetryPolicy;
use crate::domain::schedule::Schedule;
use crate::domain::sender::{self, Senders};
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::Late;
use crate::domain::typing::Typing;
use crate::domain::window::Window;

/// A job. Its recipients are kept beside it, its secrets nowhere.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Unique in a database.
    pub name: String,
    /// When.
    pub schedule: Schedule,
    /// The zone of the schedule and of instants in its texts, by its IANA name; where each recipient's own clock counts,
    /// of those whose zone is unknown.
    pub zone: String,
    /// Through which account.
    pub instance: InstanceName,
    /// Through which others besides: each recipient always through the same one of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<InstanceName>,
    /// What.
    pub content: Content,
    /// What is sent after it to the same recipient, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Content>,
    /// Where its contents are variants of one message, each recipient getting one of them: how often each, one number a
    /// content. Empty where they are a sequence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<u32>,
    /// How long after the one before it each content of `then` is due; empty where all are due together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Millis>,
    /// The list its recipients follow while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveList>,
    /// How it is sent.
    pub manner: Manner,
    /// Its recipients are due evenly over this span instead of all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Millis>,
    /// Every occurrence is due up to so much after its nominal instant, drawn once, and before the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Millis>,
}

impl Job {
    /// The accounts it goes through.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceName> + Clone {
        std::iter::once(&self.instance).chain(&self.others)
    }

    /// The account that writes to a recipient; `senders` are those who did before.
    pub fn sender_of(&self, chat: &Chat, senders: &Senders) -> &InstanceName {
        if self.others.is_empty() {
            return &self.instance;
        }
        let before = senders.get(chat).map_or(&[][..], Vec::as_slice);
        sender::sender_of(self.instances(), chat, before).unwrap_or(&self.instance)
    }

    /// How long after the first message of its sequence a step is due.
    pub fn offset(&self, step: usize) -> Millis {
        self.after.iter().take(step).fold(Millis::ZERO, |sum, after| sum + *after)
    }

    /// How long after the step before it a step leaves at the earliest.
    pub fn after_step_before(&self, step: usize) -> Millis {
        step.checked_sub(1).and_then(|before| self.after.get(before)).copied().unwrap_or_default()
    }

    /// How many messages a recipient of an occurrence gets.
    pub fn steps(&self) -> usize {
        if self.weights.is_empty() { 1 + self.then.len() } else { 1 }
    }

    /// Which of its contents a recipient of an occurrence gets, where they are variants: the same one however often it is
    /// asked.
    pub fn variant_of(&self, seed: u64, nominal: Timestamp, chat: &Chat) -> Option<usize> {
        if self.weights.is_empty() {
            return None;
        }
        let all: i64 = self.weights.iter().map(|w| i64::from(*w)).sum();
        let draw = Draw::new(seed, "variant").with_text(&self.name).with_number(nominal.0).with_text(chat.as_str());
        let mut drawn = draw.between(0, all - 1);
        let found = self.weights.iter().position(|w| {
            let hit = drawn < i64::from(*w);
            drawn -= i64::from(*w);
            hit
        });
        found.or(Some(0))
    }
}

/// A list of contacts that a job follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveList {
    /// The list.
    pub list: String,
    /// The condition for those of its members that are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
    /// Whether zones that members do not say are found out, and then whether they are guessed where a country has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guesses_zones: Option<bool>,
}

/// How a message is sent, whatever it says: what `defaults` may hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manner {
    /// The typing before it.
    pub typing: Typing,
    /// What gives way when it is late.
    pub late: Late,
    /// What happens to occurrences that passed while nobody could serve them.
    pub misfire: Misfire,
    /// How late an occurrence may be and still count as in time.
    pub grace: Millis,
    /// How many missed occurrences are made up for at most.
    #[serde(default = "default_max_catchup", skip_serializing_if = "is_default_max_catchup")]
    pub max_catchup: u32,
    /// What happens when the occurrence before is not finished.
    #[serde(default, skip_serializing_if = "Overlap::is_default")]
    pub overlap: Overlap,
    /// How much time outages and retries may cost; `None` = by the schedule, see [`Job::max_lateness`].
    pub max_lateness: Option<Millis>,
    /// How it is tried again.
    pub retry: RetryPolicy,
    /// What happens to a doubt that no evidence settles.
    pub on_doubt: OnDoubt,
    /// How pressing it is.
    pub class: Class,
    /// When it may leave, besides the window of its instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// When it is of no use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expires>,
    /// Whether its hours are those of each recipient's own clock (`timezone: recipient`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_clock: bool,
    /// Whether it waits for a person's approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// Whether it only goes to recipients of whom an opt-in is recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opt_in: bool,
    /// Whether a sequence ends when its recipient writes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_on_reply: bool,
    /// How long it keeps out of a conversation: after its recipient wrote it waits so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_after_reply: Option<Millis>,
    /// How often its recipients are written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<Frequency>,
    /// What pauses its campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_on: Option<PauseOn>,
    /// What follows it until it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<FollowUp>,
}

/// When a message is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expires {
    /// After an instant.
    At(Timestamp),
    /// This long after it was due.
    After(Millis),
}

impl Expires {
    /// The instant, for a message that begins in a state. What waits for an approval expires by an instant alone: a length
    /// counts once it is approved.
    pub fn of_one_in(self, state: StateName, due: Timestamp) -> Option<Timestamp> {
        match self {
            Expires::After(_) if state == StateName::Held => None,
            Expires::At(_) | Expires::After(_) => Some(self.of(due)),
        }
    }

    /// The instant, for a message due at `due`.
    pub fn of(self, due: Timestamp) -> Timestamp {
        match self {
            Expires::At(instant) => instant,
            Expires::After(length) => due + length,
        }
    }
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            typing: Typing::default(),
            late: Late::default(),
            misfire: Misfire::default(),
            max_catchup: DEFAULT_MAX_CATCHUP,
            overlap: Overlap::default(),
            grace: Millis::seconds(60),
            max_lateness: None,
            retry: RetryPolicy::default(),
            on_doubt: OnDoubt::default(),
            class: Class::default(),
            window: None,
            expires: None,
            own_clock: false,
            hold: false,
            opt_in: false,
            stop_on_reply: false,
            quiet_after_reply: None,
            frequency: None,
            pause_on: None,
            follow: None,
        }
    }
}

/// What happens when an occurrence comes while the one before it is not finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is not sent.
    #[default]
    Skip,
    /// It waits until the one before it is finished.
    Queue,
    /// What waits of the one before it is cancelled.
    Replace,
    /// Both are sent as their lanes allow.
    Allow,
}

impl Overlap {
    fn is_default(&self) -> bool {
        *self == Overlap::default()
    }
}

/// Occurrences made up for after an outage, and occurrences queued behind an unfinished one.
pub const DEFAULT_MAX_CATCHUP: u32 = 10;

fn default_max_catchup() -> u32 {
    DEFAULT_MAX_CATCHUP
}

fn is_default_max_catchup(n: &u32) -> bool {
    *n == DEFAULT_MAX_CATCHUP
}

/// What happens to a doubt that no evidence settles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDoubt {
    /// It stays in doubt, visible, until evidence or a person settles it.
    #[default]
    Hold,
    /// It is sent again: better twice than never.
    Resend,
    /// It is given up: better never than twice.
    Drop,
}

/// The bound on lateness where neither the job nor its schedule gives a smaller one.
pub const DEFAULT_MAX_LATENESS: Millis = Millis(3_600_000);

/// The zone in which the hours of a job on its recipients' own clocks are read: it has every hour of every day, each
/// once.
const EVERY_HOUR: &str = "UTC";

impl Job {
    /// The zone of its schedule, by its IANA name. Where each recipient's own clock counts, its nominal instants are
    /// named by that wall clock time in UTC.
    pub fn schedule_zone(&self) -> &str {
        if self.manner.own_clock { EVERY_HOUR } else { &self.zone }
    }

    /// The first of its occurrences, for a job first applied at an instant; `zone` is that of its schedule. On clocks of
    /// their own, one that has come on the fastest of them may be to come on the slowest.
    pub fn first(&self, first_applied: Timestamp, zone: &jiff::tz::TimeZone) -> Option<Timestamp> {
        if self.manner.own_clock && self.schedule.recurs() {
            return self.schedule.next_after(first_applied - SLOWEST_CLOCK - Millis(1), first_applied, zone);
        }
        self.schedule.first(first_applied, zone)
    }

    /// Its schedule in words; `zone` is that of its schedule.
    pub fn words(&self, zone: &jiff::tz::TimeZone) -> String {
        let whose = if self.manner.own_clock { ", on each recipient's own clock" } else { "" };
        format!("{}{whose}", self.schedule.words(zone))
    }

    /// An instant of its schedule as people read it; where each recipient's own clock counts, what all of them show.
    pub fn shown(&self, t: Timestamp, zone: &jiff::tz::TimeZone) -> String {
        let format = if self.manner.own_clock { "%a %Y-%m-%d %H:%M:%S each" } else { "%a %Y-%m-%d %H:%M:%S %Z" };
        t.in_zone(zone).strftime(format).to_string()
    }

    /// How much time outages and retries may cost a message of this job: what it says, else the smaller of half its
    /// period and one hour.
    pub fn max_lateness(&self, now: Timestamp, zone: &jiff::tz::TimeZone) -> Millis {
        self.manner.max_lateness.unwrap_or_else(|| {
            self.schedule.period(now, zone).map_or(DEFAULT_MAX_LATENESS, |p| Millis(p.0 / 2).min(DEFAULT_MAX_LATENESS))
        })
    }
}
