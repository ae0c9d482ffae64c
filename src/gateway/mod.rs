//! The software that speaks to the network: one trait, one file a gateway.
//!
//! An outcome is named by what we may do next ([`Outcome`]), and the table of which answer is which stands at the top
//! of each gateway's file. Credentials travel in headers and bodies, never in a URL, and every body that is kept is
//! masked and capped first.

pub mod http;
mod lenient_json;
pub mod redact;
pub mod signature;
pub mod wawp;
mod wawp_answer;
mod wawp_delete;
mod wawp_history;
mod wawp_hook;
mod wawp_request;

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::domain::ack::Ack;
use crate::domain::country::Country;
use crate::domain::doubt::History;
use crate::domain::outcome::{DownCause, Outcome};
use crate::domain::recall::Deletion;
use crate::domain::recipient::{AddressError, Chat};
use crate::domain::render::Rendered;
use crate::domain::time::{Millis, Timestamp};

/// What a gateway can do and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// How often start-typing must be called to keep the indicator alive.
    pub refresh_every: Millis,
    /// Whether "recording audio…" can be shown instead of "typing…".
    pub shows_recording: bool,
    /// The kinds of content it carries.
    pub kinds: &'static [&'static str],
    /// How long after it was sent a message can be deleted for everyone; not at all if absent.
    pub deletes_within: Option<Millis>,
}

/// The answer to a call whose result nobody waits for: typing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallAnswer {
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The body, masked and capped, or what happened instead.
    pub response: String,
}

/// The answer to a send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendAnswer {
    /// What we may do next.
    pub outcome: Outcome,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The body, masked and capped, or what happened instead.
    pub response: String,
}

/// The answer to a request to delete a message for everyone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteAnswer {
    /// What we may do next.
    pub deletion: Deletion,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The body, masked and capped, or what happened instead.
    pub response: String,
}

/// How an account stands at its gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Session {
    /// It can send.
    Working,
    /// It cannot.
    Down {
        /// Which kind.
        cause: DownCause,
        /// For a person.
        why: String,
    },
}

/// Something a webhook told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HookEvent {
    /// An ack about a message.
    Ack {
        /// The bare message id.
        gateway_id: String,
        /// Who of a group, empty otherwise.
        participant: String,
        /// The level.
        ack: Ack,
    },
    /// Somebody wrote.
    Reply {
        /// In which chat: that of the number, where it is told.
        chat: Chat,
        /// The LID of the same person, where it is told beside the number.
        lid: Option<Chat>,
        /// The bare id of their message, where it is told.
        gateway_id: Option<String>,
        /// What they wrote; empty where it is no text.
        text: String,
        /// When, as the network says; whole seconds mostly.
        at: Option<Timestamp>,
    },
    /// Somebody wrote, but it does not tell who in a form that can be written to, or whether it was this account.
    Stray {
        /// What they wrote.
        text: String,
        /// What is missing or wrong.
        why: String,
    },
    /// This account sent something: us, or somebody at the phone.
    Echo {
        /// In which chat.
        chat: Chat,
        /// Its bare id.
        gateway_id: String,
        /// Its text.
        text: String,
        /// When, as the network says; whole seconds.
        at: Option<Timestamp>,
    },
    /// A part of a body that cannot be read; the other parts were.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// Rightly formed, but nothing this program acts on.
    Other {
        /// What it calls itself.
        event: String,
    },
}

/// A webhook body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhook body cannot be read: {0}")]
pub struct BadHook(pub String);

/// The account of a gateway.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Shows typing in a chat, once. Any 2xx is success; the body never names a message.
    async fn start_typing(&self, chat: &Chat) -> CallAnswer;

    /// Takes typing back.
    async fn stop_typing(&self, chat: &Chat) -> CallAnswer;

    /// Marks a chat's messages as seen.
    async fn seen(&self, chat: &Chat) -> CallAnswer;

    /// Hands over a message, exactly once: no retry, no redirect.
    async fn send(&self, chat: &Chat, content: &Rendered) -> SendAnswer;

    /// Deletes a message for everyone, by its bare id and, where it is known, the answer to its send. Deleting twice does no harm.
    async fn delete(&self, chat: &Chat, gateway_id: &str, answer: Option<&str>) -> DeleteAnswer;

    /// Asks how the account stands.
    async fn session(&self) -> Session;

    /// The latest messages of a chat, newest first as far as the gateway sorts.
    ///
    /// # Errors
    /// What happened, for a person.
    async fn history(&self, chat: &Chat, limit: u32) -> Result<History, String>;

    /// Reads a webhook body.
    ///
    /// # Errors
    /// [`BadHook`] when it is not what this gateway sends.
    fn parse_webhook(&self, body: &[u8]) -> Result<Vec<HookEvent>, BadHook>;
}

/// The gateways this build speaks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Wawp v2: WhatsApp over HTTP.
    Wawp,
    /// The embedded sandbox, which speaks Wawp's contract.
    Sandbox,
}

/// Names the jobs file may use for gateways that later versions speak to.
pub const LATER_KINDS: [&str; 6] = ["waha", "matrix", "telegram", "evolution", "gowa", "whatsapp_cloud"];

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 2] = [Kind::Wawp, Kind::Sandbox];

    /// The word used in the jobs file.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Wawp => "wawp",
            Kind::Sandbox => "sandbox",
        }
    }

    /// The kind of a word.
    pub fn from_name(name: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Where it is reached unless the jobs file says otherwise.
    pub fn default_base_url(self) -> Option<&'static str> {
        match self {
            Kind::Wawp => Some(wawp::BASE_URL),
            Kind::Sandbox => None,
        }
    }

    /// What it can do.
    pub fn capabilities(self) -> Capabilities {
        match self {
            Kind::Wawp | Kind::Sandbox => wawp::CAPABILITIES,
        }
    }

    /// Whether it can carry a content, beyond what holds for every gateway.
    ///
    /// # Errors
    /// What to write instead.
    pub fn check_content(self, rendered: &Rendered) -> Result<(), String> {
        match self {
            Kind::Wawp | Kind::Sandbox => wawp_request::check(rendered),
        }
    }

    /// Reads an address in the form this gateway uses.
    ///
    /// # Errors
    /// [`AddressError`] saying what to write instead.
    pub fn parse_recipient(self, given: &str) -> Result<Chat, AddressError> {
        match self {
            Kind::Wawp | Kind::Sandbox => crate::domain::recipient::parse_whatsapp(given),
        }
    }

    /// Reads an address as [`Kind::parse_recipient`] does; where a country is given, also a number as it is dialled there.
    ///
    /// # Errors
    /// [`AddressError`] saying what to write.
    pub fn parse_recipient_in(self, given: &str, country: Option<Country>) -> Result<Chat, AddressError> {
        match (self, country) {
            (Kind::Wawp | Kind::Sandbox, Some(country)) => crate::domain::recipient::parse_whatsapp_in(given, country),
            (_, None) => self.parse_recipient(given),
        }
    }
}

/// How long calls may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Millis,
    /// A typing call in all.
    pub typing: Millis,
    /// A send in all.
    pub send: Millis,
    /// Between two pieces of an answer whose head has come.
    pub read: Millis,
}

impl Default for Timeouts {
    fn default() -> Self {
        // A gateway may hold a send for its own queue; a typing call waits up to 15 s for the session on some.
        Timeouts {
            connect: Millis::seconds(5),
            typing: Millis::seconds(20),
            send: Millis::seconds(60),
            read: Millis::seconds(10),
        }
    }
}

/// Everything needed to speak as one account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Which gateway.
    pub kind: Kind,
    /// Where it is, without a slash at the end.
    pub base_url: String,
    /// The account's id at the gateway.
    pub instance_id: SecretString,
    /// The key to it.
    pub access_token: SecretString,
    /// How long calls may take.
    pub timeouts: Timeouts,
}

/// Opens an account, with the HTTP client that others like it have.
///
/// # Errors
/// When the HTTP client cannot be made, such as without any trusted certificates.
pub fn open(account: Account, clients: &mut http::Clients) -> Result<Arc<dyn Gateway>, http::ClientError> {
    let client = clients.like(account.timeouts.connect, account.timeouts.read)?;
    match account.kind {
        Kind::Wawp | Kind::Sandbox => Ok(Arc::new(wawp::Wawp::new(account, client))),
    }
}
