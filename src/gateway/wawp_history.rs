//! Reading the history of a chat as Wawp tells it. What cannot be read is counted: it may be the very message that is sought.

use serde_json::Value;

use crate::domain::doubt::{History, HistoryMessage};
use crate::domain::recipient::{Chat, parse_whatsapp_told};
use crate::gateway::wawp_answer::{ack, gateway_id, stamp};

/// Digits at the end of a number that its country does not write in two ways, as Brazil, Mexico and Argentina do before them.
const SUBSCRIBER_DIGITS: usize = 8;

/// Reads an answer about `chat`: an array, or one under `messages` or `data`. `None` for what holds no list.
pub(super) fn read(body: &[u8], chat: &Chat) -> Option<History> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let list =
        value.as_array().or_else(|| value.get("messages")?.as_array()).or_else(|| value.get("data")?.as_array())?;
    let mut history = History::default();
    for entry in list {
        match message(entry, chat) {
            Some(message) => history.messages.push(message),
            None if from_me(entry) == Some(false) => {}
            None => history.unread += 1,
        }
    }
    Some(history)
}

fn message(entry: &Value, chat: &Chat) -> Option<HistoryMessage> {
    if is_elsewhere(entry, chat) {
        return None;
    }
    let from_me = from_me(entry);
    let text = from_me.and_then(|_| text(entry)).unwrap_or_default().to_owned();
    let (gateway_id, at) = (gateway_id(entry)?, stamp(entry)?);
    Some(HistoryMessage { gateway_id, from_me: from_me.unwrap_or(true), text, at, ack: ack(entry) })
}

/// Whether this account sent it; `None` where that is not told, or told in two ways.
fn from_me(entry: &Value) -> Option<bool> {
    let flag = |path| match entry.pointer(path)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(flag) => flag.trim().to_ascii_lowercase().parse().ok(),
        other => other.as_i64().filter(|n| matches!(n, 0 | 1)).map(|n| n == 1),
    };
    let of_id = || match serialized(entry)?.split_once('_')?.0 {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    let mut told = ["/fromMe", "/id/fromMe", "/key/fromMe"].into_iter().filter_map(flag).chain(of_id());
    let first = told.next()?;
    told.all(|other| other == first).then_some(first)
}

fn serialized(entry: &Value) -> Option<&str> {
    let id = entry.get("id")?;
    id.as_str().or_else(|| id.get("_serialized")?.as_str())
}

/// Where one place tells no text, another may.
fn text(entry: &Value) -> Option<&str> {
    ["/body", "/message/conversation", "/message/extendedTextMessage/text", "/_data/body"]
        .into_iter()
        .filter_map(|path| entry.pointer(path)?.as_str())
        .find(|text| !text.is_empty())
}

/// Whether a message names another chat than the one that was asked about. A group or a number may also go by a name that
/// cannot be compared.
fn is_elsewhere(entry: &Value, chat: &Chat) -> bool {
    let named = ["/id/remote", "/key/remoteJid"].into_iter().find_map(|path| entry.pointer(path)?.as_str());
    let named = named.or_else(|| serialized(entry)?.split('_').nth(1)).filter(|name| name.contains('@'));
    let Some(named) = named.and_then(|name| parse_whatsapp_told(name).ok()) else { return false };
    let (Some((told, server)), Some((asked, of_asked))) =
        (named.as_str().split_once('@'), chat.as_str().split_once('@'))
    else {
        return false;
    };
    let ending = |id: &str| id.get(id.len().saturating_sub(SUBSCRIBER_DIGITS)..).map(str::to_owned);
    server == of_asked && ending(told) != ending(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use serde_json::json;

    const STAMP: i64 = 1_760_000_000;

    fn told(list: &Value) -> History {
        read(list.to_string().as_bytes(), &Chat::from_stored("5511987654321@c.us")).unwrap()
    }

    #[test]
    fn a_history_is_read_in_each_shape() {
        let read = told(&json!([
            {"id": "true_5511987654321@c.us_A", "body": "hi", "timestamp": STAMP, "fromMe": "true", "ack": 2},
            {"key": {"id": "B", "fromMe": false}, "message": {"conversation": "yo"}, "messageTimestamp": "1760000001"},
            {"id": "C", "fromMe": true, "body": null, "_data": {"body": "hi"}, "timestamp": STAMP * 1_000},
        ]));
        let shown: Vec<_> =
            read.messages.iter().map(|m| (m.gateway_id.as_str(), m.from_me, m.text.as_str(), m.at.0)).collect();
        let expected = [
            ("A", true, "hi", STAMP * 1_000),
            ("B", false, "yo", STAMP * 1_000 + 1_000),
            ("C", true, "hi", STAMP * 1_000),
        ];
        assert_eq!((shown.as_slice(), read.unread), (expected.as_slice(), 0));
        let chat = Chat::from_stored("1@c.us");
        assert!(super::read(b"[}", &chat).is_none() && super::read(b"{}", &chat).is_none());
    }

    #[test]
    fn what_cannot_be_read_and_may_be_ours_is_counted() {
        let read = told(&json!([
            1, null, {},
            {"id": "A", "fromMe": true, "body": "hi"},
            {"id": "A", "fromMe": true, "body": "hi", "timestamp": 0},
            {"fromMe": true, "body": "hi", "timestamp": STAMP},
            {"id": "A", "body": "hi"},
        ]));
        assert_eq!((read.messages.len(), read.unread), (0, 7));
        let theirs =
            told(&json!([{"id": "A", "fromMe": false, "body": "hi"}, {"id": "false_1@c.us_A", "timestamp": 0}]));
        assert_eq!(theirs, History::default(), "a stamp of 0 is none, and reaches back to nothing");
    }

    #[test]
    fn a_message_that_does_not_say_who_wrote_it_may_be_ours_and_tells_no_text() {
        for entry in [
            json!({"id": "A", "body": "hi", "timestamp": STAMP}),
            json!({"id": "true_5511987654321@c.us_A", "body": "hi", "timestamp": STAMP, "fromMe": false}),
            json!({"id": "A", "fromMe": true, "timestamp": STAMP}),
        ] {
            let read = told(&json!([entry]));
            let expected = HistoryMessage {
                gateway_id: "A".into(),
                from_me: true,
                text: String::new(),
                at: Timestamp(STAMP * 1_000),
                ack: None,
            };
            assert_eq!((read.messages.as_slice(), read.unread), ([expected].as_slice(), 0), "{entry}");
        }
    }

    #[test]
    fn a_message_of_another_chat_is_no_evidence() {
        let read = |remote: &str| {
            let id = json!({"fromMe": true, "remote": remote, "id": "A"});
            let read = told(&json!([{"id": id, "body": "hi", "timestamp": STAMP, "fromMe": true}]));
            (read.messages.len(), read.unread)
        };
        for same in ["5511987654321@c.us", "551187654321@s.whatsapp.net", "123456789012345@lid", "x", ""] {
            assert_eq!(read(same), (1, 0), "{same}");
        }
        assert_eq!(read("499@c.us"), (1, 0), "no number at all");
        assert_eq!(read("491700000001@c.us"), (0, 1));
    }
}
