//! The sandbox's answers, good and bad.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::response::Response;
use serde_json::{Value, json};

use crate::clock;
use crate::domain::time::Millis;
use crate::sandbox::contract::{Endpoint, Refusal};
use crate::sandbox::scenario::Shape;
use crate::sandbox::state::Sent;

/// What a call did, as far as its answer tells.
#[derive(Clone, Debug)]
pub(super) enum Done {
    Sent(Sent),
    History(Vec<Sent>),
    Exists {
        phone: String,
        exists: bool,
    },
    Nothing {
        instance_id: String,
    },
    /// There is no such message.
    Unknown,
}

pub(super) fn success(endpoint: Endpoint, done: Done, shape: &Shape) -> Response {
    plain(200, body(endpoint, done, shape), None)
}

/// The documented body of a success.
pub(super) fn body(endpoint: Endpoint, done: Done, shape: &Shape) -> String {
    let value = match (endpoint, done) {
        (_, Done::Sent(sent)) => message(&sent, shape),
        (_, Done::History(list)) => Value::Array(list.iter().map(|s| message(s, &Shape::Webjs)).collect()),
        (_, Done::Exists { phone, exists }) => {
            json!({ "numberExists": exists, "chatId": exists.then(|| format!("{}@c.us", phone.trim_start_matches('+'))) })
        }
        (Endpoint::SessionInfo, Done::Nothing { instance_id }) => {
            json!({ "instance_id": instance_id, "name": instance_id, "status": "WORKING" })
        }
        (Endpoint::RateLimit, _) => json!({ "policies": [], "free_policies": [], "has_active_plan": true }),
        (_, Done::Nothing { .. } | Done::Unknown) => json!({ "result": true }),
    };
    value.to_string()
}

fn message(sent: &Sent, shape: &Shape) -> Value {
    let serialized = format!("true_{}_{}", sent.chat, sent.id);
    let seconds = sent.at.0.div_euclid(1_000);
    match shape {
        Shape::Webjs => {
            let id = json!({ "fromMe": true, "remote": sent.chat, "id": sent.id, "_serialized": serialized });
            json!({
                "_data": { "id": id, "ack": 0, "type": "chat" },
                "id": id, "ack": 0, "hasMedia": false, "body": sent.text, "type": "chat", "timestamp": seconds,
                "from": "201111111111@c.us", "to": sent.chat, "fromMe": true, "isForwarded": false,
                "isStatus": false, "hasQuotedMsg": false, "vCards": [], "mentionedIds": [], "links": [],
            })
        }
        Shape::Gows => {
            json!({ "id": serialized, "_data": { "Info": { "ID": sent.id, "Chat": sent.chat }, "Message": {} } })
        }
        Shape::Noweb => json!({
            "key": { "remoteJid": sent.chat, "fromMe": true, "id": sent.id },
            "message": { "conversation": sent.text }, "messageTimestamp": seconds.to_string(), "status": "PENDING",
        }),
        Shape::Legacy => json!({ "result": true, "message_id": sent.id }),
    }
}

pub(super) fn refusal(refusal: &Refusal) -> Response {
    plain(refusal.status, refusal.body.to_string(), None)
}

/// A JSON answer with a status.
pub(super) fn plain(status: u16, body: String, retry_after: Option<String>) -> Response {
    let mut builder = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if let Some(wait) = retry_after {
        builder = builder.header(RETRY_AFTER, wait);
    }
    builder.body(Body::from(body)).unwrap_or_else(|_| broken())
}

/// A page where JSON is expected, as a proxy in between would answer.
pub(super) fn garbage() -> Response {
    let page = Body::from("<html><body><h1>It works!</h1></body></html>");
    Response::builder().status(200).header(CONTENT_TYPE, "text/html").body(page).unwrap_or_else(|_| broken())
}

pub(super) fn redirect(to: &str) -> Response {
    Response::builder().status(302).header(LOCATION, to).body(Body::empty()).unwrap_or_else(|_| broken())
}

/// The body one byte at a time.
pub(super) fn drip(body: String, pause: Millis) -> Response {
    let length = body.len();
    let bytes = futures_util::stream::unfold(body.into_bytes().into_iter(), move |mut rest| async move {
        clock::sleep(pause).await;
        let byte = rest.next()?;
        Some((Ok::<Bytes, std::convert::Infallible>(Bytes::from(vec![byte])), rest))
    });
    Response::builder()
        .status(200)
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, length)
        .body(Body::from_stream(bytes))
        .unwrap_or_else(|_| broken())
}

fn broken() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
