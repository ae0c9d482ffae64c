//! Posting acks back, as the gateway's webhooks would.

use std::sync::{Arc, Mutex};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::clock;
use crate::domain::ack::Ack;
use crate::domain::time::{Millis, Timestamp};
use crate::gateway::http::{ClientError, HttpClient, HttpOutcome};
use crate::gateway::signature::{Algorithm, DEFAULT_HEADER, sign};
use crate::sandbox::scenario::{AckPlan, Answer, Meets, Scenario};

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
    plans: Arc<Plans>,
    client: HttpClient,
    gate: Arc<Semaphore>,
}

/// What is posted about which messages.
#[derive(Debug)]
struct Plans {
    acks: AckPlan,
    acks_of: Vec<(Meets, AckPlan)>,
    replies: Vec<Answer>,
    echo: Option<Millis>,
}

/// A message that was carried out.
#[derive(Clone)]
struct About {
    instance_id: String,
    chat: String,
    gateway_id: String,
    text: String,
}

/// The acks of one message, not yet begun.
pub(super) struct Acks(Option<(Hooks, About)>);

impl Hooks {
    pub(super) fn new(
        target: Option<String>,
        secret: Option<SecretString>,
        scenario: &Scenario,
    ) -> Result<Hooks, ClientError> {
        let plans = Arc::new(Plans {
            acks: scenario.acks.clone(),
            acks_of: scenario.acks_of.clone(),
            replies: scenario.replies.clone(),
            echo: scenario.echo,
        });
        let client = HttpClient::new(Millis::seconds(2), LIMIT)?;
        let (target, gate) = (Arc::new(Mutex::new(target)), Arc::new(Semaphore::new(AT_ONCE)));
        Ok(Hooks { target, secret, plans, client, gate })
    }

    pub(super) fn redirect(&self, target: String) {
        *self.target.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(target);
    }

    pub(super) fn acks_for(&self, instance_id: &str, chat: &str, gateway_id: &str, text: &str) -> Acks {
        let about = About {
            instance_id: instance_id.to_owned(),
            chat: chat.to_owned(),
            gateway_id: gateway_id.to_owned(),
            text: text.to_owned(),
        };
        Acks(Some((self.clone(), about)))
    }

    /// Where webhooks of an account go.
    fn url(&self, instance_id: &str) -> Option<String> {
        let target = self.target.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()?;
        let name = instance_id.strip_prefix("sandbox-").unwrap_or(instance_id);
        Some(target.replace("{instance_id}", name))
    }

    async fn play(self, about: About) {
        let Some(url) = self.url(&about.instance_id) else { return };
        let About { instance_id, chat, gateway_id, text } = about;
        let own = self.plans.acks_of.iter().find(|(meets, _)| meets.fits(&chat, &text)).map(|(_, plan)| plan);
        for (wait, ack) in own.unwrap_or(&self.plans.acks).steps(&gateway_id) {
            clock::sleep(wait).await;
            for participant in participants(&chat) {
                self.post(&url, &event(&instance_id, &chat, &gateway_id, *participant, ack)).await;
            }
        }
    }

    async fn write_back(self, about: About, answer: Answer) {
        let Some(url) = self.url(&about.instance_id) else { return };
        clock::sleep(answer.after).await;
        self.post(&url, &message(&about, &answer.text)).await;
    }

    async fn echo(self, about: About, after: Millis) {
        let Some(url) = self.url(&about.instance_id) else { return };
        let sent_at = clock::now();
        clock::sleep(after).await;
        self.post(&url, &own_message(&about, sent_at)).await;
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
        let Some((hooks, about)) = self.0 else { return };
        let replies = hooks.plans.replies.iter().filter(|r| r.to.fits(&about.chat, &about.text));
        for answer in replies.cloned() {
            tokio::spawn(hooks.clone().write_back(about.clone(), answer));
        }
        if let Some(after) = hooks.plans.echo {
            tokio::spawn(hooks.clone().echo(about.clone(), after));
        }
        tokio::spawn(hooks.play(about));
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

/// A message of the account itself, as those who watch it are told.
fn own_message(about: &About, sent_at: Timestamp) -> serde_json::Value {
    let serialized = format!("true_{}_{}", about.chat, about.gateway_id);
    json!({
        "id": format!("evt_{}", about.gateway_id),
        "timestamp": clock::now(),
        "event": "message.any",
        "session": about.instance_id,
        "instance_id": about.instance_id,
        "payload": {
            "id": serialized, "from": about.instance_id, "to": about.chat, "fromMe": true, "source": "api",
            "body": about.text, "timestamp": sent_at.0 / 1_000, "ack": 1,
        },
        "engine": "SANDBOX",
    })
}

/// What somebody writes back in the chat of a message.
fn message(about: &About, text: &str) -> serde_json::Value {
    let now = clock::now();
    let id = format!("3A{:010X}{}", now.0, &about.gateway_id[about.gateway_id.len().saturating_sub(6)..]);
    json!({
        "id": format!("evt_{id}"),
        "timestamp": now,
        "event": "message",
        "session": about.instance_id,
        "instance_id": about.instance_id,
        "payload": {
            "id": format!("false_{}_{id}", about.chat), "from": about.chat, "fromMe": false, "body": text,
            "timestamp": now.0 / 1_000,
        },
        "engine": "SANDBOX",
    })
}
