//! A gateway of our own that speaks Wawp's contract over real HTTP on loopback: for trying the product without an
//! account, for tests, for benchmarks.
//!
//! It checks what it is sent as strictly as the contract says, answers with the documented message object, posts acks
//! back as webhooks, keeps a journal of every request, and plays a scenario of faults. What it says was done, was
//! done: the journal is what checkers compare the database with.

mod answer;
mod connection;
mod contract;
mod hooks;
mod journal;
pub mod scenario;
pub mod scenario_file;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::time::{Millis, Timestamp};
use crate::sandbox::connection::{BreakableListener, Breaker};
use crate::sandbox::contract::{Call, Endpoint, Refusal};
use crate::sandbox::hooks::Hooks;
use crate::sandbox::journal::{Entry, Journal};
use crate::sandbox::scenario::{Does, Fault, Manner, Scenario};
use crate::sandbox::state::Chats;

/// Largest request body, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// How a sandbox is started.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where acks are posted; `{instance_id}` in it is filled in.
    pub hook: Option<String>,
    /// The key webhooks are signed with (`X-Webhook-Hmac`, SHA-512).
    pub hook_secret: Option<SecretString>,
    /// The faults it plays.
    pub scenario: Scenario,
    /// Where its journal is appended.
    pub journal: Option<PathBuf>,
}

/// A sandbox that could not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It cannot listen there.
    #[error("the sandbox cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// Its journal cannot be written.
    #[error("the sandbox's journal {0} cannot be written: {1}")]
    Journal(PathBuf, std::io::Error),
    /// The HTTP client for webhooks cannot be made.
    #[error(transparent)]
    Client(#[from] crate::gateway::http::ClientError),
}

/// A sandbox that runs until its token is cancelled.
#[derive(Debug)]
pub struct Sandbox {
    /// Where it listens.
    pub address: SocketAddr,
    hooks: Hooks,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    scenario: Scenario,
    plays: scenario::Plays,
    journal: Journal,
    hooks: Hooks,
    chats: Chats,
    started_at: Timestamp,
}

impl Sandbox {
    /// Starts a sandbox.
    ///
    /// # Errors
    /// [`SandboxError`] when it cannot listen or its journal cannot be opened.
    pub async fn start(options: SandboxOptions, stop: CancellationToken) -> Result<Sandbox, SandboxError> {
        let listener = TcpListener::bind(options.listen).await.map_err(|e| SandboxError::Listen(options.listen, e))?;
        let address = listener.local_addr().map_err(|e| SandboxError::Listen(options.listen, e))?;
        let journal = match &options.journal {
            Some(path) => Journal::open(path).map_err(|e| SandboxError::Journal(path.clone(), e))?,
            None => Journal::none(),
        };
        let hooks = Hooks::new(options.hook, options.hook_secret, &options.scenario)?;
        let inner = Inner {
            plays: scenario::Plays::new(&options.scenario),
            scenario: options.scenario,
            journal,
            hooks: hooks.clone(),
            chats: Chats::default(),
            started_at: clock::now(),
        };
        let app = Router::new().fallback(serve).with_state(Shared { inner: Arc::new(inner) });
        let service = app.into_make_service_with_connect_info::<Breaker>();
        let stopping = stop.clone();
        tokio::spawn(async move {
            let serving = axum::serve(BreakableListener(listener), service);
            tokio::select! {
                served = serving => {
                    if let Err(e) = served {
                        tracing::error!(error = %e, "the sandbox stopped serving");
                    }
                }
                () = stopping.cancelled() => {}
            }
        });
        Ok(Sandbox { address, hooks, stop })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Points its webhooks somewhere: needed where it starts before its listener.
    pub fn post_hooks_to(&self, hook: String) {
        self.hooks.redirect(hook);
    }

    /// Stops it.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

async fn serve(
    State(shared): State<Shared>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    let received_at = clock::now();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    // A task of its own: what was begun is done, also when the caller gives up waiting.
    let inner = Arc::clone(&shared.inner);
    let work = tokio::spawn(async move { inner.serve(received_at, &breaker, &method, &uri, &headers, body).await });
    match work.await {
        Ok(Some(response)) => response,
        // Never answered: the caller ends it.
        Ok(None) => std::future::pending().await,
        Err(_) => answer::plain(500, String::new(), None),
    }
}

impl Inner {
    async fn serve(
        &self,
        received_at: Timestamp,
        breaker: &Breaker,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Option<Response> {
        let mut entry = Entry::new(received_at, method, uri.path(), &body);
        let call = contract::read(method, uri, headers, &body, self.scenario.access_token.as_ref());
        let (endpoint, call) = match call {
            Ok(known) => known,
            Err(refusal) => return Some(self.refuse(entry, &refusal)),
        };
        entry.instance_id = Some(call.instance_id.clone());
        entry.chat = call.chat.clone();
        entry.text_sha256 = call.text().map(|t| journal::sha256(t.as_bytes()));
        if endpoint.needs_session() && self.session_is_down() {
            return Some(self.refuse(entry, &Refusal::invalid_session()));
        }
        let fault = self.plays.next(endpoint, call.chat.as_deref(), call.text());
        match fault {
            Some(fault) => self.with_fault(entry, breaker, endpoint, &call, &fault).await,
            None => Some(self.answer(entry, endpoint, &call).await),
        }
    }

    fn session_is_down(&self) -> bool {
        let since = clock::now().since(self.started_at);
        self.scenario.session_down.iter().any(|(from, length)| since >= *from && since < *from + *length)
    }

    fn refuse(&self, mut entry: Entry, refusal: &Refusal) -> Response {
        entry.status = Some(refusal.status);
        self.journal.write(&entry);
        answer::refusal(refusal)
    }

    /// The way without faults: wait as the scenario says, do it, wait again, answer.
    async fn answer(&self, mut entry: Entry, endpoint: Endpoint, call: &Call) -> Response {
        if let (Some(chat), true) = (&call.chat, endpoint.is_send())
            && self.scenario.is_not_on_whatsapp(chat)
        {
            return self.refuse(entry, &Refusal::not_on_whatsapp());
        }
        clock::sleep(self.plays.between(self.scenario.doing)).await;
        let (done, acks) = self.carry_out(&mut entry, endpoint, call);
        if matches!(done, answer::Done::Unknown) {
            return self.refuse(entry, &Refusal::unknown_message());
        }
        entry.status = Some(200);
        self.journal.write(&entry);
        acks.start();
        clock::sleep(self.plays.between(self.scenario.answering)).await;
        answer::success(endpoint, done, &self.scenario.shape)
    }

    /// Does what the call asks, notes it in the entry, and answers what its answer tells.
    fn carry_out(&self, entry: &mut Entry, endpoint: Endpoint, call: &Call) -> (answer::Done, hooks::Acks) {
        let now = clock::now();
        if let (Some(chat), Some(id), Endpoint::Delete) = (&call.chat, call.message_id(), endpoint) {
            entry.gateway_id = Some(id.to_owned());
            if !self.chats.delete(&call.instance_id, chat, id) {
                return (answer::Done::Unknown, hooks::Acks::none());
            }
        }
        entry.done_at = Some(now);
        match (&call.chat, endpoint) {
            (Some(chat), endpoint) if endpoint.is_send() => {
                let message = self.chats.add(&call.instance_id, chat, call.text(), now);
                entry.gateway_id = Some(message.id.clone());
                let acks = self.hooks.acks_for(&call.instance_id, chat, &message.id, &message.text);
                (answer::Done::Sent(message), acks)
            }
            (Some(chat), Endpoint::History) => {
                (answer::Done::History(self.chats.history(&call.instance_id, chat, call.limit())), hooks::Acks::none())
            }
            (_, Endpoint::CheckExists) => {
                let phone = call.text().unwrap_or_default().to_owned();
                let exists = !self.scenario.is_not_on_whatsapp(&format!("{phone}@c.us"));
                (answer::Done::Exists { phone, exists }, hooks::Acks::none())
            }
            _ => (answer::Done::Nothing { instance_id: call.instance_id.clone() }, hooks::Acks::none()),
        }
    }

    async fn with_fault(
        &self,
        mut entry: Entry,
        breaker: &Breaker,
        endpoint: Endpoint,
        call: &Call,
        fault: &Fault,
    ) -> Option<Response> {
        entry.fault = Some(fault.name());
        let mut acks = hooks::Acks::none();
        let mut done = answer::Done::Nothing { instance_id: call.instance_id.clone() };
        clock::sleep(fault.do_delay).await;
        if fault.does == Does::Before {
            (done, acks) = self.carry_out(&mut entry, endpoint, call);
        }
        entry.status = fault.status();
        if fault.does != Does::After {
            self.journal.write(&entry);
        }
        acks.start();
        clock::sleep(fault.delay).await;
        if fault.does == Does::After {
            let acks;
            (done, acks) = self.carry_out(&mut entry, endpoint, call);
            self.journal.write(&entry);
            acks.start();
        }
        Some(match &fault.manner {
            Manner::Answer { status, body, retry_after } => answer::plain(*status, body.clone(), retry_after.clone()),
            Manner::Hang => return None,
            Manner::Reset => {
                breaker.break_now();
                answer::plain(200, String::new(), None)
            }
            Manner::Drip(pause) => answer::drip(answer::body(endpoint, done, &self.scenario.shape), *pause),
            Manner::Garbage => answer::garbage(),
            Manner::Redirect(to) => answer::redirect(to),
            Manner::None => answer::success(endpoint, done, &self.scenario.shape),
        })
    }
}

/// A scenario's range of waiting.
pub type Wait = (Millis, Millis);
