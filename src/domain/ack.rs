//! What the network says about a sent message, later.

use serde::{Deserialize, Serialize};

/// An ack level. Acks come late, twice and out of order; [`Ack::raise`] keeps the ladder from going down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// −1: the network gave up on it. Outranks pending and server; a later device, read or played outranks it.
    Error,
    /// 0: accepted by the gateway, not yet by the network.
    Pending,
    /// 1: the network's server has it.
    Server,
    /// 2: it reached a device of the recipient.
    Device,
    /// 3: the recipient read it.
    Read,
    /// 4: the recipient played it.
    Played,
}

impl Ack {
    /// All levels, as their numbers rise.
    pub const ALL: [Ack; 6] = [Ack::Error, Ack::Pending, Ack::Server, Ack::Device, Ack::Read, Ack::Played];

    /// The number the gateways use: −1 … 4.
    pub fn level(self) -> i64 {
        match self {
            Ack::Error => -1,
            Ack::Pending => 0,
            Ack::Server => 1,
            Ack::Device => 2,
            Ack::Read => 3,
            Ack::Played => 4,
        }
    }

    /// The ack of a gateway's number; `None` for a number no gateway documents.
    pub fn from_level(level: i64) -> Option<Ack> {
        Self::ALL.into_iter().find(|a| a.level() == level)
    }

    /// The word used in commands and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Ack::Error => "error",
            Ack::Pending => "pending",
            Ack::Server => "server",
            Ack::Device => "device",
            Ack::Read => "read",
            Ack::Played => "played",
        }
    }

    /// The ack of a word.
    pub fn from_name(name: &str) -> Option<Ack> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Standing when two acks of one message are compared: the higher one is shown.
    pub fn rank(self) -> i64 {
        match self {
            Ack::Pending => 0,
            Ack::Server => 1,
            Ack::Error => 2,
            Ack::Device => 3,
            Ack::Read => 4,
            Ack::Played => 5,
        }
    }

    /// The ack to show after `new` arrived beside what was known.
    #[must_use]
    pub fn raise(known: Option<Ack>, new: Ack) -> Ack {
        match known {
            Some(k) if k.rank() >= new.rank() => k,
            _ => new,
        }
    }

    /// Whether nothing higher is to be expected: the message was read or played, or given up.
    pub fn rests(self) -> bool {
        matches!(self, Ack::Error | Ack::Read | Ack::Played)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_never_go_down_in_any_order() {
        let levels = [Ack::Server, Ack::Device, Ack::Read, Ack::Error];
        for a in levels {
            for b in levels {
                for c in levels {
                    for d in levels {
                        let mut known = None;
                        let mut last = -1;
                        for ack in [a, b, c, d] {
                            let up = Ack::raise(known, ack);
                            assert!(up.rank() >= last);
                            last = up.rank();
                            known = Some(up);
                        }
                        let highest = [a, b, c, d].into_iter().max_by_key(|x| x.rank());
                        assert_eq!(known, highest);
                    }
                }
            }
        }
    }

    #[test]
    fn an_error_outranks_server_and_yields_to_device() {
        assert_eq!(Ack::raise(Some(Ack::Server), Ack::Error), Ack::Error);
        assert_eq!(Ack::raise(Some(Ack::Error), Ack::Device), Ack::Device);
        assert_eq!(Ack::raise(Some(Ack::Error), Ack::Server), Ack::Error);
    }
}
