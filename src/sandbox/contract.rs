//! Wawp's contract, checked strictly: every documented endpoint with its required parameters, and the documented
//! errors for everything else.

use axum::http::{HeaderMap, Method, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::domain::render::TEXT_LIMIT_CHARS;

/// A documented endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Endpoint {
    Text,
    Image,
    Pdf,
    Voice,
    Video,
    Location,
    Poll,
    Contact,
    List,
    Event,
    Seen,
    StartTyping,
    StopTyping,
    SessionInfo,
    RateLimit,
    History,
    CheckExists,
    Delete,
}

/// Path, endpoint, the methods it is offered for, required parameters of its own.
const ENDPOINTS: [(&str, Endpoint, Methods, &[&str]); 18] = [
    ("/v2/send/text", Endpoint::Text, Methods::Both, &["chatId", "message"]),
    (
        "/v2/send/image",
        Endpoint::Image,
        Methods::Both,
        &["chatId", "file[url]", "file[filename]", "file[mimetype]", "caption"],
    ),
    (
        "/v2/send/pdf",
        Endpoint::Pdf,
        Methods::Both,
        &["chatId", "file[url]", "file[filename]", "file[mimetype]", "caption"],
    ),
    (
        "/v2/send/voice",
        Endpoint::Voice,
        Methods::Post,
        &["chatId", "file[url]", "file[filename]", "file[mimetype]", "convert"],
    ),
    ("/v2/send/video", Endpoint::Video, Methods::Post, &["chatId", "file[url]", "file[filename]", "file[mimetype]"]),
    ("/v2/send/location", Endpoint::Location, Methods::Both, &["chatId", "latitude", "longitude"]),
    ("/v2/send/poll", Endpoint::Poll, Methods::Post, &["chatId", "poll"]),
    ("/v2/send/contact", Endpoint::Contact, Methods::Post, &["chatId", "contacts"]),
    ("/v2/send/list", Endpoint::List, Methods::Both, &["chatId", "message"]),
    ("/v2/send/event", Endpoint::Event, Methods::Post, &["chatId", "event.name", "event.startTime"]),
    ("/v2/send/seen", Endpoint::Seen, Methods::Post, &["chatId"]),
    ("/v2/send/start-typing", Endpoint::StartTyping, Methods::Post, &["chatId"]),
    ("/v2/send/stop-typing", Endpoint::StopTyping, Methods::Post, &["chatId"]),
    ("/v2/session/info", Endpoint::SessionInfo, Methods::Both, &[]),
    ("/v2/session/rate-limit", Endpoint::RateLimit, Methods::Get, &[]),
    ("/v2/chats/messages", Endpoint::History, Methods::Get, &["chatId"]),
    ("/v2/contacts/check-exists", Endpoint::CheckExists, Methods::Get, &["phone"]),
    ("/v2/messages/delete", Endpoint::Delete, Methods::Delete, &["chatId", "messageId"]),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Methods {
    Post,
    Get,
    Both,
    Delete,
}

impl Endpoint {
    /// Whether it puts a message into a chat.
    pub(super) fn is_send(self) -> bool {
        matches!(
            self,
            Endpoint::Text
                | Endpoint::Image
                | Endpoint::Pdf
                | Endpoint::Voice
                | Endpoint::Video
                | Endpoint::Location
                | Endpoint::Poll
                | Endpoint::Contact
                | Endpoint::List
                | Endpoint::Event
        )
    }

    /// Whether it is refused while the session is down.
    pub(super) fn needs_session(self) -> bool {
        !matches!(self, Endpoint::RateLimit)
    }
}

/// A call that keeps the contract.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub instance_id: String,
    pub chat: Option<String>,
    parameters: Map<String, Value>,
}

impl Call {
    /// The text of a text message, the phone of a check.
    pub(super) fn text(&self) -> Option<&str> {
        self.parameters.get("message").or_else(|| self.parameters.get("phone")).and_then(Value::as_str)
    }

    /// The bare id of the message a deletion names.
    pub(super) fn message_id(&self) -> Option<&str> {
        let serialized = self.parameters.get("messageId")?.as_str()?;
        own_id(serialized, self.chat.as_deref()?)
    }

    /// How many messages of a history are asked for: 50 unless said, 100 at most.
    pub(super) fn limit(&self) -> usize {
        let given = self.parameters.get("limit").and_then(Value::as_str).and_then(|l| l.parse().ok());
        given.unwrap_or(50).min(100)
    }
}

/// A documented error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub body: Value,
}

impl Refusal {
    fn new(status: u16, code: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, body: json!({ "code": code, "message": message.into() }) }
    }

    pub(super) fn invalid_session() -> Refusal {
        Refusal::new(404, "invalid_session", "The session is not found or not connected. Scan the code again.")
    }

    pub(super) fn unknown_message() -> Refusal {
        Refusal::new(404, "message_not_found", "There is no message with this id in the chat.")
    }

    pub(super) fn not_on_whatsapp() -> Refusal {
        Refusal::new(400, "number_not_on_whatsapp", "The number is not on WhatsApp.")
    }
}

/// Reads a request as the contract says.
pub(super) fn read(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    token: Option<&SecretString>,
) -> Result<(Endpoint, Call), Refusal> {
    let Some((_, endpoint, methods, required)) = ENDPOINTS.iter().find(|(path, ..)| *path == uri.path()) else {
        return Err(Refusal::new(404, "not_found", "There is no such endpoint."));
    };
    let fits = match *method {
        Method::POST => matches!(methods, Methods::Post | Methods::Both),
        Method::GET => matches!(methods, Methods::Get | Methods::Both),
        Method::DELETE => *methods == Methods::Delete,
        _ => false,
    };
    if !fits {
        return Err(Refusal::new(405, "method_not_allowed", "The method is not allowed here."));
    }
    let parameters = parameters(method, uri, headers, body)?;
    let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let given = credential(headers, &text("access_token"));
    if given.is_empty() {
        return Err(Refusal::new(401, "missing_access_token", "The access_token is missing."));
    }
    if token.is_some_and(|t| t.expose_secret() != given) {
        return Err(Refusal::new(401, "invalid_access_token", "The access_token is invalid."));
    }
    let instance_id = match text("instance_id") {
        id if !id.is_empty() => id,
        _ => headers.get("x-instance-id").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned(),
    };
    if instance_id.is_empty() {
        return Err(missing("instance_id"));
    }
    for key in *required {
        match parameters.get(*key) {
            None | Some(Value::Null) => return Err(missing(key)),
            Some(Value::String(s)) if s.is_empty() && *key != "caption" => return Err(missing(key)),
            Some(_) => {}
        }
    }
    check(*endpoint, &parameters)?;
    let chat = parameters.get("chatId").and_then(Value::as_str).map(full_chat);
    Ok((*endpoint, Call { instance_id, chat, parameters }))
}

fn missing(key: &str) -> Refusal {
    Refusal::new(400, "missing_parameter", format!("The parameter {key} is required."))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "invalid_parameter", message)
}

/// Parameters of the query and the JSON body together; the body wins.
fn parameters(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let mut all: Map<String, Value> = url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes())
        .map(|(k, v)| (k.into_owned(), Value::String(v.into_owned())))
        .collect();
    if *method == Method::POST && !body.is_empty() {
        let content_type = headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("");
        let parsed = content_type.starts_with("application/json").then(|| serde_json::from_slice(body));
        match parsed {
            Some(Ok(Value::Object(map))) => all.extend(map),
            // Seen in the field: a body that is not JSON is answered as if the token were missing.
            _ => return Err(Refusal::new(401, "missing_access_token", "The access_token is missing.")),
        }
    }
    Ok(all)
}

fn credential(headers: &HeaderMap, parameter: &str) -> String {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    if !parameter.is_empty() {
        return parameter.to_owned();
    }
    let bare = header("access-token");
    if bare.is_empty() { header("authorization").trim_start_matches("Bearer ").to_owned() } else { bare }
}

/// Bare digits get the suffix of a single chat, as several pages show.
fn full_chat(given: &str) -> String {
    if given.contains('@') { given.to_owned() } else { format!("{given}@c.us") }
}

/// The bare id in the serialized id of a message that the account sent to a chat; that of a group may name who sent it.
fn own_id<'s>(serialized: &'s str, chat: &str) -> Option<&'s str> {
    let rest = serialized.strip_prefix("true_")?.strip_prefix(chat)?.strip_prefix('_')?;
    rest.split('_').next().filter(|id| !id.is_empty())
}

fn check(endpoint: Endpoint, parameters: &Map<String, Value>) -> Result<(), Refusal> {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str);
    if let Some(chat) = parameters.get("chatId") {
        let fine = chat.as_str().is_some_and(|c| {
            let (id, server) = c.split_once('@').unwrap_or((c, "c.us"));
            let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit() || (b == b'-' && server == "g.us"));
            digits && matches!(server, "c.us" | "g.us" | "newsletter" | "lid")
        });
        if !fine {
            return Err(invalid("The chatId must be <digits>@c.us, <id>@g.us or <id>@newsletter."));
        }
    }
    match endpoint {
        Endpoint::Text => match text("message") {
            None => Err(invalid("The message must be a string.")),
            Some(m) if m.chars().count() > TEXT_LIMIT_CHARS => {
                Err(invalid("The message is longer than 4096 characters."))
            }
            Some(_) => Ok(()),
        },
        Endpoint::Image | Endpoint::Pdf | Endpoint::Voice | Endpoint::Video => check_file(endpoint, &text),
        Endpoint::Location => check_location(parameters),
        Endpoint::Poll => check_poll(parameters.get("poll")),
        Endpoint::Contact => match parameters.get("contacts").and_then(Value::as_array) {
            Some(list) if !list.is_empty() && list.iter().all(|c| c.get("fullName").is_some_and(Value::is_string)) => {
                Ok(())
            }
            _ => Err(invalid("The contacts must be a list of objects with fullName.")),
        },
        Endpoint::List => match parameters.get("message") {
            Some(m)
                if ["title", "button"].iter().all(|k| m.get(k).is_some_and(Value::is_string))
                    && m.get("sections").is_some_and(Value::is_array) =>
            {
                Ok(())
            }
            _ => Err(invalid("The message of a list needs title, button and sections.")),
        },
        Endpoint::Event => match parameters.get("event.startTime").map(number) {
            Some(Some(_)) => Ok(()),
            _ => Err(invalid("The event.startTime must be unix seconds.")),
        },
        Endpoint::CheckExists => match text("phone").map(|p| p.trim_start_matches('+')) {
            Some(p) if !p.starts_with("00") && p.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
            _ => Err(invalid("The phone must be international digits.")),
        },
        Endpoint::Delete => {
            let chat = text("chatId").map(full_chat).unwrap_or_default();
            match text("messageId").and_then(|id| own_id(id, &chat)) {
                Some(_) => Ok(()),
                None => Err(invalid("The messageId must be true_<chatId>_<id>, as the message was answered with.")),
            }
        }
        Endpoint::Seen
        | Endpoint::StartTyping
        | Endpoint::StopTyping
        | Endpoint::SessionInfo
        | Endpoint::RateLimit
        | Endpoint::History => Ok(()),
    }
}

fn check_file<'p>(endpoint: Endpoint, text: &impl Fn(&str) -> Option<&'p str>) -> Result<(), Refusal> {
    if !text("file[url]").is_some_and(|u| u.starts_with("https://")) {
        return Err(invalid("The file[url] must be a public HTTPS address."));
    }
    let mimetype = text("file[mimetype]").unwrap_or("");
    let fine = match endpoint {
        Endpoint::Image => matches!(mimetype, "image/jpeg" | "image/png"),
        Endpoint::Pdf => mimetype == "application/pdf",
        Endpoint::Voice => mimetype == "audio/ogg; codecs=opus" && matches!(text("convert"), Some("true" | "false")),
        _ => mimetype.starts_with("video/"),
    };
    if fine { Ok(()) } else { Err(invalid("The file[mimetype] does not fit this endpoint.")) }
}

fn check_location(parameters: &Map<String, Value>) -> Result<(), Refusal> {
    let within = |key: &str, most: f64| parameters.get(key).and_then(number).is_some_and(|n| n.abs() <= most);
    if within("latitude", 90.0) && within("longitude", 180.0) {
        Ok(())
    } else {
        Err(invalid("The latitude and longitude must be degrees."))
    }
}

fn check_poll(poll: Option<&Value>) -> Result<(), Refusal> {
    let named = poll.and_then(|p| p.get("name")).is_some_and(Value::is_string);
    let options = poll.and_then(|p| p.get("options")).and_then(Value::as_array);
    let fine = options.is_some_and(|o| {
        (2..=12).contains(&o.len()) && o.iter().all(|x| x.as_str().is_some_and(|s| s.chars().count() < 255))
    });
    if named && fine { Ok(()) } else { Err(invalid("The poll needs a name and 2 to 12 options.")) }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str, body: &Value) -> Result<(Endpoint, Call), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        read(&Method::POST, &path.parse().unwrap(), &headers, body.to_string().as_bytes(), None)
    }

    #[test]
    fn every_send_endpoint_takes_its_documented_shape_and_misses_each_required_parameter() {
        let base = json!({"instance_id": "A1B2C3D4E5F6", "access_token": "t", "chatId": "201234567890@c.us"});
        let file = |mime: &str| json!({"file[url]": "https://x.test/a", "file[filename]": "a", "file[mimetype]": mime, "caption": "", "convert": "false"});
        let cases = [
            ("/v2/send/text", json!({"message": "Hi"})),
            ("/v2/send/image", file("image/png")),
            ("/v2/send/pdf", file("application/pdf")),
            ("/v2/send/voice", file("audio/ogg; codecs=opus")),
            ("/v2/send/video", file("video/mp4")),
            ("/v2/send/location", json!({"latitude": "38.89", "longitude": "-77.03"})),
            ("/v2/send/poll", json!({"poll": {"name": "?", "options": ["a", "b"], "multipleAnswers": false}})),
            ("/v2/send/contact", json!({"contacts": [{"fullName": "A"}]})),
            ("/v2/send/list", json!({"message": {"title": "t", "button": "b", "sections": []}})),
            ("/v2/send/event", json!({"event.name": "e", "event.startTime": 1_760_000_000})),
            ("/v2/send/seen", json!({})),
            ("/v2/send/start-typing", json!({})),
            ("/v2/send/stop-typing", json!({})),
        ];
        for (path, own) in cases {
            let mut body = base.clone();
            body.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            assert!(post(path, &body).is_ok(), "{path}");
            let (_, _, _, required) = ENDPOINTS.iter().find(|(p, ..)| *p == path).unwrap();
            for key in required.iter().chain(&["instance_id"]) {
                let mut less = body.clone();
                less.as_object_mut().unwrap().remove(*key);
                assert_eq!(post(path, &less).unwrap_err().status, 400, "{path} without {key}");
            }
            let mut less = body.clone();
            less.as_object_mut().unwrap().remove("access_token");
            assert_eq!(post(path, &less).unwrap_err().status, 401, "{path} without a token");
        }
    }

    #[test]
    fn a_deletion_names_a_message_of_its_chat_in_the_query() {
        let read = |method: &Method, id: &str| {
            let query = format!("access_token=t&instance_id=A&chatId=201234567890%40c.us&messageId={id}");
            read(method, &format!("/v2/messages/delete?{query}").parse().unwrap(), &HeaderMap::new(), b"", None)
        };
        let (endpoint, call) = read(&Method::DELETE, "true_201234567890@c.us_3EB0AA").unwrap();
        assert_eq!((endpoint, call.message_id()), (Endpoint::Delete, Some("3EB0AA")));
        for wrong in
            ["3EB0AA", "false_201234567890@c.us_3EB0AA", "true_201234567891@c.us_3EB0AA", "true_201234567890@c.us_"]
        {
            assert_eq!(read(&Method::DELETE, wrong).unwrap_err().status, 400, "{wrong}");
        }
        assert_eq!(read(&Method::POST, "true_201234567890@c.us_3EB0AA").unwrap_err().status, 405);
        let chat = "1203@g.us";
        assert_eq!(own_id("true_1203@g.us_3EB0BB_222@lid", chat), Some("3EB0BB"));
    }

    #[test]
    fn a_form_and_a_long_text_are_refused_as_documented() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let form = read(&Method::POST, &"/v2/send/text".parse().unwrap(), &headers, b"access_token=t", None);
        assert_eq!(form.unwrap_err().status, 401);
        let body =
            json!({"instance_id": "A", "access_token": "t", "chatId": "201234567890", "message": "x".repeat(4_097)});
        assert_eq!(post("/v2/send/text", &body).unwrap_err().status, 400);
        assert_eq!(post("/v2/send/nothing", &json!({})).unwrap_err().status, 404);
        let get = read(&Method::GET, &"/v2/send/start-typing".parse().unwrap(), &HeaderMap::new(), b"", None);
        assert_eq!(get.unwrap_err().status, 405);
    }
}
