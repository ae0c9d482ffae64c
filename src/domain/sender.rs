//! Which account writes to a recipient, where a job goes through several: always the same one.

use std::collections::HashMap;

use crate::domain::draw::Draw;
use crate::domain::id::InstanceName;
use crate::domain::recipient::Chat;

/// Which accounts wrote to whom before, by chat, the latest first.
pub type Senders = HashMap<Chat, Vec<InstanceName>>;

/// The account that writes to a chat: of them the one that did last, `before` being those who did, the latest first, else the one that a draw for each of
/// them gives the highest number (rendezvous hashing), so that one account more takes over its part of the chats and no other
/// chat moves. `None` only of none.
pub fn sender_of<'p>(
    pool: impl Iterator<Item = &'p InstanceName> + Clone,
    chat: &Chat,
    before: &[InstanceName],
) -> Option<&'p InstanceName> {
    let known = before.iter().find_map(|was| pool.clone().find(|name| *name == was));
    let drawn =
        |name: &InstanceName| Draw::new(0, "sender").with_text(&name.0).with_text(chat.as_str()).between(0, i64::MAX);
    known.or_else(|| pool.max_by_key(|name| drawn(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<InstanceName> {
        all.iter().map(|n| InstanceName::new(n)).collect()
    }

    fn chat(n: u32) -> Chat {
        Chat::from_stored(&format!("2010000{n:05}@c.us"))
    }

    #[test]
    fn chats_are_shared_evenly_and_one_account_more_takes_only_its_part() {
        let (three, four) = (names(&["a", "b", "c"]), names(&["c", "a", "d", "b"]));
        let mut counts = std::collections::BTreeMap::<&str, u32>::new();
        for n in 0..9_000 {
            let before = sender_of(three.iter(), &chat(n), &[]).unwrap();
            let after = sender_of(four.iter(), &chat(n), &[]).unwrap();
            assert!(after == before || &*after.0 == "d", "{n} moved from {before} to {after}");
            assert_eq!(
                sender_of(four.iter(), &chat(n), std::slice::from_ref(before)),
                four.iter().find(|f| *f == before),
                "it stays"
            );
            *counts.entry(&before.0).or_default() += 1;
            *counts.entry(if &*after.0 == "d" { "d" } else { "stayed" }).or_default() += 1;
        }
        assert!(["a", "b", "c"].iter().all(|n| counts[n].abs_diff(3_000) < 200), "{counts:?}");
        assert!(counts["d"].abs_diff(2_250) < 200, "{counts:?}");
    }

    #[test]
    fn of_several_that_wrote_before_the_latest_of_the_job_goes_on() {
        let (pool, wrote) = (names(&["a", "b", "e"]), names(&["c", "b", "a"]));
        assert!((0..100).all(|n| sender_of(pool.iter(), &chat(n), &wrote) == Some(&pool[1])));
    }

    #[test]
    fn who_was_written_to_by_an_account_that_is_gone_gets_another_one() {
        let (pool, gone) = (names(&["a", "b"]), InstanceName::new("z"));
        assert!(sender_of(pool.iter(), &chat(1), std::slice::from_ref(&gone)).is_some());
        assert_eq!(sender_of([].iter(), &chat(1), &[]), None);
    }
}
