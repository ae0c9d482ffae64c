//! Whether a message in doubt went out: what a chat's history says about it, and what follows from that.
//!
//! A history is believed when it shows the message, and when it twice does not show it although it shows one from before
//! the attempt. It is asked no earlier than a **quarantine** after the attempt: a request that the gateway accepted but
//! has not carried out yet stands in no history, and asking at once was measured to repeat 43 to 52 of 600 messages.

use std::collections::BTreeSet;

use crate::domain::ack::Ack;
use crate::domain::job::OnDoubt;
use crate::domain::resemblance::{Pattern, Resemblance};
use crate::domain::time::{Millis, Timestamp};

/// A gateway's clock may be a little off ours, and its stamps are whole seconds.
pub const CLOCK_SLACK: Millis = Millis::seconds(60);

/// A clock that was set wrong is wrong by less. What stands in a history up to so long before an attempt proves nothing,
/// but is no silence either.
const CLOCK_WRONG_BY: Millis = Millis(86_400_000);

/// How many looks that do not show a message must agree.
const ABSENT_LOOKS: u32 = 2;

/// Looks that fail before a job's policy is asked.
const FAILED_LOOKS: u32 = 5;

/// How often a history that cannot be asked is tried again once the policy was asked and said to hold.
const RARELY: Millis = Millis::seconds(600);

/// After this age of a doubt nobody looks by himself any more.
const GIVEN_UP_AFTER: Millis = Millis(7 * 86_400_000);

/// What a gateway tells of a chat.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Its messages, as far as they can be read.
    pub messages: Vec<HistoryMessage>,
    /// How many more it tells of that cannot be read, or that name another chat: any of them may be ours.
    pub unread: usize,
}

/// A message of a chat's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryMessage {
    /// Its bare message id.
    pub gateway_id: String,
    /// Whether this account sent it, or may have: where that is not told.
    pub from_me: bool,
    /// Its text; empty where that is not told, or not who wrote it.
    pub text: String,
    /// When, as the network says; whole seconds.
    pub at: Timestamp,
    /// The ack level it stands at, if told.
    pub ack: Option<Ack>,
}

/// What one look at a history said about an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// Exactly one message can be it.
    Found {
        /// The bare id of that message.
        gateway_id: String,
    },
    /// None can be it, and the history shows a message from before the attempt: by its stamp, or one that we know. One that is
    /// short without that may have lost the rest, be cut at a cap of the gateway's own, or belong to a gateway that keeps none.
    Absent,
    /// None can be it, but what is shown may not be everything.
    OutOfReach,
    /// None shows its text, but some may be it: they tell no text, or only its beginning, or cannot be read.
    Unclear,
    /// One would be it, had it not been sent before the attempt: a clock may have been wrong.
    Earlier,
    /// Several can be it.
    Several(usize),
    /// One can be it, or one of so many attempts of other messages that said the same.
    Shared(usize),
    /// Nothing could be asked.
    Unavailable,
    /// A content of its kind cannot be told from others.
    Indistinct,
}

/// How a message of ours that a history shows stands to the attempt in question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KnownSend {
    /// The gateway had answered for it before the attempt was marked, whatever any clock says.
    Before,
    /// It may have gone out at any time.
    Sometime,
}

/// Reads a history for an attempt marked at `marked_at` that sent `text`. What `known` names as another message of ours is
/// no evidence for this one. `rivals` is how many other messages said the same in the chat and are not known to have gone out
/// or not.
pub fn look(
    history: &History,
    text: &str,
    marked_at: Timestamp,
    rivals: usize,
    known: impl Fn(&str) -> Option<KnownSend>,
) -> Look {
    let oldest = marked_at - CLOCK_SLACK;
    let pattern = Pattern::of(text);
    let ours = |m: &&HistoryMessage| m.from_me && known(&m.gateway_id).is_none();
    let compared: Vec<(&HistoryMessage, Resemblance)> =
        history.messages.iter().filter(ours).map(|m| (m, pattern.compare(&m.text))).collect();
    let since = |oldest, how| compared.iter().filter(move |(m, is)| *is == how && m.at >= oldest);
    // A gateway may list a message twice.
    let fits: BTreeSet<&str> = since(oldest, Resemblance::Same).map(|(m, _)| m.gateway_id.as_str()).collect();
    let reaches_back = |m: &HistoryMessage| m.at < oldest || known(&m.gateway_id) == Some(KnownSend::Before);
    match (fits.first(), fits.len()) {
        (Some(_), 1) if rivals > 0 => Look::Shared(rivals),
        (Some(one), 1) => Look::Found { gateway_id: (*one).to_owned() },
        (Some(_), several) => Look::Several(several),
        (None, _) if since(oldest - CLOCK_WRONG_BY, Resemblance::Same).next().is_some() => Look::Earlier,
        (None, _) if history.unread > 0 || since(oldest, Resemblance::Perhaps).next().is_some() => Look::Unclear,
        (None, _) if history.messages.iter().any(reaches_back) => Look::Absent,
        (None, _) => Look::OutOfReach,
    }
}

/// The looks at one attempt before the present one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Looks {
    /// Those of [`Look::Absent`].
    pub absent: u32,
    /// Those of [`Look::OutOfReach`], [`Look::Unclear`], [`Look::Earlier`] and [`Look::Shared`].
    pub out_of_reach: u32,
    /// Those of [`Look::Unavailable`].
    pub failed: u32,
}

/// What follows from a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// It went out.
    Sent,
    /// It did not: it is tried again by its retry policy.
    Unsent,
    /// Look again at this instant.
    LookAgain(Timestamp),
    /// Nobody can say: it is sent again, as its job wants it.
    Resend,
    /// Nobody can say: it is given up, as its job wants it.
    Drop,
    /// Nobody can say: it waits for a person, or for evidence that comes by itself.
    Wait,
}

/// What follows from `look` at `now` about an attempt marked at `marked_at`.
pub fn rule(
    look: &Look,
    before: Looks,
    policy: OnDoubt,
    (marked_at, quarantine, now): (Timestamp, Millis, Timestamp),
) -> Ruling {
    let again = Ruling::LookAgain(now + quarantine);
    match look {
        Look::Found { .. } => Ruling::Sent,
        Look::Absent if before.absent + 1 >= ABSENT_LOOKS => Ruling::Unsent,
        Look::OutOfReach | Look::Unclear | Look::Earlier | Look::Shared(_)
            if before.out_of_reach + 1 >= ABSENT_LOOKS =>
        {
            by_policy(policy)
        }
        Look::Unavailable if before.failed + 1 >= FAILED_LOOKS => match by_policy(policy) {
            Ruling::Wait if now.since(marked_at) < GIVEN_UP_AFTER => {
                Ruling::LookAgain(now + Millis(RARELY.0.max(quarantine.0)))
            }
            ruling => ruling,
        },
        Look::Absent | Look::OutOfReach | Look::Unclear | Look::Earlier | Look::Shared(_) | Look::Unavailable => again,
        Look::Several(_) | Look::Indistinct => by_policy(policy),
    }
}

fn by_policy(policy: OnDoubt) -> Ruling {
    match policy {
        OnDoubt::Hold => Ruling::Wait,
        OnDoubt::Resend => Ruling::Resend,
        OnDoubt::Drop => Ruling::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: Timestamp = Timestamp(1_000_000);

    fn message(id: &str, from_me: bool, text: &str, at: i64) -> HistoryMessage {
        HistoryMessage { gateway_id: id.into(), from_me, text: text.into(), at: Timestamp(at), ack: None }
    }

    fn told(messages: &[HistoryMessage]) -> History {
        History { messages: messages.to_vec(), unread: 0 }
    }

    fn see(messages: &[HistoryMessage]) -> Look {
        look(&told(messages), "hi", MARKED, 0, |id| (id == "KNOWN").then_some(KnownSend::Sometime))
    }

    #[test]
    fn exactly_one_message_of_ours_with_its_text_since_the_attempt_is_found() {
        let old = message("A", true, "hi", MARKED.0 - 61_000);
        let theirs = message("B", false, "hi", MARKED.0 + 1_000);
        let other = message("C", true, "ho", MARKED.0 + 1_000);
        let it = message("D", true, "hi", MARKED.0 - 60_000);
        assert_eq!(see(&[it.clone(), theirs.clone(), old.clone()]), Look::Found { gateway_id: "D".into() });
        assert_eq!(see(&[it.clone(), message("E", true, "hi", MARKED.0)]), Look::Several(2));
        assert_eq!(see(&[it, message("KNOWN", true, "hi", MARKED.0)]), Look::Found { gateway_id: "D".into() });
        let long_ago = message("A", true, "hi", MARKED.0 - 60_001 - 86_400_000);
        assert_eq!(see(&[theirs.clone(), other.clone(), long_ago]), Look::Absent);
        assert_eq!(see(&[theirs, other, old]), Look::Earlier, "the clock may have been wrong");
    }

    #[test]
    fn one_message_that_may_be_another_attempt_s_proves_nothing() {
        let it = message("D", true, "hi", MARKED.0);
        assert_eq!(
            look(&told(&[it.clone(), it.clone()]), "hi", MARKED, 2, |_| None),
            Look::Shared(2),
            "it is listed twice"
        );
        let other = message("E", true, "hi", MARKED.0);
        assert_eq!(look(&told(&[it, other]), "hi", MARKED, 2, |_| None), Look::Several(2));
        assert_ne!(ruled(&Look::Shared(2), Looks::default(), OnDoubt::Resend, 60_000), Ruling::Sent);
    }

    #[test]
    fn a_message_of_ours_that_may_be_what_is_left_of_it_is_no_silence() {
        let old = message("OLD", false, "yo", MARKED.0 - 60_001);
        let sent = "Your table is booked for eight.\n";
        let with = |m: HistoryMessage| {
            look(&told(&[m, old.clone()]), sent, MARKED, 0, |id| (id == "KNOWN").then_some(KnownSend::Sometime))
        };
        let since = |text| message("D", true, text, MARKED.0);
        assert_eq!(with(since("Your table is booked for eight.")), Look::Found { gateway_id: "D".into() });
        for rest in ["", "\u{200b}", "Your table is booked\u{2026}", "Your table is booked"] {
            assert_eq!(with(since(rest)), Look::Unclear, "{rest}");
            assert_eq!(with(message("KNOWN", true, rest, MARKED.0)), Look::Absent, "it is another of our messages");
            assert_eq!(with(message("D", false, rest, MARKED.0)), Look::Absent, "it is theirs");
            assert_eq!(with(message("D", true, rest, MARKED.0 - 60_001)), Look::Absent, "it is older");
        }
        assert_eq!(with(since("See you")), Look::Absent);
        let once = Looks { absent: 1, ..Looks::default() };
        assert!(matches!(ruled(&Look::Unclear, once, OnDoubt::Drop, 60_000), Ruling::LookAgain(_)));
    }

    #[test]
    fn a_history_that_tells_of_what_cannot_be_read_is_no_silence() {
        let old = message("OLD", false, "yo", MARKED.0 - 60_001);
        let partly = |messages: &[HistoryMessage]| {
            look(&History { messages: messages.to_vec(), unread: 1 }, "hi", MARKED, 0, |_| None)
        };
        assert_eq!(partly(std::slice::from_ref(&old)), Look::Unclear);
        assert_eq!(partly(&[message("D", true, "hi", MARKED.0), old]), Look::Found { gateway_id: "D".into() });
    }

    #[test]
    fn silence_means_something_only_where_the_history_shows_what_is_older_than_the_attempt() {
        let recent = |n: i64| message("X", false, "yo", MARKED.0 + n);
        assert_eq!(see(&[]), Look::OutOfReach, "an empty history may be one that is not kept");
        assert_eq!(see(&[recent(1)]), Look::OutOfReach, "the gateway may have lost the rest");
        assert_eq!(see(&[recent(3), recent(2), recent(1)]), Look::OutOfReach, "it may be cut at a cap of its own");
        assert_eq!(see(&[recent(2), recent(1), recent(-60_001)]), Look::Absent);
        assert_eq!(see(&[recent(2), recent(1), recent(-60_000)]), Look::OutOfReach);
        let known = |which| look(&told(&[message("K", true, "ho", MARKED.0 + 5)]), "hi", MARKED, 0, |_| Some(which));
        assert_eq!(
            known(KnownSend::Before),
            Look::Absent,
            "it was answered for before the attempt, whatever its stamp"
        );
        assert_eq!(known(KnownSend::Sometime), Look::OutOfReach);
    }

    fn ruled(look: &Look, before: Looks, policy: OnDoubt, age: i64) -> Ruling {
        rule(look, before, policy, (MARKED, Millis::seconds(60), MARKED + Millis(age)))
    }

    #[test]
    fn silence_is_proof_only_the_second_time_and_whatever_the_policy() {
        for policy in [OnDoubt::Hold, OnDoubt::Resend, OnDoubt::Drop] {
            let first = ruled(&Look::Absent, Looks::default(), policy, 60_000);
            assert_eq!(first, Ruling::LookAgain(MARKED + Millis(120_000)));
            let out_of_reach = Looks { out_of_reach: 1, failed: 4, ..Looks::default() };
            assert!(matches!(ruled(&Look::Absent, out_of_reach, policy, 60_000), Ruling::LookAgain(_)));
            assert_ne!(ruled(&Look::Earlier, out_of_reach, policy, 60_000), Ruling::Unsent);
            let once = Looks { absent: 1, ..Looks::default() };
            assert_eq!(ruled(&Look::Absent, once, policy, 120_000), Ruling::Unsent);
            assert_eq!(ruled(&Look::Found { gateway_id: "D".into() }, once, policy, 1), Ruling::Sent);
        }
    }

    #[test]
    fn what_nothing_settles_is_left_to_the_policy() {
        let policies =
            [(OnDoubt::Hold, Ruling::Wait), (OnDoubt::Resend, Ruling::Resend), (OnDoubt::Drop, Ruling::Drop)];
        for (policy, ruling) in policies {
            assert_eq!(ruled(&Look::Several(2), Looks::default(), policy, 1), ruling);
            assert_eq!(ruled(&Look::Indistinct, Looks::default(), policy, 1), ruling);
            let once = Looks { out_of_reach: 1, ..Looks::default() };
            assert_eq!(ruled(&Look::OutOfReach, once, policy, 1), ruling);
            let failed = |n| Looks { failed: n, ..Looks::default() };
            assert!(matches!(ruled(&Look::Unavailable, failed(3), policy, 1), Ruling::LookAgain(_)));
            let last = ruled(&Look::Unavailable, failed(4), policy, 1);
            match policy {
                OnDoubt::Hold => assert_eq!(last, Ruling::LookAgain(MARKED + Millis(600_001))),
                OnDoubt::Resend | OnDoubt::Drop => assert_eq!(last, ruling),
            }
        }
        let week = GIVEN_UP_AFTER.0;
        let failed = Looks { failed: 900, ..Looks::default() };
        assert_eq!(ruled(&Look::Unavailable, failed, OnDoubt::Hold, week), Ruling::Wait);
        assert!(matches!(ruled(&Look::Unavailable, failed, OnDoubt::Hold, week - 1), Ruling::LookAgain(_)));
    }
}
