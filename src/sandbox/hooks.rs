//! Posting acks back, as the gateway's webhooks would.

use std::sync::{Arc, Mutex};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::clock;
use crate::domain::ack::Ack;
use crate::domain::time::Millis;
use crate::gateway::http::{ClientError, HttpClient, HttpOutcome};
use crate::gateway::signature::{Algorithm, DEFAULT_HEADER, sign};
use crate::sandbox::scenario::AckPlan;

/// Webhooks on their way at once.
const AT_ONCE: usize = 32;

/// Tries of one webhook, and the pause between them.
const TRIES: u32 = 10;
const PAUSE: Millis = Millis(500);

/// A webhook's whole time.
const LIMIT: Millis = Millis::seconds(5);

#[derive(Clone, Debug)]
pub(super) struct Hooks {
    target: Arc<Mutex<Option<String>>>,
    secret: Option<SecretString>,
    plan: AckPlan,
    client: HttpClient,
    gate: Arc<Semaphore>,
}

/// The acks of one message, not yet begun.
pub(super) struct Acks(Option<(Hooks, String, String, String)>);

impl Hooks {
    pub(super) fn new(
        target: Option<String>,
        secret: Option<SecretString>,
        plan: AckPlan,
    ) -> Result<Hooks, ClientError> {
        let client = HttpClient::new(Millis::seconds(2))?;
        let (target, gate) = (Arc::new(Mutex::new(target)), Arc::new(Semaphore::new(AT_ONCE)));
        Ok(Hooks { target, secret, plan, client, gate })
    }

    pub(super) fn redirect(&self, target: String) {
        *self.target.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(target);
    }

    pub(super) fn acks_for(&self, instance_id: &str, chat: &str, gateway_id: &str) -> Acks {
        Acks(Some((self.clone(), instance_id.to_owned(), chat.to_owned(), gateway_id.to_owned())))
    }

    async fn play(self, instance_id: String, chat: String, gateway_id: String) {
        let target = self.target.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(target) = target else { return };
        let name = instance_id.strip_prefix("sandbox-").unwrap_or(&instance_id);
        let url = target.replace("{instance_id}", name);
        for (wait, ack) in self.plan.steps(&gateway_id) {
            clock::sleep(wait).await;
            for participant in participants(&chat) {
                self.post(&url, &event(&instance_id, &chat, &gateway_id, *participant, ack)).await;
            }
        }
    }

    async fn post(&self, url: &str, event: &serde_json::Value) {
        let body = event.to_string().into_bytes();
        let mut headers = HeaderMap::new();
        if let Some(secret) = &self.secret
            && let Ok(value) = HeaderValue::from_str(&sign(Algorithm::Sha512, secret, &body))
            && let Ok(name) = HeaderName::from_bytes(DEFAULT_HEADER.as_bytes())
        {
            headers.insert(name, value);
        }
        for _ in 0..TRIES {
            let Ok(_permit) = self.gate.acquire().await else { return };
            match self.client.post(url, headers.clone(), body.clone(), LIMIT).await {
                HttpOutcome::Answer { status: 200..=299, .. } => return,
                // Refused for good: trying again would not help.
                HttpOutcome::Answer { status: 400..=499, .. } => {
                    tracing::debug!("a webhook of the sandbox was refused");
                    return;
                }
                _ => {}
            }
            drop(_permit);
            clock::sleep(PAUSE).await;
        }
        tracing::debug!("a webhook of the sandbox was given up");
    }
}

impl Acks {
    pub(super) fn none() -> Acks {
        Acks(None)
    }

    /// Begins to post them, each in its time.
    pub(super) fn start(self) {
        if let Some((hooks, instance_id, chat, gateway_id)) = self.0 {
            tokio::spawn(hooks.play(instance_id, chat, gateway_id));
        }
    }
}

/// Groups ack by participant; everybody else as one.
fn participants(chat: &str) -> &'static [Option<&'static str>] {
    if chat.ends_with("@g.us") { &[Some("201000000001@c.us"), Some("201000000002@c.us")] } else { &[None] }
}

fn event(instance_id: &str, chat: &str, gateway_id: &str, participant: Option<&str>, ack: Ack) -> serde_json::Value {
    let serialized = match participant {
        Some(p) => format!("true_{chat}_{gateway_id}_{p}"),
        None => format!("true_{chat}_{gateway_id}"),
    };
    let now = clock::now();
    json!({
        "id": format!("evt_{gateway_id}_{}_{}", ack.level(), now.0),
        "timestamp": now,
        "event": if participant.is_some() { "message.ack.group" } else { "message.ack" },
        "session": instance_id,
        "instance_id": instance_id,
        "payload": {
            "id": serialized, "from": chat, "to": null, "participant": participant, "fromMe": true,
            "ack": ack.level(), "ackName": ack.name().to_uppercase(),
        },
        "engine": "SANDBOX",
    })
}
