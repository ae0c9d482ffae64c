//! What persons do while messages are in motion, each by the very function its command calls.

use std::path::Path;
use std::sync::Arc;

use onthedot::clock;
use onthedot::config::{self, ConfigError, Settings};
use onthedot::contacts::ContactImport;
use onthedot::domain::campaign::CampaignName;
use onthedot::domain::consent::Consent;
use onthedot::domain::content::Content;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::job::Manner;
use onthedot::domain::recipient::Chat;
use onthedot::domain::state::StateName;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::erasure::{self, Erasure};
use onthedot::gateway::Kind;
use onthedot::import::{self, Import, ImportError};
use onthedot::intake;
use onthedot::receipts::Taken;
use onthedot::repair::{self, Repair, Repaired};
use onthedot::resend::{self, Unreached};
use onthedot::store::view::{MessageFilter, MessageView};
use onthedot::store::{ConsentNews, Pause, PauseScope, RecallWish, SqliteStore, Store, StoreError};

use crate::file::{CHATS, File, LIST, chat, number};
use crate::machine::{Ended, World, failing};
use crate::outside;

/// What somebody was told.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "a history that breaks a claim is printed with all of it")]
pub(crate) enum Told {
    Applied { changed: Vec<String> },
    Removed { job: String, known: Vec<MessageId>, in_motion: u64 },
    Repaired { how: Repair, done: Vec<MessageId> },
    CalledOff { campaign: CampaignName, known: Vec<MessageId>, out: u64 },
    Suppressed { chat: String, verdict: Consent, at: Timestamp },
    Hook { body: String, taken: Taken },
    Forged(Taken),
    Nothing,
}

/// Every message that a filter finds.
async fn all(store: &SqliteStore, filter: MessageFilter) -> Result<Vec<MessageView>, StoreError> {
    let mut filter = MessageFilter { limit: 1_000, ..filter };
    let mut found = Vec::new();
    loop {
        let (page, next) = store.list(&filter).await?;
        found.extend(page);
        if next.is_none() {
            return Ok(found);
        }
        filter.after = next;
    }
}

/// Reads a jobs file as a command does, on a thread of its own: the lists in the database are waited for.
pub(crate) fn read(path: &Path, file: &File, now: Timestamp) -> Result<Settings, ConfigError> {
    let parse = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        config::parse(path, &file.text(), &|_| None, (true, Some(path)), now)
    };
    std::thread::scope(|scope| scope.spawn(parse).join().unwrap())
}

/// A file of contacts who join the list.
pub(crate) fn contacts(path: &Path, now: Timestamp, some: &[usize]) -> ContactImport {
    let file = path.with_file_name(format!("contacts-{}.csv", now.0));
    let rows: Vec<String> = some.iter().map(|k| number(*k)).collect();
    std::fs::write(&file, format!("to\n{}\n", rows.join("\n"))).unwrap();
    ContactImport {
        file,
        chat_column: "to".to_owned(),
        list: Some(LIST.to_owned()),
        kind: Kind::Sandbox,
        country: None,
        opted_in: false,
        allow_partial: false,
        dry_run: false,
    }
}

impl World {
    fn draw<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let last = i64::try_from(of.len()).unwrap() - 1;
        (last >= 0).then(|| of[usize::try_from(self.dice.roll(0, last)).unwrap()].clone())
    }

    /// Somebody does something, whatever else goes on.
    pub(crate) fn person(&mut self) {
        match self.dice.roll(0, 25) {
            25 => self.prunes(),
            0..=6 => self.edits(),
            7..=10 => self.repairs(),
            11 => self.removes(),
            12 | 13 => self.pauses(),
            14 => self.runs_now(),
            15 | 16 => self.suppresses(),
            17 => self.acts_on_campaign(),
            18 => self.moves_event(),
            19 => self.imports(),
            20 => self.erases(),
            21..=23 => self.changes_list(),
            _ => self.resolves(),
        }
    }

    /// Edits the file and applies it.
    fn edits(&mut self) {
        let now = self.now;
        self.file.edit(&mut self.dice, now);
        let prune = self.dice.chance(40);
        self.applies(prune);
    }

    fn applies(&mut self, prune: bool) {
        let settings = read(&self.path, &self.file, self.now);
        let settings = settings.unwrap_or_else(|e| panic!("{e:?}\n{}", self.file.text()));
        let store = Arc::clone(&self.store);
        self.act(
            format!("apply{}\n{}", if prune { " --prune" } else { "" }, self.file.text()),
            failing(async move {
                let jobs = settings.jobs.clone();
                let revision = store.jobs_revision().await?;
                match intake::apply_file(&store, &settings, jobs, (prune, Some(revision)), clock::now()).await {
                    Ok(applied) => {
                        let changed = applied.jobs.into_iter().map(|(name, what)| format!("{name} {what:?}"));
                        Ok(Ended::Person(Told::Applied { changed: changed.collect() }))
                    }
                    // The person is told, and reads what the other one did.
                    Err(e) if e.is_outdated() => Ok(Ended::Person(Told::Nothing)),
                    Err(intake::IntakeError::Store(e)) => Err(e),
                    Err(e) => panic!("{e}"),
                }
            }),
        );
    }

    fn repairs(&mut self) {
        let length = Millis(self.dice.roll(1_000, 30_000));
        let at = self.now + Millis(self.dice.roll(-2_000, 30_000));
        let how = [
            Repair::Cancel,
            Repair::Retry,
            Repair::Reschedule(at),
            Repair::Snooze(length),
            Repair::Hold,
            Repair::Release,
            Repair::Cancel,
            Repair::Release,
        ];
        let how = self.draw(&how).unwrap();
        let job = format!("job{}", self.dice.roll(0, 3));
        let filter = match self.dice.roll(0, 2) {
            0 => MessageFilter { job: Some(job), ..MessageFilter::default() },
            1 => MessageFilter {
                chat: Some(chat(usize::try_from(self.dice.roll(0, 5)).unwrap())),
                ..MessageFilter::default()
            },
            _ => MessageFilter::default(),
        };
        let few = self.dice.chance(60).then(|| self.dice.roll(0, 200));
        let store = Arc::clone(&self.store);
        self.act(
            format!("{} {:?} {:?} {few:?}", how.word(), filter.job, filter.chat),
            failing(async move {
                let filter = MessageFilter { states: how.states().to_vec(), ..filter };
                let mut found = all(&store, filter).await?;
                // One by its id, or all that the filter finds.
                if let (Some(n), false) = (few, found.is_empty()) {
                    let n = usize::try_from(n).unwrap() % found.len();
                    found = vec![found.swap_remove(n)];
                }
                let answers = repair::repair(&store, how, &found, false, clock::now()).await?;
                let done = found.iter().zip(answers).filter(|(_, a)| matches!(a, Repaired::Done { .. }));
                Ok(Ended::Person(Told::Repaired { how, done: done.map(|(m, _)| m.id).collect() }))
            }),
        );
    }

    fn removes(&mut self) {
        let names: Vec<String> = self.file.jobs.iter().map(|j| j.name.clone()).collect();
        let Some(job) = self.draw(&names) else { return };
        self.file.jobs.retain(|j| j.name != job);
        let store = Arc::clone(&self.store);
        self.act(
            format!("job remove {job}"),
            failing(async move {
                let removed = store.remove_job(&job, clock::now()).await?.unwrap_or_default();
                let known = all(&store, MessageFilter { job: Some(job.clone()), ..MessageFilter::default() }).await?;
                let known = known.iter().map(|m| m.id).collect();
                Ok(Ended::Person(Told::Removed { job, known, in_motion: removed.leaving }))
            }),
        );
    }

    fn pauses(&mut self) {
        let job = format!("job{}", self.dice.roll(0, 2));
        let scopes = [PauseScope::All, PauseScope::Instance("shop".to_owned()), PauseScope::Job(job)];
        let scope = self.draw(&scopes).unwrap();
        let until = self.dice.chance(70).then(|| self.now + Millis(self.dice.roll(500, 15_000)));
        let resumes = self.dice.chance(35);
        let store = Arc::clone(&self.store);
        self.act(
            format!("pause {scope:?} {until:?}, or resume: {resumes}"),
            failing(async move {
                if resumes {
                    store.resume(scope, clock::now()).await?;
                } else {
                    store.pause(Pause { scope, note: None, since: clock::now(), until }).await?;
                }
                Ok(Ended::Person(Told::Nothing))
            }),
        );
    }

    fn runs_now(&mut self) {
        let names: Vec<String> = self.file.jobs.iter().map(|j| j.name.clone()).collect();
        let Some(job) = self.draw(&names) else { return };
        let (store, planner) = (Arc::clone(&self.store), self.planner.clone());
        self.act(
            format!("job run-now {job}"),
            failing(async move {
                if let Some(stored) = store.job(&job).await? {
                    planner.plan_extra(&stored, clock::now()).await?;
                }
                Ok(Ended::Person(Told::Nothing))
            }),
        );
    }

    fn suppresses(&mut self) {
        let chat = chat(usize::try_from(self.dice.roll(0, i64::try_from(CHATS).unwrap() - 1)).unwrap());
        if self.dice.chance(60) {
            let says = if self.dice.chance(60) { "STOP" } else { "START" };
            let said = self.now - Millis(self.dice.roll(0, 5_000));
            if self.dice.chance(20) {
                let body = outside::reply_body(&chat, &chat, "F", says, said);
                self.forge(body);
                return;
            }
            self.writes("shop", &chat, says, said);
            return;
        }
        let verdict = if self.dice.chance(50) { Consent::Out } else { Consent::In };
        let store = Arc::clone(&self.store);
        self.act(
            format!("contact {} {chat}", verdict.name()),
            failing(async move {
                let at = clock::now();
                let of = Chat::from_stored(&chat);
                store.record_consents(vec![ConsentNews::by_person(of, verdict, None, at)]).await?;
                Ok(Ended::Person(Told::Suppressed { chat, verdict, at }))
            }),
        );
    }

    fn acts_on_campaign(&mut self) {
        let job = format!("job{}", self.dice.roll(0, 3));
        let what = self.dice.roll(0, 5);
        let store = Arc::clone(&self.store);
        self.act(
            format!("campaign {job}, act {what}"),
            failing(async move {
                let Some(view) = store.campaign(&job, None, clock::now()).await? else {
                    return Ok(Ended::Person(Told::Nothing));
                };
                let scope = PauseScope::Campaign(view.name.clone());
                match what {
                    0 => store.pause(Pause { scope, note: None, since: clock::now(), until: None }).await?,
                    1 => _ = store.resume(scope, clock::now()).await?,
                    2 => _ = repair::approve(&store, &view, false, clock::now).await?,
                    3 => {
                        let only = [Unreached::Failed, Unreached::Undelivered];
                        // What failed gets another chance, also in a campaign that was called off.
                        let of_it = |m: &MessageView| m.campaign.as_ref() == Some(&view.name);
                        let known =
                            all(&store, MessageFilter { job: Some(job.clone()), ..MessageFilter::default() }).await?;
                        let done = known.iter().filter(|m| of_it(m)).map(|m| m.id).collect();
                        match resend::resend(&store, &view, &only, (false, false)).await {
                            Ok(_) => return Ok(Ended::Person(Told::Repaired { how: Repair::Retry, done })),
                            Err(StoreError::Importing { .. }) => {}
                            Err(e) => return Err(e),
                        }
                    }
                    _ => {
                        let off = if what == 4 {
                            repair::call_off(&store, &view, false, clock::now).await?
                        } else {
                            let wish = RecallWish {
                                occurrence: view.occurrence,
                                since: None,
                                within: view.instances.iter().map(|i| (i.clone(), Some(Millis(3_600_000)))).collect(),
                            };
                            repair::recall(&store, &view, &wish, false, clock::now).await?.0
                        };
                        let name = view.name.clone();
                        // With what follows others of it.
                        let of_it = |m: &MessageView| m.occurrence == Some(name.nominal) && m.state != StateName::Sent;
                        let known =
                            all(&store, MessageFilter { job: Some(job.clone()), ..MessageFilter::default() }).await?;
                        let known = known.iter().filter(|m| of_it(m)).map(|m| m.id).collect();
                        return Ok(Ended::Person(Told::CalledOff { campaign: view.name, known, out: off.out }));
                    }
                }
                Ok(Ended::Person(Told::Nothing))
            }),
        );
    }

    fn moves_event(&mut self) {
        let job = format!("job{}", self.dice.roll(0, 3));
        let to = self.dice.chance(80).then(|| self.now + Millis(self.dice.roll(6_000, 40_000)));
        let store = Arc::clone(&self.store);
        self.act(
            format!("job event {job} {to:?}"),
            failing(async move {
                store.move_event(&job, to, clock::now()).await?;
                Ok(Ended::Person(Told::Nothing))
            }),
        );
    }

    /// Imports a few messages from a file.
    fn imports(&mut self) {
        let (n, now) = (self.dice.roll(0, 2), self.now);
        let file = self.path.with_file_name(format!("import-{}.csv", now.0));
        let drawn: Vec<String> = (0..CHATS).filter(|_| self.dice.chance(60)).map(number).collect();
        let rows = if drawn.is_empty() { vec![number(0)] } else { drawn };
        std::fs::write(&file, format!("to\n{}\n", rows.join("\n"))).unwrap();
        let at = self.dice.chance(50).then(|| now + Millis(self.dice.roll(2_000, 20_000)));
        let store = Arc::clone(&self.store);
        self.act(
            format!("import list{n} {rows:?} {at:?}"),
            failing(async move {
                let (content, manner) = (Content::text(format!("imported {now}")), Manner::default());
                let content = store.store_content(content, manner, "UTC".to_owned(), Millis(300_000)).await?;
                let import = Import {
                    file,
                    chat_column: "to".to_owned(),
                    job: format!("list{n}"),
                    instance: InstanceName::new("shop"),
                    kind: Kind::Sandbox,
                    contents: vec![store.content(content).await?],
                    like: None,
                    at,
                    country: None,
                    allow_partial: false,
                    dry_run: false,
                };
                match import::import(&store, import, clock::now()).await {
                    Ok(_) | Err(ImportError::Store(StoreError::Importing { .. })) => Ok(Ended::Person(Told::Nothing)),
                    Err(ImportError::Store(e)) => Err(e),
                    Err(e) => panic!("{e}"),
                }
            }),
        );
    }

    /// Contacts join the list, or leave it.
    fn changes_list(&mut self) {
        let drawn: Vec<usize> = (0..CHATS).filter(|_| self.dice.chance(40)).collect();
        let some = if drawn.is_empty() { vec![0] } else { drawn };
        if self.dice.chance(50) {
            self.joins(&some);
            return;
        }
        let chats: Vec<Chat> = some.iter().map(|k| Chat::from_stored(&chat(*k))).collect();
        let store = Arc::clone(&self.store);
        self.act(
            format!("contact leave {some:?}"),
            failing(async move {
                if let Some(list) = store.find_list(LIST).await? {
                    store.leave_list(list, chats).await?;
                }
                Ok(Ended::Person(Told::Nothing))
            }),
        );
    }

    fn joins(&mut self, some: &[usize]) {
        let (import, store) = (contacts(&self.path, self.now, some), Arc::clone(&self.store));
        self.act(
            format!("contact import {some:?}"),
            failing(async move {
                match onthedot::contacts::import_contacts(&store, import, clock::now()).await {
                    Ok(_) | Err(ImportError::Store(StoreError::Importing { .. })) => Ok(Ended::Person(Told::Nothing)),
                    Err(ImportError::Store(e)) => Err(e),
                    Err(e) => panic!("{e}"),
                }
            }),
        );
    }

    /// Forgets what was settled some seconds ago.
    fn prunes(&mut self) {
        let before = self.now - Millis(self.dice.roll(0, 20_000));
        let store = Arc::clone(&self.store);
        self.act(
            format!("db prune {before}"),
            failing(async move {
                let now = clock::now();
                let forget = onthedot::chores::forget(&store, (before, before), now).await?;
                store.prune(forget, false, now).await?;
                Ok(Ended::Person(Told::Nothing))
            }),
        );
    }

    /// Has a person forgotten: what waits for them is cancelled first.
    fn erases(&mut self) {
        let chat = chat(usize::try_from(self.dice.roll(0, i64::try_from(CHATS).unwrap() - 1)).unwrap());
        let store = Arc::clone(&self.store);
        self.act(
            format!("contact erase {chat}"),
            failing(async move {
                let of = Chat::from_stored(&chat);
                let done = match erasure::erase(&store, &of, clock::now).await? {
                    Erasure::Done { cancelled, .. } | Erasure::Open { cancelled, .. } => cancelled,
                };
                Ok(Ended::Person(Told::Repaired { how: Repair::Cancel, done }))
            }),
        );
    }

    /// Says of what is in doubt that it went out, or gives it up.
    fn resolves(&mut self) {
        use onthedot::domain::message::{Change, DoubtVerdict, Facts};
        use onthedot::domain::state::{self, Event, Reason, State};
        let sent = self.dice.chance(50);
        let store = Arc::clone(&self.store);
        self.act(
            format!("doubt resolve, sent: {sent}"),
            failing(async move {
                let filter = MessageFilter { states: vec![StateName::InDoubt], ..MessageFilter::default() };
                for m in all(&store, filter).await? {
                    let now = clock::now();
                    let number = u32::try_from(m.attempts).unwrap();
                    let (event, verdict) = if sent {
                        (Event::ProvedSent { sent_at: now, reason: Reason::SaidSent }, DoubtVerdict::Sent)
                    } else {
                        (Event::GivenUp { reason: Reason::Dropped }, DoubtVerdict::Dropped)
                    };
                    let transition = state::apply(&State::InDoubt { look_at: now }, &event).unwrap();
                    let facts = Facts::Verdict {
                        number,
                        verdict,
                        tries: 1,
                        gateway_id: None,
                        due_at: None,
                        note: "by command".to_owned(),
                    };
                    store.apply(vec![Change { id: m.id, attempts: number, at: now, transition, facts }]).await?;
                }
                Ok(Ended::Person(Told::Nothing))
            }),
        );
    }

    /// Whatever stops anything is lifted: from now on only the daemon works.
    pub(crate) async fn lift(&mut self) {
        for pause in self.store.pauses(self.now).await.unwrap() {
            self.store.resume(pause.scope, self.now).await.unwrap();
        }
    }
}
