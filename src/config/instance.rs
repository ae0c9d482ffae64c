//! Instances: logged-in accounts, their pacing, their webhooks.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};

use crate::config::pacing::pacing_json;
use crate::config::read::{Map, Reading};
use crate::config::secret::Secret;
use crate::config::tree::{Node, Value};
use crate::domain::consent::{Consent, OptOut};
use crate::domain::id::InstanceName;
use crate::domain::pace::Pacing;
use crate::domain::time::Millis;
use crate::domain::window::{Window, WindowZone};
use crate::gateway::signature::{Algorithm, DEFAULT_HEADER, HookProof};
use crate::gateway::{Account, Kind, LATER_KINDS, Timeouts};
use crate::store::InstanceRow;

const KEYS: [&str; 11] = [
    "gateway",
    "base_url",
    "instance_id",
    "access_token",
    "webhook",
    "pacing",
    "window",
    "timeouts",
    "doubt",
    "opt_out",
    "opt_in",
];

/// How long after a doubtful send its chat's history is trusted: longer than any gateway's own queue.
pub(super) const DEFAULT_QUARANTINE: Millis = Millis::seconds(60);

const DAY: Millis = Millis(86_400_000);

/// One instance as it is meant.
#[derive(Clone, Debug)]
pub struct InstanceSettings {
    /// Its name.
    pub name: InstanceName,
    /// Which gateway.
    pub kind: Kind,
    /// Where it is, without a slash at the end.
    pub base_url: String,
    /// The account's id at the gateway.
    pub instance_id: Secret,
    /// The key to it.
    pub access_token: Secret,
    /// How webhooks prove themselves.
    pub proof: HookProof,
    /// How fast it may send.
    pub pacing: Pacing,
    /// When it may send.
    pub window: Option<Window>,
    /// How long calls may take.
    pub timeouts: Timeouts,
    /// How long after a doubtful send its chat's history is trusted.
    pub quarantine: Millis,
    /// What counts as an opt-out, and what is answered to it.
    pub opt_out: OptOut,
    definition: Json,
}

impl InstanceSettings {
    /// What is needed to speak as this account.
    pub fn account(&self) -> Account {
        Account {
            kind: self.kind,
            base_url: self.base_url.clone(),
            instance_id: self.instance_id.value.clone(),
            access_token: self.access_token.value.clone(),
            timeouts: self.timeouts,
        }
    }

    /// Every secret of it, to be masked wherever it might show.
    pub fn secrets(&self) -> Vec<SecretString> {
        let mut secrets = vec![self.instance_id.value.clone(), self.access_token.value.clone()];
        match &self.proof {
            HookProof::Signature { secret, .. } | HookProof::PathToken(secret) => secrets.push(secret.clone()),
            HookProof::Unsigned | HookProof::Missing => {}
        }
        secrets
    }

    /// Its settings as the database keeps them: references in place of secrets, in the form of the jobs file.
    pub fn row(&self) -> InstanceRow {
        InstanceRow {
            name: self.name.clone(),
            gateway: self.kind.name().to_owned(),
            definition: self.definition.clone(),
        }
    }

    /// Points it at the embedded sandbox: nothing of it reaches the outside any more.
    pub fn redirect_to_sandbox(&mut self, base_url: &str, hook_secret: SecretString) {
        base_url.clone_into(&mut self.base_url);
        self.instance_id = Secret::sandbox(&format!("sandbox-{}", self.name));
        self.access_token = Secret::sandbox("sandbox-token");
        self.proof = HookProof::Signature {
            secret: hook_secret,
            header: DEFAULT_HEADER.to_owned(),
            algorithm: Algorithm::Sha512,
            prefix: String::new(),
        };
    }
}

impl Reading<'_> {
    /// The instances of a file, and beside them the name and kind of every declared one, whether usable or not: what
    /// refers to a broken instance is still checked.
    pub(crate) fn instances(&mut self, node: &Node) -> (Vec<InstanceSettings>, Vec<(InstanceName, Kind)>) {
        let named = self.named(node, "instances");
        let declared = named.iter().map(|(name, _, value)| (InstanceName::new(name), written_kind(value))).collect();
        (named.into_iter().filter_map(|(name, _, value)| self.instance(name, value)).collect(), declared)
    }

    fn instance(&mut self, name: &str, node: &Node) -> Option<InstanceSettings> {
        let what = format!("instance '{name}'");
        let map = self.map(node, &what, &KEYS, &[])?;
        let before = self.errors.len();
        let kind = match map.get("gateway") {
            Some(n) => self.gateway_kind(n),
            None => {
                self.error(node, format!("{what} needs a gateway"), Some("gateway: wawp".to_owned()));
                None
            }
        };
        let base_url = self.base_url(&map, &what, kind);
        let instance_id = self.credential(&map, "instance_id", &what, kind);
        let access_token = self.credential(&map, "access_token", &what, kind);
        let (proof, hook) = map.get("webhook").map_or((HookProof::Missing, Json::Null), |n| self.webhook(n));
        let pacing = map.get("pacing").map_or_else(Pacing::default, |n| self.pacing(n));
        let window = map.get("window").and_then(|n| self.window(n));
        let timeouts = map.get("timeouts").map_or_else(Timeouts::default, |n| self.timeouts(n));
        let quarantine = map.get("doubt").map_or(DEFAULT_QUARANTINE, |n| self.quarantine(n));
        let mut opt_out = OptOut::default();
        let mut said = |key, verdict| map.get(key).map_or(Json::Null, |n| self.opt_out(n, verdict, kind, &mut opt_out));
        let (says_out, says_in) = (said("opt_out", Consent::Out), said("opt_in", Consent::In));
        if kind == Some(Kind::Wawp) && pacing == Pacing::default() && !self.sandbox {
            let hint = "pacing: { rate: 20/min, gap: 2s..5s, concurrency: 3 }".to_owned();
            self.warn(node, format!("{what} has no pacing: everything due leaves at once"), Some(hint));
        }
        if matches!(proof, HookProof::Missing) && !self.sandbox && self.errors.len() == before {
            let hint = "webhook: { secret: { env: NAME }, header: X-Webhook-Hmac, algorithm: sha512 }".to_owned();
            self.warn(
                node,
                format!("{what} has no webhook: its acks are refused, so nobody learns what arrived"),
                Some(hint),
            );
        }
        let (kind, base_url, instance_id, access_token) = (kind?, base_url?, instance_id?, access_token?);
        let definition = json!({
            "gateway": kind.name(),
            "base_url": base_url,
            "instance_id": instance_id.reference(),
            "access_token": access_token.reference(),
            "webhook": hook,
            "pacing": pacing_json(&pacing),
            "window": window.as_ref().map(window_json),
            "timeouts": {
                "connect": timeouts.connect.to_string(),
                "typing": timeouts.typing.to_string(),
                "send": timeouts.send.to_string(),
                "read": timeouts.read.to_string(),
            },
            "doubt": { "quarantine": quarantine.to_string() },
            "opt_out": says_out,
            "opt_in": says_in,
        });
        Some(InstanceSettings {
            name: InstanceName::new(name),
            kind,
            base_url,
            instance_id,
            access_token,
            proof,
            pacing,
            window,
            timeouts,
            quarantine,
            opt_out,
            definition: without_nulls(definition),
        })
    }

    fn gateway_kind(&mut self, node: &Node) -> Option<Kind> {
        if let Value::Scalar { text, .. } = &node.value
            && LATER_KINDS.contains(&text.as_str())
        {
            let known = Kind::ALL.map(Kind::name).join(", ");
            self.error(
                node,
                format!("this version does not speak to the gateway '{text}' yet"),
                Some(format!("known: {known}")),
            );
            return None;
        }
        self.word(node, "gateway", &Kind::ALL.map(Kind::name), Kind::from_name)
    }

    fn base_url(&mut self, map: &Map<'_>, what: &str, kind: Option<Kind>) -> Option<String> {
        let Some(node) = map.get("base_url") else {
            let default = kind.and_then(Kind::default_base_url);
            if default.is_none() && kind.is_some() && !self.sandbox {
                self.error(
                    map.node,
                    format!("{what} needs a base_url"),
                    Some("base_url: http://127.0.0.1:8081".to_owned()),
                );
                return None;
            }
            return Some(default.unwrap_or("http://127.0.0.1:9").to_owned());
        };
        let text = self.text(node, "base_url")?;
        let fine = url::Url::parse(&text).ok().filter(|u| {
            matches!(u.scheme(), "http" | "https")
                && u.host_str().is_some()
                && u.query().is_none()
                && u.username().is_empty()
                && u.password().is_none()
        });
        if fine.is_none() {
            let hint = "write http:// or https:// and a host, without user, password or query".to_owned();
            self.error(node, format!("base_url of {what} is no plain web address"), Some(hint));
            return None;
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    fn credential(&mut self, map: &Map<'_>, key: &str, what: &str, kind: Option<Kind>) -> Option<Secret> {
        match map.get(key) {
            Some(node) => {
                let secret = self.secret(node, &format!("{key} of {what}"))?;
                let value = secret.value.expose_secret();
                if value.is_empty() || value.chars().any(|c| c.is_control() || !c.is_ascii()) {
                    self.error(node, format!("{key} of {what} must be printable ASCII characters"), None);
                    return None;
                }
                Some(secret)
            }
            None if self.sandbox || kind == Some(Kind::Sandbox) => Some(Secret::sandbox("sandbox")),
            // What an unknown gateway needs is not known either.
            None if kind.is_none() => None,
            None => {
                let hint = format!("{key}: ${{WAWP_{}}}", key.to_uppercase());
                self.error(map.node, format!("{what} needs {key}"), Some(hint));
                None
            }
        }
    }

    fn webhook(&mut self, node: &Node) -> (HookProof, Json) {
        let known = ["secret", "header", "algorithm", "prefix", "path_token", "unsigned"];
        let none = (HookProof::Missing, Json::Null);
        let Some(map) = self.map(node, "webhook", &known, &[]) else { return none };
        if let Some(n) = map.get("unsigned") {
            return match self.flag(n, "webhook.unsigned") {
                Some(true) => (HookProof::Unsigned, json!({ "unsigned": "true" })),
                _ => none,
            };
        }
        if let Some(n) = map.get("path_token") {
            return match self.secret(n, "webhook.path_token") {
                Some(s) => (HookProof::PathToken(s.value.clone()), json!({ "path_token": s.reference() })),
                None => none,
            };
        }
        let Some(secret_node) = map.get("secret") else {
            let hint = "webhook: { secret: { env: NAME } }, { path_token: … } or { unsigned: true }".to_owned();
            self.error(node, "webhook needs a secret", Some(hint));
            return none;
        };
        let secret = self.secret(secret_node, "webhook.secret");
        let header = map.get("header").map_or(Some(DEFAULT_HEADER.to_owned()), |n| self.text(n, "webhook.header"));
        let algorithm = |t: &str| match t {
            "sha256" => Some(Algorithm::Sha256),
            "sha512" => Some(Algorithm::Sha512),
            _ => None,
        };
        let words = ["sha256", "sha512"];
        let algorithm = map
            .get("algorithm")
            .map_or(Some(Algorithm::Sha512), |n| self.word(n, "webhook.algorithm", &words, algorithm));
        let prefix = map.get("prefix").map_or(Some(String::new()), |n| self.text(n, "webhook.prefix"));
        let (Some(secret), Some(header), Some(algorithm), Some(prefix)) = (secret, header, algorithm, prefix) else {
            return none;
        };
        let written = json!({
            "secret": secret.reference(),
            "header": header,
            "algorithm": match algorithm { Algorithm::Sha256 => "sha256", Algorithm::Sha512 => "sha512" },
            "prefix": prefix,
        });
        (HookProof::Signature { secret: secret.value, header, algorithm, prefix }, written)
    }

    fn timeouts(&mut self, node: &Node) -> Timeouts {
        let mut timeouts = Timeouts::default();
        let Some(map) = self.map(node, "timeouts", &["connect", "typing", "send", "read"], &[]) else {
            return timeouts;
        };
        let (low, high) = (Millis(100), Millis::seconds(600));
        for (key, slot) in [
            ("connect", &mut timeouts.connect),
            ("typing", &mut timeouts.typing),
            ("send", &mut timeouts.send),
            ("read", &mut timeouts.read),
        ] {
            if let Some(t) = map.get(key).and_then(|n| self.duration_in(n, &format!("timeouts.{key}"), low, high)) {
                *slot = t;
            }
        }
        timeouts
    }

    fn quarantine(&mut self, node: &Node) -> Millis {
        self.map(node, "doubt", &["quarantine"], &[])
            .and_then(|map| map.get("quarantine"))
            .and_then(|n| self.duration_in(n, "doubt.quarantine", Millis::seconds(1), DAY))
            .unwrap_or(DEFAULT_QUARANTINE)
    }
}

/// The kind a declaration names, as far as it can be told.
fn written_kind(node: &Node) -> Kind {
    let Value::Map(entries) = &node.value else { return Kind::Wawp };
    let word = entries.iter().find_map(|(k, v)| match (&k.value, &v.value) {
        (Value::Scalar { text: key, .. }, Value::Scalar { text, .. }) if key == "gateway" => Some(text.as_str()),
        _ => None,
    });
    word.and_then(Kind::from_name).unwrap_or(Kind::Wawp)
}

fn window_json(window: &Window) -> Json {
    let zone = match &window.zone {
        WindowZone::Sender => "sender",
        WindowZone::Recipient => "recipient",
        WindowZone::Named(name) => name,
    };
    json!({ "days": window.days.to_string(), "hours": window.hours.to_string(), "zone": zone })
}

/// Absent keys are left out, as a person would.
fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(map) => {
            Json::Object(map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect())
        }
        other => other,
    }
}
