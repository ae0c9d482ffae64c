//! What a claim asks for.

use crate::domain::flow::Flow;
use crate::domain::id::MessageId;
use crate::domain::time::Timestamp;

/// A message in hand that may still be sent by whoever has it, as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ours {
    /// Which.
    pub id: MessageId,
    /// When it is due.
    pub due_at: Timestamp,
    /// From when on `frequency` lets it go, by what left so far; `None` where none concerns it.
    pub allowed_from: Option<Timestamp>,
}

/// Which messages of an instance are wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Only those that wake no later.
    pub horizon: Timestamp,
    /// How many of the classes that take turns may then be in hand, those in `held` included.
    pub limit: usize,
    /// How many urgent and reminder messages at most, on top.
    pub strict_limit: usize,
    /// Those already in hand.
    pub except: Vec<MessageId>,
    /// How many of them each flow has that still wait.
    pub held: Vec<(Flow, usize)>,
}

impl Wanted {
    /// Everything that wakes up to an instant, up to `most` of the strict classes and of the others, without some.
    pub fn up_to(horizon: Timestamp, most: usize, except: Vec<MessageId>) -> Wanted {
        Wanted { horizon, limit: most, strict_limit: most, except, held: Vec::new() }
    }
}
