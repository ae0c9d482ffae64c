//! The outside: a gateway that lies, loses and delays, histories that are cut short, and what is posted back by the network and
//! by recipients, late, twice and out of order.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use onthedot::domain::doubt::{History, HistoryMessage};
use onthedot::domain::id::MessageId;
use onthedot::domain::recall::Deletion;
use onthedot::domain::recipient::Chat;
use onthedot::domain::render::Rendered;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::gateway::http::Clients;
use onthedot::gateway::{
    self, Account, BadHook, CallAnswer, Capabilities, DeleteAnswer, Gateway, HookEvent, Kind, SendAnswer, Session,
    Timeouts,
};
use secrecy::SecretString;
use serde_json::json;

/// The real gateway, for reading what is posted.
static REAL: LazyLock<Arc<dyn Gateway>> = LazyLock::new(|| {
    let account = Account {
        kind: Kind::Sandbox,
        base_url: "http://127.0.0.1:9".to_owned(),
        instance_id: SecretString::from("id"),
        access_token: SecretString::from("token"),
        timeouts: Timeouts::default(),
    };
    gateway::open(account, &mut Clients::default()).unwrap()
});

/// A message that the network carried.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) id: MessageId,
    pub(crate) chat: String,
    pub(crate) text: String,
    pub(crate) at: Timestamp,
    pub(crate) gateway_id: String,
}

/// What is known outside.
pub(crate) struct Known {
    pub(crate) now: Timestamp,
    pub(crate) carried: Vec<Carried>,
    /// What recipients wrote, by chat.
    pub(crate) written: BTreeMap<String, Vec<(Timestamp, String)>>,
    /// How many messages of a chat a history shows at most.
    pub(crate) cap: usize,
    /// Nothing before this instant is kept.
    pub(crate) kept_since: Timestamp,
    pub(crate) deleted: Vec<String>,
}

/// The gateway of a history.
#[derive(Clone)]
pub(crate) struct Lying(Arc<Mutex<Known>>);

impl Lying {
    /// One whose histories show so many messages of a chat, none from before an instant.
    pub(crate) fn new(cap: usize, kept_since: Timestamp) -> Lying {
        let (carried, written, deleted) = (Vec::new(), BTreeMap::new(), Vec::new());
        Lying(Arc::new(Mutex::new(Known { now: Timestamp(0), carried, written, cap, kept_since, deleted })))
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fine() -> CallAnswer {
    CallAnswer { status: Some(200), response: "{}".to_owned() }
}

#[async_trait]
impl Gateway for Lying {
    fn capabilities(&self) -> Capabilities {
        REAL.capabilities()
    }

    async fn start_typing(&self, _chat: &Chat) -> CallAnswer {
        fine()
    }

    async fn stop_typing(&self, _chat: &Chat) -> CallAnswer {
        fine()
    }

    async fn seen(&self, _chat: &Chat) -> CallAnswer {
        fine()
    }

    async fn send(&self, _chat: &Chat, _content: &Rendered) -> SendAnswer {
        unreachable!("the loop of the history sends by itself")
    }

    async fn delete(&self, _chat: &Chat, gateway_id: &str, _answer: Option<&str>) -> DeleteAnswer {
        self.known().deleted.push(gateway_id.to_owned());
        DeleteAnswer { deletion: Deletion::Deleted, status: Some(200), response: String::new() }
    }

    async fn session(&self) -> Session {
        Session::Working
    }

    /// The newest first, as far as the gateway keeps them and shows them at once.
    async fn history(&self, chat: &Chat, limit: u32) -> Result<History, String> {
        let known = self.known();
        let mut all = vec![HistoryMessage {
            gateway_id: "OLD".into(),
            from_me: false,
            text: "hello".into(),
            at: Timestamp(known.now.0 - 86_400_000 * 3),
            ack: None,
        }];
        let ours = known.carried.iter().filter(|c| c.chat == chat.as_str() && c.at <= known.now);
        all.extend(ours.map(|c| HistoryMessage {
            gateway_id: c.gateway_id.clone(),
            from_me: true,
            text: c.text.clone(),
            at: c.at,
            ack: None,
        }));
        let theirs = known.written.get(chat.as_str()).into_iter().flatten();
        all.extend(theirs.filter(|(at, _)| *at <= known.now).enumerate().map(|(n, (at, text))| HistoryMessage {
            gateway_id: format!("R{n}"),
            from_me: false,
            text: text.clone(),
            at: *at,
            ack: None,
        }));
        all.retain(|m| m.at >= known.kept_since);
        all.sort_by_key(|m| std::cmp::Reverse(m.at));
        all.truncate(known.cap.min(usize::try_from(limit).unwrap()));
        Ok(History { messages: all, unread: 0 })
    }

    fn parse_webhook(&self, body: &[u8]) -> Result<Vec<HookEvent>, BadHook> {
        REAL.parse_webhook(body)
    }
}

/// An ack, as it is posted.
pub(crate) fn ack_body(chat: &str, gateway_id: &str, level: i64) -> String {
    let id = format!("true_{chat}_{gateway_id}");
    json!({"event": "message.ack", "payload": {"id": id, "fromMe": true, "ack": level}}).to_string()
}

/// What somebody wrote, as it is posted: from one of the forms of their address.
pub(crate) fn reply_body(from: &str, chat: &str, id: &str, text: &str, at: Timestamp) -> String {
    json!({"event": "message", "payload": {
        "id": format!("false_{chat}_{id}"), "timestamp": at.0.div_euclid(1_000), "from": from, "fromMe": false, "body": text,
    }})
    .to_string()
}

/// An echo of what this account sent, as it is posted.
pub(crate) fn echo_body(carried: &Carried) -> String {
    json!({"event": "message.any", "payload": {
        "id": format!("true_{}_{}", carried.chat, carried.gateway_id), "timestamp": carried.at.0.div_euclid(1_000),
        "fromMe": true, "body": carried.text,
    }})
    .to_string()
}

/// Between a send and the moment a history shows it, at most.
pub(crate) const LATENCY: Millis = Millis(3_000);
