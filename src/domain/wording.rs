//! What somebody wrote, as it is compared: case, accents, widths, styles and punctuation do not count.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

/// A message in small letters without accents and punctuation, its words parted by single spaces.
pub(super) fn plain(text: &str) -> String {
    // Accents are taken off first: capitals of some scripts have none (ΤΕΛΟΣ is τέλος).
    let parts = DecomposingNormalizerBorrowed::new_nfkd().normalize(text);
    let bare: String = parts.chars().filter(|c| !is_accent(*c)).collect();
    let whole = ComposingNormalizerBorrowed::new_nfkc().normalize(&bare);
    let mut said = String::new();
    for c in CaseMapper::new().fold_string(&whole).chars().filter(|c| !is_invisible(*c)) {
        match base(c) {
            c if c.is_alphanumeric() => said.push(c),
            // An apostrophe belongs to its word.
            '\'' | '’' => {}
            _ if !said.is_empty() && !said.ends_with(' ') => said.push(' '),
            _ => {}
        }
    }
    said.truncate(said.trim_end().len());
    said
}

/// Question marks as NFKC leaves them, of every script that has one of its own; full-width ones and ligatures are `?` by then.
const QUESTION_MARKS: [char; 19] = [
    '?',
    '¿',
    '‽',
    '⸘',
    '⸮',
    '⹔',
    '❓',
    '❔',
    '\u{55e}',   // Armenian
    '\u{61f}',   // Arabic
    '\u{1367}',  // Ethiopic
    '\u{1945}',  // Limbu
    '\u{2cfa}',  // Coptic, direct
    '\u{2cfb}',  // Coptic, indirect
    '\u{a60f}',  // Vai
    '\u{a6f7}',  // Bamum
    '\u{11143}', // Chakma
    '\u{1e95f}', // Adlam
    '\u{37e}',   // Greek, where nothing was normalised
];

/// Whether a text asks. Greek asks with a semicolon, which is also what its own mark becomes on the way.
pub(super) fn asks(text: &str) -> bool {
    let whole = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let is_greek = |c| matches!(c, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}') && c != ';';
    text.contains(QUESTION_MARKS) || whole.contains(QUESTION_MARKS) || whole.contains(';') && whole.contains(is_greek)
}

/// What is written and not seen: joiners, marks of direction, a byte order mark, soft hyphens.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Accents that stand by themselves, Arabic vowels, and the stretching of a word.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{65f}' | '\u{640}')
}

/// The plain letter of one that Unicode takes for another letter, and people do not.
fn base(c: char) -> char {
    match c {
        // Alef with wasla.
        'ٱ' => 'ا',
        // The capital of both Turkish letters is written I on other keyboards.
        'ı' => 'i',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_same_however_it_was_typed() {
        for (one, other) in [
            ("ΤΕΛΟΣ", "τέλος"),
            ("τελοσ", "τέλος"),
            ("Désinscription", "De\u{301}sinscription"),
            ("SCHLUSS", "Schluß"),
            ("ＳＴＯＰ", "stop"),
            ("𝐒𝐓𝐎𝐏 Ⓢⓣⓞⓟ", "stop stop"),
            ("ÇIKIŞ", "çıkış"),
            ("İPTAL", "iptal"),
            ("ſtop", "STOP"),
            ("\u{202a}ст\u{200d}оп\u{202c}", "СТОП"),
            ("ｶﾞ", "ガ"),
        ] {
            assert_eq!(plain(one), plain(other), "{one}");
        }
        assert_ne!(plain("か"), plain("が"), "a voiced sound is another one");
    }

    #[test]
    fn every_script_has_its_way_to_ask() {
        for text in ["STOP?", "STOP？", "STOP﹖", "STOP⁇", "STOP⁉", "¿STOP", "توقف؟", "STOP՞", "ቁም፧", "STOP\u{37e}"]
        {
            assert!(asks(text), "{text}");
        }
        assert!(asks("ΤΕΛΟΣ;") && asks("τέλος \u{37e}") && asks("STOP ❓"));
        assert!(!asks("STOP;") && !asks("τέλος.") && !asks("STOP!"));
    }
}
