//! Messages put straight into a database, each with a text of its own, while the daemon may be alive or dead.

use std::io::BufRead;

use onthedot::clock;
use onthedot::domain::class::Class;
use onthedot::domain::content::Content;
use onthedot::domain::id::InstanceName;
use onthedot::domain::job::{Manner, OnDoubt};
use onthedot::domain::recipient::Chat;
use onthedot::domain::state::StateName;
use onthedot::domain::time::Millis;
use onthedot::intake::IdMaker;
use onthedot::store::{NewMessage, NewMessages, Opening, SqliteStore, Store, guard};

use crate::process::{Bench, Running};

/// Chats the messages go to in turn: each gets several, so that its history reaches back.
pub(crate) const CHATS: u64 = 20;

/// Typing leads each message by so much.
const LEAD: Millis = Millis(30);

/// A sandbox gateway of its own with the bench's scenario and journal, and where it is.
pub(crate) fn gateway(bench: &Bench) -> (Running, String) {
    let files = ["--scenario", "scenario.yaml", "--journal", "journal"];
    let mut command = bench.command(&[&["sandbox", "--json", "--listen", "127.0.0.1:0"][..], &files].concat());
    let mut running = Running(command.stdout(std::process::Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufReader::new(running.0.stdout.as_mut().unwrap()).lines();
    let line = lines.find(|l| l.as_ref().is_ok_and(|l| l.contains("url"))).unwrap().unwrap();
    (running, line.split('"').nth(3).unwrap().to_owned())
}

/// One instance at that gateway, with a short quarantine, and no jobs.
pub(crate) fn jobs_file(url: &str) -> String {
    format!(
        "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ gateway: wawp, base_url: \"{url}\", instance_id: i, access_token: t, doubt: {{ quarantine: 1s }} }}\n\
         jobs: {{}}\n"
    )
}

fn chat(number: u64) -> String {
    format!("2010000{:05}@c.us", number % CHATS)
}

fn text(number: u64, seed: u64) -> String {
    format!("message {number} of {seed}")
}

/// A jobs file whose one instance the embedded sandbox serves.
pub(crate) const SANDBOX_JOBS: &str =
    "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n";

/// A run by the embedded sandbox until nothing is left to do, with the bench's scenario and journal; it takes acks in.
pub(crate) const SANDBOX_RUN: [&str; 10] = [
    "run",
    "jobs.yaml",
    "--sandbox",
    "--scenario",
    "scenario.yaml",
    "--journal",
    "journal",
    "--listen",
    "127.0.0.1:0",
    "--until-idle=100ms",
];

pub(crate) struct Supply {
    store: SqliteStore,
    ids: IdMaker,
    manner: Manner,
    seed: u64,
    made: u64,
}

impl Supply {
    pub(crate) async fn open(bench: &Bench, seed: u64, on_doubt: OnDoubt) -> Supply {
        Supply::open_at(&bench.path("db"), seed, on_doubt).await
    }

    /// For a database elsewhere.
    pub(crate) async fn open_at(database: &std::path::Path, seed: u64, on_doubt: OnDoubt) -> Supply {
        let store = SqliteStore::open(database, Opening::Beside).await.unwrap();
        let manner = Manner { on_doubt, ..Manner::default() };
        Supply { store, ids: IdMaker::default(), manner, seed, made: 0 }
    }

    /// Stores messages due over a span from now on, in ms.
    pub(crate) async fn add(&mut self, count: u64, span: i64) {
        self.add_from(Millis::ZERO, count, span).await;
    }

    /// Stores messages due in so many ms.
    pub(crate) async fn add_later(&mut self, count: u64, after: i64) {
        self.add_from(Millis(after), count, 0).await;
    }

    /// Stores messages due one after the other over `span` ms, the first of them after a while.
    pub(crate) async fn add_from(&mut self, after: Millis, count: u64, span: i64) {
        for n in 0..count {
            let content = Content::text(text(self.made, self.seed));
            let chat = Chat::from_stored(&chat(self.made));
            let body = serde_json::to_string(&content).unwrap();
            let guard = guard(&chat, &body, None);
            let content =
                self.store.store_content(content, self.manner.clone(), "UTC".into(), Millis(3_600_000)).await.unwrap();
            let now = clock::now();
            let due_at = now + after + LEAD + Millis(span * i64::try_from(n).unwrap() / i64::try_from(count).unwrap());
            let row = NewMessage {
                id: self.ids.make(now),
                guard,
                chat,
                place: None,
                due_at,
                wake_at: due_at - LEAD,
                lead: LEAD,
                expires_at: None,
                class: Class::default(),
                key: Some(format!("{}-{}", self.seed, self.made)),
                step: 0,
                after: Millis::ZERO,
                state: StateName::Scheduled,
                reason: None,
                followed: false,
                follows: None,
            };
            let messages = NewMessages {
                job: None,
                nominal_at: None,
                instance: InstanceName::new("shop"),
                content,
                counted: false,
                sticky: false,
                steps: 1,
                audience: None,
                recipients: 1,
                making: onthedot::store::Making::Beside,
                applied_at: None,
                rows: vec![row],
                publish: None,
                now,
            };
            assert_eq!(self.store.insert(messages).await.unwrap(), 1);
            self.made += 1;
        }
    }

    /// Counts on from what an earlier supply made.
    pub(crate) fn go_on_from(&mut self, made: u64) {
        self.made = made;
    }

    /// Chat and hash of the text of every message made so far.
    pub(crate) fn made(&self) -> Vec<(String, String)> {
        use sha2::Digest;
        let hash = |text: String| sha2::Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        (0..self.made).map(|n| (chat(n), hash(text(n, self.seed)))).collect()
    }

    pub(crate) async fn close(&self) {
        self.store.close().await;
    }
}
