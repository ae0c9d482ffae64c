//! Whom a message is for: an address read once, strictly. A wrong recipient is the worst bug such a tool can have,
//! so nothing is guessed: what is not clearly an address is refused with what to write instead.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::country::Country;
use crate::domain::wording::is_invisible;

/// A chat as its gateway names it, such as `491701234567@c.us`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chat(pub Arc<str>);

impl Chat {
    /// Wraps an address that was parsed before, such as one read back from the database.
    pub fn from_stored(address: &str) -> Chat {
        Chat(Arc::from(address))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a chat of two, with one person, and neither a group nor a channel.
    pub fn is_of_two(&self) -> bool {
        self.0.ends_with("@c.us") || self.0.ends_with("@lid")
    }

    /// Whether it is a channel: what is written there is written to everybody by whoever keeps it.
    pub fn is_channel(&self) -> bool {
        self.0.ends_with("@newsletter")
    }
}

impl fmt::Display for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Begins what stands in place of a chat that was forgotten.
pub const FORGOTTEN: &str = "erased-";

/// Whether a stored chat stands for somebody who was forgotten.
pub fn is_forgotten(chat: &str) -> bool {
    chat.starts_with(FORGOTTEN)
}

/// Why an address was refused, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' is not an address this gateway can take: {reason}")]
pub struct AddressError {
    /// What was written, cut to 80 characters.
    pub given: String,
    /// What is wrong with it and what is expected.
    pub reason: &'static str,
}

/// Shortest and longest international number: E.164 allows 15 digits; no country hands out fewer than 7.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Longest id part of a group, newsletter or LID that is accepted, in bytes.
const ID_LIMIT: usize = 64;

/// Reads a WhatsApp address: `<digits>@c.us`, `<id>@g.us`, `<id>@newsletter`, `<digits>@lid` (kept verbatim), bare
/// international digits, or `+49 170 1234567` with spaces, dots, dashes or parentheses (normalised to `…@c.us`).
///
/// # Errors
/// [`AddressError`] for everything else, saying what to write.
pub fn parse_whatsapp(given: &str) -> Result<Chat, AddressError> {
    let refuse = |reason| AddressError { given: given.chars().take(80).collect(), reason };
    let text = given.trim();
    if text.is_empty() {
        return Err(refuse("it is empty"));
    }
    match text.split_once('@') {
        Some((id, server)) => parse_with_server(id, server).map_err(refuse),
        None => parse_number(text).map(|digits| Chat(format!("{digits}@c.us").into())).map_err(refuse),
    }
}

/// Reads a WhatsApp address as [`parse_whatsapp`] does, and a number without its country code as it is dialled in a country.
///
/// # Errors
/// [`AddressError`] saying what to write.
pub fn parse_whatsapp_in(given: &str, country: Country) -> Result<Chat, AddressError> {
    match country.dialled(given) {
        None => parse_whatsapp(given),
        Some(Ok(digits)) => Ok(Chat(format!("{digits}@c.us").into())),
        Some(Err(reason)) => Err(AddressError { given: given.trim().chars().take(80).collect(), reason }),
    }
}

/// Reads a WhatsApp address as a gateway tells it: the one door for every chat that comes in, so that it is named as the rows of
/// messages name it. Beside what [`parse_whatsapp`] reads, a number may have the device it was written with
/// (`4917…:12@c.us`), WhatsApp's own server (`@s.whatsapp.net`), capitals, spaces, invisible marks and no `+`: what a gateway tells
/// always has its country code.
///
/// # Errors
/// [`AddressError`] for what is no chat that could be written to.
pub fn parse_whatsapp_told(given: &str) -> Result<Chat, AddressError> {
    let refuse = |reason| AddressError { given: given.chars().take(80).collect(), reason };
    let text: String = given.chars().filter(|c| !c.is_whitespace() && !is_invisible(*c)).collect();
    let (id, server) = text.split_once('@').unwrap_or((&text, "c.us"));
    match server.to_ascii_lowercase().as_str() {
        "c.us" | "s.whatsapp.net" => {
            let number = if text.contains('@') { without_agent(without_device(id)) } else { without_device(id) };
            let digits = parse_number(&format!("+{}", number.strip_prefix('+').unwrap_or(number))).map_err(refuse)?;
            Ok(Chat(format!("{digits}@c.us").into()))
        }
        "lid" => parse_with_server(without_device(id), "lid").map_err(refuse),
        server => parse_with_server(id, server).map_err(refuse),
    }
}

/// The user of `user:device`; before the colon some engines also tell an agent, as in `user.0:device` or `user_1:device`.
fn without_device(id: &str) -> &str {
    match id.split_once(':') {
        Some((user, device)) if !device.is_empty() && device.bytes().all(|b| b.is_ascii_digit()) => {
            user.split(['.', '_']).next().unwrap_or(user)
        }
        _ => id,
    }
}

/// The user of `user.agent`. To read the agent as digits of the number would name somebody else.
fn without_agent(id: &str) -> &str {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    match id.split_once('.') {
        Some((user, agent)) if matches!(agent.len(), 1 | 2) && digits(agent) && digits(user) && user.len() >= 7 => user,
        _ => id,
    }
}

fn parse_with_server(id: &str, server: &str) -> Result<Chat, &'static str> {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if id.len() > ID_LIMIT {
        return Err("the part before the @ is too long");
    }
    match server {
        "c.us" if !digits(id) => Err("before @c.us only the digits of an international number may stand"),
        "c.us" if !NUMBER_DIGITS.contains(&id.len()) => Err("an international number has 7 to 15 digits"),
        "c.us" if id.starts_with('0') => Err("an international number begins with its country code, never with 0"),
        "c.us" => Ok(Chat(format!("{id}@c.us").into())),
        "g.us" if id.split('-').all(digits) && id.split('-').count() <= 2 => Ok(Chat(format!("{id}@g.us").into())),
        "g.us" => Err("a group id is digits, or digits-digits, before @g.us"),
        "newsletter" | "lid" if digits(id) => Ok(Chat(format!("{id}@{server}").into())),
        "newsletter" => Err("a newsletter id is digits before @newsletter"),
        "lid" => Err("a LID is digits before @lid"),
        "s.whatsapp.net" => Err("write @c.us instead of @s.whatsapp.net"),
        _ => Err("after the @ one of c.us, g.us, newsletter or lid is expected"),
    }
}

/// Reads an international number strictly: bare digits, or with a leading + also spaces, dots, dashes and parentheses.
/// Answers its digits.
///
/// # Errors
/// What to write instead.
pub fn parse_number(text: &str) -> Result<String, &'static str> {
    let (plus, rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut digits = String::with_capacity(rest.len());
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '.' | '-' | '(' | ')' | '\u{a0}' if plus => {}
            c if c.is_alphabetic() => return Err("a number holds no letters"),
            _ if plus => return Err("after the + only digits, spaces, dots, dashes and parentheses may stand"),
            _ => return Err("write +<country code> <number>, or the bare digits of an international number"),
        }
    }
    if rest.ends_with(".0") && rest.matches('.').count() == 1 {
        return Err("it ends in .0, as a number that was calculated with; write its digits alone");
    }
    if digits.starts_with("00") {
        return Err("write + instead of the leading 00");
    }
    if digits.starts_with('0') {
        return Err("write the number with its country code, such as +49 170 1234567");
    }
    if rest.contains("(0)") {
        return Err("leave out the (0): it is not dialled from abroad");
    }
    if !NUMBER_DIGITS.contains(&digits.len()) {
        return Err("an international number has 7 to 15 digits");
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (given, chat) in [
            ("201234567890@c.us", "201234567890@c.us"),
            ("120363025246125486@g.us", "120363025246125486@g.us"),
            ("4917012345-1600000000@g.us", "4917012345-1600000000@g.us"),
            ("120363025246125486@newsletter", "120363025246125486@newsletter"),
            ("98765432101234@lid", "98765432101234@lid"),
            ("201234567890", "201234567890@c.us"),
            ("+49 170 1234567", "491701234567@c.us"),
            (" +49 (170) 123-45.67 ", "491701234567@c.us"),
        ] {
            assert_eq!(parse_whatsapp(given).unwrap().as_str(), chat, "{given}");
        }
    }

    #[test]
    fn a_chat_that_a_gateway_tells_has_the_name_of_its_messages() {
        for given in [
            "491701234567@c.us",
            "491701234567",
            "491701234567:12@c.us",
            "491701234567:0@s.whatsapp.net",
            "491701234567.0:12@s.whatsapp.net",
            "491701234567_1:12@s.whatsapp.net",
            "491701234567.1@c.us",
            "491701234567.12@s.whatsapp.net",
            "491701234567.0@c.us",
            "+49.170.1234567@c.us",
            "491701234567@s.whatsapp.net",
            "491701234567@C.US",
            "491701234567@S.WhatsApp.Net",
            "+491701234567@c.us",
            "+49 170 1234567",
            "49 170 1234567",
            "+49 (170) 123-45.67",
            " 491701234567@c.us\n",
            "\u{202a}+49\u{a0}170\u{a0}1234567\u{202c}",
            "\u{feff}491701234567\u{200b}@c.us",
        ] {
            assert_eq!(parse_whatsapp_told(given).unwrap().as_str(), "491701234567@c.us", "{given:?}");
        }
        for (given, chat) in [
            ("120363025246125486@G.us", "120363025246125486@g.us"),
            ("4917012345-1600000000@g.us", "4917012345-1600000000@g.us"),
            ("120363025246125486@newsletter", "120363025246125486@newsletter"),
            ("98765432101234:7@lid", "98765432101234@lid"),
            ("98765432101234@lid", "98765432101234@lid"),
        ] {
            assert_eq!(parse_whatsapp_told(given).unwrap().as_str(), chat);
        }
        for given in [
            "",
            "@c.us",
            "0@c.us",
            "01701234567@c.us",
            "491701234567.0",
            "491701234567:x@c.us",
            "status@broadcast",
            "Ada@c.us",
            "49170@c.us",
            "491701234567@x.y",
        ] {
            assert!(parse_whatsapp_told(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn what_is_not_clearly_an_address_is_refused() {
        for given in [
            "",
            "hello",
            "0170 1234567",
            "00491701234567",
            "+33 67a829916",
            "12345",
            "+49 (0)170 1234567",
            "1234567890123456",
            "49 170 1234567",
            "201234567890@s.whatsapp.net",
            "+491701234567@c.us",
            "x@g.us",
            "status@broadcast",
            "@c.us",
            "201234567890@",
            "1@2@c.us",
            "٢٠١٢٣٤٥٦٧٨٩٠",
        ] {
            assert!(parse_whatsapp(given).is_err(), "{given}");
        }
    }
}
