//! The country of a phone number, by Google's numbering plans.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};

use crate::domain::recipient::Chat;

/// The country (ISO 3166, two letters) in which a WhatsApp number was given out. `None` for groups and other chats that
/// are no number, and for numbers that no country hands out.
pub fn of(chat: &Chat) -> Option<String> {
    let (digits, server) = chat.as_str().split_once('@')?;
    if server != "c.us" {
        return None;
    }
    let number: PhoneNumber = format!("+{digits}").parse().ok()?;
    let code = number.get_region_code()?.to_string();
    // What belongs to no country, such as satellite phones, has a code of digits.
    (code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())).then_some(code)
}

/// A country by its code (ISO 3166, two letters): the one in which numbers without a country code are dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Country(Region);

impl Country {
    /// The country of a code.
    ///
    /// # Errors
    /// What is expected.
    pub fn from_code(code: &str) -> Result<Country, String> {
        let known = code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic());
        let region = known.then(|| Region::from_code(&code.to_ascii_uppercase()).ok()).flatten();
        let region = region.filter(|r| PHONE_NUMBER_UTIL.get_supported_regions().any(|known| known == *r));
        region.map(Country).ok_or_else(|| format!("'{code}' is no country; write its two letters, such as DE"))
    }

    /// The digits of a number as it is dialled from abroad, where it is written as one dials it in this country: digits with
    /// spaces, dots, dashes, slashes and parentheses. `None` where the text is written in another way, such as with a +.
    ///
    /// # Errors
    /// What to write instead: where the country hands out no such number, or the digits could be read in two ways.
    pub fn dialled(self, text: &str) -> Option<Result<String, &'static str>> {
        let text = text.trim();
        let written = |c: char| matches!(c, '0'..='9' | ' ' | '.' | '-' | '/' | '(' | ')' | '\u{a0}');
        if text.is_empty() || text.contains("(0)") || !text.chars().all(written) {
            return None;
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let valid = |number: PhoneNumber| number.is_valid().then(|| number.to_string());
        // Without the country's own prefix (a 0, an 8) it is dialled only where there is none.
        let as_dialled = |number: &PhoneNumber| {
            let national = number.format_as(PhoneNumberFormat::National);
            digits.starts_with('0') || national.chars().filter(char::is_ascii_digit).eq(digits.chars())
        };
        let home = PhoneNumber::parse(&digits, Some(self.0)).ok().filter(as_dialled).and_then(valid);
        let abroad = format!("+{digits}").parse().ok().and_then(valid);
        Some(match (home, abroad) {
            (Some(home), Some(abroad)) if home != abroad => {
                Err("these digits are a number of the country and one with its country code; write it with a +")
            }
            (Some(number), _) | (None, Some(number)) => Ok(number.trim_start_matches('+').to_owned()),
            (None, None) => Err("the country hands out no such number"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_is_dialled_in_its_country_and_never_guessed() {
        let dialled = |country: &str, text: &str| Country::from_code(country).unwrap().dialled(text);
        let read = |country: &str, text: &str| dialled(country, text).and_then(Result::ok);
        assert_eq!(read("DE", "0170 1234567").as_deref(), Some("491701234567"));
        assert_eq!(read("de", "(0170) 123-45/67").as_deref(), Some("491701234567"));
        assert_eq!(read("DE", "00491701234567").as_deref(), Some("491701234567"));
        assert_eq!(read("IT", "393401234567").as_deref(), Some("393401234567"), "with its country code");
        assert_eq!(read("DE", "491701234567").as_deref(), Some("491701234567"), "in Germany a 0 comes first");
        assert_eq!(read("DE", "201234567890").as_deref(), Some("201234567890"), "also of another country");
        assert_eq!(read("RU", "8 (912) 345-67-89").as_deref(), Some("79123456789"));
        assert_eq!(read("IT", "340 1234567").as_deref(), Some("393401234567"));
        assert_eq!(read("US", "(212) 555-0123").as_deref(), Some("12125550123"));
        assert!(matches!(dialled("DE", "0170"), Some(Err(_))));
        assert!(matches!(dialled("DE", "99"), Some(Err(_))));
        for other in ["+49 170 1234567", "491701234567@c.us", "", "0170 12345x7", "0049 (0)170 1234567"] {
            assert_eq!(dialled("DE", other), None, "{other}: is read as everywhere else");
        }
        for wrong in ["", "D", "XX", "DEU", "1"] {
            assert!(Country::from_code(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_tell_their_country_and_other_chats_tell_none() {
        let country = |chat: &str| of(&Chat::from_stored(chat));
        assert_eq!(country("491701234567@c.us").as_deref(), Some("DE"));
        assert_eq!(country("201234567890@c.us").as_deref(), Some("EG"));
        assert_eq!(country("12125550123@c.us").as_deref(), Some("US"));
        assert_eq!(country("14165550123@c.us").as_deref(), Some("CA"));
        assert_eq!(country("393401234567@c.us").as_deref(), Some("IT"));
        for none in ["120363025246125486@g.us", "1234567@lid", "9991234567@c.us", "8816123456@c.us"] {
            assert_eq!(country(none), None, "{none}");
        }
    }
}
