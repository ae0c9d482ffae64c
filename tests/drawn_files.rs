//! Drawn jobs files: what `simulate` foretells of each is what the daemon then does, message by message and reason by reason.
//!
//! `FILES=200 SPAN=60 cargo test --test drawn_files -- --nocapture` plays two hundred, twenty at a time; `SEED=n` one of them.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/foretelling.rs"]
mod foretelling;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::fmt::Write as _;

use foretelling::{compare, foretold, happened};
use onthedot::domain::draw::Draw;
use process::{Bench, now_ms, pause};

/// Files that are played side by side: each is a daemon that does little.
const SIDE_BY_SIDE: usize = 20;

/// The daemon is up by then.
const UP: i64 = 9_000;

fn rfc(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

fn number(name: &str, otherwise: i64) -> i64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

/// Draws one after the other.
struct Dice(Draw, i64);

impl Dice {
    fn roll(&mut self, low: i64, high: i64) -> i64 {
        self.1 += 1;
        self.0.with_number(self.1).between(low, high)
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(0, i64::try_from(of.len()).unwrap() - 1)).unwrap()]
    }
}

/// Three accounts: one without a pace, two with drawn ones.
fn instances(dice: &mut Dice) -> String {
    let mut text = "  free: { gateway: sandbox }\n".to_owned();
    for name in ["one", "two"] {
        let pacing = match dice.roll(0, 5) {
            0 => format!("gap: {}ms..{}ms", dice.roll(150, 400), dice.roll(400, 900)),
            1 => format!("rate: {}/min", dice.roll(10, 60)),
            2 => format!("concurrency: {}", dice.roll(1, 3)),
            3 => format!("per_hour: {}", dice.roll(5, 30)),
            4 => format!("gap: 200ms..200ms, batch: {}, rest: 2s..3s", dice.roll(2, 5)),
            _ => format!("rate: {}/min, concurrency: 2, gap: 100ms..300ms", dice.roll(20, 90)),
        };
        let _ = writeln!(text, "  {name}: {{ gateway: sandbox, pacing: {{ {pacing} }} }}");
    }
    text
}

fn schedule(dice: &mut Dice, starts: i64, ends: i64) -> String {
    let bounds = format!("starts: \"{}\", ends: \"{}\"", rfc(starts), rfc(ends));
    let overlap = dice.pick(&["allow", "allow", "skip"]);
    match dice.roll(0, 4) {
        0 | 1 => {
            format!("cron: \"*/{} * * * * *\", overlap: {overlap}, {bounds}", dice.pick(&["5", "6", "10", "15", "20"]))
        }
        2 => format!("every: {}s, overlap: {overlap}, {bounds}", dice.roll(6, 20)),
        3 => {
            let first = starts + dice.roll(0, (ends - starts) / 2);
            format!("at: [\"{}\", \"{}\"]", rfc(first), rfc(first + dice.roll(2_000, 12_000)))
        }
        _ => format!("at: \"{}\"", rfc(starts + dice.roll(0, ends - starts))),
    }
}

fn job(dice: &mut Dice, n: i64, (starts, ends): (i64, i64)) -> String {
    let when = schedule(dice, starts, ends);
    let people: Vec<String> = (0..dice.roll(1, 6)).map(|i| format!("\"20100{n:03}{i:04}\"")).collect();
    let typing = match dice.roll(0, 3) {
        0 => "off".to_owned(),
        1 => format!("{{ chars_per_second: {}, min: 300ms, max: 3s, jitter: 20% }}", dice.roll(5, 30)),
        _ => format!("{{ lead: {}ms }}", dice.roll(200, 3_000)),
    };
    let instance = dice.pick(&["free", "one", "two"]);
    // The steps of a sequence follow once a record is durable: through a lane with a pace others may come in between by then.
    let says = match dice.roll(0, 3) {
        0 if instance == "free" => {
            format!("messages: [{{ text: once }}, {{ text: upon }}, {{ after: {}s, text: a time }}]", dice.roll(1, 4))
        }
        _ => "text: \"Hello at {{ due | time }}\"".to_owned(),
    };
    let mut more = String::new();
    if dice.roll(0, 5) == 0 {
        let _ = write!(more, ", expires: {}s", dice.roll(2, 20));
    }
    if dice.roll(0, 5) == 0 {
        let _ = write!(more, ", frequency: {{ at_most: {}, within: 1h }}", dice.roll(1, 3));
    }
    if dice.roll(0, 5) == 0 {
        let _ = write!(more, ", spread: {}s", dice.roll(1, 4));
    }
    let class = dice.pick(&["normal", "normal", "campaign", "reminder", "urgent", "bulk"]);
    format!(
        "  job{n}: {{ {when}, instance: {instance}, class: {class}, to: [{}], {says}, typing: {typing}{more} }}\n",
        people.join(", ")
    )
}

fn drawn(seed: i64, span: (i64, i64)) -> String {
    let mut dice = Dice(Draw::new(u64::try_from(seed).unwrap(), "file"), 0);
    let instances = instances(&mut dice);
    let jobs: String = (0..dice.roll(2, 6)).map(|n| job(&mut dice, n, span)).collect();
    format!("version: 1\ntimezone: UTC\ninstances:\n{instances}jobs:\n{jobs}")
}

/// What is wrong about one file, and how many messages it had.
async fn play(seed: i64, span: i64) -> (usize, Vec<String>) {
    let bench = Bench::new();
    let from = now_ms();
    let starts = (from + UP) / 1_000 * 1_000;
    bench.write("jobs.yaml", &drawn(seed, (starts, starts + span)));
    if std::env::var("SHOW").is_ok() {
        println!("{}", drawn(seed, (starts, starts + span)));
    }
    let (begin, until) = (rfc(from), rfc(starts + span + 3_600_000));
    let simulate = ["simulate", "jobs.yaml", "--from", &begin, "--until", &until, "--limit", "100000", "--seed", "7"];
    let predicted = foretold(&bench.json(&simulate));
    let mut daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--seed", "7", "-q"]);
    // What would leave long after the span is not waited for.
    let end = starts + span + 5_000;
    pause(std::time::Duration::from_millis(u64::try_from(end - now_ms()).unwrap()));
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    let mut actual = happened(&bench).await;
    let mut predicted = predicted;
    let settled = |t: &foretelling::Told, at: i64| t.slot.is_none_or(|slot| slot < at);
    predicted.retain(|_, told| settled(told, end - 2_000) && told.state != "scheduled");
    actual.retain(|key, _| predicted.contains_key(key));
    let missing = predicted.keys().filter(|key| !actual.contains_key(key));
    let mut wrong: Vec<String> =
        missing.map(|key| format!("{key:?} is foretold, and there is no such message")).collect();
    predicted.retain(|key, _| actual.contains_key(key));
    wrong.extend(compare(&predicted, &actual, &["free"]));
    (predicted.len(), wrong)
}

fn played(seed: i64, span: i64) -> (usize, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(play(seed, span))
}

fn alone(seed: i64, span: i64) -> Vec<String> {
    println!("SEED={seed} is played again, alone");
    played(seed, span).1
}

#[test]
fn what_simulate_foretells_of_a_drawn_file_is_what_the_daemon_then_does() {
    let (files, span) = (number("FILES", 6), number("SPAN", 15) * 1_000);
    let first = number("SEED", 1);
    let files = if std::env::var("SEED").is_ok() && std::env::var("FILES").is_err() { 1 } else { files };
    let seeds: Vec<i64> = (first..first + files).collect();
    let (mut messages, mut broken) = (0, Vec::new());
    for some in seeds.chunks(SIDE_BY_SIDE) {
        let all: Vec<(i64, (usize, Vec<String>))> = std::thread::scope(|scope| {
            let all: Vec<_> = some.iter().map(|seed| scope.spawn(move || (*seed, played(*seed, span)))).collect();
            all.into_iter().map(|played| played.join().unwrap()).collect()
        });
        for (seed, (count, wrong)) in all {
            messages += count;
            // Where the machine was busy, sends before one were late, and others went before it. Alone it goes as foretold.
            let wrong = if wrong.is_empty() { wrong } else { alone(seed, span) };
            if !wrong.is_empty() {
                println!("SEED={seed}: {} of {count}\n  {}", wrong.len(), wrong.join("\n  "));
                broken.push(seed);
            }
        }
    }
    println!("{files} files, {messages} messages: {} went otherwise than foretold", broken.len());
    assert!(messages > usize::try_from(files).unwrap(), "only {messages}");
    assert!(broken.is_empty(), "{broken:?}");
}
