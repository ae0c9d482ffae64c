//! Contents as Wawp's send endpoints want them: the path, and the parameters beside credentials and chat.
//!
//! Files are literal flat keys (`file[url]`), numbers and flags of flat parameters are strings, nested objects are
//! native JSON. An absent caption goes as `""`, because the endpoints require the key. The path of a link preview is
//! documented nowhere, so links are not carried.

use serde_json::{Map, Value, json};

use crate::domain::content::{Body, Card, File, Menu, MenuRow, MenuSection};
use crate::domain::render::{Rendered, VOICE_TYPE};
use crate::domain::time::Timestamp;

/// The kinds whose paths are documented.
pub(super) const KINDS: [&str; 10] =
    ["text", "image", "document", "video", "voice", "location", "poll", "contact", "list", "event"];

/// Picture types the image endpoint takes.
const IMAGE_TYPES: [&str; 2] = ["image/jpeg", "image/png"];

/// Whether Wawp can carry a content, beyond what holds for every gateway.
///
/// # Errors
/// What to write instead.
pub(super) fn check(rendered: &Rendered) -> Result<(), String> {
    let mimetype = |f: &File| f.mimetype.clone().unwrap_or_default();
    match &rendered.content.body {
        Body::Image(f) if !IMAGE_TYPES.contains(&mimetype(f).as_str()) => {
            Err(format!("Wawp takes pictures as image/jpeg or image/png, not {}", mimetype(f)))
        }
        Body::Document(f) if mimetype(f) != "application/pdf" => {
            Err(format!("Wawp takes documents as application/pdf only, not {}", mimetype(f)))
        }
        Body::Voice(f) if mimetype(f) != VOICE_TYPE => {
            Err(format!("Wawp takes voice messages as {VOICE_TYPE} only, not {}", mimetype(f)))
        }
        Body::Link(_) => {
            Err("Wawp documents no endpoint for links with a preview; put the address into a text".to_owned())
        }
        _ => Ok(()),
    }
}

/// The path and the parameters of a content, or `None` for one that [`check`] refuses.
pub(super) fn request(chat: &str, rendered: &Rendered) -> Option<(&'static str, Map<String, Value>)> {
    let mut own = Map::new();
    let mut put = |key: &str, value: Value| {
        own.insert(key.to_owned(), value);
    };
    put("chatId", json!(chat));
    let path = match &rendered.content.body {
        Body::Text(text) => {
            put("message", json!(text));
            "/v2/send/text"
        }
        Body::Image(f) => {
            captioned(f, &mut put);
            "/v2/send/image"
        }
        Body::Document(f) => {
            captioned(f, &mut put);
            "/v2/send/pdf"
        }
        Body::Video(f) => {
            captioned(f, &mut put);
            if f.note {
                put("asNote", json!("true"));
            }
            "/v2/send/video"
        }
        Body::Voice(f) => {
            file(f, &mut put);
            put("convert", json!(f.convert.to_string()));
            "/v2/send/voice"
        }
        Body::Location(p) => {
            put("latitude", json!(p.latitude));
            put("longitude", json!(p.longitude));
            p.title.iter().for_each(|t| put("title", json!(t)));
            p.address.iter().for_each(|a| put("message", json!(a)));
            "/v2/send/location"
        }
        Body::Poll(p) => {
            put("poll", json!({ "name": p.name, "options": p.options, "multipleAnswers": p.multiple }));
            "/v2/send/poll"
        }
        Body::Contact(cards) => {
            put("contacts", Value::Array(cards.iter().map(card).collect()));
            "/v2/send/contact"
        }
        Body::List(m) => {
            put("message", menu(m));
            "/v2/send/list"
        }
        Body::Event(e) => {
            let (start, end) = rendered.event?;
            put("event.name", json!(e.name));
            e.description.iter().for_each(|d| put("event.description", json!(d)));
            put("event.startTime", json!(unix_seconds(start)));
            end.iter().for_each(|t| put("event.endTime", json!(unix_seconds(*t))));
            e.location.iter().for_each(|l| put("event.location.name", json!(l)));
            put("event.extraGuestsAllowed", json!(e.guests.to_string()));
            "/v2/send/event"
        }
        Body::Link(_) => return None,
    };
    if let Some(id) = &rendered.content.reply_to {
        own.insert("reply_to".to_owned(), json!(id));
    }
    Some((path, own))
}

fn menu(m: &Menu) -> Value {
    let row = |r: &MenuRow| {
        let mut row = json!({ "title": r.title, "rowId": r.id });
        if let (Some(description), Some(map)) = (&r.description, row.as_object_mut()) {
            map.insert("description".to_owned(), json!(description));
        }
        row
    };
    let section = |s: &MenuSection| json!({ "title": s.title, "rows": s.rows.iter().map(row).collect::<Vec<Value>>() });
    json!({
        "title": m.title,
        "description": m.description.as_deref().unwrap_or(""),
        "footer": m.footer.as_deref().unwrap_or(""),
        "button": m.button,
        "sections": m.sections.iter().map(section).collect::<Vec<Value>>(),
    })
}

fn file(f: &File, put: &mut impl FnMut(&str, Value)) {
    put("file[url]", json!(f.url));
    put("file[filename]", json!(f.filename.as_deref().unwrap_or("")));
    put("file[mimetype]", json!(f.mimetype.as_deref().unwrap_or("")));
}

fn captioned(f: &File, put: &mut impl FnMut(&str, Value)) {
    file(f, put);
    put("caption", json!(f.caption.as_deref().unwrap_or("")));
}

fn card(c: &Card) -> Value {
    let mut card = Map::new();
    card.insert("fullName".to_owned(), json!(c.name));
    if let Some(organization) = &c.organization {
        card.insert("organization".to_owned(), json!(organization));
    }
    card.insert("phoneNumber".to_owned(), json!(format!("+{}", c.phone)));
    card.insert("whatsappId".to_owned(), json!(c.phone));
    Value::Object(card)
}

fn unix_seconds(t: Timestamp) -> String {
    t.0.div_euclid(1_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::content::Content;
    use crate::domain::template::{Moments, Vars};
    use crate::domain::time::Millis;

    fn rendered(content: &str) -> Rendered {
        let content: Content = serde_json::from_str(content).unwrap();
        let moments = Moments {
            due: Timestamp(0),
            nominal: None,
            event: None,
            late_by: Millis::ZERO,
            zone: jiff::tz::TimeZone::UTC,
            pick: crate::domain::draw::Draw::new(0, "trial"),
        };
        content.compile().unwrap().render(&Vars::new(), &moments).unwrap()
    }

    #[test]
    fn every_kind_is_written_as_the_contract_s_table_says() {
        let cases = [
            (
                r#"{"text":"Hi","reply_to":"false_1@c.us_A"}"#,
                "/v2/send/text",
                r#"{"chatId":"1@c.us","message":"Hi","reply_to":"false_1@c.us_A"}"#,
            ),
            (
                r#"{"image":{"url":"https://x.test/a.png"}}"#,
                "/v2/send/image",
                r#"{"chatId":"1@c.us","file[url]":"https://x.test/a.png","file[filename]":"a.png","file[mimetype]":"image/png","caption":""}"#,
            ),
            (
                r#"{"document":{"url":"https://x.test/a.pdf","caption":"c"}}"#,
                "/v2/send/pdf",
                r#"{"chatId":"1@c.us","file[url]":"https://x.test/a.pdf","file[filename]":"a.pdf","file[mimetype]":"application/pdf","caption":"c"}"#,
            ),
            (
                r#"{"video":{"url":"https://x.test/a.mp4","note":true}}"#,
                "/v2/send/video",
                r#"{"chatId":"1@c.us","file[url]":"https://x.test/a.mp4","file[filename]":"a.mp4","file[mimetype]":"video/mp4","caption":"","asNote":"true"}"#,
            ),
            (
                r#"{"voice":{"url":"https://x.test/a.ogg"}}"#,
                "/v2/send/voice",
                r#"{"chatId":"1@c.us","file[url]":"https://x.test/a.ogg","file[filename]":"a.ogg","file[mimetype]":"audio/ogg; codecs=opus","convert":"false"}"#,
            ),
            (
                r#"{"location":{"latitude":"38.89","longitude":"-77.03","title":"t","address":"a"}}"#,
                "/v2/send/location",
                r#"{"chatId":"1@c.us","latitude":"38.89","longitude":"-77.03","title":"t","message":"a"}"#,
            ),
            (
                r#"{"poll":{"name":"?","options":["a","b"]}}"#,
                "/v2/send/poll",
                r#"{"chatId":"1@c.us","poll":{"name":"?","options":["a","b"],"multipleAnswers":false}}"#,
            ),
            (
                r#"{"contact":[{"name":"Ada","phone":"+49 170 1234567","organization":"O"}]}"#,
                "/v2/send/contact",
                r#"{"chatId":"1@c.us","contacts":[{"fullName":"Ada","organization":"O","phoneNumber":"+491701234567","whatsappId":"491701234567"}]}"#,
            ),
            (
                r#"{"list":{"title":"t","button":"b","sections":[{"title":"s","rows":[{"title":"r","id":"1"},{"title":"q","id":"2","description":"d"}]}]}}"#,
                "/v2/send/list",
                r#"{"chatId":"1@c.us","message":{"title":"t","description":"","footer":"","button":"b","sections":[{"title":"s","rows":[{"title":"r","rowId":"1"},{"title":"q","rowId":"2","description":"d"}]}]}}"#,
            ),
            (
                r#"{"event":{"name":"e","start":"2026-12-01T10:00","end":"2026-12-01T11:00","description":"d","location":"l"}}"#,
                "/v2/send/event",
                r#"{"chatId":"1@c.us","event.name":"e","event.description":"d","event.startTime":"1796119200","event.endTime":"1796122800","event.location.name":"l","event.extraGuestsAllowed":"false"}"#,
            ),
        ];
        assert_eq!(cases.len(), KINDS.len());
        for (content, path, body) in cases {
            let rendered = rendered(content);
            assert_eq!(check(&rendered), Ok(()), "{content}");
            let (found, own) = request("1@c.us", &rendered).unwrap();
            assert_eq!((found, Value::Object(own).to_string().as_str()), (path, body), "{content}");
        }
    }

    #[test]
    fn what_wawp_cannot_carry_is_refused_with_what_it_can() {
        for (content, word) in [
            (r#"{"image":{"url":"https://x.test/a.gif"}}"#, "image/jpeg or image/png"),
            (r#"{"document":{"url":"https://x.test/a.docx"}}"#, "application/pdf only"),
            (r#"{"voice":{"url":"https://x.test/a.mp3"}}"#, "codecs=opus only"),
            (r#"{"link":{"text":"see https://x.test","url":"https://x.test","title":"t"}}"#, "no endpoint"),
        ] {
            let error = check(&rendered(content)).unwrap_err();
            assert!(error.contains(word), "{content}: {error}");
        }
    }
}
