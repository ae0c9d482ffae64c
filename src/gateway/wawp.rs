//! Wawp v2: WhatsApp over HTTP.
//!
//! Credentials travel in the JSON body (`instance_id`, `access_token`) and the header `access-token`; never in a
//! form, which Wawp answers with 401, and the token never in a URL.
//!
//! | answer to a send | outcome |
//! |---|---|
//! | 2xx with a message id and no error key | `Accepted` |
//! | 2xx with an error: `invalid_session` | `InstanceDown` (session) |
//! | 2xx with an error: a known refusal | `Refused` |
//! | 2xx with an error: `wawp_upstream_error`, any other code | `InDoubt` |
//! | 2xx without an id, not JSON, empty, too long | `InDoubt` |
//! | 3xx | `InDoubt` (never followed: it may turn a POST into a GET) |
//! | 400, 413, 415, 422 and other 4xx not named here | `Refused` |
//! | 401, 403 | `InstanceDown` (credentials, plan) |
//! | 404 with `invalid_session` | `InstanceDown` (session) |
//! | 404 otherwise | `Refused` |
//! | 408 | `InDoubt` |
//! | 409, 423, 425 | `RefusedForNow` |
//! | 429 | `NotNow`, with `Retry-After` where present |
//! | 5xx | `InDoubt`: a proxy answers 502 or 504 also after the work was done |
//! | no connection | `NotSent` |
//! | timeout, reset, broken answer after the request began | `InDoubt` |

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::domain::doubt::History;
use crate::domain::outcome::{DownCause, Outcome};
use crate::domain::recall::Deletion;
use crate::domain::recipient::Chat;
use crate::domain::render::Rendered;
use crate::domain::time::Millis;
use crate::gateway::http::{HttpClient, HttpOutcome};
use crate::gateway::redact::Redactor;
use crate::gateway::wawp_answer::{self, AnswerError};
use crate::gateway::wawp_delete;
use crate::gateway::wawp_history;
use crate::gateway::wawp_request;
use crate::gateway::{
    Account, BadHook, CallAnswer, Capabilities, DeleteAnswer, Gateway, HookEvent, SendAnswer, Session,
};

/// Where Wawp is.
pub const BASE_URL: &str = "https://api.wawp.net";

/// What Wawp can do. WhatsApp clears typing after 10–20 s, so it is shown again every 8 s.
pub const CAPABILITIES: Capabilities = Capabilities {
    refresh_every: Millis::seconds(8),
    shows_recording: false,
    kinds: &wawp_request::KINDS,
    deletes_within: Some(wawp_delete::WITHIN),
};

/// One Wawp account.
#[derive(Debug)]
pub struct Wawp {
    account: Account,
    client: HttpClient,
    redactor: Redactor,
    headers: HeaderMap,
    /// The addresses called so far, by path: reading one anew for every message took a thirtieth of the daemon's time.
    urls: RwLock<HashMap<&'static str, Url>>,
    /// The beginning of every body: an object with the credentials, not closed.
    credentials: SecretString,
}

fn only_chat(chat: &Chat) -> Map<String, Value> {
    Map::from_iter([("chatId".to_owned(), json!(chat.as_str()))])
}

impl Wawp {
    /// Opens an account.
    pub fn new(account: Account, client: HttpClient) -> Wawp {
        let redactor = Redactor::new([account.access_token.clone(), account.instance_id.clone()]);
        let mut headers = HeaderMap::new();
        if let Ok(mut value) = HeaderValue::from_str(account.access_token.expose_secret()) {
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("access-token"), value);
        }
        let credentials = json!({
            "instance_id": account.instance_id.expose_secret(),
            "access_token": account.access_token.expose_secret(),
        });
        let credentials = credentials.to_string().trim_end_matches('}').to_owned();
        let urls = RwLock::default();
        Wawp { account, client, redactor, headers, urls, credentials: credentials.into() }
    }

    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    async fn post(&self, path: &'static str, own: &Map<String, Value>, limit: Millis) -> HttpOutcome {
        match self.url(path) {
            Ok(url) => self.client.post(url, self.headers(), self.body(own), limit).await,
            Err(e) => HttpOutcome::NotSent(format!("the base_url cannot be called: {e}")),
        }
    }

    fn url(&self, path: &'static str) -> Result<Url, url::ParseError> {
        let known = self.urls.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(url) = known {
            return Ok(url);
        }
        let url = Url::parse(&format!("{}{path}", self.account.base_url))?;
        self.urls.write().unwrap_or_else(PoisonError::into_inner).insert(path, url.clone());
        Ok(url)
    }

    /// Credentials and a call's own parameters in one object.
    fn body(&self, own: &Map<String, Value>) -> Vec<u8> {
        let mut body = self.credentials.expose_secret().as_bytes().to_vec();
        // A map of strings and JSON values always has a text.
        let own = serde_json::to_string(own).unwrap_or_else(|_| "{}".to_owned());
        if own.len() > 2 {
            body.push(b',');
        }
        body.extend_from_slice(&own.as_bytes()[1..]);
        body
    }

    async fn call(&self, path: &'static str, chat: &Chat) -> CallAnswer {
        match self.post(path, &only_chat(chat), self.account.timeouts.typing).await {
            HttpOutcome::Answer { status, body, .. } => {
                CallAnswer { status: Some(status), response: self.redactor.bytes(body) }
            }
            HttpOutcome::NotSent(why) | HttpOutcome::Unclear(why) => {
                CallAnswer { status: None, response: self.redactor.text(&why) }
            }
        }
    }
}

#[async_trait]
impl Gateway for Wawp {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn start_typing(&self, chat: &Chat) -> CallAnswer {
        self.call("/v2/send/start-typing", chat).await
    }

    async fn stop_typing(&self, chat: &Chat) -> CallAnswer {
        self.call("/v2/send/stop-typing", chat).await
    }

    async fn seen(&self, chat: &Chat) -> CallAnswer {
        self.call("/v2/send/seen", chat).await
    }

    async fn send(&self, chat: &Chat, content: &Rendered) -> SendAnswer {
        let Some((path, own)) = wawp_request::request(chat.as_str(), content) else {
            let why = "this gateway has no endpoint for this kind of content".to_owned();
            return SendAnswer { outcome: Outcome::Refused { why: why.clone() }, status: None, response: why };
        };
        match self.post(path, &own, self.account.timeouts.send).await {
            HttpOutcome::Answer { status, retry_after, body } => SendAnswer {
                outcome: self.masked(classify(status, retry_after, &body)),
                status: Some(status),
                response: self.redactor.bytes(body),
            },
            HttpOutcome::NotSent(why) => {
                let why = self.redactor.text(&why);
                SendAnswer { outcome: Outcome::NotSent { why: why.clone() }, status: None, response: why }
            }
            HttpOutcome::Unclear(why) => {
                let why = self.redactor.text(&why);
                SendAnswer { outcome: Outcome::InDoubt { why: why.clone(), named: None }, status: None, response: why }
            }
        }
    }

    async fn session(&self) -> Session {
        let answer = self.post("/v2/session/info", &Map::new(), self.account.timeouts.typing).await;
        let down = |cause, why: String| Session::Down { cause, why: self.redactor.text(&why) };
        match answer {
            HttpOutcome::Answer { status: 200..=299, body, .. } => match session_status(&body) {
                Some(s) if s == "WORKING" => Session::Working,
                Some(s) => down(DownCause::Session, format!("the session is {s}")),
                None => down(DownCause::Session, "the gateway did not tell the session's status".to_owned()),
            },
            HttpOutcome::Answer { status, retry_after, body } => match classify(status, retry_after, &body) {
                Outcome::InstanceDown { cause, why } => down(cause, why),
                other => down(DownCause::Session, format!("the session could not be asked: {}", other.why())),
            },
            HttpOutcome::NotSent(why) | HttpOutcome::Unclear(why) => {
                down(DownCause::Session, format!("the session could not be asked: {why}"))
            }
        }
    }

    async fn history(&self, chat: &Chat, limit: u32) -> Result<History, String> {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("instance_id", self.account.instance_id.expose_secret())
            .append_pair("chatId", chat.as_str())
            .append_pair("limit", &limit.to_string())
            .append_pair("offset", "0")
            .append_pair("downloadMedia", "false")
            .finish();
        let url = format!("{}/v2/chats/messages?{query}", self.account.base_url);
        match self.client.get(&url, self.headers(), self.account.timeouts.typing).await {
            HttpOutcome::Answer { status: 200..=299, body, .. } => {
                read_history(&body, chat).ok_or_else(|| "the history could not be read".to_owned())
            }
            HttpOutcome::Answer { status, body, .. } => {
                Err(format!("the history was refused with {status}: {}", self.redactor.bytes(body)))
            }
            HttpOutcome::NotSent(why) | HttpOutcome::Unclear(why) => Err(self.redactor.text(&why)),
        }
    }

    async fn delete(&self, chat: &Chat, gateway_id: &str, answer: Option<&str>) -> DeleteAnswer {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("instance_id", self.account.instance_id.expose_secret())
            .append_pair("chatId", chat.as_str())
            .append_pair("messageId", &wawp_delete::serialized(chat, gateway_id, answer))
            .finish();
        let url = format!("{}/v2/messages/delete?{query}", self.account.base_url);
        match self.client.delete(&url, self.headers(), self.account.timeouts.typing).await {
            HttpOutcome::Answer { status, retry_after, body } => DeleteAnswer {
                deletion: wawp_delete::classify(status, retry_after, &body),
                status: Some(status),
                response: self.redactor.bytes(body),
            },
            HttpOutcome::NotSent(why) => {
                DeleteAnswer { deletion: Deletion::NotSent, status: None, response: self.redactor.text(&why) }
            }
            HttpOutcome::Unclear(why) => {
                DeleteAnswer { deletion: Deletion::Unclear, status: None, response: self.redactor.text(&why) }
            }
        }
    }

    fn parse_webhook(&self, body: &[u8]) -> Result<Vec<HookEvent>, BadHook> {
        crate::gateway::wawp_hook::parse(body)
    }
}

impl Wawp {
    fn masked(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Refused { why } => Outcome::Refused { why: self.redactor.text(&why) },
            Outcome::RefusedForNow { why } => Outcome::RefusedForNow { why: self.redactor.text(&why) },
            Outcome::InstanceDown { cause, why } => Outcome::InstanceDown { cause, why: self.redactor.text(&why) },
            Outcome::InDoubt { why, named } => Outcome::InDoubt { why: self.redactor.text(&why), named },
            Outcome::NotSent { why } => Outcome::NotSent { why: self.redactor.text(&why) },
            Outcome::Accepted { .. } | Outcome::NotNow { .. } => outcome,
        }
    }
}

/// Reads what Wawp answers when it is asked for the history of `chat`. `None` for what holds no list.
pub fn read_history(body: &[u8], chat: &Chat) -> Option<History> {
    wawp_history::read(body, chat)
}

/// The table at the top of this file.
pub fn classify(status: u16, retry_after: Option<Millis>, body: &[u8]) -> Outcome {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let error = parsed.as_ref().and_then(wawp_answer::error);
    let why = |what: &str| match &error {
        Some(e) => format!("{what} ({status}): {}", e.words()),
        None => format!("{what} ({status})"),
    };
    let in_doubt = |why: String| Outcome::InDoubt { why, named: parsed.as_ref().and_then(wawp_answer::gateway_id) };
    match status {
        200..=299 => match (error, parsed.as_ref().and_then(wawp_answer::gateway_id)) {
            (Some(error), named) => classify_error(status, &error, named),
            (None, Some(gateway_id)) => {
                Outcome::Accepted { gateway_id, ack: parsed.as_ref().and_then(wawp_answer::ack) }
            }
            (None, None) => in_doubt(format!("the gateway answered {status} without naming the message")),
        },
        401 => {
            Outcome::InstanceDown { cause: DownCause::Credentials, why: why("the gateway refused the access token") }
        }
        403 => {
            Outcome::InstanceDown { cause: DownCause::Credentials, why: why("the account's plan or quota forbids it") }
        }
        404 if error.as_ref().is_some_and(AnswerError::is_invalid_session) => {
            Outcome::InstanceDown { cause: DownCause::Session, why: why("the session is logged out or unknown") }
        }
        408 => in_doubt(why("the gateway timed out")),
        409 | 423 | 425 => Outcome::RefusedForNow { why: why("the gateway refused it for now") },
        429 => Outcome::NotNow { after: retry_after.or_else(|| parsed.as_ref().and_then(wawp_answer::retry_after)) },
        400..=499 => Outcome::Refused { why: why("the gateway refused the message") },
        300..=399 => in_doubt(why("the gateway answered with a redirect, which is never followed")),
        _ => in_doubt(why("the gateway failed and may have sent it")),
    }
}

/// An error inside a success: judged by its code.
fn classify_error(status: u16, error: &AnswerError, named: Option<String>) -> Outcome {
    let why = format!("the gateway answered {status} with an error: {}", error.words());
    if error.is_invalid_session() {
        Outcome::InstanceDown { cause: DownCause::Session, why }
    } else if error.is_known_refusal() {
        Outcome::Refused { why }
    } else {
        Outcome::InDoubt { why, named }
    }
}

fn session_status(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let status =
        value.get("status").or_else(|| value.pointer("/session/status")).or_else(|| value.pointer("/data/status"))?;
    status.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_the_table_has_its_outcome() {
        let ok = br#"{"id":"true_201234567890@c.us_3EB0F00DCAFE00000001"}"#.as_slice();
        let invalid = br#"{"code":"invalid_session","message":"gone"}"#.as_slice();
        let cases: &[(u16, &[u8], &str)] = &[
            (200, ok, "accepted"),
            (201, ok, "accepted"),
            (200, invalid, "instance_down"),
            (200, br#"{"success":false,"code":"number_not_on_whatsapp"}"#, "refused"),
            (200, br#"{"wawp_upstream_error":"boom"}"#, "in_doubt"),
            (200, br#"{"code":"wawp_upstream_error","message":"boom"}"#, "in_doubt"),
            (200, br#"{"error":"who knows","id":"true_1@c.us_X"}"#, "in_doubt"),
            (200, b"", "in_doubt"),
            (200, b"<html>", "in_doubt"),
            (200, b"{}", "in_doubt"),
            (302, b"", "in_doubt"),
            (400, br#"{"code":"invalid_parameter","message":"chatId"}"#, "refused"),
            (401, b"{}", "instance_down"),
            (403, br#"{"code":"quota_reached"}"#, "instance_down"),
            (404, invalid, "instance_down"),
            (404, b"not here", "refused"),
            (408, b"", "in_doubt"),
            (409, b"", "refused_for_now"),
            (413, b"", "refused"),
            (422, b"", "refused"),
            (425, b"", "refused_for_now"),
            (429, b"", "not_now"),
            (500, b"", "in_doubt"),
            (502, b"", "in_doubt"),
            (503, b"", "in_doubt"),
        ];
        for (status, body, outcome) in cases {
            let found = classify(*status, None, body);
            assert_eq!(found.name(), *outcome, "{status} {:?}", String::from_utf8_lossy(body));
        }
    }
}
