//! What wins where two rules meet: `docs/reference/pairs.md` has a sentence for each pair of rules, and each sentence a test.
//! Those that no other file holds stand here: many small jobs beside each other, each of them one pair.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test stand outside its functions")]

#[path = "support/faked_clock.rs"]
mod faked_clock;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::path::Path;
use std::time::Duration;

use faked_clock::FakedClock;
use process::{Bench, Running, now_ms, pause, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// The rules, in the order of the page.
const WORDS: [&str; 17] = [
    "window",
    "cap",
    "pause",
    "hold",
    "outage",
    "retry",
    "doubt",
    "sequence",
    "nag",
    "overlap",
    "expires",
    "max_lateness",
    "frequency",
    "event move",
    "edit",
    "prune",
    "erase",
];

/// What is wrong with a row's last cell.
fn unheld(what_holds: &str, held_by: &str) -> Option<String> {
    if held_by == "they cannot meet" {
        return (!what_holds.contains("since ")).then(|| "no reason is given".to_owned());
    }
    for cited in held_by.split(", ") {
        let Some((target, name)) = cited.trim_matches('`').split_once(' ') else {
            return Some(format!("{cited} is no test"));
        };
        let path = if target.starts_with("src/") { target.to_owned() } else { format!("tests/{target}.rs") };
        let text = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
        let declared = text.match_indices(&format!("fn {name}()")).next().map(|(at, _)| &text[..at]);
        if !declared.is_some_and(|before| before.lines().rev().take(3).any(|l| l.contains("test]"))) {
            return Some(format!("there is no test {name} in {path}"));
        }
    }
    None
}

#[test]
fn every_pair_of_rules_has_a_sentence_and_a_test_that_exists() {
    let page = std::fs::read_to_string("docs/reference/pairs.md").unwrap();
    let pairs: Vec<String> = (0..WORDS.len())
        .flat_map(|a| (a + 1..WORDS.len()).map(move |b| format!("{} × {}", WORDS[a], WORDS[b])))
        .collect();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|l| l.starts_with("| ") && l.contains(" × "))
        .map(|l| l.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let found: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(found, pairs, "each pair once, in order");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let &[pair, what_holds, held_by] = &row[..] else { return Some(format!("{row:?} has not three cells")) };
            let is_sentence = what_holds.len() > 20 && what_holds.ends_with('.');
            let why = if is_sentence { unheld(what_holds, held_by) } else { Some("no sentence".to_owned()) };
            why.map(|why| format!("{pair}: {why}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn chat(n: usize) -> String {
    format!("20100000{n:04}")
}

fn rfc(ms: i64) -> String {
    onthedot::domain::time::Timestamp(ms).to_rfc3339()
}

fn ms(instant: &Value) -> i64 {
    instant.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// A window from so many full hours from now to so many.
fn window(from: i64, to: i64) -> String {
    let hour = |n: i64| (now_ms() / 3_600_000 + n).rem_euclid(24);
    format!("window: {{ days: all, hours: \"{:02}:00-{:02}:00\" }}", hour(from), hour(to))
}

const HEAD: &str = "version: 1\ntimezone: UTC\nmaintenance: { tidy: off, checkpoint: off, report: off }\n";

fn file(instances: &str, jobs: &str) -> String {
    format!(
        "{HEAD}instances:\n  shop: {{ gateway: sandbox }}\n{instances}\
         defaults: {{ instance: shop, typing: off, max_lateness: 1d }}\njobs:\n{jobs}"
    )
}

/// A daemon on what stands in `jobs.yaml`.
fn serve(bench: &Bench, scenario: &str) -> Running {
    let ready = bench.log().matches(" ready ms=").count();
    let mut daemon = bench.start_sandboxed(scenario);
    until("the daemon is ready", LIMIT, || {
        assert!(daemon.0.try_wait().unwrap().is_none(), "{}", bench.log());
        bench.log().matches(" ready ms=").count() > ready
    });
    daemon
}

/// A daemon on a file whose jobs are due `ahead` ms later, and when that is. Where the machine is too slow to be ready and `prepared`
/// by then, it begins anew with more time.
fn start_before(
    ahead: i64,
    scenario: &str,
    written: impl Fn(i64) -> String,
    prepare: impl Fn(&Bench),
) -> (Bench, Running, i64) {
    for times in [1, 3, 9] {
        let (bench, due) = (Bench::new(), now_ms() + ahead * times);
        bench.write("jobs.yaml", &written(due));
        let daemon = serve(&bench, scenario);
        prepare(&bench);
        if now_ms() < due - 500 {
            return (bench, daemon, due);
        }
    }
    panic!("this machine is too slow to say anything");
}

fn apply(bench: &Bench, text: &str) {
    bench.write("jobs.yaml", text);
    bench.json(&["job", "apply", "jobs.yaml", "--sandbox"]);
}

/// The messages of a job in the order in which they were made.
fn of(bench: &Bench, job: &str) -> Vec<Value> {
    let mut all = bench.json(&["list", "--job", job, "--limit", "100"])["messages"].as_array().unwrap().clone();
    all.sort_by_key(|m| m["id"].to_string());
    all
}

fn word(m: &Value, key: &str) -> String {
    m[key].as_str().unwrap_or("-").to_owned()
}

fn id(m: &Value) -> String {
    word(m, "id")
}

/// State and reason of each message of a job.
fn told(bench: &Bench, job: &str) -> Vec<String> {
    of(bench, job).iter().map(|m| format!("{} {}", word(m, "state"), word(m, "reason"))).collect()
}

fn becomes(bench: &Bench, job: &str, expected: &[&str]) {
    let mut seen = Vec::new();
    let began = now_ms();
    until(&format!("{job} becoming {expected:?}"), LIMIT + Duration::from_secs(5), || {
        seen = told(bench, job);
        let late = now_ms() - began > i64::try_from(LIMIT.as_millis()).unwrap();
        assert!(!late, "{job} is {seen:?}, expected {expected:?}: {:#?}\n{}", of(bench, job), bench.log());
        seen == expected
    });
}

/// The last message of a job.
fn last(bench: &Bench, job: &str) -> Value {
    of(bench, job).pop().unwrap_or(Value::Null)
}

/// What a message waits for.
fn gates(bench: &Bench, m: &Value) -> Vec<String> {
    let told = bench.json(&["explain", &id(m)]);
    told["gates"].as_array().unwrap().iter().filter(|g| g["passed"] == false).map(|g| word(g, "gate")).collect()
}

fn text(bench: &Bench, m: &Value) -> String {
    word(&bench.json(&["show", &id(m)])["content"], "text")
}

fn refused(bench: &Bench, arguments: &[&str], why: &str) {
    let output = bench.run(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
}

/// When the messages to a chat were received.
fn sends(bench: &Bench, n: usize) -> Vec<i64> {
    let to = chat(n);
    let all = bench.journal().into_iter().filter(|l| l.path == "/v2/send/text" && l.chat.starts_with(&to));
    all.map(|l| l.received_ms).collect()
}

fn passed(ms: i64) {
    until("an instant passes", LIMIT, || now_ms() > ms);
}

/// Something that keeps a message waiting.
struct Keeper {
    /// Keys of the jobs that wait for it.
    keys: &'static str,
    window: bool,
    instance: &'static str,
    /// State and reason of what waits for it, and the gate that tells.
    waits: &'static str,
    gate: &'static str,
    /// What its jobs are sent with.
    scenario: &'static str,
    /// The second of two occurrences beside a first one that waits.
    second: &'static str,
    /// What a message ends as that nobody wants any more after an instant.
    expired: &'static str,
}

const KEEPER: Keeper = Keeper {
    keys: "",
    window: false,
    instance: "shop",
    waits: "scheduled -",
    gate: "",
    scenario: "acks: { levels: [] }\n",
    second: "skipped overlap",
    expired: "expired expires",
};

/// Until the first of them is due.
const AHEAD: i64 = 7_000;

const HOUR: i64 = 3_600_000;

/// How far an event is moved.
const DAY: i64 = 86_400_000;

impl Keeper {
    /// The account of a job: one each where five unclear answers in a row would stop it.
    fn account(&self, job: &str) -> String {
        if self.instance == "odd" { format!("odd-{job}") } else { self.instance.to_owned() }
    }

    fn instances() -> String {
        let odd: String = ["ended", "edited", "moved", "beats", "often", "gone", "kept"]
            .map(|job| format!("  odd-{job}: {{ gateway: sandbox, doubt: {{ quarantine: 1h }} }}\n"))
            .concat();
        format!("  slow: {{ gateway: sandbox }}\n  full: {{ gateway: sandbox, pacing: {{ per_hour: 1 }} }}\n{odd}")
    }

    /// A job each for how what waits is ended, replaced, moved, overlapped, judged and forgotten; they are due at `due`.
    fn jobs(&self, due: i64, said: &str) -> String {
        let open = if self.window { format!(", {}", window(2, 3)) } else { String::new() };
        let job = |name: &str, when: &str, n: usize, more: &str| {
            let (to, account, keys) = (chat(n), self.account(name), self.keys);
            format!(
                "  {name}: {{ {when}, to: \"{to}\", instance: {account}, text: \"stuck {said}\"{keys}{open}{more} }}\n"
            )
        };
        let at = format!("at: \"{}\"", rfc(due));
        let once = ", frequency: { at_most: 1, within: 1d }";
        let expires = format!(", expires: \"{}\"", rfc(due + 2_000));
        [
            job("ended", &at, 1, if self.gate == "person" { &expires } else { ", expires: 2s" }),
            job("edited", &at, 2, ""),
            job("moved", &format!("event: \"{}\", remind: -2h", rfc(due + 2 * HOUR)), 3, ""),
            job("beats", &format!("every: 3s, starts: \"{}\", count: 2", rfc(due)), 4, ""),
            job("often", &at, 5, once),
            format!("  other: {{ at: \"{}\", to: \"{}\", text: other{once} }}\n", rfc(due + 2_000), chat(5)),
            job("gone", &at, 6, ""),
            job("kept", &at, 7, ""),
            format!("  first: {{ in: 100ms, instance: full, to: \"{}\", text: first }}\n", chat(8)),
        ]
        .concat()
    }

    /// Plays all of it. Answers the bench once everything that waits does.
    fn play(&self) -> (Bench, Running) {
        let written = |due| file(&Keeper::instances(), &self.jobs(due, "old"));
        let (bench, daemon, due) = start_before(AHEAD, self.scenario, written, |bench| {
            becomes(bench, "first", &["sent -"]);
            if self.gate == "pause" {
                bench.json(&["instance", "pause", self.instance]);
            }
        });
        passed(due + 5_000);
        becomes(&bench, "ended", &[self.expired]);
        becomes(&bench, "beats", &[self.waits, self.second]);
        for job in ["edited", "moved", "gone", "kept"] {
            becomes(&bench, job, &[self.waits]);
        }
        let waits_for = gates(&bench, &last(&bench, "kept"));
        assert!(waits_for.contains(&self.gate.to_owned()), "{waits_for:?}");
        // What waits may not have gone out, so that it counts for nothing yet.
        let in_doubt = self.gate == "evidence";
        becomes(&bench, "other", &[if in_doubt { "skipped too_often" } else { "sent -" }]);
        becomes(&bench, "often", &[self.waits]);
        let told_often = gates(&bench, &last(&bench, "often")).contains(&"frequency".to_owned());
        assert_eq!(told_often, ["window", "per_hour", "pause", "retry"].contains(&self.gate), "{}", self.gate);
        self.change(&bench, due);
        (bench, daemon)
    }

    /// Edits the file, moves the event, forgets a person, and prunes.
    fn change(&self, bench: &Bench, due: i64) {
        let in_doubt = self.gate == "evidence";
        let mut after = vec!["cancelled replaced", self.waits];
        let jobs = self.jobs(due, "old");
        let edited: String =
            jobs.lines()
                .map(|l| {
                    if l.starts_with("  edited:") {
                        l.replace("stuck old", "stuck new") + "\n"
                    } else {
                        format!("{l}\n")
                    }
                })
                .collect();
        apply(bench, &file(&Keeper::instances(), &edited));
        becomes(bench, "edited", if in_doubt { &after[1..] } else { &after });
        assert_eq!(text(bench, &last(bench, "edited")), if in_doubt { "stuck old" } else { "stuck new" });
        bench.json(&["job", "event", "moved", "--at", &rfc(due + 2 * HOUR + DAY)]);
        after[1] = if self.gate == "person" { "held approval" } else { "scheduled -" };
        becomes(bench, "moved", if in_doubt { &["in_doubt no_clear_answer", "scheduled -"] } else { &after });
        assert_eq!(ms(&last(bench, "moved")["due_at"]), due + DAY);
        assert_eq!(bench.run(&["contact", "erase", &chat(6)]).status.success(), !in_doubt);
        becomes(bench, "gone", &[if in_doubt { self.waits } else { "cancelled cancelled_by_person" }]);
        let named = word(&last(bench, "gone"), "to").starts_with(&chat(6));
        assert_eq!(named, in_doubt, "{}", last(bench, "gone"));
        let waiting = || -> Vec<String> {
            let open = ["scheduled", "held", "in_doubt"];
            let all = bench.messages().into_iter().filter(|m| open.contains(&m["state"].as_str().unwrap()));
            all.map(|m| id(&m)).collect()
        };
        let before = waiting();
        assert!(before.len() >= 4, "{before:?}");
        assert!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"].as_u64().unwrap() > 0);
        assert_eq!(waiting(), before);
        if !in_doubt {
            // What was replaced is forgotten, and what took its place is not.
            becomes(bench, "moved", &after[1..]);
            becomes(bench, "edited", &[self.waits]);
        }
        becomes(bench, "kept", &[self.waits]);
    }
}

#[test]
fn what_waits_for_a_window_a_cap_or_a_pause_is_ended_replaced_moved_overlapped_judged_and_forgotten_alike() {
    std::thread::scope(|scope| {
        let all = [scope.spawn(closed_window), scope.spawn(used_up_cap), scope.spawn(paused_account)];
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}

fn closed_window() {
    let (bench, _daemon) = Keeper { window: true, waits: "scheduled window", gate: "window", ..KEEPER }.play();
    assert!(sends(&bench, 7).is_empty());
}

fn used_up_cap() {
    let (bench, _daemon) = Keeper { instance: "full", gate: "per_hour", ..KEEPER }.play();
    // Whom the hour was used up by is forgotten, and what they were sent counts still.
    bench.json(&["contact", "erase", &chat(8)]);
    pause(Duration::from_secs(1));
    assert!(gates(&bench, &last(&bench, "kept")).contains(&"per_hour".to_owned()));
    assert!(sends(&bench, 7).is_empty());
}

fn paused_account() {
    let (bench, _daemon) = Keeper { instance: "slow", gate: "pause", ..KEEPER }.play();
    assert!(sends(&bench, 7).is_empty());
    bench.json(&["instance", "resume", "slow"]);
    becomes(&bench, "kept", &["sent -"]);
    becomes(&bench, "edited", &["sent -"]);
    becomes(&bench, "often", &["skipped too_often"]);
    becomes(&bench, "moved", &["scheduled -"]);
}

#[test]
fn what_waits_for_a_person_or_its_next_try_is_ended_replaced_moved_judged_and_forgotten_alike_and_the_second_overlaps()
{
    std::thread::scope(|scope| {
        let all = [scope.spawn(draft), scope.spawn(next_try)];
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}

fn draft() {
    let draft =
        Keeper { keys: ", hold: true", waits: "held approval", gate: "person", second: "held approval", ..KEEPER };
    let (bench, _daemon) = draft.play();
    // What a person holds of it is held where it is moved to, too.
    bench.json(&["release", &id(&last(&bench, "moved"))]);
    bench.json(&["hold", &id(&last(&bench, "moved"))]);
    bench.json(&["job", "event", "moved", "--at", &rfc(now_ms() + 2 * DAY)]);
    until("it is held again", LIMIT, || {
        let moved = last(&bench, "moved");
        ms(&moved["due_at"]) > now_ms() + DAY + HOUR && moved["reason"] == "held_by_person"
    });
    for job in ["kept", "edited", "often"] {
        bench.json(&["release", &id(&last(&bench, job))]);
    }
    becomes(&bench, "kept", &["sent -"]);
    becomes(&bench, "edited", &["sent -"]);
    becomes(&bench, "often", &["skipped too_often"]);
}

fn next_try() {
    let refused_for_now = Keeper {
        keys: ", retry: { attempts: 5, backoff: [30m], jitter: 0% }, max_lateness: 1d",
        waits: "scheduled refused_for_now",
        gate: "retry",
        scenario: "acks: { levels: [] }\nfaults: [{ text: stuck, answer: { status: 409 } }]\n",
        ..KEEPER
    };
    let (bench, _daemon) = refused_for_now.play();
    assert_eq!(last(&bench, "edited")["attempts"], 1, "the tries of what took the place begin anew");
    // A person's other chance is judged as any.
    bench.json(&["cancel", &id(&last(&bench, "often"))]);
    bench.json(&["retry", &id(&last(&bench, "often"))]);
    becomes(&bench, "often", &["skipped too_often"]);
}

#[test]
fn what_is_in_doubt_is_not_ended_replaced_overlapped_or_forgotten_and_counts_as_if_it_had_gone_out() {
    let doubtful = Keeper {
        keys: ", on_doubt: hold",
        instance: "odd",
        waits: "in_doubt no_clear_answer",
        gate: "evidence",
        scenario: "acks: { levels: [] }\nfaults: [{ text: stuck, answer: { status: 502 } }]\n",
        second: "in_doubt no_clear_answer",
        expired: "in_doubt no_clear_answer",
        ..KEEPER
    };
    let (bench, _daemon) = doubtful.play();
    assert_eq!(sends(&bench, 2).len(), 1, "an edit sends it no second time");
}

/// When a message can leave, as far as is known.
fn earliest(bench: &Bench, job: &str) -> i64 {
    ms(&bench.json(&["explain", &id(&last(bench, job))])["earliest_at"])
}

fn close(what: &str, found: i64, expected: i64) {
    assert!((found - expected).abs() < 60_000, "{what}: {} instead of {}", rfc(found), rfc(expected));
}

fn resolve(bench: &Bench, job: &str, verdict: &str) {
    let of_it = id(&of(bench, job)[0]);
    let done = bench.json(&["doubt", "resolve", &of_it, "--as", verdict]);
    assert_eq!(done["results"][0]["resolved"], true, "{done}");
}

fn beside_windows(due: i64) -> String {
    let (later, wide) = (window(2, 3), window(2, 8));
    let at = format!("at: \"{}\"", rfc(due));
    let job =
        |name: &str, n: usize, more: &str| format!("  {name}: {{ {at}, to: \"{}\", text: {name}, {more} }}\n", chat(n));
    let first = |account: &str, n: usize| {
        format!("  first-{account}: {{ in: 100ms, to: \"{}\", instance: {account}, text: first }}\n", chat(n))
    };
    let jobs = [
        first("long", 1),
        first("short", 2),
        job("slot-last", 3, &format!("instance: long, {wide}")),
        job("window-last", 4, &format!("instance: short, {wide}")),
        job("paused", 5, &later),
        job("draft", 6, &format!("hold: true, {later}")),
        job("tried", 7, &format!("retry: {{ attempts: 5, backoff: [5h], jitter: 0% }}, {}", window(-1, 2))),
        job("again", 8, &later),
    ]
    .concat();
    let accounts = "  long: { gateway: sandbox, pacing: { gap: 4h..4h } }\n  short: { gateway: sandbox, pacing: { gap: 10m..10m } }\n";
    file(accounts, &jobs)
}

#[test]
fn where_a_window_meets_a_cap_a_pause_a_person_or_another_try_a_message_leaves_once_all_of_them_let_it() {
    let faults = "faults: [{ text: tried, times: 1, answer: { status: 409 } }]\n";
    let (bench, _daemon, due) = start_before(5_000, faults, beside_windows, |bench| {
        bench.json(&["job", "pause", "paused"]);
    });
    let hour = due / HOUR * HOUR;
    becomes(&bench, "tried", &["scheduled refused_for_now"]);
    for job in ["first-long", "first-short"] {
        becomes(&bench, job, &["sent -"]);
    }
    let opens = hour + 2 * HOUR;
    close("the cap lasts longer", earliest(&bench, "slot-last"), ms(&last(&bench, "first-long")["sent_at"]) + 4 * HOUR);
    close("the window opens later", earliest(&bench, "window-last"), opens);
    close("tomorrow, when it is open again", earliest(&bench, "tried"), hour - HOUR + DAY);
    assert_eq!(gates(&bench, &last(&bench, "paused")), ["pause", "window"]);
    bench.json(&["job", "resume", "paused"]);
    becomes(&bench, "paused", &["scheduled window"]);
    assert_eq!(gates(&bench, &last(&bench, "draft")), ["person"]);
    bench.json(&["release", &id(&last(&bench, "draft"))]);
    becomes(&bench, "again", &["scheduled window"]);
    bench.json(&["cancel", &id(&last(&bench, "again"))]);
    bench.json(&["retry", &id(&last(&bench, "again"))]);
    for job in ["paused", "draft", "again"] {
        becomes(&bench, job, &["scheduled window"]);
        close(job, earliest(&bench, job), opens);
    }
    assert!((3..9).all(|n| n == 7 || sends(&bench, n).is_empty()));
}

fn beside_caps(due: i64) -> String {
    let at = format!("at: \"{}\"", rfc(due));
    let job = |name: &str, account: usize, n: usize, more: &str| {
        format!("  {name}: {{ {at}, to: \"{}\", instance: full-{account}, text: {name}{more} }}\n", chat(n))
    };
    let jobs = [
        format!("  first: {{ in: 100ms, to: \"{}\", instance: full-1, text: first }}\n", chat(1)),
        job("paused", 1, 2, ""),
        job("draft", 1, 3, ", hold: true"),
        job("tried", 2, 4, ", retry: { attempts: 5, backoff: [1s], jitter: 0% }"),
        job("doubtful", 3, 5, ""),
        format!("  behind: {{ at: \"{}\", to: \"{}\", instance: full-3, text: behind }}\n", rfc(due + 2_000), chat(6)),
    ]
    .concat();
    let accounts: String = (1..=3)
        .map(|n| {
            format!("  full-{n}: {{ gateway: sandbox, pacing: {{ per_hour: 1 }}, doubt: {{ quarantine: 1h }} }}\n")
        })
        .collect();
    file(&accounts, &jobs)
}

/// One send is refused for now, and of another nobody knows whether it went out.
const ONE_OF_EACH: &str = "faults:\n  - { text: tried, times: 1, answer: { status: 409 } }\n  - { text: doubtful, times: 1, answer: { status: 502 } }\n";

#[test]
fn where_a_cap_meets_a_pause_a_person_another_try_or_a_doubt_each_send_takes_its_place_and_waits_for_one() {
    let (bench, _daemon, _) = start_before(5_000, ONE_OF_EACH, beside_caps, |bench| {
        bench.json(&["job", "pause", "paused"]);
    });
    becomes(&bench, "tried", &["scheduled refused_for_now"]);
    becomes(&bench, "doubtful", &["in_doubt no_clear_answer"]);
    passed(ms(&last(&bench, "behind")["due_at"]) + 1_500);
    assert_eq!(gates(&bench, &last(&bench, "paused")), ["pause"]);
    assert_eq!(gates(&bench, &last(&bench, "draft")), ["person"]);
    bench.json(&["job", "resume", "paused"]);
    bench.json(&["release", &id(&last(&bench, "draft"))]);
    // What may have gone out takes a place, too, and is sent again only once there is another.
    assert_eq!(gates(&bench, &last(&bench, "behind")), ["per_hour"]);
    resolve(&bench, "doubtful", "resend");
    pause(Duration::from_secs(2));
    for job in ["paused", "draft", "tried", "behind", "doubtful"] {
        let told = gates(&bench, &last(&bench, job));
        assert!(told.contains(&"per_hour".to_owned()), "{job}: {told:?}");
        assert_eq!(last(&bench, job)["state"], "scheduled", "{job}");
    }
    assert_eq!([2, 3, 4, 5, 6].map(|n| sends(&bench, n).len()), [0, 0, 1, 1, 0]);
}

fn beside_pauses(due: i64) -> String {
    let at = format!("at: \"{}\"", rfc(due));
    let job =
        |name: &str, n: usize, more: &str| format!("  {name}: {{ {at}, to: \"{}\", text: {name}{more} }}\n", chat(n));
    let jobs = [
        job("draft", 1, ", hold: true"),
        job("tried", 2, ", retry: { attempts: 5, backoff: [8s], jitter: 0% }"),
        job("again", 3, ""),
        job("doubtful", 4, ", instance: odd-1"),
        job("found", 5, ", instance: odd-2"),
    ]
    .concat();
    let accounts = "  odd-1: { gateway: sandbox, doubt: { quarantine: 1h } }\n  odd-2: { gateway: sandbox, doubt: { quarantine: 6s } }\n";
    file(accounts, &jobs)
}

#[test]
fn where_a_pause_meets_a_person_another_try_or_a_doubt_nothing_leaves_before_its_end_and_evidence_counts_meanwhile() {
    let faults = format!("{ONE_OF_EACH}  - {{ text: found, times: 1, do: before, reset: true }}\n");
    let (bench, _daemon, _) = start_before(5_000, &faults, beside_pauses, |bench| {
        bench.json(&["cancel", &id(&last(bench, "again"))]);
    });
    becomes(&bench, "tried", &["scheduled refused_for_now"]);
    let next_try = ms(&last(&bench, "tried")["wake_at"]);
    bench.json(&["job", "pause", "tried"]);
    becomes(&bench, "doubtful", &["in_doubt no_clear_answer"]);
    becomes(&bench, "found", &["in_doubt no_clear_answer"]);
    let all = ["draft", "tried", "again", "doubtful", "found"];
    for job in all {
        bench.json(&["job", "pause", job]);
    }
    bench.json(&["release", &id(&last(&bench, "draft"))]);
    bench.json(&["retry", &id(&last(&bench, "again"))]);
    resolve(&bench, "doubtful", "resend");
    becomes(&bench, "found", &["sent found_in_history"]);
    passed(next_try + 1_500);
    for job in &all[..4] {
        assert_eq!(last(&bench, job)["state"], "scheduled", "{job}");
        assert!(gates(&bench, &last(&bench, job)).contains(&"pause".to_owned()), "{job}");
    }
    assert_eq!([1, 2, 3, 4, 5].map(|n| sends(&bench, n).len()), [0, 1, 0, 1, 1]);
    for job in all {
        bench.json(&["job", "resume", job]);
    }
    for job in &all[..4] {
        becomes(&bench, job, &["sent -"]);
    }
    assert_eq!(last(&bench, "tried")["attempts"], 2);
}

fn tried_again(due: i64) -> String {
    let at = format!("at: \"{}\"", rfc(due));
    let job =
        |name: &str, n: usize, more: &str| format!("  {name}: {{ {at}, to: \"{}\", text: {name}{more} }}\n", chat(n));
    let backoff = |length: &str| format!(", retry: {{ attempts: 5, backoff: [{length}], jitter: 0% }}");
    let jobs = [
        job("held", 1, &backoff("30m")),
        job("late", 2, &(backoff("10s") + ", max_lateness: 2s")),
        job("mortal", 3, &(backoff("5s") + ", expires: 2s")),
        job("doubtful", 4, ", instance: odd, max_lateness: 1s"),
        job("mortal-doubt", 5, ", instance: odd, expires: 1s"),
        job("counted", 6, &(backoff("2s") + ", frequency: { at_most: 1, within: 1h }")),
    ]
    .concat();
    file(ODD, &jobs)
}

/// An account whose doubts are left alone.
const ODD: &str = "  odd: { gateway: sandbox, doubt: { quarantine: 1h } }\n";

#[test]
fn where_another_try_meets_a_person_an_end_or_too_much_lateness_it_is_made_only_while_somebody_wants_it() {
    let one = |text: &str, status: u32| format!("  - {{ text: {text}, times: 1, answer: {{ status: {status} }} }}\n");
    let faults = [
        one("doubtful", 502),
        one("held", 409),
        one("late", 409),
        one("mortal-doubt", 502),
        one("mortal", 409),
        one("counted", 409),
    ]
    .concat();
    let (bench, _daemon, _) = start_before(4_000, &format!("faults:\n{faults}"), tried_again, |_| ());
    becomes(&bench, "held", &["scheduled refused_for_now"]);
    let held = id(&last(&bench, "held"));
    bench.json(&["hold", &held]);
    becomes(&bench, "held", &["held held_by_person"]);
    refused(&bench, &["retry", &held], "release");
    becomes(&bench, "late", &["expired too_late"]);
    becomes(&bench, "mortal", &["expired expires"]);
    becomes(&bench, "mortal-doubt", &["in_doubt no_clear_answer"]);
    // Nobody knows whether it went out, so that nothing else is known of it, however late.
    becomes(&bench, "doubtful", &["in_doubt no_clear_answer"]);
    let doubtful = id(&last(&bench, "doubtful"));
    refused(&bench, &["hold", &doubtful], "doubt resolve");
    refused(&bench, &["retry", &doubtful], "doubt resolve");
    pause(Duration::from_secs(4));
    becomes(&bench, "doubtful", &["in_doubt no_clear_answer"]);
    assert_eq!([1, 2, 3, 4].map(|n| sends(&bench, n).len()), [1, 1, 1, 1]);
    becomes(&bench, "counted", &["sent -"]);
    // It ended for whom it was for, too: what may not have gone out is not sent again.
    resolve(&bench, "mortal-doubt", "resend");
    becomes(&bench, "mortal-doubt", &["expired expires"]);
    bench.json(&["release", &held]);
    becomes(&bench, "held", &["sent -"]);
    // A person's other chance is bounded by neither.
    for job in ["late", "mortal"] {
        bench.json(&["retry", &id(&last(&bench, job))]);
        becomes(&bench, job, &["sent -"]);
    }
}

/// Followers of the first message of a job: kind, number, state and reason of each.
fn followers(bench: &Bench, job: &str) -> Vec<String> {
    let Some(first) = of(bench, job).into_iter().next() else { return Vec::new() };
    let all = bench.json(&["show", &id(&first)])["follow_up"]["messages"].as_array().cloned().unwrap_or_default();
    all.iter().map(|f| format!("{} {} {}", word(f, "kind"), f["number"], word(f, "state"))).collect()
}

fn followed(bench: &Bench, job: &str) -> String {
    of(bench, job).first().map_or("-".to_owned(), |m| word(&bench.json(&["show", &id(m)])["follow_up"], "state"))
}

fn nagged(due: i64) -> String {
    let at = format!("at: \"{}\"", rfc(due));
    let job =
        |name: &str, n: usize, more: &str| format!("  {name}: {{ {at}, to: \"{}\", text: {name}, {more} }}\n", chat(n));
    let nag = |every: u32, rest: &str| format!("nag: {{ every: {every}s, max: 3{rest} }}");
    let (closed, often) = (format!(", {}", window(2, 3)), "frequency: { at_most: 2, within: 1h }");
    let jobs = [
        job("window", 1, &nag(2, &closed)),
        job("cap", 2, &format!("instance: full, {}", nag(2, ""))),
        job("pause", 3, &nag(9, "")),
        job("hold", 4, &nag(9, "")),
        job("expires", 5, &format!("expires: 3s, nag: {{ every: 2s, max: 1{closed} }}")),
        job("often", 6, &format!("{often}, nag: {{ every: 2s, max: 2 }}")),
        format!("  judged: {{ at: \"{}\", to: \"{}\", text: judged, {often} }}\n", rfc(due + 7_000), chat(6)),
        job("soon", 8, "nag: { every: 10s, max: 1 }"),
        job("later", 9, "nag: { every: 1h, max: 1 }"),
        job("plain", 10, ""),
    ]
    .concat();
    let accounts = "  full: { gateway: sandbox, pacing: { per_hour: 1 } }\n";
    file(accounts, &jobs)
}

#[test]
fn what_follows_a_message_waits_for_windows_caps_pauses_and_persons_expires_and_counts_for_no_frequency() {
    let (bench, _daemon, _) = start_before(4_000, "acks: { levels: [server] }\n", nagged, |_| ());
    until("the nags are there", LIMIT, || {
        ["pause", "hold", "soon"].iter().all(|job| followers(&bench, job) == ["nag 1 scheduled"])
    });
    bench.json(&["job", "pause", "pause"]);
    bench.json(&["hold", &id(&last(&bench, "hold"))]);
    becomes(&bench, "window", &["sent -", "scheduled window"]);
    becomes(&bench, "expires", &["sent -", "expired expires"]);
    until("nobody follows it any more", LIMIT, || followed(&bench, "expires") == "unknown");
    becomes(&bench, "judged", &["sent -"]);
    becomes(&bench, "often", &["sent -", "sent -", "sent -"]);
    becomes(&bench, "soon", &["sent -", "sent -"]);
    assert_eq!(gates(&bench, &last(&bench, "window")), ["window"]);
    assert_eq!(gates(&bench, &last(&bench, "cap")), ["per_hour"]);
    assert_eq!(gates(&bench, &last(&bench, "pause")), ["pause"]);
    becomes(&bench, "hold", &["sent -", "held held_by_person"]);
    assert_eq!([1, 2, 3, 4, 5].map(|n| sends(&bench, n).len()), [1; 5]);
    // What waits, what that follows, and what somebody may still be asked about, is kept.
    becomes(&bench, "plain", &["sent -"]);
    assert!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"].as_u64().unwrap() > 0);
    assert_eq!((told(&bench, "plain").len(), told(&bench, "later").len()), (0, 1));
    for job in ["window", "cap", "pause", "hold"] {
        assert_eq!(told(&bench, job).len(), 2, "{job}");
    }
    bench.json(&["job", "resume", "pause"]);
    bench.json(&["release", &id(&last(&bench, "hold"))]);
    until("both nags are sent", LIMIT, || [3, 4].iter().all(|n| sends(&bench, *n).len() >= 2));
}

fn steps(due: i64) -> String {
    let at = format!("at: \"{}\"", rfc(due));
    let closed = window(2, 3);
    let job = |name: &str, n: usize, when: &str, after: &str, more: &str| {
        format!(
            "  {name}: {{ {when}, to: \"{}\", messages: [{{ text: {name} }}, {{ after: {after}, text: two }}]{more} }}\n",
            chat(n)
        )
    };
    let often = ", frequency: { at_most: 1, within: 1h }";
    let jobs = [
        job("window", 1, &at, "1s", &format!(", {closed}")),
        job("settled", 2, &at, "1s", ", instance: odd"),
        job("dropped", 3, &at, "1s", ", instance: odd"),
        job("pause", 4, &at, "6s", ""),
        job("beats", 5, &format!("every: 3s, starts: \"{}\", count: 2", rfc(due)), "1h", ""),
        job("mortal", 6, &at, "1s", &format!(", {closed}, expires: 2s")),
        job("often", 7, &at, "1s", often),
        format!("  judged: {{ at: \"{}\", to: \"{}\", text: judged{often} }}\n", rfc(due + 5_000), chat(7)),
        job("gone", 9, &at, "1h", ""),
    ]
    .concat();
    file(ODD, &jobs)
}

#[test]
fn what_follows_in_a_sequence_waits_for_whatever_the_step_before_waits_for_and_ends_with_it() {
    let faults =
        "faults:\n  - { text: settled, answer: { status: 502 } }\n  - { text: dropped, answer: { status: 502 } }\n";
    let (bench, _daemon, due) = start_before(4_000, faults, steps, |_| ());
    until("a first one leaves", LIMIT, || sends(&bench, 4).len() == 1);
    bench.json(&["job", "pause", "pause"]);
    for job in ["settled", "dropped"] {
        becomes(&bench, job, &["in_doubt no_clear_answer", "scheduled -"]);
        assert!(gates(&bench, &last(&bench, job)).contains(&"sequence".to_owned()));
    }
    passed(due + 8_000);
    resolve(&bench, "settled", "sent");
    becomes(&bench, "settled", &["sent said_sent", "sent -"]);
    resolve(&bench, "dropped", "drop");
    becomes(&bench, "dropped", &["failed dropped", "skipped sequence"]);
    becomes(&bench, "window", &["scheduled window", "scheduled -"]);
    assert!(gates(&bench, &last(&bench, "window")).contains(&"sequence".to_owned()));
    becomes(&bench, "mortal", &["expired expires", "skipped sequence"]);
    becomes(&bench, "often", &["sent -", "sent -"]);
    becomes(&bench, "judged", &["skipped too_often"]);
    becomes(&bench, "beats", &["sent -", "scheduled -", "skipped overlap", "skipped overlap"]);
    bench.json(&["contact", "erase", &chat(9)]);
    becomes(&bench, "gone", &["sent -", "cancelled cancelled_by_person"]);
    assert!(of(&bench, "gone").iter().all(|m| word(m, "to").starts_with("erased-")));
    let waits = gates(&bench, &last(&bench, "pause"));
    assert!(waits.contains(&"pause".to_owned()) && sends(&bench, 4).len() == 1, "{waits:?}");
    bench.json(&["job", "resume", "pause"]);
    becomes(&bench, "pause", &["sent -", "sent -"]);
}

/// What is played while the daemon is away for some seconds.
fn away(due: i64, odd: &str) -> String {
    let job = |name: &str, ahead: i64, n: usize, more: &str| {
        format!("  {name}: {{ at: \"{}\", to: \"{}\", text: {name}{more} }}\n", rfc(due + ahead), chat(n))
    };
    let often = ", frequency: { at_most: 1, within: 1h }";
    let jobs = [
        job("tried", 0, 1, ", retry: { attempts: 5, backoff: [9s], jitter: 0% }"),
        format!(
            "  drip: {{ at: \"{}\", to: \"{}\", messages: [{{ text: one }}, {{ after: 9s, text: two }}] }}\n",
            rfc(due),
            chat(2)
        ),
        job("mortal", 8_000, 3, ", expires: 2s"),
        job("often", 0, 4, often),
        job("judged", 8_000, 4, often),
        format!("  moved: {{ event: \"{}\", remind: -1h, to: \"{}\", text: moved }}\n", rfc(due + DAY), chat(5)),
        job("kept", 8_000, 6, ""),
        job("doubtful", 0, 7, ", instance: odd"),
        job("plain", 0, 8, ""),
    ]
    .concat();
    file(&format!("  odd: {{ gateway: sandbox, doubt: {{ quarantine: 1h }}{odd} }}\n"), &jobs)
}

#[test]
fn what_was_to_happen_while_no_daemon_ran_happens_once_one_does_and_is_judged_then() {
    let (bench, daemon, due) = start_before(4_000, ONE_OF_EACH, |due| away(due, ""), |_| ());
    becomes(&bench, "tried", &["scheduled refused_for_now"]);
    becomes(&bench, "drip", &["sent -", "scheduled -"]);
    becomes(&bench, "often", &["sent -"]);
    becomes(&bench, "plain", &["sent -"]);
    becomes(&bench, "doubtful", &["in_doubt no_clear_answer"]);
    assert!(now_ms() < due + 7_000, "this machine took too long for what comes next");
    drop(daemon);
    bench.json(&["job", "event", "moved", "--at", &rfc(due + 2 * DAY)]);
    passed(due + 11_000);
    // What was sent is forgotten, but for what counts still or is waited for.
    assert_eq!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"], 1);
    assert_eq!([1, 2, 3, 4, 6].map(|n| sends(&bench, n).len()), [1, 1, 0, 1, 0]);
    // The account has a window now, which is closed.
    bench.write("jobs.yaml", &away(due, &format!(", {}", window(2, 3))));
    let _daemon = serve(&bench, "{}\n");
    becomes(&bench, "tried", &["sent -"]);
    becomes(&bench, "drip", &["sent -", "sent -"]);
    becomes(&bench, "mortal", &["expired expires"]);
    becomes(&bench, "judged", &["skipped too_often"]);
    becomes(&bench, "kept", &["sent -"]);
    becomes(&bench, "moved", &["cancelled replaced", "scheduled -"]);
    assert_eq!(ms(&last(&bench, "moved")["due_at"]), due + 2 * DAY - 3_600_000);
    let drip = sends(&bench, 2);
    assert!(drip[1] - drip[0] >= 8_900, "{drip:?}");
    becomes(&bench, "doubtful", &["in_doubt no_clear_answer"]);
    resolve(&bench, "doubtful", "resend");
    becomes(&bench, "doubtful", &["scheduled window"]);
    assert_eq!(sends(&bench, 7).len(), 1);
}

#[test]
fn a_job_with_messages_is_followed_by_nothing_and_reminds_of_nothing_and_check_says_so() {
    let bench = Bench::new();
    let steps = "messages: [{ text: one }, { after: 2s, text: two }]";
    for (keys, why) in [
        ("in: 1s, nag: { every: 2s, max: 1 }", "which of them would be followed?"),
        ("event: 2099-01-01T10:00, remind: -1d", "has both messages and event"),
    ] {
        bench.write("jobs.yaml", &file("", &format!("  both: {{ {keys}, to: \"{}\", {steps} }}\n", chat(1))));
        refused(&bench, &["check", "jobs.yaml", "--sandbox"], why);
    }
}

/// A file of jobs that recur, or that end for other reasons beside others.
fn recurring(due: i64, said: &str) -> String {
    let closed = window(2, 3);
    let every = |name: &str, each: i64, count: u32, to: &str, more: &str| {
        format!(
            "  {name}: {{ every: {each}s, starts: \"{}\", count: {count}, to: [{to}], text: \"{name}\"{more} }}\n",
            rfc(due)
        )
    };
    let one = |n: usize| format!("\"{}\"", chat(n));
    let refused = ", retry: { attempts: 5, backoff: [30m], jitter: 0% }, max_lateness: 1d";
    let two = |a: usize| format!("{}, {}", one(a), one(a + 1));
    let jobs = [
        every("mortal", 4, 2, &one(1), &format!(", {closed}, expires: 2s")),
        every("often", 3, 3, &one(2), ", frequency: { at_most: 1, within: 1h }"),
        every("edited", 12, 2, &one(3), &format!(", {closed}")).replace("\"edited\"", &format!("\"{said}\"")),
        every("pruned", 13, 2, &two(4), refused),
        every("gone", 13, 2, &two(6), refused),
        format!(
            "  reminds: {{ event: \"{}\", remind: [-2h, -1h59m57s], overlap: skip, to: {}, text: reminds, {closed} }}\n",
            rfc(due + 2 * HOUR),
            one(8)
        ),
    ];
    file("", &jobs.concat())
}

#[test]
fn an_occurrence_is_finished_once_nothing_of_its_own_can_leave_and_an_edit_or_pruning_finishes_none() {
    let stuck = |n: usize| format!("  - {{ chat: \"{}*\", answer: {{ status: 409 }} }}\n", chat(n));
    let faults = format!("faults:\n{}{}", stuck(5), stuck(7));
    let (bench, _daemon, due) = start_before(4_000, &faults, |due| recurring(due, "old"), |_| ());
    let standing = |job: &str| {
        let mut all: Vec<String> = told(&bench, job).into_iter().filter(|m| m != "cancelled replaced").collect();
        all.sort();
        all
    };
    let stands = |job: &str, expected: &[&str]| {
        let mut found = Vec::new();
        let limit = now_ms() + 30_000;
        until(job, LIMIT, || {
            found = standing(job);
            assert!(
                now_ms() < limit || found == expected,
                "{job} is {found:?}: {:#?}\n{}",
                of(&bench, job),
                bench.log()
            );
            found == expected
        });
    };
    let first = ["scheduled refused_for_now", "sent -"];
    for job in ["pruned", "gone"] {
        until("one of two waits for its next try", LIMIT, || {
            let all = standing(job);
            first.iter().all(|m| all.contains(&(*m).to_owned()))
        });
    }
    assert!(bench.json(&["db", "prune", "--older-than", "0s"])["messages"].as_u64().unwrap() > 0);
    bench.json(&["contact", "erase", &chat(7)]);
    until("what waits for its window is known", LIMIT, || standing("edited").contains(&"scheduled window".to_owned()));
    apply(&bench, &recurring(due, "new"));
    assert!(now_ms() < due + 11_000, "this machine took too long for what comes next");
    passed(due + 14_000);
    becomes(&bench, "mortal", &["expired expires", "expired expires"]);
    until("too often it is skipped", LIMIT, || {
        let all = standing("often");
        all.iter().filter(|m| *m == "skipped too_often").count() == 2 && all.len() <= 3
    });
    stands("edited", &["scheduled window", "skipped overlap"]);
    let waits = of(&bench, "edited").into_iter().find(|m| m["state"] == "scheduled").unwrap();
    assert_eq!(text(&bench, &waits), "new");
    // Of what was pruned one waits still, and skips the next.
    stands("pruned", &["scheduled refused_for_now", "skipped overlap", "skipped overlap"]);
    until("who was forgotten keeps nobody waiting", LIMIT, || sends(&bench, 6).len() == 2);
    assert!(!standing("gone").contains(&"skipped overlap".to_owned()), "{:?}", standing("gone"));
    becomes(&bench, "reminds", &["scheduled window", "scheduled window"]);
    bench.json(&["job", "event", "reminds", "--at", &rfc(due + 2 * HOUR + DAY)]);
    becomes(&bench, "reminds", &["cancelled replaced", "cancelled replaced", "scheduled -", "scheduled -"]);
    assert_eq!([4, 5, 7].map(|n| sends(&bench, n).len()), [1, 1, 1]);
}

/// Jobs that are ended, judged, moved, edited and forgotten.
fn judged(due: i64, edited: bool) -> String {
    let closed = window(2, 3);
    let job = |name: &str, ahead: i64, n: usize, more: &str| {
        format!("  {name}: {{ at: \"{}\", to: \"{}\", text: {name}{more} }}\n", rfc(due + ahead), chat(n))
    };
    let event = |name: &str, n: usize, more: &str| {
        format!(
            "  {name}: {{ event: \"{}\", remind: -2h, to: \"{}\", text: {name}{more} }}\n",
            rfc(due + 2 * HOUR),
            chat(n)
        )
    };
    let often = |most: u32| format!(", frequency: {{ at_most: {most}, within: 2h }}");
    let one = often(1);
    let or = |then: &str, now: &str| if edited { then.to_owned() } else { now.to_owned() };
    let jobs = [
        job("mortal-often", 0, 1, &format!(", {closed}, expires: 2s{one}")),
        job("beside", 4_000, 1, &one),
        event("instant", 2, &format!(", {closed}, expires: \"{}\"", rfc(due + 12_000))),
        job("shortened", 0, 3, &format!(", {closed}, expires: {}", or("2s", "1h"))),
        job("lasting", 0, 4, &format!(", {closed}, expires: 1h")),
        job("mortal-gone", 0, 5, &format!(", {closed}, expires: 12s")),
        event("reminded", 6, &one),
        job("before", 0, 7, &one),
        job("after", 3_600_000, 7, &or(&often(2), &one)),
        job("known", 0, 8, &one),
        or(
            &job("anew", 0, 8, &one)
                .replace(&format!("\"{}\"", chat(8)), &format!("[\"{}\", \"{}\"]", chat(8), chat(13))),
            "",
        ),
        event("moved-gone", 9, &format!(", {closed}")),
        job("settled", 0, 10, ""),
    ];
    file("", &jobs.concat())
}

#[test]
fn what_expires_is_judged_moved_edited_or_forgotten_does_so_by_what_stands_then() {
    let (bench, _daemon, due) = start_before(4_000, "{}\n", |due| judged(due, false), |_| ());
    for job in ["reminded", "before", "known", "settled"] {
        becomes(&bench, job, &["sent -"]);
    }
    let waits = gates(&bench, &last(&bench, "after"));
    assert!(waits.contains(&"frequency".to_owned()), "{waits:?}");
    becomes(&bench, "lasting", &["scheduled window"]);
    bench.json(&["contact", "erase", &chat(5), &chat(8), &chat(9)]);
    for job in ["instant", "moved-gone"] {
        bench.json(&["job", "event", job, "--at", &rfc(due + 2 * HOUR + DAY)]);
    }
    let soon = now_ms() + 2 * HOUR + 4_000;
    bench.json(&["job", "event", "reminded", "--at", &rfc(soon)]);
    becomes(&bench, "mortal-often", &["expired expires"]);
    becomes(&bench, "beside", &["sent -"]);
    becomes(&bench, "reminded", &["sent -", "skipped too_often"]);
    apply(&bench, &judged(due, true));
    becomes(&bench, "shortened", &["cancelled replaced", "expired expires"]);
    becomes(&bench, "anew", &["sent -", "sent -"]);
    assert_eq!(sends(&bench, 8).len(), 2, "nobody knows any more what they had");
    passed(due + 14_000);
    becomes(&bench, "instant", &["cancelled replaced", "expired expires"]);
    becomes(&bench, "mortal-gone", &["cancelled cancelled_by_person"]);
    assert_eq!(told(&bench, "moved-gone"), ["cancelled cancelled_by_person"]);
    let waits = gates(&bench, &last(&bench, "after"));
    assert_eq!(waits, ["due"]);
    bench.json(&["db", "prune", "--older-than", "0s"]);
    // What ended is forgotten, also of whom nobody names any more; what may leave still is not.
    for job in ["shortened", "mortal-often", "settled", "mortal-gone", "moved-gone"] {
        assert_eq!(told(&bench, job).len(), 0, "{job}");
    }
    assert_eq!(told(&bench, "lasting"), ["scheduled window"]);
}

/// The evening before a night in which no daemon runs.
const EVENING: &str = "2026-06-10T18:00:00Z";

fn clocked(bench: &Bench, clock: &FakedClock, at: i64, arguments: &[&str]) {
    clock.off_by(at - now_ms());
    let mut command = bench.command(arguments);
    clock.give(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A daemon by a clock that begins at an instant.
fn by_clock(bench: &Bench, clock: &FakedClock, from: i64) -> Running {
    let ready = bench.log().matches(" ready ms=").count();
    clock.off_by(from - now_ms());
    let mut command = bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--journal", "journal"]);
    clock.give(&mut command);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(bench.path("log")).unwrap();
    let running = Running(command.stderr(log).stdout(std::process::Stdio::null()).spawn().unwrap());
    until("the daemon is ready", LIMIT, || bench.log().matches(" ready ms=").count() > ready);
    running
}

/// Jobs of which each may lose an hour; `at` is in minutes after six.
fn night(allowed: &str) -> String {
    let evening = EVENING.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let at = |minutes: i64| format!("at: \"{}\"", rfc(evening + minutes * 60_000));
    let job = |name: &str, minutes: i64, n: usize, more: &str| {
        format!("  {name}: {{ {}, to: \"{}\", text: {name}, max_lateness: 1h{more} }}\n", at(minutes), chat(n))
    };
    let often = ", frequency: { at_most: 1, within: 12h }";
    let event = format!("event: \"{}\", remind: -1h", rfc(evening + 4 * HOUR));
    let steps = "messages: [{ text: one }, { after: 280m, text: two }], ";
    let jobs = [
        job("late", 180, 1, ""),
        job("draft", 180, 2, ", hold: true"),
        // Its first step leaves half an hour late, and so may the second.
        job("drip", -30, 3, "").replace("text: drip, ", steps),
        job("asked", 0, 4, ", nag: { every: 3h, max: 3 }"),
        job("mortal", 180, 5, ", expires: 30m"),
        job("lasting", 180, 6, ", expires: 4h"),
        job("often", 180, 7, often),
        job("judged", 316, 7, often),
        job("moved", 0, 8, "").replace(&at(0), &event),
        job("edited", 180, 9, "").replace("max_lateness: 1h", &format!("max_lateness: {allowed}")),
        job("gone", 180, 10, ""),
    ];
    file("", &jobs.concat())
}

#[test]
fn what_nobody_could_send_is_late_by_that_alone_and_too_late_it_is_forgotten_and_counts_for_nothing() {
    let bench = Bench::new();
    let Some(clock) = FakedClock::new(bench.folder.path()) else { return };
    let evening = EVENING.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    bench.write("jobs.yaml", &night("1h"));
    let daemon = by_clock(&bench, &clock, evening - 1_000);
    becomes(&bench, "drip", &["sent -", "scheduled -"]);
    becomes(&bench, "asked", &["sent -"]);
    becomes(&bench, "draft", &["held approval"]);
    drop(daemon);
    // In the night, while no daemon runs: at half past ten.
    let night_at = evening + 270 * 60_000;
    bench.write("jobs.yaml", &night("4h"));
    clocked(&bench, &clock, night_at, &["job", "apply", "jobs.yaml", "--sandbox"]);
    let event = rfc(evening + 350 * 60_000);
    clocked(&bench, &clock, night_at, &["job", "event", "moved", "--at", &event]);
    clocked(&bench, &clock, night_at, &["contact", "erase", &chat(10)]);
    let _daemon = by_clock(&bench, &clock, evening + 315 * 60_000);
    becomes(&bench, "late", &["expired too_late"]);
    becomes(&bench, "drip", &["sent -", "sent -"]);
    until("it is asked once", LIMIT, || sends(&bench, 4).len() == 2);
    becomes(&bench, "mortal", &["expired expires"]);
    becomes(&bench, "lasting", &["expired too_late"]);
    becomes(&bench, "often", &["expired too_late"]);
    becomes(&bench, "moved", &["cancelled replaced", "sent -"]);
    becomes(&bench, "edited", &["cancelled replaced", "sent -"]);
    becomes(&bench, "gone", &["cancelled cancelled_by_person"]);
    becomes(&bench, "draft", &["held approval"]);
    clocked(&bench, &clock, evening + 316 * 60_000, &["release", &id(&last(&bench, "draft"))]);
    becomes(&bench, "draft", &["sent -"]);
    becomes(&bench, "judged", &["sent -"]);
    clocked(&bench, &clock, evening + 317 * 60_000, &["db", "prune", "--older-than", "0s"]);
    assert_eq!(["late", "lasting"].map(|job| told(&bench, job).len()), [0, 0]);
}
