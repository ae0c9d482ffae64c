//! Reading Wawp's webhooks: one object or an array of them, in the envelope of WAHA or flat; acks of direct chats and
//! of groups under either event name.

use serde_json::Value;

use crate::domain::ack::Ack;
use crate::domain::recipient::Chat;
use crate::domain::time::Timestamp;
use crate::gateway::wawp_answer::{bare_id, gateway_id};
use crate::gateway::{BadHook, HookEvent};

/// Events of one body. More would be no webhook but a flood.
const EVENTS_LIMIT: usize = 1_000;

/// The latest stamp that is believed, in seconds: the year 9999.
const MOST_SECONDS: i64 = 253_402_300_799;

/// Reads a body.
///
/// # Errors
/// [`BadHook`] when it is not JSON, holds no events, or too many.
pub(super) fn parse(body: &[u8]) -> Result<Vec<HookEvent>, BadHook> {
    let value: Value = serde_json::from_slice(body).map_err(|e| BadHook(e.to_string()))?;
    let list = match value {
        Value::Array(list) => list,
        object @ Value::Object(_) => vec![object],
        _ => return Err(BadHook("neither an object nor an array".to_owned())),
    };
    if list.len() > EVENTS_LIMIT {
        return Err(BadHook(format!("{} events in one body; the limit is {EVENTS_LIMIT}", list.len())));
    }
    Ok(list.iter().filter_map(event).collect())
}

/// One event; `None` for an ack about a message somebody else sent, which is none of ours.
fn event(value: &Value) -> Option<HookEvent> {
    let name = value.get("event").and_then(Value::as_str).unwrap_or("");
    let other = || {
        Some(HookEvent::Other { event: if name.is_empty() { "without a name".to_owned() } else { name.to_owned() } })
    };
    let payload = value.get("payload").or_else(|| value.get("data")).unwrap_or(value);
    if matches!(name, "message" | "message.any") {
        return reply(payload).or_else(|| echo(payload)).or_else(other);
    }
    if !matches!(name, "message.ack" | "message.ack.group") {
        return other();
    }
    if payload.get("fromMe") == Some(&Value::Bool(false)) {
        return None;
    }
    let Some(ack) = payload.get("ack").and_then(Value::as_i64).and_then(Ack::from_level) else { return other() };
    let named = payload.get("id").and_then(Value::as_str).map(bare_id).filter(|id| !id.is_empty());
    let Some(gateway_id) = named.or_else(|| gateway_id(payload)) else { return other() };
    let participant = payload.get("participant").and_then(Value::as_str).unwrap_or("").to_owned();
    Some(HookEvent::Ack { gateway_id, participant, ack })
}

/// A message from somebody else; what this account sent itself is none.
fn reply(payload: &Value) -> Option<HookEvent> {
    if payload.get("fromMe") != Some(&Value::Bool(false)) {
        return None;
    }
    let from = payload.get("from").and_then(Value::as_str).filter(|f| !f.is_empty())?;
    let gateway_id = payload.get("id").and_then(Value::as_str).map(bare_id).filter(|id| !id.is_empty())?;
    let text = payload.get("body").and_then(Value::as_str).unwrap_or("").to_owned();
    Some(HookEvent::Reply { chat: chat_of(from), gateway_id, text })
}

/// A chat by the name under which it is written to: some engines call it by WhatsApp's own, with the device it came from.
fn chat_of(from: &str) -> Chat {
    match from.strip_suffix("@s.whatsapp.net") {
        Some(number) => Chat::from_stored(&format!("{}@c.us", number.split(':').next().unwrap_or(number))),
        None => Chat::from_stored(from),
    }
}

/// A message that this account sent. Its chat stands in its id: `to` and `from` differ between engines.
fn echo(payload: &Value) -> Option<HookEvent> {
    if payload.get("fromMe") != Some(&Value::Bool(true)) {
        return None;
    }
    let serialized = payload.get("id").and_then(Value::as_str)?;
    let chat = serialized.strip_prefix("true_")?.split('_').next().filter(|c| c.contains('@'))?;
    let text = payload.get("body").and_then(Value::as_str).unwrap_or("").to_owned();
    let seconds = payload.get("timestamp").and_then(Value::as_i64).filter(|s| (0..=MOST_SECONDS).contains(s));
    let at = seconds.map(|s| Timestamp(s * 1_000));
    let gateway_id = Some(bare_id(serialized)).filter(|id| !id.is_empty())?;
    Some(HookEvent::Echo { chat: Chat::from_stored(chat), gateway_id, text, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ack(id: &str, participant: &str, ack: Ack) -> HookEvent {
        HookEvent::Ack { gateway_id: id.into(), participant: participant.into(), ack }
    }

    #[test]
    fn acks_are_read_alone_in_arrays_enveloped_and_flat() {
        let direct = json!({"event": "message.ack", "payload":
            {"id": "true_201234567890@c.us_3EB0AA", "from": "201234567890@c.us", "participant": null, "fromMe": true, "ack": 2}});
        let group = json!({"event": "message.ack.group", "payload":
            {"id": "true_1203630000@g.us_3EB0BB_222@lid", "participant": "9999@lid", "fromMe": true, "ack": 3}});
        let flat = json!({"event": "message.ack", "id": "true_1@c.us_3EB0CC", "ack": -1});
        let read = parse(json!([direct, group, flat]).to_string().as_bytes()).unwrap();
        assert_eq!(
            read,
            [ack("3EB0AA", "", Ack::Device), ack("3EB0BB", "9999@lid", Ack::Read), ack("3EB0CC", "", Ack::Error)]
        );
        assert_eq!(parse(direct.to_string().as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn what_somebody_writes_is_a_reply_and_what_we_sent_is_none() {
        let message = |event: &str, from_me: bool| {
            let payload = json!({"id": "false_201234567890@c.us_3A5F", "from": "201234567890@c.us", "fromMe": from_me,
                                 "body": "on my way"});
            parse(json!({"event": event, "payload": payload}).to_string().as_bytes()).unwrap()
        };
        let chat = Chat::from_stored("201234567890@c.us");
        for event in ["message", "message.any"] {
            let reply = HookEvent::Reply { chat: chat.clone(), gateway_id: "3A5F".into(), text: "on my way".into() };
            assert_eq!(message(event, false), [reply]);
            assert!(
                matches!(message(event, true)[0], HookEvent::Other { .. }),
                "its id says that somebody else sent it"
            );
        }
    }

    #[test]
    fn who_writes_under_whatsapp_s_own_name_is_whom_we_write_to() {
        for from in ["201234567890@s.whatsapp.net", "201234567890:12@s.whatsapp.net", "201234567890@c.us"] {
            assert_eq!(chat_of(from).as_str(), "201234567890@c.us");
        }
        assert_eq!(chat_of("222@lid").as_str(), "222@lid");
    }

    #[test]
    fn what_this_account_sent_is_an_echo_with_the_chat_of_its_id() {
        let payload = json!({"id": "true_201234567890@c.us_3EB0AA", "from": "1@c.us", "to": "x", "fromMe": true,
                             "body": "hi", "timestamp": 1_760_000_000, "source": "api"});
        let read = parse(json!({"event": "message.any", "payload": payload}).to_string().as_bytes()).unwrap();
        let echo = HookEvent::Echo {
            chat: Chat::from_stored("201234567890@c.us"),
            gateway_id: "3EB0AA".into(),
            text: "hi".into(),
            at: Some(Timestamp(1_760_000_000_000)),
        };
        assert_eq!(read, [echo]);
    }

    #[test]
    fn what_is_not_an_ack_of_ours_is_told_apart() {
        let foreign = json!({"event": "message.ack", "payload": {"id": "false_1@c.us_X", "fromMe": false, "ack": 3}});
        assert_eq!(parse(foreign.to_string().as_bytes()).unwrap(), []);
        let unknown =
            json!({"event": "message.ack", "payload": {"id": "true_1@c.us_X", "ack": null, "ackName": "UNKNOWN"}});
        assert!(matches!(parse(unknown.to_string().as_bytes()).unwrap()[0], HookEvent::Other { .. }));
        let call = json!({"event": "call.received", "payload": {}});
        assert_eq!(parse(call.to_string().as_bytes()).unwrap(), [HookEvent::Other { event: "call.received".into() }]);
        let revoked = json!({"event": "message.revoked", "payload": {"before": {"id": "true_1@c.us_X"}, "after": {}}});
        assert_eq!(
            parse(revoked.to_string().as_bytes()).unwrap(),
            [HookEvent::Other { event: "message.revoked".into() }],
            "that a recalled message is gone is known from the answer"
        );
        assert!(parse(b"7").is_err() && parse(b"{").is_err());
    }

    #[test]
    fn an_event_without_an_id_is_about_nothing() {
        let ack = json!({"event": "message.ack", "payload": {"id": "true_1@c.us_", "fromMe": true, "ack": 2}});
        let echo = json!({"event": "message.any", "payload": {"id": "true_1@c.us_", "fromMe": true, "body": "x"}});
        for event in [ack, echo] {
            assert!(matches!(parse(event.to_string().as_bytes()).unwrap()[..], [HookEvent::Other { .. }]), "{event}");
        }
    }
}
