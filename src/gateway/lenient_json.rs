//! Reading JSON of which a part is broken: a gateway that writes one name wrong must not take the other messages with it.

use serde_json::Value;

/// The elements of an array, or one object alone; what is wrong with an element stands in its place.
///
/// # Errors
/// What is wrong, where nothing can be read, or there are more than `limit`.
pub(super) fn elements(body: &[u8], limit: usize) -> Result<Vec<Result<Value, String>>, String> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let wrong = match serde_json::from_slice(body) {
        Ok(value) => return listed(value, limit),
        Err(e) => e.to_string(),
    };
    let mended = without_lone_surrogates(&String::from_utf8_lossy(body));
    if let Ok(value) = serde_json::from_str(&mended) {
        return listed(value, limit);
    }
    let parts = parts(&mended).ok_or(wrong)?;
    within(parts.len(), limit)?;
    Ok(parts.into_iter().map(|part| serde_json::from_str(part).map_err(|e| e.to_string())).collect())
}

fn listed(value: Value, limit: usize) -> Result<Vec<Result<Value, String>>, String> {
    match value {
        Value::Array(list) => within(list.len(), limit).map(|()| list.into_iter().map(Ok).collect()),
        object @ Value::Object(_) => Ok(vec![Ok(object)]),
        _ => Err("neither an object nor an array".to_owned()),
    }
}

fn within(count: usize, limit: usize) -> Result<(), String> {
    if count > limit { Err(format!("{count} events in one body; the limit is {limit}")) } else { Ok(()) }
}

/// The texts between the commas of the outer array; `None` where it is none. What is cut off is a part, too.
fn parts(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim().strip_prefix('[')?;
    let (mut parts, mut begin, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' | b']' if depth == 0 => {
                parts.push(&inner[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begin..]);
    parts.retain(|part| !part.trim().is_empty());
    Some(parts)
}

/// Puts the replacement character where half an emoji is escaped (`\ud83d` without its other half).
fn without_lone_surrogates(text: &str) -> String {
    let (mut mended, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, sound) = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, true),
            (Some(0xd800..=0xdfff), _) => (6, false),
            // A backslash and what it escapes belong together, or the second of two would begin an escape.
            _ => (1 + rest[1..].chars().next().map_or(0, char::len_utf8), true),
        };
        mended.push_str(if sound { &rest[..length] } else { "\\ufffd" });
        rest = &rest[length..];
    }
    mended.push_str(rest);
    mended
}

/// The UTF-16 unit of an escape that a text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &[u8]) -> Vec<Option<Value>> {
        elements(body, 10).unwrap().into_iter().map(Result::ok).collect()
    }

    #[test]
    fn half_an_emoji_bad_bytes_and_a_mark_in_front_lose_nothing() {
        let name = |name: &str| Some(json!({ "n": name }));
        assert_eq!(read(br#"[{"n": "Zo\ud83d"}, {"n": "b"}]"#), [name("Zo\u{fffd}"), name("b")]);
        assert_eq!(read(br#"[{"n": "\ude00\ud83d\ud83d\ude00\\ud83d"}]"#), [name("\u{fffd}\u{fffd}😀\\ud83d")]);
        assert_eq!(read(b"[{\"n\": \"Zo\xff\"}, {\"n\": \"b\"}]"), [name("Zo\u{fffd}"), name("b")]);
        assert_eq!(read("\u{feff}{\"n\": \"b\"}".as_bytes()), [name("b")]);
        assert_eq!(read("\u{feff}[{\"n\": \"ü\\ud83dé\"}]".as_bytes()), [name("ü\u{fffd}é")]);
    }

    #[test]
    fn a_bad_element_loses_itself_alone() {
        let good = || Some(json!({"n": [1, "],[\"{"]}));
        let text = r#"{"n": [1, "],[\"{"]}"#;
        let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
        for bad in ["{\"x\": NaN}", "{\"x\": \"\n\"}", "{\"x\" 1}", "nothing", &deep] {
            let body = format!(" [{text},{bad} , {text}] ");
            assert_eq!(read(body.as_bytes()), [good(), None, good()], "{bad}");
        }
        assert_eq!(read(format!("[{text}, {{\"n\": ").as_bytes()), [good(), None], "what is cut off");
    }

    #[test]
    fn what_is_no_list_of_events_is_refused() {
        for body in ["", "7", "{", "\\", "\\u", "\\ud83d", "nothing", "\u{feff}"] {
            assert!(elements(body.as_bytes(), 10).is_err(), "{body:?}");
        }
        for body in [format!("[{}]", ["1"; 11].join(",")), format!("[{}]", ["NaN"; 11].join(","))] {
            assert!(elements(body.as_bytes(), 10).unwrap_err().contains("11 events"));
        }
    }
}
