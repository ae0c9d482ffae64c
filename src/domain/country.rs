//! The country of a phone number, by Google's numbering plans.

use rlibphonenumber::PhoneNumber;

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

#[cfg(test)]
mod tests {
    use super::*;

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
