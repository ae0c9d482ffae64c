//! Reading what Wawp answers. Its engine is hidden, so there are four shapes of success, and errors come with any
//! status, 200 included.

use serde_json::Value;

use crate::domain::ack::Ack;
use crate::domain::time::{Millis, Timestamp};

/// Codes that mean: refused for good, surely not sent. Of these only the parameter errors are documented; the rest
/// are the names the same engine's other front ends use.
const REFUSALS: [&str; 10] = [
    "missing_parameter",
    "missing_parameters",
    "invalid_parameter",
    "invalid_format",
    "rest_missing_callback_param",
    "rest_invalid_param",
    "number_not_on_whatsapp",
    "number_not_exists",
    "invalid_number",
    "not_on_whatsapp",
];

/// An error told in a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AnswerError {
    code: String,
    message: String,
}

impl AnswerError {
    /// The session is logged out or unknown.
    pub(super) fn is_invalid_session(&self) -> bool {
        self.code == "invalid_session"
    }

    /// What stands behind the gateway failed, and may have done it.
    pub(super) fn is_upstream(&self) -> bool {
        self.code == "wawp_upstream_error"
    }

    /// Surely not sent, and never to be.
    pub(super) fn is_known_refusal(&self) -> bool {
        REFUSALS.contains(&self.code.as_str())
    }

    /// Code and message for a person.
    pub(super) fn words(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// The error of a body, if it tells one.
pub(super) fn error(value: &Value) -> Option<AnswerError> {
    let object = value.as_object()?;
    let text = |key: &str| match object.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    if object.contains_key("wawp_upstream_error") {
        return Some(AnswerError { code: "wawp_upstream_error".to_owned(), message: text("wawp_upstream_error") });
    }
    let failed = object.get("success") == Some(&Value::Bool(false));
    let has_error = object.get("error").is_some_and(|e| !e.is_null() && *e != Value::Bool(false));
    let code = object.get("code").is_some_and(|c| !c.is_null());
    if !(failed || has_error || code) {
        return None;
    }
    let message = if object.contains_key("message") { text("message") } else { text("error") };
    Some(AnswerError { code: text("code"), message })
}

/// The bare message id of a success: the key by which every later ack is joined.
pub(super) fn gateway_id(value: &Value) -> Option<String> {
    let text = |v: &Value| v.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let of_id =
        |id: &Value| text(id).or_else(|| ["_serialized", "$1", "id"].iter().find_map(|k| id.get(k).and_then(text)));
    let found = value
        .get("id")
        .and_then(of_id)
        .or_else(|| value.pointer("/key/id").and_then(text))
        .or_else(|| value.get("message_id").and_then(text))
        .or_else(|| value.pointer("/_data/id").and_then(of_id))
        .or_else(|| value.pointer("/_data/Info/ID").and_then(text))?;
    Some(bare_id(&found)).filter(|id| !id.is_empty())
}

/// The bare id inside a serialized one: `true_<chat>_<ID>[_<participant>]`. The other parts differ between response,
/// ack and history. Of a newsletter's four parts the last is the id.
pub(super) fn bare_id(serialized: &str) -> String {
    let parts: Vec<&str> = serialized.split('_').collect();
    let bare = match parts.as_slice() {
        [_, chat, .., last] if parts.len() >= 4 && chat.ends_with("@newsletter") => last,
        [_, _, id, ..] => id,
        _ => serialized,
    };
    bare.to_owned()
}

/// The ack level a success tells.
pub(super) fn ack(value: &Value) -> Option<Ack> {
    let level = value.get("ack").or_else(|| value.pointer("/_data/ack")).and_then(Value::as_i64);
    level.and_then(Ack::from_level).or_else(|| (value.get("status")?.as_str()? == "PENDING").then_some(Ack::Pending))
}

/// How long a body asks to wait, in seconds: proxies and gateways that tell it there tell no header.
pub(super) fn retry_after(value: &Value) -> Option<Millis> {
    let found = ["retry_after", "retryAfter"].iter().find_map(|k| value.get(k));
    let seconds = found.or_else(|| value.pointer("/parameters/retry_after"))?.as_u64()?;
    Some(Millis::seconds(i64::from(u32::try_from(seconds).ok()?)))
}

/// Stamps that are believed, in ms: from September 2001, before there was such a network, to the year 9999.
const BELIEVED: std::ops::RangeInclusive<i64> = 1_000_000_000_000..=253_402_300_799_999;

/// When a message was sent, as the network says: in seconds, of some engines in ms, as a number or a text.
pub(super) fn instant(message: &Value) -> Option<Timestamp> {
    stamp(message).filter(|at| BELIEVED.contains(&at.0))
}

/// As [`instant`], but of any time after 1970: what a gateway says to be old is old, whatever it calls that. 0 is no stamp.
pub(super) fn stamp(message: &Value) -> Option<Timestamp> {
    let told = match message.get("timestamp").or_else(|| message.get("messageTimestamp"))? {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let whole: i64 = told.split('.').next()?.parse().ok()?;
    // Ten digits are seconds until the year 2286, and as ms long past.
    let ms = if (0..10_000_000_000).contains(&whole) { whole * 1_000 } else { whole };
    Some(Timestamp(ms)).filter(|at| (1..=*BELIEVED.end()).contains(&at.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_id_is_found_in_every_documented_shape() {
        let id = "3EB0F00DCAFE00000001";
        let long = format!("true_201234567890@c.us_{id}");
        for value in [
            json!({"id": {"fromMe": true, "remote": "x", "id": id, "_serialized": long}, "ack": 0}),
            json!({"id": {"fromMe": true, "remote": "x", "id": id}}),
            json!({"id": {"$1": long}}),
            json!({"id": long, "_data": {"Info": {"ID": id}}}),
            json!({"_data": {"Info": {"ID": id}}}),
            json!({"key": {"remoteJid": "x", "fromMe": true, "id": id}, "status": "PENDING"}),
            json!({"result": true, "message_id": id}),
            json!({"_data": {"id": {"_serialized": long}}}),
            json!({"id": format!("{long}_222@lid")}),
        ] {
            assert_eq!(gateway_id(&value).as_deref(), Some(id), "{value}");
        }
        assert_eq!(gateway_id(&json!({"result": true})), None);
        assert_eq!(bare_id("true_1203@newsletter_118_3EB0AA"), "3EB0AA");
    }

    #[test]
    fn errors_are_found_whatever_the_status() {
        assert!(error(&json!({"code": "x"})).is_some());
        assert!(error(&json!({"success": false})).is_some());
        assert!(error(&json!({"error": "x"})).is_some());
        assert!(error(&json!({"wawp_upstream_error": {}})).is_some());
        assert!(error(&json!({"id": "true_1@c.us_X", "error": null, "success": true})).is_none());
    }

    #[test]
    fn an_error_is_told_by_its_code_and_its_words() {
        let words = |value: Value| error(&value).unwrap().words();
        assert_eq!(words(json!({"code": "invalid_session", "message": "log in"})), "invalid_session: log in");
        assert_eq!(words(json!({"code": "invalid_session"})), "invalid_session");
        assert_eq!(words(json!({"error": "no such chat"})), "no such chat");
    }

    #[test]
    fn a_success_tells_how_far_it_has_come_or_does_not() {
        assert_eq!(ack(&json!({"ack": 1})), Some(Ack::Server));
        assert_eq!(ack(&json!({"_data": {"ack": 0}})), Some(Ack::Pending));
        assert_eq!(ack(&json!({"status": "PENDING"})), Some(Ack::Pending));
        assert_eq!(ack(&json!({"status": "SENT"})), None, "a word nobody documented");
        assert_eq!(ack(&json!({"ack": 77, "id": "x"})), None, "a level nobody documented");
    }

    #[test]
    fn an_empty_id_names_nothing() {
        assert_eq!(gateway_id(&json!({"id": "true_201234567890@c.us_"})), None);
        assert_eq!(gateway_id(&json!({"id": {"id": ""}})), None);
    }

    #[test]
    fn a_wait_told_in_the_body_is_read() {
        assert_eq!(retry_after(&json!({"retry_after": 3})), Some(Millis::seconds(3)));
        assert_eq!(retry_after(&json!({"parameters": {"retry_after": 4}})), Some(Millis::seconds(4)));
        for nonsense in
            [json!({"retry_after": -3}), json!({"retry_after": "x"}), json!({"retry_after": 1e300}), json!([])]
        {
            assert_eq!(retry_after(&nonsense), None);
        }
    }
}
