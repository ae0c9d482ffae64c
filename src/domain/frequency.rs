//! How often one recipient is written to, by all jobs that have a say in it.

use serde::{Deserialize, Serialize};

use crate::domain::time::Millis;

/// At most so many messages to a recipient in any span of a length. The messages of all jobs that have such a rule count;
/// of a sequence the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Frequency {
    /// Messages; at least 1.
    pub at_most: u32,
    /// The span, in ms.
    pub within: Millis,
}

/// The note of a message to somebody who had enough of them.
pub const ENOUGH: &str = "its recipient has had as many messages as its job's `frequency` allows";

impl Frequency {
    /// The longest span: what is pruned sooner would not be counted.
    pub const LONGEST: Millis = Millis(90 * 86_400_000);
}
