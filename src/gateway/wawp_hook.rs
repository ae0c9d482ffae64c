//! Reading Wawp's webhooks: one object or an array of them, in the envelope of WAHA or flat; acks of direct chats and
//! of groups under either event name.

use serde_json::Value;

use crate::domain::ack::Ack;
use crate::domain::recipient::{Chat, parse_whatsapp_told};
use crate::gateway::lenient_json;
use crate::gateway::wawp_answer::{bare_id, gateway_id, instant};
use crate::gateway::{BadHook, HookEvent};

/// Events of one body. More would be no webhook but a flood.
const EVENTS_LIMIT: usize = 1_000;

/// How the chat of a number ends.
const NUMBER: &str = "@c.us";

/// How the chat of a LID ends: a name that WhatsApp gives a person instead of their number.
const LID: &str = "@lid";

/// Where engines tell the other name of who wrote: the number beside a LID, or the LID beside a number.
const OTHER_NAMES: [&str; 8] =
    ["senderPn", "remoteJidAlt", "participantPn", "participantAlt", "senderAlt", "SenderAlt", "sender_pn", "senderLid"];

/// Reads a body.
///
/// # Errors
/// [`BadHook`] when nothing of it is JSON, or it holds too many events.
pub(super) fn parse(body: &[u8]) -> Result<Vec<HookEvent>, BadHook> {
    let read = lenient_json::elements(body, EVENTS_LIMIT).map_err(BadHook)?;
    let one = |element: Result<Value, String>| match element {
        Ok(value) => event(&value),
        Err(why) => Some(HookEvent::Unreadable { why }),
    };
    Ok(read.into_iter().filter_map(one).collect())
}

/// One event; `None` for an ack about a message somebody else sent, which is none of ours.
fn event(value: &Value) -> Option<HookEvent> {
    let name = value.get("event").and_then(Value::as_str).unwrap_or("");
    let other = || {
        Some(HookEvent::Other { event: if name.is_empty() { "without a name".to_owned() } else { name.to_owned() } })
    };
    let payload = value.get("payload").or_else(|| value.get("data")).unwrap_or(value);
    if matches!(name, "message" | "message.any") {
        return match payload.get("fromMe") {
            Some(Value::Bool(true)) => echo(payload).or_else(other),
            Some(Value::Bool(false)) if is_status(payload) => Some(HookEvent::Other { event: "status".to_owned() }),
            Some(Value::Bool(false)) => Some(reply(payload).unwrap_or_else(|why| stray(payload, why))),
            _ => Some(stray(payload, "their message does not say whether this account wrote it".to_owned())),
        };
    }
    if !matches!(name, "message.ack" | "message.ack.group") {
        return other();
    }
    if payload.get("fromMe") == Some(&Value::Bool(false)) {
        return None;
    }
    let Some(ack) = payload.get("ack").and_then(Value::as_i64).and_then(Ack::from_level) else { return other() };
    let Some(gateway_id) = id_of(payload) else { return other() };
    let participant = payload.get("participant").and_then(Value::as_str).unwrap_or("");
    // Who of a group it was is only shown: an ack is about its message, whatever they are called.
    let participant = parse_whatsapp_told(participant).map_or(participant.to_owned(), |chat| chat.as_str().to_owned());
    Some(HookEvent::Ack { gateway_id, participant, ack })
}

/// A message from somebody else, or why it cannot be told whose it is.
fn reply(payload: &Value) -> Result<HookEvent, String> {
    let from = payload.get("from").and_then(address).unwrap_or("");
    let from = parse_whatsapp_told(from).map_err(|e| format!("their message does not tell who they are: {e}"))?;
    let (chat, lid) = if from.as_str().ends_with(LID) {
        match other_name(payload, NUMBER) {
            Some(number) => (number, Some(from)),
            None => (from, None),
        }
    } else if from.as_str().ends_with(NUMBER) {
        (from, other_name(payload, LID))
    } else {
        (from, None)
    };
    Ok(HookEvent::Reply { chat, lid, gateway_id: id_of(payload), text: body(payload), at: instant(payload) })
}

/// Whether somebody shows their status to all who know them, which is said to nobody.
fn is_status(payload: &Value) -> bool {
    payload.get("from").and_then(address).is_some_and(|from| from.trim().to_ascii_lowercase().ends_with("@broadcast"))
}

/// The bare id of a message, whether it is told as a text or within an object.
fn id_of(payload: &Value) -> Option<String> {
    let named = payload.get("id").and_then(Value::as_str).map(bare_id).filter(|id| !id.is_empty());
    named.or_else(|| gateway_id(payload))
}

/// An address, whether it is told as a text or within an object.
fn address(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("_serialized")?.as_str())
}

/// The name on that server of who wrote a message in a direct chat, which the engines tell beside `from`.
fn other_name(payload: &Value, server: &str) -> Option<Chat> {
    let places = ["", "/key", "/_data", "/_data/key", "/_data/Info"].into_iter().filter_map(|p| payload.pointer(p));
    let told = places.flat_map(|place| OTHER_NAMES.iter().filter_map(|name| place.get(name).and_then(address)));
    // Digits without a server could be either.
    let mut chats = told.filter(|t| server == NUMBER || t.contains('@')).filter_map(|t| parse_whatsapp_told(t).ok());
    chats.find(|chat| chat.as_str().ends_with(server))
}

fn stray(payload: &Value, why: String) -> HookEvent {
    HookEvent::Stray { text: body(payload), why }
}

/// A message that this account sent. Its chat stands in its id: `to` and `from` differ between engines.
fn echo(payload: &Value) -> Option<HookEvent> {
    let serialized = payload.get("id").and_then(Value::as_str)?;
    let chat = serialized.strip_prefix("true_")?.split('_').next().filter(|c| c.contains('@'))?;
    let chat = parse_whatsapp_told(chat).ok()?;
    let gateway_id = Some(bare_id(serialized)).filter(|id| !id.is_empty())?;
    Some(HookEvent::Echo { chat, gateway_id, text: body(payload), at: instant(payload) })
}

fn body(payload: &Value) -> String {
    payload.get("body").and_then(Value::as_str).unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
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
            let reply = HookEvent::Reply {
                chat: chat.clone(),
                lid: None,
                gateway_id: Some("3A5F".into()),
                text: "on my way".into(),
                at: None,
            };
            assert_eq!(message(event, false), [reply]);
            assert!(
                matches!(message(event, true)[0], HookEvent::Other { .. }),
                "its id says that somebody else sent it"
            );
        }
    }

    fn one(event: &str, payload: &Value) -> HookEvent {
        parse(json!({"event": event, "payload": payload}).to_string().as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn every_chat_that_comes_in_is_named_as_whom_we_write_to() {
        for told in ["201234567890:12@s.whatsapp.net", "201234567890@C.US", "201234567890", "+20 123 456 7890 "] {
            let reply = json!({"id": "false_x_3A5F", "from": told, "fromMe": false});
            let HookEvent::Reply { chat, .. } = one("message", &reply) else { panic!("{told}") };
            assert_eq!(chat.as_str(), "201234567890@c.us");
        }
        for told in ["201234567890:12@s.whatsapp.net", "201234567890@C.US", "201234567890:1@c.us"] {
            let echo = json!({"id": format!("true_{told}_3EB0"), "fromMe": true});
            let HookEvent::Echo { chat, .. } = one("message.any", &echo) else { panic!("{told}") };
            assert_eq!(chat.as_str(), "201234567890@c.us");
            let ack = json!({"id": "true_1203@g.us_3EB0", "fromMe": true, "participant": told, "ack": 2});
            let HookEvent::Ack { participant, .. } = one("message.ack", &ack) else { panic!("{told}") };
            assert_eq!(participant, "201234567890@c.us");
        }
    }

    #[test]
    fn a_message_of_nobody_who_could_be_written_to_is_stray_and_never_kept_under_another_name() {
        for payload in [
            json!({"id": "false_x_3A", "from": "", "fromMe": false, "body": "stop"}),
            json!({"id": "false_x_3A", "from": {"_serialized": "1"}, "fromMe": false, "body": "stop"}),
            json!({"id": "false_x_3A", "from": "201234567890@c.us", "body": "stop"}),
        ] {
            let HookEvent::Stray { text, why } = one("message", &payload) else { panic!("{payload}") };
            assert!(text == "stop" && !why.is_empty(), "{payload}");
        }
        for status in ["status@broadcast", " STATUS@Broadcast"] {
            let payload = json!({"id": "false_x_3A", "from": status, "fromMe": false, "body": "stop"});
            assert_eq!(one("message", &payload), HookEvent::Other { event: "status".into() }, "it is said to nobody");
        }
        let echo = json!({"id": "true_status@broadcast_3EB0", "fromMe": true});
        assert!(matches!(one("message.any", &echo), HookEvent::Other { .. }));
    }

    #[test]
    fn who_writes_from_a_lid_is_known_by_the_number_that_is_told_beside_it() {
        let number = "201234567890@s.whatsapp.net";
        for beside in [
            json!({"senderPn": number}),
            json!({"participantPn": "201234567890:7@s.whatsapp.net"}),
            json!({"remoteJidAlt": number}),
            json!({"participantAlt": "201234567890"}),
            json!({"key": {"senderPn": number}}),
            json!({"_data": {"senderPn": {"_serialized": "201234567890@c.us"}}}),
            json!({"_data": {"key": {"remoteJid": "98765432101234@lid", "remoteJidAlt": number}}}),
            json!({"_data": {"key": {"remoteJidAlt": "98765432101234@lid", "senderPn": number}}}),
            json!({"_data": {"Info": {"SenderAlt": number}}}),
        ] {
            let mut payload =
                json!({"id": "false_x_3A", "from": "98765432101234:3@lid", "fromMe": false, "body": "stop"});
            payload.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
            let HookEvent::Reply { chat, lid, .. } = one("message", &payload) else { panic!("{payload}") };
            let lid = lid.as_ref().map(Chat::as_str);
            assert_eq!((chat.as_str(), lid), ("201234567890@c.us", Some("98765432101234@lid")), "{payload}");
        }
        let names = |payload: Value| {
            let HookEvent::Reply { chat, lid, .. } = one("message", &payload) else { panic!("{payload}") };
            (chat.as_str().to_owned(), lid.map(|l| l.as_str().to_owned()))
        };
        let lid = "98765432101234@lid".to_owned();
        let untold = json!({"from": lid, "fromMe": false, "senderPn": lid, "remoteJidAlt": null, "participantAlt": ""});
        assert_eq!(names(untold), (lid.clone(), None));
        let number = "201234567890@c.us";
        let from_number = json!({"from": number, "fromMe": false, "remoteJidAlt": lid, "senderPn": "499@c.us"});
        assert_eq!(names(from_number), (number.to_owned(), Some(lid.clone())));
        let group = json!({"from": "1203@g.us", "fromMe": false, "participantAlt": number, "senderLid": lid});
        assert_eq!(names(group), ("1203@g.us".to_owned(), None), "a group is not one of its members");
    }

    #[test]
    fn a_message_without_a_usable_id_is_read_and_one_within_an_object_is_found() {
        let id = |id: Value| {
            let payload = json!({"id": id, "from": "201234567890@c.us", "fromMe": false, "body": "stop"});
            let HookEvent::Reply { gateway_id, text, .. } = one("message", &payload) else { panic!("{payload}") };
            assert_eq!(text, "stop");
            gateway_id
        };
        for none in [json!(null), json!(""), json!(7), json!({}), json!([]), json!("false_201234567890@c.us_")] {
            assert_eq!(id(none.clone()), None, "{none}");
        }
        for told in [json!({"_serialized": "false_201234567890@c.us_3A"}), json!({"id": "3A", "fromMe": false})] {
            assert_eq!(id(told.clone()).as_deref(), Some("3A"), "{told}");
        }
    }

    #[test]
    fn a_message_has_its_own_instant_in_seconds_or_in_ms() {
        for stamp in [
            json!({"timestamp": 1_760_000_000}),
            json!({"timestamp": 1_760_000_000_000_i64}),
            json!({"timestamp": "1760000000"}),
            json!({"timestamp": 1_760_000_000.75}),
            json!({"messageTimestamp": 1_760_000_000}),
        ] {
            assert_eq!(instant(&stamp), Some(Timestamp(1_760_000_000_000)), "{stamp}");
        }
        for none in [json!(null), json!({"timestamp": 0}), json!({"timestamp": -1}), json!({"timestamp": "soon"})] {
            assert_eq!(instant(&none), None, "{none}");
        }
        for none in [json!({"timestamp": i64::MIN}), json!({"timestamp": i64::MAX}), json!({"timestamp": {"low": 1}})] {
            assert_eq!(instant(&none), None, "{none}");
        }
        let reply =
            json!({"id": "false_x_3A", "from": "201234567890@c.us", "fromMe": false, "timestamp": 1_760_000_000});
        let HookEvent::Reply { at, .. } = one("message", &reply) else { panic!("{reply}") };
        assert_eq!(at, Some(Timestamp(1_760_000_000_000)));
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
