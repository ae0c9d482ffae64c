//! What the pure parts cost, each by itself: run with `cargo bench --bench parts`. They have no clock and no disk, so these
//! figures are steady where those of whole runs are not.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing better to do than stop")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;

use onthedot::clock;
use onthedot::config;
use onthedot::domain::class::Class;
use onthedot::domain::cron::Cron;
use onthedot::domain::draw::Draw;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::message::{Due, Facts, SendFacts, Verdict};
use onthedot::domain::outcome::Outcome;
use onthedot::domain::pace::Pacing;
use onthedot::domain::recipient::Chat;
use onthedot::domain::retry::RetryPolicy;
use onthedot::domain::template::{Moments, Template, Vars};
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::domain::timeline::Late;
use onthedot::engine::{Effect, Engine, Input, LaneStart, Standing};
use onthedot::gateway::wawp;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn due(number: u64, lead: Millis) -> Due {
    Due {
        id: MessageId(u128::from(number).to_be_bytes()),
        instance: InstanceName::new("shop"),
        chat: Chat::from_stored(&format!("{}@c.us", 491_510_000_000 + number)),
        class: Class::default(),
        flow: onthedot::domain::flow::Flow::of_class(Class::default()),
        due_at: NOW + lead,
        target: NOW + lead,
        lead,
        late: Late::KeepLead,
        attempts: 0,
        tries: 0,
        first_marked_at: None,
        retry: RetryPolicy::default(),
        max_lateness: Millis::seconds(3_600),
        expires_at: None,
        event_at: None,
        hours: Vec::new(),
        free_from: Timestamp(i64::MIN),
        stopped: Vec::new(),
        allowed_from: None,
        kept_waiting: false,
        leads_on: false,
        draw: Draw::new(7, "message"),
    }
}

fn engine() -> Engine {
    let pacing = Pacing { concurrency: Some(100_000), ..Pacing::default() };
    let lane = LaneStart {
        instance: InstanceName::new("shop"),
        pacing,
        refresh_every: Millis::seconds(8),
        recent_sends: Vec::new(),
        outages: Vec::new(),
        standing: Standing::Working,
        quarantine: Millis::seconds(60),
        seed: 7,
        zone: TimeZone::UTC,
    };
    Engine::new(vec![lane], NOW)
}

/// Carries messages from the claim to the record, every answer at once. Answers how many were sent.
fn carry(engine: &mut Engine, all: Vec<Due>) -> usize {
    let (instance, end) = (InstanceName::new("shop"), NOW + Millis::seconds(60));
    let (mut left, mut sent, mut now) = (Some(all), 0, NOW);
    while now < end {
        while let Some(effect) = engine.poll_effect(now) {
            match effect {
                Effect::Claim { .. } => {
                    let messages = left.take().unwrap_or_default();
                    let claimed = Input::Claimed { instance: instance.clone(), messages, more: false, next_wake: None };
                    engine.handle(claimed, now);
                }
                Effect::StartTyping { id, .. } => {
                    engine.handle(Input::TypingAnswered { id, status: Some(200), response: String::new() }, now);
                }
                Effect::Persist(change) if !matches!(change.facts, Facts::TypingShown { .. }) => {
                    engine.handle(Input::Persisted { id: change.id, verdict: Some(Verdict::Applied) }, now);
                }
                Effect::Send { id, .. } => {
                    sent += 1;
                    let outcome = Outcome::Accepted { gateway_id: "3EB0".to_owned(), ack: None };
                    let facts = SendFacts {
                        started_at: now,
                        finished_at: now,
                        status: Some(200),
                        outcome: outcome.name(),
                        response: "{}".into(),
                    };
                    engine.handle(Input::SendDone { id, outcome, facts }, now);
                }
                _ => {}
            }
        }
        now = engine.poll_wakeup().map_or(end, |at| at.max(now + Millis(1)));
    }
    sent
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    for count in [100_u64, 4_000] {
        group.throughput(Throughput::Elements(count));
        for (name, lead) in [("plain", Millis::ZERO), ("typing", Millis::seconds(2))] {
            group.bench_function(format!("{count} messages from claim to record, {name}"), |b| {
                let all: Vec<Due> = (0..count).map(|n| due(n, lead)).collect();
                b.iter_batched(
                    || (engine(), all.clone()),
                    |(mut engine, all)| assert_eq!(carry(&mut engine, all), usize::try_from(count).unwrap()),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn texts(c: &mut Criterion) {
    let moments = Moments {
        due: NOW,
        nominal: None,
        event: None,
        late_by: Millis::ZERO,
        zone: clock::zone("Europe/Rome").unwrap(),
        pick: onthedot::domain::draw::Draw::new(7, "bench"),
    };
    let vars = Vars::from([("name".to_owned(), "Ada".to_owned()), ("seats".to_owned(), "2".to_owned())]);
    let text = "Hi {{ name }}, {{ seats }} seats are kept until {{ due | time }}.";
    c.bench_function("template: compile", |b| b.iter(|| Template::compile(black_box(text)).unwrap()));
    let template = Template::compile(text).unwrap();
    c.bench_function("template: render", |b| b.iter(|| template.render(black_box(&vars), &moments).unwrap()));
    c.bench_function("cron: parse", |b| b.iter(|| Cron::parse(black_box("0 9 * * mon-fri")).unwrap()));
    let (cron, zone) = (Cron::parse("0 9 * * mon-fri").unwrap(), clock::zone("Europe/Rome").unwrap());
    c.bench_function("cron: next", |b| b.iter(|| cron.next_after(black_box(NOW), &zone)));
    let answer = br#"{"id":{"fromMe":true,"remote":"491510000000@c.us","id":"3EB0","_serialized":"true_491510000000@c.us_3EB0"},"ack":0}"#;
    c.bench_function("wawp: an answer", |b| b.iter(|| wawp::classify(200, None, black_box(answer))));
}

fn files(c: &mut Criterion) {
    use std::fmt::Write as _;
    let mut file = String::from("version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs:\n");
    for n in 0..1_000 {
        let _ = writeln!(file, "  j{n}: {{ cron: \"{} 9 * * *\", to: \"2010{n:08}\", text: hi {n} }}", n % 60);
    }
    let mut group = c.benchmark_group("jobs file");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("a thousand jobs", |b| {
        b.iter(|| config::parse(Path::new("jobs.yaml"), black_box(&file), &|_| None, (true, None), NOW).unwrap());
    });
    group.finish();
}

criterion_group!(parts, messages, texts, files);
criterion_main!(parts);
