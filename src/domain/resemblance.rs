//! Whether two texts are the same message. Gateways do not tell a text as it was sent: they trim it, compose its accents, drop
//! what is not seen, escape its signs, or cut it.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::domain::wording::is_invisible;

/// A text that is cut off is told from another one that begins alike by so many letters.
const CUT_FROM: usize = 20;

/// How a text of a history stands to the one that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resemblance {
    /// It is the same.
    Same,
    /// It may be what is left of it: nothing, or its beginning.
    Perhaps,
    /// It is another one.
    Other,
}

/// A text to compare others with.
pub(super) struct Pattern<'a> {
    text: &'a str,
    plain: String,
}

impl Pattern<'_> {
    /// Of the text that was sent.
    pub(super) fn of(text: &str) -> Pattern<'_> {
        Pattern { text, plain: plain(text) }
    }

    /// How a text that is told stands to it.
    pub(super) fn compare(&self, told: &str) -> Resemblance {
        if told == self.text {
            return Resemblance::Same;
        }
        let told = plain(told);
        if told.is_empty() {
            return Resemblance::Perhaps;
        }
        if told == self.plain {
            return Resemblance::Same;
        }
        let uncut = told.trim_end_matches('.').trim_end();
        let is_cut = told.ends_with("...") || uncut.chars().count() >= CUT_FROM;
        if is_cut && self.plain.starts_with(uncut) { Resemblance::Perhaps } else { Resemblance::Other }
    }
}

/// A text without what gateways change of it. An ellipsis becomes three dots.
fn plain(text: &str) -> String {
    let seen: String = unescaped(text).chars().filter(|c| !is_unseen(*c)).collect();
    let whole = ComposingNormalizerBorrowed::new_nfkc().normalize(&seen);
    whole.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The five signs that XML escapes, as they are read.
fn unescaped(text: &str) -> String {
    let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#039;", "'")];
    // The ampersand comes last: what it begins is not escaped again.
    names.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(name, sign)).replace("&amp;", "&")
}

/// What is not seen, variation selectors, and control characters other than white space.
fn is_unseen(c: char) -> bool {
    is_invisible(c)
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
        || c.is_control() && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_however_a_gateway_tells_it() {
        for (sent, told) in [
            ("See you.\n", "See you."),
            ("  See you", "See you"),
            ("one\r\ntwo", "one\ntwo"),
            ("cafe\u{301}", "caf\u{e9}"),
            ("I \u{2764}\u{fe0f} it", "I \u{2764} it"),
            ("10\u{a0}EUR", "10 EUR"),
            ("one  two\tthree", "one two three"),
            ("zero\u{200b}width", "zerowidth"),
            ("Tom & \"Jo\" <3 it's", "Tom &amp; &quot;Jo&quot; &lt;3 it&#39;s"),
            ("and so on\u{2026}", "and so on..."),
            ("write &amp; for it", "write & for it"),
            ("\u{200b}", "\u{200b}"),
        ] {
            assert_eq!(Pattern::of(sent).compare(told), Resemblance::Same, "{sent:?} {told:?}");
            assert_eq!(Pattern::of(told).compare(sent), Resemblance::Same, "{told:?} {sent:?}");
        }
    }

    #[test]
    fn what_is_left_of_a_text_may_be_it() {
        let sent = Pattern::of("Your table is booked for eight o'clock.");
        for told in ["", " \n", "\u{2026}", "Your\u{2026}", "Your table...", "Your table is booked for"] {
            assert_eq!(sent.compare(told), Resemblance::Perhaps, "{told:?}");
        }
        for told in ["Your", "Your table is", "My table is booked for eight\u{2026}", "Your table is booked for nine"] {
            assert_eq!(sent.compare(told), Resemblance::Other, "{told:?}");
        }
    }
}
