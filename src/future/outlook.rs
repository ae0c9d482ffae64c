//! What another definition of a job means for its coming messages: which are added, moved, cancelled.

use std::collections::HashSet;
use std::iter::Peekable;

use jiff::tz::TimeZone;

use crate::domain::job::Job;
use crate::domain::time::Timestamp;
use crate::store::Recipient;

/// Moves told of one job; the rest is only counted.
const TOLD: usize = 5;

/// An occurrence that moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// Where it was.
    pub from: Timestamp,
    /// Where it goes.
    pub to: Timestamp,
}

/// What becomes of a job's coming messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outlook {
    /// Messages that stay where they are.
    pub stays: u64,
    /// Whether what those say, or how they are sent, changes.
    pub differs: bool,
    /// Messages that are new.
    pub adds: u64,
    /// Messages that get another instant.
    pub moves: u64,
    /// Messages that are cancelled.
    pub cancels: u64,
    /// The first occurrences that move.
    pub first_moves: Vec<Move>,
}

/// A definition of a job with what its occurrences are worked out from.
#[derive(Clone, Copy, Debug)]
pub struct Side<'s> {
    /// The definition.
    pub job: &'s Job,
    /// The zone of its schedule.
    pub zone: &'s TimeZone,
    /// When the job entered the database.
    pub first_applied: Timestamp,
    /// Only occurrences after it count.
    pub after: Timestamp,
}

/// How many messages an occurrence has before and after the change, and how many of them are the same.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    old: u64,
    new: u64,
    both: u64,
}

/// Who gets the messages, before and after. Where the list is the same one, its length is enough.
#[derive(Clone, Copy, Debug)]
pub enum Audience<'s> {
    /// The same list.
    Same(u64),
    /// Two lists.
    Two(&'s [Recipient], &'s [Recipient]),
}

/// Compares two definitions up to `until`; without one of them everything is new, or everything is cancelled.
pub fn outlook(old: Option<Side<'_>>, new: Option<Side<'_>>, audience: Audience<'_>, until: Timestamp) -> Outlook {
    let steps = |side: &Option<Side<'_>>| side.map_or(0, |s| u64::try_from(s.job.steps()).unwrap_or(1));
    let (old_steps, new_steps) = (steps(&old), steps(&new));
    let (before, after, both) = match audience {
        Audience::Same(n) => (n, n, n),
        Audience::Two(old, new) => {
            let known: HashSet<&str> = old.iter().map(|r| r.chat.as_str()).collect();
            let both = new.iter().filter(|r| known.contains(r.chat.as_str())).count();
            (count(old.len()), count(new.len()), count(both))
        }
    };
    let sizes = Sizes { old: before * old_steps, new: after * new_steps, both: both * old_steps.min(new_steps) };
    let same = match (&old, &new) {
        (Some(a), Some(b)) => {
            (&a.job.content, &a.job.then, &a.job.weights, &a.job.after, &a.job.manner)
                == (&b.job.content, &b.job.then, &b.job.weights, &b.job.after, &b.job.manner)
        }
        _ => true,
    };
    let mut outlook = Outlook { differs: !same, ..Outlook::default() };
    compare(times(old, until).peekable(), times(new, until).peekable(), sizes, &mut outlook);
    outlook
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn times<'s>(side: Option<Side<'s>>, until: Timestamp) -> Box<dyn Iterator<Item = Timestamp> + 's> {
    match side {
        None => Box::new(std::iter::empty()),
        Some(s) => Box::new(s.job.schedule.all_after(s.after, s.first_applied, s.zone).take_while(move |t| *t < until)),
    }
}

/// Walks both rows of occurrences at once: the k-th that only the old one has becomes the k-th that only the new one
/// has.
fn compare(
    mut old: Peekable<impl Iterator<Item = Timestamp>>,
    mut new: Peekable<impl Iterator<Item = Timestamp>>,
    sizes: Sizes,
    outlook: &mut Outlook,
) {
    let (mut gone, mut come) = (0_u64, 0_u64);
    let (mut first_gone, mut first_come) = (Vec::new(), Vec::new());
    loop {
        let (a, b) = (old.peek().copied(), new.peek().copied());
        match (a, b) {
            (None, None) => break,
            (Some(x), Some(y)) if x == y => {
                old.next();
                new.next();
                outlook.stays += sizes.both;
                outlook.adds += sizes.new - sizes.both;
                outlook.cancels += sizes.old - sizes.both;
            }
            (Some(x), y) if y.is_none_or(|y| x < y) => {
                old.next();
                gone += 1;
                if first_gone.len() < TOLD {
                    first_gone.push(x);
                }
            }
            (_, Some(y)) => {
                new.next();
                come += 1;
                if first_come.len() < TOLD {
                    first_come.push(y);
                }
            }
            (Some(_), None) => break,
        }
    }
    let moved = gone.min(come);
    outlook.moves = moved * sizes.both;
    outlook.adds += moved * (sizes.new - sizes.both) + (come - moved) * sizes.new;
    outlook.cancels += moved * (sizes.old - sizes.both) + (gone - moved) * sizes.old;
    outlook.first_moves = first_gone.into_iter().zip(first_come).map(|(from, to)| Move { from, to }).collect();
}
