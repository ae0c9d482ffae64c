//! Why messages are where they are.

use serde::{Deserialize, Serialize};

/// Why a message is where it is: a closed list, each code with one sentence in the reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The gateway refused it for good.
    Refused,
    /// Every try was used up.
    TriesUsedUp,
    /// A person cancelled it.
    CancelledByPerson,
    /// Its job was changed; a new row took its place.
    Replaced,
    /// Its job was removed.
    Removed,
    /// It was too late: outages or retries took longer than `max_lateness`.
    TooLate,
    /// Its occurrence passed while nobody could serve it.
    Misfire,
    /// Its template could not be filled in.
    Template,
    /// Its stored content no longer matches the hash taken when it was planned.
    Damaged,
    /// The request was out when the program stopped.
    Crash,
    /// The gateway gave no clear answer.
    NoClearAnswer,
    /// A person, or the job's policy, gave it up while in doubt.
    Dropped,
    /// A person said it went out.
    SaidSent,
    /// The gateway's history shows it.
    FoundInHistory,
    /// A webhook of the gateway shows it.
    ToldSent,
    /// The gateway's history twice did not show it.
    ProvedUnsent,
    /// A person, or the job's policy, had it sent again while in doubt.
    ResentOnDoubt,
    /// Refused for now: another try is planned.
    RefusedForNow,
    /// The connection did not open, or the request was never begun.
    NotSent,
    /// The gateway asked to wait.
    RateLimited,
    /// The instance cannot send.
    InstanceDown,
    /// The lead ended without a send: a pause, a stop of the daemon, a restart.
    LeadEnded,
    /// It waits for its window to open.
    Window,
    /// It must not leave after its `expires`.
    Expires,
    /// A person held it.
    HeldByPerson,
    /// The same content went to the same chat less than a minute before.
    Repeated,
    /// A person let it go again.
    Released,
    /// A person gave it another instant.
    Rescheduled,
    /// A person put it off.
    Snoozed,
    /// A person gave it another chance.
    Retried,
    /// An earlier message of its sequence did not go out.
    Sequence,
    /// The occurrence before it was not finished.
    Overlap,
    /// A later occurrence of its job took its place before it was finished.
    Overtaken,
    /// The event it reminds of had begun.
    EventPassed,
    /// The event it reminds of was called off.
    EventCancelled,
    /// What it follows was read or answered before.
    Reached,
    /// Three starts in a row found it in the hands of a run that had died.
    Poison,
    /// The database is older than the sends of its daemon: it may have gone out already.
    Restored,
    /// Its recipient is suppressed.
    OptedOut,
    /// No opt-in of its recipient is recorded.
    NoOptIn,
    /// Its recipient was written to often enough.
    TooOften,
    /// Its recipient left the list that its job follows.
    LeftList,
    /// It waits for a person's approval.
    Approval,
    /// It waits for its time after the message of its sequence before it.
    After,
    /// Its recipient answered an earlier message of its sequence.
    Replied,
    /// Its recipient wrote a short while ago.
    Conversation,
}

impl Reason {
    /// Every reason with its sentence: what the reference prints and a test holds against the code.
    pub const ALL: [(Reason, &'static str, &'static str); 46] = [
        (Reason::Refused, "refused", "The gateway refused the message for good."),
        (Reason::TriesUsedUp, "tries_used_up", "Every try of `retry.attempts` was used up."),
        (Reason::CancelledByPerson, "cancelled_by_person", "Somebody cancelled it."),
        (Reason::Replaced, "replaced", "Its job was changed, and a new message took its place."),
        (Reason::Removed, "removed", "Its job was removed."),
        (
            Reason::TooLate,
            "too_late",
            "Outages or retries took longer than `max_lateness`, or `grace` with `misfire: skip`.",
        ),
        (Reason::Misfire, "misfire", "Its occurrence passed while nobody could serve it."),
        (Reason::Template, "template", "Its template could not be filled in for this recipient."),
        (Reason::Damaged, "damaged", "Its stored content does not match the hash taken when it was planned."),
        (Reason::Crash, "crash", "Its request was out when the program stopped, and the answer is unknown."),
        (Reason::NoClearAnswer, "no_clear_answer", "The gateway gave no clear answer."),
        (Reason::Dropped, "dropped", "It was given up while in doubt, by a person or by `on_doubt: drop`."),
        (Reason::SaidSent, "said_sent", "A person said that it went out."),
        (Reason::FoundInHistory, "found_in_history", "The gateway's history of the chat shows it."),
        (Reason::ToldSent, "told_sent", "A webhook of the gateway shows that it went out."),
        (
            Reason::ProvedUnsent,
            "proved_unsent",
            "The gateway's history of the chat twice did not show it; another try is planned.",
        ),
        (
            Reason::ResentOnDoubt,
            "resent_on_doubt",
            "It is sent again after a doubt, by a person or by `on_doubt: resend`.",
        ),
        (Reason::RefusedForNow, "refused_for_now", "The gateway refused it for now; another try is planned."),
        (Reason::NotSent, "not_sent", "The connection did not open, or the request was never begun."),
        (Reason::RateLimited, "rate_limited", "The gateway asked to wait."),
        (
            Reason::InstanceDown,
            "instance_down",
            "The instance cannot send until its session or credentials work again.",
        ),
        (Reason::LeadEnded, "lead_ended", "Typing ended without a send: a pause, or a stop of the daemon."),
        (Reason::Window, "window", "It waits for its window to open."),
        (Reason::Expires, "expires", "It was not to leave after its `expires`."),
        (Reason::HeldByPerson, "held_by_person", "Somebody holds it; `release` lets it go."),
        (
            Reason::Repeated,
            "repeated",
            "The same content went to the same chat less than a minute before; `release` sends it all the same.",
        ),
        (Reason::Released, "released", "Somebody let it go again."),
        (Reason::Rescheduled, "rescheduled", "Somebody gave it another instant."),
        (Reason::Snoozed, "snoozed", "Somebody put it off."),
        (Reason::Retried, "retried", "Somebody gave it another chance."),
        (Reason::Sequence, "sequence", "An earlier message of its sequence did not go out."),
        (Reason::Overlap, "overlap", "The occurrence before it was not finished (`overlap: skip`)."),
        (Reason::Overtaken, "overtaken", "The next occurrence came before it was finished (`overlap: replace`)."),
        (Reason::EventPassed, "event_passed", "The event it reminds of had begun."),
        (Reason::EventCancelled, "event_cancelled", "The event it reminds of was called off."),
        (Reason::Reached, "reached", "What it follows was read, or answered, before it left."),
        (
            Reason::Poison,
            "poison",
            "Three starts in a row found it in the hands of a run that had died; `release` tries it once more.",
        ),
        (
            Reason::Restored,
            "restored",
            "The database was set back to an earlier state, and it may have gone out since; `release` or `cancel` it.",
        ),
        (
            Reason::OptedOut,
            "opted_out",
            "Its recipient is suppressed: they opted out, or somebody said so; `contact show` tells which.",
        ),
        (
            Reason::NoOptIn,
            "no_opt_in",
            "Its job writes to those who opted in only (`consent: opt_in`), and no opt-in of its recipient is recorded.",
        ),
        (
            Reason::TooOften,
            "too_often",
            "Its recipient has had as many messages as the `frequency` of its job allows; it is not sent later either.",
        ),
        (
            Reason::LeftList,
            "left_list",
            "Its recipient left the list that its job follows (`live: true`), or what it follows went to somebody who is no recipient any more.",
        ),
        (
            Reason::After,
            "after",
            "The message of its sequence before it left later than planned, and its `after` counts from there.",
        ),
        (Reason::Replied, "replied", "Its recipient answered an earlier message of its sequence (`stop_on: reply`)."),
        (Reason::Conversation, "conversation", "Its recipient wrote a short while ago (`quiet_after_reply`)."),
        (Reason::Approval, "approval", "Its job waits for an approval (`hold: true`); `campaign approve` lets it go."),
    ];

    /// The code used in JSON and in the database.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(r, ..)| *r == self).map_or("", |(_, name, _)| name)
    }

    /// The reason of a code.
    pub fn from_name(name: &str) -> Option<Reason> {
        Self::ALL.iter().find(|(_, n, _)| *n == name).map(|(r, ..)| *r)
    }
}
