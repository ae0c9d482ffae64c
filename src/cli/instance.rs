//! `instance`: the accounts.

use serde_json::{Map, Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, safe, table};
use crate::cli::pause::{PauseHow, pause_scope, resume_scope};
use crate::cli::{Global, place};
use crate::clock::{self, Stopwatch};
use crate::config::read::suggest;
use crate::config::{self, InstanceSettings};
use crate::domain::pace::{Ledger, Pacing};
use crate::domain::time::Timestamp;
use crate::gateway::{self, Session};
use crate::intake;
use crate::store::view::InstanceView;
use crate::store::{Opening, Pause, PauseScope, SqliteStore, Store};

#[derive(clap::Subcommand, Debug)]
pub(super) enum InstanceCommand {
    /// List accounts: session, pauses, what is left of their caps, what is out
    List,
    /// Ask the gateway how an account stands; needs the jobs file for its secrets
    Test {
        /// The account; all of the file without it
        name: Option<String>,
    },
    /// Stop sending through one account
    Pause {
        /// The account
        name: String,
        #[command(flatten)]
        how: PauseHow,
    },
    /// Send through a paused account again
    Resume {
        /// The account
        name: String,
        /// Say what would be resumed
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn instance(global: &Global, command: InstanceCommand, out: &Out) -> anyhow::Result<Exit> {
    match command {
        InstanceCommand::List => list(global, out).await,
        InstanceCommand::Test { name } => test(global, name.as_deref(), out).await,
        InstanceCommand::Pause { name, how } => pause_scope(global, PauseScope::Instance(name), how, out).await,
        InstanceCommand::Resume { name, dry_run } => {
            resume_scope(global, PauseScope::Instance(name), dry_run, out).await
        }
    }
}

/// A cap, how much of it is used, and when the next send fits.
struct Cap {
    name: &'static str,
    limit: u32,
    used: usize,
    /// What it rises to, where it warms up.
    full: Option<u32>,
}

async fn list(global: &Global, out: &Out) -> anyhow::Result<Exit> {
    let store = place::open(global, Opening::Reading).await?;
    let listed = collect(&store).await;
    let zone = place::zone(&store).await?;
    store.close().await;
    let (views, pauses) = listed?;
    if out.json {
        let all: Vec<Value> = views.iter().map(|(v, caps)| json_of(v, caps, &pauses)).collect();
        out.document(&json!({ "instances": all }))?;
        return Ok(Exit::Ok);
    }
    if views.is_empty() {
        out.note("no instances; `onthedot run JOBS.yaml` stores those of a file");
        return Ok(Exit::Ok);
    }
    let row = |(v, caps): &(InstanceView, Vec<Cap>)| {
        let (state, reason) = standing(v, &pauses);
        let why = reason.map_or(String::new(), |r| format!(" ({})", safe(&r)));
        let of = |c: &Cap| match c.full {
            Some(full) => format!("{} {}/{} (warming up to {full})", c.name, c.used, c.limit),
            None => format!("{} {}/{}", c.name, c.used, c.limit),
        };
        let caps: Vec<String> = caps.iter().map(of).collect();
        let ok = v.last_ok_at.map_or("-".to_owned(), |t| zone.show(t));
        vec![
            safe(&v.name.0),
            v.lane.gateway.clone(),
            format!("{state}{why}"),
            format!("{} typing, {} out, {} wait", v.typing_now, v.in_flight, v.lane.waiting),
            if caps.is_empty() { "none".to_owned() } else { caps.join(", ") },
            ok,
        ]
    };
    out.data(&table(
        &["instance", "gateway", "state", "now", "caps used", "last ok"],
        views.iter().map(row).collect(),
    ))?;
    Ok(Exit::Ok)
}

type Listed = (Vec<(InstanceView, Vec<Cap>)>, Vec<Pause>);

async fn collect(store: &SqliteStore) -> anyhow::Result<Listed> {
    let now = clock::now();
    let zone = intake::stored_defaults(store).await?.and_then(|d| clock::zone(&d.zone).ok());
    let zone = zone.unwrap_or(jiff::tz::TimeZone::UTC);
    let rows = store.instances().await?;
    let mut views = Vec::new();
    for view in store.instance_views(now).await? {
        // Secrets are not needed to read the pacing back.
        let settings = rows.iter().find(|r| r.name == view.name).and_then(|r| config::stored_instance(r, true).ok());
        let pacing = settings.map(|s| s.pacing).unwrap_or_default();
        let sends = store.recent_sends(&view.name, now - pacing.memory()).await?;
        let sends: Vec<Timestamp> = sends.iter().map(|d| d.at).collect();
        views.push((view, caps(&pacing, &sends, &zone, now)));
    }
    Ok((views, store.pauses(now).await?))
}

fn caps(pacing: &Pacing, sends: &[Timestamp], zone: &jiff::tz::TimeZone, now: Timestamp) -> Vec<Cap> {
    let since = |from: Timestamp| sends.iter().filter(|t| **t > from).count();
    let mut all = Vec::new();
    if let Some(rate) = pacing.rate {
        all.push(Cap { name: "rate", limit: rate.count, used: since(now - rate.window), full: None });
    }
    if let Some(limit) = pacing.per_hour {
        all.push(Cap {
            name: "per_hour",
            limit,
            used: since(now - crate::domain::time::Millis(3_600_000)),
            full: None,
        });
    }
    let days = Ledger::new(zone.clone());
    if let Some(limit) = pacing.per_day_on(days.date_of(now)) {
        let from = days.day_of(now).map_or(now, |(from, _)| from);
        let full = pacing.per_day.filter(|full| *full > limit);
        all.push(Cap { name: "per_day", limit, used: sends.iter().filter(|t| **t >= from).count(), full });
    }
    all
}

/// How an instance stands: a person's pause goes before what its gateway says.
fn standing(view: &InstanceView, pauses: &[Pause]) -> (String, Option<String>) {
    match pauses.iter().find(|p| p.scope.stops(&view.name.0, None, None)) {
        Some(pause) => ("paused".to_owned(), pause.note.clone()),
        None => (view.lane.state.clone(), view.lane.reason.clone()),
    }
}

fn json_of(v: &InstanceView, caps: &[Cap], pauses: &[Pause]) -> Value {
    let (state, reason) = standing(v, pauses);
    let caps: Map<String, Value> = caps
        .iter()
        .map(|c| {
            let left = usize::try_from(c.limit).unwrap_or(usize::MAX).saturating_sub(c.used);
            (c.name.to_owned(), json!({ "limit": c.limit, "used": c.used, "left": left, "warming_up_to": c.full }))
        })
        .collect();
    json!({
        "name": v.name.0,
        "gateway": v.lane.gateway,
        "state": state,
        "reason": reason,
        "until": pauses.iter().find(|p| p.scope.stops(&v.name.0, None, None)).map_or(v.lane.until, |p| p.until)
            .map(Timestamp::to_rfc3339),
        "caps": caps,
        "waiting": v.lane.waiting,
        "typing_now": v.typing_now,
        "in_flight": v.in_flight,
        "last_ok_at": v.last_ok_at.map(Timestamp::to_rfc3339),
    })
}

async fn test(global: &Global, name: Option<&str>, out: &Out) -> anyhow::Result<Exit> {
    let Some(path) = &global.config else {
        return Err(told(
            Exit::Config,
            "the gateway's credentials are in no database: name the jobs file with --config JOBS.yaml",
        ));
    };
    let settings = config::load(path, false, place::lists(global).as_deref(), clock::now())?;
    let chosen: Vec<&InstanceSettings> =
        settings.instances.iter().filter(|i| name.is_none_or(|n| *i.name.0 == *n)).collect();
    if let (true, Some(name)) = (chosen.is_empty(), name) {
        let names: Vec<&str> = settings.instances.iter().map(|i| &*i.name.0).collect();
        return Err(told(Exit::NotFound, format!("there is no instance '{name}'; {}", suggest(name, &names))));
    }
    let mut results = Vec::with_capacity(chosen.len());
    for instance in chosen {
        let account = gateway::open(instance.account(), &mut gateway::http::Clients::default())?;
        let took = Stopwatch::start();
        let session = account.session().await;
        results.push((instance.name.clone(), session, took.elapsed()));
    }
    let fine = results.iter().all(|(_, s, _)| *s == Session::Working);
    if out.json {
        let each = |(name, session, took): &(crate::domain::id::InstanceName, Session, crate::domain::time::Millis)| {
            let reason = match session {
                Session::Working => None,
                Session::Down { why, .. } => Some(why),
            };
            json!({ "name": name.0, "working": reason.is_none(), "reason": reason, "round_trip_ms": took })
        };
        out.document(&json!({ "instances": results.iter().map(each).collect::<Vec<_>>() }))?;
    } else {
        for (name, session, took) in &results {
            out.data(&match session {
                Session::Working => format!("{name}: works, answered in {} ms", took.0),
                Session::Down { why, .. } => format!("{name}: cannot send: {}", safe(why)),
            })?;
        }
    }
    Ok(if fine { Exit::Ok } else { Exit::Unreachable })
}
