//! What the engine is told.

use crate::domain::claim::Ours;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::{Due, SendFacts, Verdict};
use crate::domain::outcome::{DownCause, Outcome};
use crate::domain::state::Reason;
use crate::domain::time::{Millis, Timestamp};

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody changed the store: there may be new messages, and ours may be gone.
    Nudge,
    /// The answer to a claim.
    Claimed {
        /// Whose messages.
        instance: InstanceName,
        /// The messages, now in this node's hands.
        messages: Vec<Due>,
        /// Whether the limit cut the answer short.
        more: bool,
        /// The earliest wake after the claim's horizon.
        next_wake: Option<Timestamp>,
    },
    /// A claim could not be answered.
    ClaimFailed {
        /// Whose.
        instance: InstanceName,
    },
    /// The answer to a verification: these may no longer be sent by us.
    Gone {
        /// Which messages.
        ids: Vec<MessageId>,
    },
    /// The answer to a verification: these are ours, and how they stand.
    Ours {
        /// Which messages.
        messages: Vec<Ours>,
    },
    /// Sending these is paused: they are given back until it goes on.
    Paused {
        /// Which messages.
        ids: Vec<MessageId>,
    },
    /// A start-typing call was answered, or failed.
    TypingAnswered {
        /// For which message.
        id: MessageId,
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// The body, masked and capped, or what happened instead.
        response: String,
    },
    /// A change was written, was stale, or could not be written (`None`). Typing is written behind and not answered.
    Persisted {
        /// Which message.
        id: MessageId,
        /// What the store said.
        verdict: Option<Verdict>,
    },
    /// The message cannot be turned into a request.
    Unsendable {
        /// Which message.
        id: MessageId,
        /// Why.
        reason: Reason,
        /// The error, for a person.
        note: String,
    },
    /// A send ended.
    SendDone {
        /// Which message.
        id: MessageId,
        /// How.
        outcome: Outcome,
        /// What is kept of it.
        facts: SendFacts,
    },
    /// The answer to a probe: `None` = it can send.
    Probed {
        /// Which instance.
        instance: InstanceName,
        /// Why it still cannot.
        down: Option<(DownCause, String)>,
    },
    /// Nobody worked between these two instants: the machine slept, the process was stopped, or the clock was set ahead.
    Slept {
        /// The last instant of work.
        from: Timestamp,
        /// The first one after it.
        to: Timestamp,
    },
    /// What gives way after such a gap is settled in the store.
    Settled,
    /// The clock was set back.
    SetBack {
        /// By how much.
        by: Millis,
    },
    /// A durable commit took this long.
    CommitTook(Millis),
    /// Begin to stop: claim nothing more, let open sends finish, hand back the rest.
    Stop,
}

impl Input {
    /// A send accepted in the instant it was made: the answer of the gateway that predictions assume.
    pub(crate) fn accepted(id: MessageId, now: Timestamp) -> Input {
        let outcome = Outcome::Accepted { gateway_id: String::new(), ack: None };
        let facts = SendFacts {
            started_at: now,
            finished_at: now,
            status: Some(200),
            outcome: outcome.name(),
            response: "".into(),
        };
        Input::SendDone { id, outcome, facts }
    }
}
