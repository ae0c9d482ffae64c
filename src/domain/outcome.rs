//! How an attempt ended, named by what we may do next.

use serde::{Deserialize, Serialize};

use crate::domain::ack::Ack;
use crate::domain::time::Millis;

/// The outcome of handing a message to a gateway. Which answer is which is each gateway's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The gateway has it, and named it.
    Accepted {
        /// The bare message id: the key every later ack is joined by.
        gateway_id: String,
        /// The ack level the response itself told, if any.
        ack: Option<Ack>,
    },
    /// Provably never left: the connection did not open, or the request was never begun.
    NotSent {
        /// What happened, for a person.
        why: String,
    },
    /// Refused for good; trying again cannot help.
    Refused {
        /// The gateway's word for it.
        why: String,
    },
    /// Refused, surely not carried out, and worth another try.
    RefusedForNow {
        /// The gateway's word for it.
        why: String,
    },
    /// Too fast: nothing of this instance may leave before a while has passed.
    NotNow {
        /// How long the gateway asked us to wait, if it did.
        after: Option<Millis>,
    },
    /// The account cannot send at all: the lane rests until it can.
    InstanceDown {
        /// Which kind of down.
        cause: DownCause,
        /// The gateway's word for it.
        why: String,
    },
    /// It may or may not have been carried out.
    InDoubt {
        /// What happened, for a person.
        why: String,
        /// The bare message id that the answer named all the same: an ack for it proves that the message went out.
        named: Option<String>,
    },
}

/// Why an instance cannot send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownCause {
    /// The session is logged out or not running.
    Session,
    /// The credentials were refused, or the plan does not allow the call.
    Credentials,
    /// Several sends in a row got no clear answer.
    Unclear,
}

impl Outcome {
    /// The word used in JSON and in the database.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Accepted { .. } => "accepted",
            Outcome::NotSent { .. } => "not_sent",
            Outcome::Refused { .. } => "refused",
            Outcome::RefusedForNow { .. } => "refused_for_now",
            Outcome::NotNow { .. } => "not_now",
            Outcome::InstanceDown { .. } => "instance_down",
            Outcome::InDoubt { .. } => "in_doubt",
        }
    }

    /// One sentence for a person, without secrets.
    pub fn why(&self) -> String {
        match self {
            Outcome::Accepted { gateway_id, .. } => format!("accepted as {gateway_id}"),
            Outcome::NotNow { after: Some(after) } => format!("the gateway asked to wait {after}"),
            Outcome::NotNow { after: None } => "the gateway said too many requests".to_owned(),
            Outcome::NotSent { why }
            | Outcome::Refused { why }
            | Outcome::RefusedForNow { why }
            | Outcome::InstanceDown { why, .. }
            | Outcome::InDoubt { why, .. } => why.clone(),
        }
    }
}
