//! Deleting a message for everyone: `DELETE /v2/messages/delete`, which names a message by its serialized id. It does so as
//! long as WhatsApp does; what is older it would delete for the account alone, so it is not asked.
//!
//! | answer | deletion |
//! |---|---|
//! | 2xx without an error | `Deleted` |
//! | any with `invalid_session`; 401, 403 | `InstanceDown` |
//! | 404 otherwise | `Unknown` |
//! | 2xx with another error; 400, 405, 410, 422 and other 4xx not named here | `Refused` |
//! | 2xx with `wawp_upstream_error`; 3xx, 408, 409, 423, 425, 5xx | `Unclear`: asked again, which does no harm |
//! | 429 | `NotNow`, with `Retry-After` where present |
//! | no connection | `NotSent` |
//! | timeout, reset, broken answer after the request began | `Unclear` |

use serde_json::Value;

use crate::domain::recall::Deletion;
use crate::domain::recipient::Chat;
use crate::domain::time::Millis;
use crate::gateway::wawp_answer::{self, bare_id};

/// How long WhatsApp deletes for everyone: about two days.
pub(super) const WITHIN: Millis = Millis::seconds(48 * 3_600);

/// The table at the top of this file.
pub(super) fn classify(status: u16, retry_after: Option<Millis>, body: &[u8]) -> Deletion {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let error = parsed.as_ref().and_then(wawp_answer::error);
    if error.as_ref().is_some_and(wawp_answer::AnswerError::is_invalid_session) {
        return Deletion::InstanceDown;
    }
    match status {
        200..=299 => match error {
            None => Deletion::Deleted,
            Some(e) if e.is_upstream() => Deletion::Unclear,
            Some(_) => Deletion::Refused,
        },
        401 | 403 => Deletion::InstanceDown,
        404 => Deletion::Unknown,
        408 | 409 | 423 | 425 => Deletion::Unclear,
        429 => Deletion::NotNow { after: retry_after.or_else(|| parsed.as_ref().and_then(wawp_answer::retry_after)) },
        400..=499 => Deletion::Refused,
        _ => Deletion::Unclear,
    }
}

/// The serialized id of a message we sent: as the answer to its send has it, since that of a group has a fourth part; else
/// put together.
pub(super) fn serialized(chat: &Chat, gateway_id: &str, answer: Option<&str>) -> String {
    let told = answer.and_then(|a| serde_json::from_str(a).ok()).and_then(|a| told_in(&a, gateway_id));
    told.unwrap_or_else(|| format!("true_{chat}_{gateway_id}"))
}

fn told_in(value: &Value, gateway_id: &str) -> Option<String> {
    match value {
        Value::String(s) => (s.starts_with("true_") && bare_id(s) == gateway_id).then(|| s.clone()),
        Value::Array(list) => list.iter().find_map(|v| told_in(v, gateway_id)),
        Value::Object(map) => map.values().find_map(|v| told_in(v, gateway_id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_the_table_has_its_deletion() {
        let cases: &[(u16, &str, Deletion)] = &[
            (200, r#"{"result":true}"#, Deletion::Deleted),
            (204, "", Deletion::Deleted),
            (200, r#"{"code":"invalid_session","message":"gone"}"#, Deletion::InstanceDown),
            (200, r#"{"wawp_upstream_error":"boom"}"#, Deletion::Unclear),
            (200, r#"{"success":false,"message":"too old"}"#, Deletion::Refused),
            (302, "", Deletion::Unclear),
            (400, r#"{"code":"invalid_parameter"}"#, Deletion::Refused),
            (401, "{}", Deletion::InstanceDown),
            (403, "{}", Deletion::InstanceDown),
            (404, r#"{"code":"invalid_session"}"#, Deletion::InstanceDown),
            (404, r#"{"code":"message_not_found"}"#, Deletion::Unknown),
            (408, "", Deletion::Unclear),
            (423, "", Deletion::Unclear),
            (429, r#"{"retry_after":3}"#, Deletion::NotNow { after: Some(Millis::seconds(3)) }),
            (500, "", Deletion::Unclear),
            (503, "<html>", Deletion::Unclear),
        ];
        for (status, body, deletion) in cases {
            assert_eq!(classify(*status, None, body.as_bytes()), *deletion, "{status} {body}");
        }
        let told = classify(429, Some(Millis(9)), b"");
        assert_eq!(told, Deletion::NotNow { after: Some(Millis(9)) });
    }

    #[test]
    fn a_message_is_named_as_the_answer_to_its_send_named_it() {
        let (single, group) = (Chat::from_stored("201234567890@c.us"), Chat::from_stored("1203@g.us"));
        assert_eq!(serialized(&single, "3EB0AA", None), "true_201234567890@c.us_3EB0AA");
        assert_eq!(serialized(&single, "3EB0AA", Some("{\"id\":\"3EB0AA\"}")), "true_201234567890@c.us_3EB0AA");
        assert_eq!(serialized(&single, "3EB0AA", Some("half an answ")), "true_201234567890@c.us_3EB0AA");
        let answer = r#"{"_data":{"id":{"_serialized":"true_1203@g.us_3EB0BB_222@lid"}}}"#;
        assert_eq!(serialized(&group, "3EB0BB", Some(answer)), "true_1203@g.us_3EB0BB_222@lid");
        assert_eq!(serialized(&group, "3EB0CC", Some(answer)), "true_1203@g.us_3EB0CC", "of another message");
    }
}
