//! How work comes in: a jobs file applied as a whole, or a single message.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::{ContextV7, Timestamp as UuidTimestamp, Uuid};

use crate::clock;
use crate::config::{ConfigError, InstanceSettings, JobSettings, Settings, Source};
use crate::domain::class::Class;
use crate::domain::consent::Consent;
use crate::domain::content::Content;
use crate::domain::draw::Draw;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::job::{Job, Manner};
use crate::domain::recipient::Chat;
use crate::domain::sender::Senders;
use crate::domain::state::StateName;
use crate::domain::template::{Moments, Vars};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::typing::Typing;
use crate::store::{
    Applied, Confirmation, FileApply, InstanceRow, JobApply, NewMessage, NewMessages, Recipient, SqliteStore,
    StoreError, guard,
};

/// Recipients stored in one transaction: some milliseconds of the writer.
const RECIPIENT_CHUNK: usize = 1_000;

/// Recipients in lists that are stored whole, many lists in one transaction: some ten milliseconds of the writer.
const SHORT: usize = 100;

/// Makes ids that sort by when they were made, also within one millisecond.
#[derive(Debug, Default)]
pub struct IdMaker(std::sync::Mutex<ContextV7>);

impl IdMaker {
    /// A new id.
    pub fn make(&self, now: Timestamp) -> MessageId {
        if let Some(id) = simulated(now) {
            return id;
        }
        let context = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ms = u64::try_from(now.0).unwrap_or(0);
        let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
        MessageId(Uuid::new_v7(UuidTimestamp::from_unix(&*context, ms / 1_000, nanos)).into_bytes())
    }
}

#[cfg(debug_assertions)]
thread_local! {
    static IDS_MADE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A simulation begins on this thread: its ids are counted from nought, so that it can be played again.
#[cfg(debug_assertions)]
pub fn count_ids_anew() {
    IDS_MADE.set(0);
}

/// The next id of a simulation, where one is played.
#[cfg(debug_assertions)]
fn simulated(now: Timestamp) -> Option<MessageId> {
    if !clock::is_simulated() {
        return None;
    }
    let count = IDS_MADE.get() + 1;
    IDS_MADE.set(count);
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&count.to_be_bytes());
    let ms = u64::try_from(now.0).unwrap_or(0);
    Some(MessageId(uuid::Builder::from_unix_timestamp_millis(ms, &rest).into_uuid().into_bytes()))
}

/// Nobody simulates.
#[cfg(not(debug_assertions))]
#[inline(always)]
fn simulated(_now: Timestamp) -> Option<MessageId> {
    None
}

/// What applying a file did.
#[derive(Clone, Debug, Default)]
pub struct AppliedFile {
    /// Jobs by what became of them.
    pub jobs: Vec<(String, Applied)>,
    /// Jobs of the database that the file no longer declares.
    pub vanished: Vec<String>,
}

/// Why a file could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of recipients changed or vanished meanwhile.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl IntakeError {
    /// Whether what was read is not what is there any more: the jobs, or the recipients, were changed meanwhile, or a clock that was
    /// set ahead had another command give up what this one stored.
    pub fn is_outdated(&self) -> bool {
        matches!(
            self,
            IntakeError::Config(_) | IntakeError::Store(StoreError::Overtaken | StoreError::AudienceAbandoned)
        )
    }
}

/// How often a file is read anew where others change the jobs or its recipients while it is read.
pub const READINGS: usize = 10;

/// Applies a file: stores its lists of recipients, which nothing uses yet, then swaps in its instances (references,
/// never secrets), defaults, chores and jobs in one transaction. The jobs come apart from the rest, so that who goes on with the
/// rest need not keep them. Applying the same file again changes nothing.
///
/// `revision` is that of the jobs when the file began to be read: what somebody did since is not undone by an older reading.
///
/// # Errors
/// [`IntakeError`]; then nothing was changed. Where [`IntakeError::is_outdated`] the file is to be read again.
pub async fn apply_file(
    store: &SqliteStore,
    settings: &Settings,
    jobs: Vec<JobSettings>,
    (prune, revision): (bool, Option<i64>),
    now: Timestamp,
) -> Result<AppliedFile, IntakeError> {
    let audiences = store_audiences(store, &jobs).await?;
    let applies = jobs.into_iter().zip(audiences).map(|(JobSettings { job, .. }, audience)| {
        let zone = clock::zone(job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
        let max_lateness = job.max_lateness(now, &zone);
        JobApply { job, audience, max_lateness }
    });
    let jobs = applies.collect();
    let file = FileApply {
        instances: settings.instances.iter().map(InstanceSettings::row).collect(),
        defaults: serde_json::to_string(&defaults(settings)).unwrap_or_default(),
        chores: settings.maintenance.clone(),
        zone: settings.zone.clone(),
        jobs,
        prune,
        revision,
    };
    let (jobs, vanished) = store.apply_jobs_file(file, now).await?;
    Ok(AppliedFile { jobs, vanished })
}

/// The instances of a file that are new, or other than the database knew them before.
pub fn changed_instances(settings: &Settings, before: &[InstanceRow]) -> Vec<InstanceRow> {
    let known = |row: &InstanceRow| before.iter().any(|b| b.name == row.name && b.definition == row.definition);
    settings.instances.iter().map(InstanceSettings::row).filter(|row| !known(row)).collect()
}

/// What applying a file would do to one job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedJob {
    /// Its name.
    pub name: String,
    /// What would become of it.
    pub change: Applied,
    /// How many recipients it has.
    pub recipients: u64,
    /// Waiting messages that new ones would replace.
    pub cancels: u64,
    /// Its next occurrence.
    pub next: Option<Timestamp>,
}

/// What applying a file would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// The jobs of the file, in its order.
    pub jobs: Vec<PlannedJob>,
    /// Jobs of the database that the file does not declare.
    pub vanished: Vec<String>,
}

impl Planned {
    /// On a database that does not exist yet everything is new.
    pub fn onto_nothing(settings: &Settings) -> Planned {
        let now = clock::now();
        let jobs = settings.jobs.iter().map(|j| planned(j, Applied::Added, 0, now, now)).collect();
        Planned { jobs, vanished: Vec::new() }
    }
}

fn planned(job: &JobSettings, change: Applied, cancels: u64, first_applied: Timestamp, now: Timestamp) -> PlannedJob {
    let zone = clock::zone(job.job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    let schedule = &job.job.schedule;
    let next = match change {
        Applied::Added => schedule.first(first_applied, &zone),
        Applied::Changed | Applied::Unchanged => schedule.next_after(now, first_applied, &zone),
    };
    PlannedJob { name: job.job.name.clone(), change, recipients: job.recipients.size, cancels, next }
}

/// Says what applying a file would do, changing nothing.
///
/// # Errors
/// When the database cannot be read.
pub async fn plan_file(store: &SqliteStore, settings: &Settings, now: Timestamp) -> Result<Planned, StoreError> {
    let mut jobs = Vec::with_capacity(settings.jobs.len());
    for job in &settings.jobs {
        let audience = store.find_audience(&job.recipients.fingerprint).await?;
        let (change, first_applied) = store.compare_job(&job.job, audience).await?;
        let cancels = match change {
            Applied::Changed => store.waiting_of_job(&job.job.name).await?,
            Applied::Added | Applied::Unchanged => 0,
        };
        let mut plan = planned(job, change, cancels, first_applied.unwrap_or(now), now);
        if job.job.schedule.event_at().is_some()
            && let Some(known) = store.job(&job.job.name).await?
        {
            let zone = clock::zone(job.job.schedule_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
            let comes_to = known.as_declared(&job.job);
            plan.next = comes_to.and_then(|j| j.schedule.next_after(now, known.first_applied_at, &zone));
        }
        jobs.push(plan);
    }
    let declared: std::collections::HashSet<&str> = settings.jobs.iter().map(|j| j.job.name.as_str()).collect();
    let names = store.job_names().await?;
    Ok(Planned { jobs, vanished: names.into_iter().filter(|n| !declared.contains(n.as_str())).collect() })
}

/// Stores the lists of recipients of jobs that are not stored yet: short ones many at a time, long ones step by step.
/// Answers their ids in the order of the jobs.
async fn store_audiences(store: &SqliteStore, jobs: &[JobSettings]) -> Result<Vec<i64>, IntakeError> {
    let prints: Vec<Vec<u8>> = jobs.iter().map(|j| j.recipients.fingerprint.clone()).collect();
    let mut known = store.find_audiences(&prints).await?;
    let mut short: Vec<(Vec<u8>, Vec<Recipient>)> = Vec::new();
    let mut gathered = 0;
    for job in jobs {
        let print = &job.recipients.fingerprint;
        if known.contains_key(print) {
            continue;
        }
        match &job.recipients.source {
            Source::Inline(list) if list.len() <= SHORT => {
                gathered += list.len();
                short.push((print.clone(), list.clone()));
            }
            Source::Inline(_) | Source::Csv(_) | Source::List(_) => {
                known.insert(print.clone(), store_audience(store, job).await?);
            }
        }
        if gathered >= SHORT {
            gathered = 0;
            keep_short(store, &mut short, &mut known).await?;
        }
    }
    keep_short(store, &mut short, &mut known).await?;
    let id = |print: &Vec<u8>| known.get(print).copied().ok_or(StoreError::Closed);
    Ok(prints.iter().map(id).collect::<Result<_, _>>()?)
}

async fn keep_short(
    store: &SqliteStore,
    short: &mut Vec<(Vec<u8>, Vec<Recipient>)>,
    known: &mut HashMap<Vec<u8>, i64>,
) -> Result<(), StoreError> {
    if short.is_empty() {
        return Ok(());
    }
    let prints: Vec<Vec<u8>> = short.iter().map(|(print, _)| print.clone()).collect();
    let ids = store.store_audiences(std::mem::take(short)).await?;
    known.extend(prints.into_iter().zip(ids));
    Ok(())
}

async fn store_audience(store: &SqliteStore, job: &JobSettings) -> Result<i64, IntakeError> {
    let audience = store.begin_audience(clock::now()).await?;
    // The file is read on a thread of its own, a chunk at a time, so that neither memory nor the runtime suffers.
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Vec<Recipient>>(4);
    let recipients = job.recipients.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(RECIPIENT_CHUNK);
        let read = recipients.for_each(|r| {
            chunk.push(r);
            if chunk.len() == RECIPIENT_CHUNK {
                let _ = sender.blocking_send(std::mem::take(&mut chunk));
            }
        });
        let _ = sender.blocking_send(chunk);
        read
    });
    let mut place = 0_i64;
    while let Some(chunk) = receiver.recv().await {
        let length = i64::try_from(chunk.len()).unwrap_or(0);
        store.add_recipients(audience.clone(), place, chunk).await?;
        place += length;
    }
    match reading.await {
        Ok(Ok(())) => {}
        Ok(Err(finding)) => return Err(ConfigError(vec![finding]).into()),
        Err(_) => return Err(StoreError::Closed.into()),
    }
    let size = u64::try_from(place).unwrap_or(0);
    Ok(store.complete_audience(audience, job.recipients.fingerprint.clone(), size).await?)
}

/// What commands without a file take from the latest applied one.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Defaults {
    /// The instance of commands that name none.
    pub instance: Option<InstanceName>,
    /// How their messages are sent.
    pub manner: Manner,
    /// The zone of their instants.
    pub zone: String,
}

/// The defaults of a file.
pub fn defaults(settings: &Settings) -> Defaults {
    let instance = settings.default_instance.clone().or_else(|| match settings.instances.as_slice() {
        [only] => Some(only.name.clone()),
        _ => None,
    });
    Defaults { instance, manner: settings.defaults.clone(), zone: settings.zone.clone() }
}

/// The defaults of the file that was applied last.
///
/// # Errors
/// When the database cannot be read.
pub async fn stored_defaults(store: &SqliteStore) -> Result<Option<Defaults>, StoreError> {
    Ok(store.setting("defaults").await?.and_then(|d| serde_json::from_str(&d).ok()))
}

/// A single message asked for by a command.
#[derive(Clone, Debug)]
pub struct SingleMessage {
    /// To which chat.
    pub chat: Chat,
    /// Through which instance.
    pub instance: InstanceName,
    /// What it says.
    pub content: Content,
    /// How it is sent.
    pub manner: Manner,
    /// The zone of instants in its text.
    pub zone: String,
    /// When it shall leave; `None` = as soon as its typing was seen.
    pub at: Option<Timestamp>,
    /// Made at most once under this key.
    pub key: Option<String>,
}

/// How often the content of a single message is stored where each time somebody prunes it right away.
const CONTENT_TRIES: u32 = 3;

/// Stores a single message. Answers its id and whether it is new.
///
/// # Errors
/// When the database cannot be written.
pub async fn send_one(
    store: &SqliteStore,
    ids: &IdMaker,
    message: SingleMessage,
    now: Timestamp,
) -> Result<(MessageId, bool), StoreError> {
    use crate::store::Store;
    if let Some(key) = &message.key
        && let Some(id) = store.message_by_key(key).await?
    {
        return Ok((id, false));
    }
    let SingleMessage { chat, instance, content, manner, zone, at, key } = message;
    let max_lateness = manner.max_lateness.unwrap_or(crate::domain::job::DEFAULT_MAX_LATENESS);
    let lead = lead_of(
        &content,
        &manner.typing,
        &Vars::new(),
        now,
        &zone,
        Draw::new(store.seed(), "typing").with_text(chat.as_str()).with_number(now.0),
    );
    let due_at = at.unwrap_or(now + lead);
    let (class, expires_at) = (manner.class, manner.expires.map(|e| e.of(due_at)));
    let guard = guard(&chat, &serde_json::to_string(&content).unwrap_or_default(), None);
    let id = ids.make(now);
    let row = NewMessage {
        id,
        chat,
        place: None,
        guard,
        due_at,
        wake_at: due_at - lead,
        lead,
        expires_at,
        class,
        key: key.clone(),
        step: 0,
        after: Millis::ZERO,
        state: StateName::Scheduled,
        reason: None,
        followed: false,
        follows: None,
    };
    let mut tries = 0;
    let stored = loop {
        tries += 1;
        let content = store.store_content(content.clone(), manner.clone(), zone.clone(), max_lateness).await?;
        match store.insert(NewMessages::single(instance.clone(), content, row.clone(), now)).await {
            // Nobody used the content before, and it was pruned just now.
            Err(e) if e.refers_to_what_is_gone() && tries < CONTENT_TRIES => {}
            stored => break stored?,
        }
    };
    if stored == 1 {
        return Ok((id, true));
    }
    // Somebody else stored the key between our look and our write: theirs counts.
    let known = match key {
        Some(key) => store.message_by_key(&key).await?,
        None => None,
    };
    known.map(|id| (id, false)).ok_or(StoreError::Closed)
}

/// What a chat is answered to an opt-out or an opt-in through an instance, if it has words for that. However the jobs of
/// the file are sent, it goes before all else, stands in no conversation's way and asks for no consent.
pub fn confirmation(
    instance: &InstanceSettings,
    defaults: &Defaults,
    ids: &IdMaker,
    seed: u64,
    (chat, verdict, now): (&Chat, Consent, Timestamp),
) -> Option<Confirmation> {
    let content = Content::text(instance.opt_out.confirmation(verdict)?);
    let Manner { typing, late, retry, on_doubt, .. } = defaults.manner.clone();
    let manner = Manner { typing, late, retry, on_doubt, class: Class::Urgent, ..Manner::default() };
    let draw = Draw::new(seed, "typing").with_text(chat.as_str()).with_number(now.0);
    let lead = lead_of(&content, &manner.typing, &Vars::new(), now, &defaults.zone, draw);
    let (id, instance, zone) = (ids.make(now), instance.name.clone(), defaults.zone.clone());
    Some(Confirmation { id, instance, content, manner, zone, lead })
}

/// New messages of a job, parted by the account that writes to each recipient; `senders` are those who did before. There
/// is a part even of no message.
pub fn by_sender(job: &Job, senders: &Senders, rows: Vec<NewMessage>) -> Vec<(InstanceName, Vec<NewMessage>)> {
    let mut parts: BTreeMap<&InstanceName, Vec<NewMessage>> = BTreeMap::new();
    for row in rows {
        parts.entry(job.sender_of(&row.chat, senders)).or_default().push(row);
    }
    if parts.is_empty() {
        parts.insert(&job.instance, Vec::new());
    }
    parts.into_iter().map(|(name, rows)| (name.clone(), rows)).collect()
}

/// The typing lead of one message.
pub fn lead_of(content: &Content, typing: &Typing, vars: &Vars, due: Timestamp, zone: &str, draw: Draw) -> Millis {
    let chars = match typing {
        Typing::Off | Typing::Lead(_) => 0,
        Typing::BySpeed { .. } => typed_chars(content, vars, due, zone),
    };
    typing.lead(chars, draw)
}

/// The characters of a content that a person would have to type.
pub fn typed_chars(content: &Content, vars: &Vars, due: Timestamp, zone: &str) -> usize {
    let zone = clock::zone(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let moments = Moments { event: Some(due), ..Moments::trial(due, zone) };
    // A text that cannot be rendered is found out before the send; its lead does not matter.
    content.compile().ok().and_then(|c| c.render(vars, &moments).ok()).map_or(0, |r| r.typed_chars())
}

/// Shared by everything that makes ids in this process.
pub type SharedIds = Arc<IdMaker>;
