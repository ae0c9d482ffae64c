//! Which of several words about being written to counts: the later one by its own instant, in whatever order and however
//! often they are told.

use crate::domain::consent::{Consent, ConsentSource};
use crate::domain::doubt::CLOCK_SLACK;
use crate::domain::time::Timestamp;

/// A word about being written to, as far as it decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word {
    /// What it says.
    pub verdict: Consent,
    /// Who said it.
    pub source: ConsentSource,
    /// When it was said; `None` where nobody knows, which is earlier than everything that is known.
    pub said_at: Option<Timestamp>,
    /// Whether an opt-in of the recipient also lifts what a person set.
    pub lifts_manual: bool,
}

/// What follows from all words about one chat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Whether the recipient's own opt-out is in force.
    pub own_out: bool,
    /// Whose opt-out for the recipient is in force: a person's, or that of a file.
    pub manual_out: Option<ConsentSource>,
    /// Whose opt-in is in force. There is none while an opt-out is.
    pub opted_in: Option<ConsentSource>,
}

/// What a word changed when it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// How the chat stands.
    Changed,
    /// Nothing: it says what stood already.
    Again,
    /// Nothing: another word is later, or counts for more.
    Overruled,
}

impl Effect {
    /// The word it is stored under.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Changed => "changed",
            Effect::Again => "again",
            Effect::Overruled => "overruled",
        }
    }
}

/// The instant by which a recipient's word is compared, from the stamp that the network gave it, if any. A stamp further
/// ahead than clocks are off would win for ever: it counts as `now`. Silence wins over speech: an opt-out without a stamp is said
/// now, an opt-in without one at no known instant.
pub fn said_at(verdict: Consent, stamp: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    match (stamp, verdict) {
        (Some(stamp), _) if stamp > now + CLOCK_SLACK => Some(now),
        (Some(stamp), _) => Some(stamp),
        (None, Consent::Out) => Some(now),
        (None, Consent::In) => None,
    }
}

impl Word {
    /// Its instant as it is compared. A stamp of whole seconds may have been said up to the end of its second, and an
    /// opt-out is taken to be.
    fn compared_at(&self) -> Option<Timestamp> {
        let by_end_of_second = self.verdict == Consent::Out && self.source == ConsentSource::Keyword;
        self.said_at.map(|at| if by_end_of_second && at.0 % 1_000 == 0 { Timestamp(at.0 + 999) } else { at })
    }
}

/// The instant of a person's word: they know all that was told before, so it is the latest, also where a clock was set back.
pub fn latest_of(words: &[Word], now: Timestamp) -> Timestamp {
    let told = words.iter().filter_map(Word::compared_at).max();
    told.map_or(now, |told| now.max(Timestamp(told.0.saturating_add(1))))
}

/// How a chat stands by all that was said about it, whatever the order of `words`.
pub fn standing(words: &[Word]) -> Standing {
    use Consent::{In, Out};
    use ConsentSource::{Import, Keyword, Person};
    // What a person takes back is taken back whoever said it; what the recipient takes back was said by them.
    let own = latest(words, |w| matches!((w.source, w.verdict), (Keyword, _) | (Person, In)));
    let manual = latest(words, |w| match (w.source, w.verdict) {
        (Person, _) | (Import, Out) => true,
        (Keyword, In) => w.lifts_manual,
        (Keyword, Out) | (Import, In) => false,
    });
    // That a person takes an opt-out back is not the recipient's own wish.
    let wish = latest(words, |w| (w.source, w.verdict) != (Person, In));
    let own_out = own.is_some_and(|w| w.verdict == Out);
    let manual_out = manual.filter(|w| w.verdict == Out).map(|w| w.source);
    let silenced = own_out || manual_out.is_some();
    let opted_in = wish.filter(|w| w.verdict == In && !silenced).map(|w| w.source);
    Standing { own_out, manual_out, opted_in }
}

/// The latest of some words; of those at one instant an opt-out.
fn latest(words: &[Word], of: impl Fn(&Word) -> bool) -> Option<Word> {
    words.iter().filter(|w| of(w)).max_by_key(|w| (w.compared_at(), w.verdict == Consent::Out)).copied()
}

impl Standing {
    /// Who silenced the chat: it is not to be written to. What a person set stands before the recipient's own word, since
    /// it takes more to lift it.
    pub fn silenced_by(&self) -> Option<ConsentSource> {
        self.manual_out.or(self.own_out.then_some(ConsentSource::Keyword))
    }

    /// What a word that made `after` of this standing changed.
    pub fn effect(&self, verdict: Consent, after: &Standing) -> Effect {
        let stood = match verdict {
            Consent::Out => self.silenced_by().is_some(),
            Consent::In => self.opted_in.is_some(),
        };
        match (self == after, stood) {
            (false, _) => Effect::Changed,
            (true, true) => Effect::Again,
            (true, false) => Effect::Overruled,
        }
    }

    /// Whether the recipient is told that their word counts: it silences or opens what it did not before.
    pub fn is_news(&self, verdict: Consent, after: &Standing) -> bool {
        let (was, is) = (self.silenced_by().is_some(), after.silenced_by().is_some());
        match verdict {
            Consent::Out => !was && is,
            Consent::In => was && !is || self.opted_in.is_none() && after.opted_in.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Millis;

    const NOON: Timestamp = Timestamp(1_760_000_000_000);

    fn word(verdict: Consent, source: ConsentSource, second: i64) -> Word {
        Word { verdict, source, said_at: Some(Timestamp(NOON.0 + second * 1_000)), lifts_manual: false }
    }

    fn stop(second: i64) -> Word {
        word(Consent::Out, ConsentSource::Keyword, second)
    }

    fn start(second: i64) -> Word {
        word(Consent::In, ConsentSource::Keyword, second)
    }

    fn by_person(verdict: Consent, second: i64) -> Word {
        word(verdict, ConsentSource::Person, second)
    }

    fn silenced(words: &[Word]) -> Option<ConsentSource> {
        let mut turned = words.to_vec();
        turned.reverse();
        assert_eq!(standing(words), standing(&turned), "in whatever order they are told");
        standing(words).silenced_by()
    }

    #[test]
    fn the_later_word_counts_and_of_two_at_one_instant_the_opt_out() {
        use ConsentSource::Keyword;
        assert_eq!(silenced(&[stop(0), start(1)]), None);
        assert_eq!(silenced(&[stop(1), start(0)]), Some(Keyword));
        assert_eq!(silenced(&[stop(0), start(0)]), Some(Keyword));
        assert_eq!(silenced(&[stop(0), start(1), stop(0)]), None);
        let unknown = Word { said_at: None, ..start(0) };
        assert_eq!(silenced(&[stop(-1_000_000), unknown]), Some(Keyword), "an opt-in without an instant lifts nothing");
        assert_eq!(standing(&[unknown]).opted_in, Some(Keyword), "but counts where nothing was said against it");
        let lifted = [stop(0), by_person(Consent::In, 1), unknown];
        assert_eq!(standing(&lifted), Standing::default(), "an opt-in may be older than the opt-out that was lifted");
    }

    #[test]
    fn what_a_person_set_is_lifted_by_a_person_or_by_whom_an_instance_lets() {
        use ConsentSource::{Keyword, Person};
        assert_eq!(silenced(&[by_person(Consent::Out, 0), start(1)]), Some(Person));
        assert_eq!(silenced(&[by_person(Consent::Out, 0), stop(1), start(2)]), Some(Person));
        assert_eq!(silenced(&[stop(0), by_person(Consent::Out, 1), start(2)]), Some(Person));
        assert_eq!(silenced(&[stop(0), by_person(Consent::Out, 1), by_person(Consent::In, 2)]), None);
        assert_eq!(silenced(&[by_person(Consent::In, 2), stop(1)]), None, "it was said before the person's word");
        assert_eq!(silenced(&[by_person(Consent::In, 2), stop(3)]), Some(Keyword));
        let lifting = Word { lifts_manual: true, ..start(1) };
        assert_eq!(silenced(&[by_person(Consent::Out, 0), lifting]), None);
        assert_eq!(silenced(&[by_person(Consent::Out, 2), lifting]), Some(Person));
        assert_eq!(silenced(&[by_person(Consent::Out, 0), lifting, stop(2)]), Some(Keyword));
        let from_file = word(Consent::Out, ConsentSource::Import, 0);
        assert_eq!(silenced(&[from_file, start(1)]), Some(ConsentSource::Import), "a file is a person's word");
    }

    #[test]
    fn an_opt_in_is_the_recipient_s_own_or_a_file_s_and_ends_with_any_opt_out() {
        use ConsentSource::{Import, Keyword};
        let file = word(Consent::In, Import, 5);
        assert_eq!(standing(&[file]).opted_in, Some(Import));
        assert_eq!(standing(&[file, by_person(Consent::Out, 6), by_person(Consent::In, 7)]).opted_in, None);
        assert_eq!(
            standing(&[by_person(Consent::Out, 6), start(7), by_person(Consent::In, 8)]).opted_in,
            Some(Keyword)
        );
        assert_eq!(standing(&[file, stop(4)]).silenced_by(), Some(Keyword), "a file lifts nothing");
    }

    #[test]
    fn a_stamp_from_the_future_is_now_and_one_of_whole_seconds_lasts_to_the_end_of_its_second() {
        let ahead = |ms| Some(NOON + Millis(ms));
        assert_eq!(said_at(Consent::In, ahead(60_001), NOON), Some(NOON));
        assert_eq!(said_at(Consent::In, ahead(60_000), NOON), ahead(60_000), "a clock may be a little off");
        assert_eq!((said_at(Consent::Out, None, NOON), said_at(Consent::In, None, NOON)), (Some(NOON), None));
        let person = Word { said_at: ahead(300), ..by_person(Consent::In, 0) };
        assert_eq!(silenced(&[person, stop(0)]), Some(ConsentSource::Keyword), "it may have been said after that");
        let knowing = Word { said_at: Some(latest_of(&[stop(0)], NOON + Millis(300))), ..person };
        assert_eq!(silenced(&[knowing, stop(0)]), None, "a person knows what was told before");
    }
}
