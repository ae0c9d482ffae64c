//! What is foretold is what then happens: `simulate`, `plan` and `timeline` against the daemon as a process.
//!
//! `SPAN=120` compares two minutes instead of half a one.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/foretelling.rs"]
mod foretelling;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::collections::BTreeMap;

use foretelling::{Key, Told, compare, foretold, happened, ms};
use process::{Bench, now_ms};

fn rfc(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// Jobs that fire every few seconds from `starts` to `ends`, through lanes of every kind.
fn busy(starts: i64, ends: i64) -> String {
    let bounds = format!("starts: \"{}\", ends: \"{}\", overlap: allow", rfc(starts), rfc(ends));
    let people = |job: u32, n: u32| {
        let all: Vec<String> = (0..n).map(|i| format!("\"20100000{job:02}{i:02}\"")).collect();
        format!("to: [{}]", all.join(", "))
    };
    let skipping = bounds.replace("allow", "skip");
    format!(
        "version: 1\ntimezone: UTC\ninstances:\n  \
           free: {{ gateway: sandbox }}\n  \
           gaps: {{ gateway: sandbox, pacing: {{ gap: 300ms..900ms }} }}\n  \
           full: {{ gateway: sandbox, pacing: {{ concurrency: 2, rate: 40/min }} }}\n  \
           slow: {{ gateway: sandbox, pacing: {{ gap: 2500ms..3s }} }}\n  \
           steps: {{ gateway: sandbox }}\n\
         jobs:\n  \
           beat: {{ cron: \"*/3 * * * * *\", instance: free, {}, text: hi, typing: {{ lead: 800ms }}, {bounds} }}\n  \
           spread: {{ every: 7s, instance: free, {}, text: hi, spread: 3s, typing: {{ lead: 2s }}, {bounds} }}\n  \
           drawn: {{ cron: \"*/4 * * * * *\", instance: free, {}, text: \"Hello at {{{{ due | time }}}}\", jitter: 2s, typing: {{ chars_per_second: 20, min: 300ms, max: 3s, jitter: 30% }}, {bounds} }}\n  \
           chain: {{ cron: \"*/8 * * * * *\", instance: gaps, {}, text: hi, typing: {{ lead: 700ms }}, {bounds} }}\n  \
           places: {{ cron: \"*/9 * * * * *\", instance: full, {}, text: hi, typing: {{ lead: 1200ms }}, {bounds} }}\n  \
           meets: {{ cron: \"*/5 * * * * *\", instance: slow, {}, text: hi, typing: {{ lead: 600ms }}, {skipping} }}\n  \
           often: {{ cron: \"*/4 * * * * *\", instance: free, {}, text: hi, frequency: {{ at_most: 3, within: 1h }}, typing: {{ lead: 300ms }}, {bounds} }}\n  \
           tale: {{ cron: \"*/6 * * * * *\", instance: steps, {}, messages: [{{ text: once }}, {{ text: upon }}, {{ text: a time }}], typing: {{ lead: 700ms }}, {bounds} }}\n",
        people(1, 2),
        people(2, 5),
        people(3, 3),
        people(4, 6),
        people(5, 4),
        people(6, 3),
        people(8, 2),
        people(7, 1),
    )
}

#[tokio::test]
async fn what_simulate_predicts_for_a_span_is_what_the_daemon_then_does() {
    let bench = Bench::new();
    let span: i64 = std::env::var("SPAN").ok().and_then(|s| s.parse().ok()).unwrap_or(30) * 1_000;
    // The daemon is up well before the first of them.
    let from = now_ms();
    let starts = from + 8_000;
    bench.write("jobs.yaml", &busy(starts, starts + span));
    let (begin, until) = (rfc(from), rfc(starts + span + 60_000));
    let simulate = ["simulate", "jobs.yaml", "--from", &begin, "--until", &until, "--limit", "100000"];
    let predicted = foretold(&bench.json(&[&simulate[..], &["--seed", "7"]].concat()));
    let run = ["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=9s", "--seed", "7"];
    let output = bench.run(&run);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let actual = happened(&bench).await;
    let keys = |all: &BTreeMap<Key, Told>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&predicted), keys(&actual), "the same messages, no more and no fewer");
    assert!(predicted.len() > usize::try_from(span / 500).unwrap(), "only {}", predicted.len());
    let skipped = predicted.values().filter(|t| t.reason == "overlap").count();
    assert!(skipped > 0, "some occurrence meets an unfinished one");
    assert!(predicted.values().any(|t| t.reason == "too_often"), "somebody has had enough");
    let wrong = compare(&predicted, &actual, &["free", "steps"]);
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), predicted.len(), wrong.join("\n"));
    let exact = predicted.iter().filter(|(key, t)| t.slot == actual[*key].slot).count();
    let latest = predicted.iter().filter_map(|(key, t)| Some(actual[key].slot? - t.slot?)).max().unwrap_or(0);
    println!(
        "{} messages, {exact} planned to the very millisecond, the others at most {latest} ms later",
        predicted.len()
    );
    // And the database, asked afterwards, tells the same again: it keeps the seed and when its jobs were applied.
    let again = foretold(&bench.json(&simulate));
    for (key, told) in &predicted {
        assert_eq!((told.slot, &told.state), (again[key].slot, &again[key].state), "{key:?}");
    }
    assert_eq!(bench.run(&[&run[..7], &["8"]].concat()).status.code(), Some(2), "another seed is refused");
}

#[test]
fn plan_counts_what_has_begun() {
    let bench = Bench::new();
    let chats: Vec<String> = (0..12).map(|n| format!("\"2010000001{n:02}\"")).collect();
    let file = |jobs: &str| {
        format!(
            "version: 1\ntimezone: UTC\ninstances: {{ slow: {{ gateway: sandbox, pacing: {{ gap: 1h..1h }} }} }}\njobs: {jobs}"
        )
    };
    let job =
        |to: &[String]| file(&format!("\n  paced: {{ in: 0s, to: [{}], text: hi, typing: off }}\n", to.join(", ")));
    bench.write("jobs.yaml", &job(&chats));
    let _daemon = bench.start(&["run", "jobs.yaml", "--listen", "off", "--sandbox"]);
    let waits = |n: usize| bench.messages().iter().filter(|m| m["state"] == "scheduled").count() == n;
    process::until("the first one is sent", std::time::Duration::from_secs(20), || {
        bench.log().contains(" ready ms=") && waits(11)
    });
    let plan = |extra: &[&str]| bench.json(&[&["plan", "jobs.yaml", "--sandbox"][..], extra].concat());
    assert_eq!(plan(&[])["jobs"][0]["stays"], 11);
    bench.write("jobs.yaml", &job(&chats[..10]));
    assert_eq!((&plan(&[])["jobs"][0]["stays"], &plan(&[])["jobs"][0]["cancels_in_span"]), (&9.into(), &2.into()));
    bench.write("jobs.yaml", &file("{}\n"));
    assert_eq!(plan(&["--prune"])["vanished"][0]["cancels_in_span"], 11);
}

#[test]
fn plan_counts_the_messages_of_a_month_that_are_added_moved_and_cancelled() {
    let bench = Bench::new();
    let file =
        |jobs: &str| format!("version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox }} }}\njobs:\n{jobs}");
    let two = "to: [\"201000000001\", \"201000000002\"]";
    let before = format!(
        "  same: {{ cron: \"0 9 * * *\", {two}, text: hi }}\n  moved: {{ cron: \"0 9 * * *\", {two}, text: hi }}\n  \
         words: {{ cron: \"0 9 * * *\", {two}, text: hi }}\n  fewer: {{ cron: \"0 9,21 * * *\", {two}, text: hi }}\n  \
         people: {{ cron: \"0 9 * * *\", {two}, text: hi }}\n  gone: {{ cron: \"0 9 * * *\", {two}, text: hi }}\n"
    );
    bench.write("jobs.yaml", &file(&before));
    let plan = |extra: &[&str]| bench.json(&[&["plan", "jobs.yaml", "--sandbox"][..], extra].concat());
    let fresh = plan(&[]);
    assert_eq!(fresh["span"]["adds"], 7 * 30 * 2, "nothing is known yet: all is new");
    let applied = bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    assert_eq!(plan(&[])["span"]["stays"], 7 * 30 * 2, "applied again it changes nothing");
    let after = before
        .lines()
        .filter(|l| !l.contains("gone:"))
        .map(|l| match l.trim().split(':').next().unwrap() {
            "moved" => l.replace("0 9 * * *", "30 9 * * *"),
            "words" => l.replace("text: hi", "text: hello"),
            "fewer" => l.replace("0 9,21 * * *", "0 9 * * *"),
            "people" => l.replace("\"201000000002\"", "\"201000000003\", \"201000000004\""),
            _ => l.to_owned(),
        })
        .map(|l| l + "\n")
        .collect::<String>();
    bench.write("jobs.yaml", &file(&format!("{after}  new: {{ cron: \"0 9 * * *\", {two}, text: hi }}\n")));
    let planned = plan(&["--prune"]);
    let of = |name: &str| {
        let all = planned["jobs"].as_array().unwrap().iter().chain(planned["vanished"].as_array().unwrap());
        let job = all.into_iter().find(|j| j["name"] == name).unwrap().clone();
        let n = |key: &str| job[key].as_i64().unwrap();
        (n("stays"), n("adds"), n("moves"), n("cancels_in_span"))
    };
    assert_eq!(of("same"), (60, 0, 0, 0));
    assert_eq!(of("moved"), (0, 0, 60, 0));
    assert_eq!(of("words"), (60, 0, 0, 0));
    assert_eq!(of("fewer"), (60, 0, 0, 60));
    assert_eq!(of("people"), (30, 60, 0, 30));
    assert_eq!(of("gone"), (0, 0, 0, 60));
    assert_eq!(of("new"), (0, 60, 0, 0));
    let moved = planned["jobs"].as_array().unwrap().iter().find(|j| j["name"] == "moved").unwrap();
    let first = &moved["moved"][0];
    assert_eq!(ms(&first["to"]).unwrap() - ms(&first["from"]).unwrap(), 30 * 60_000);
    let words = planned["jobs"].as_array().unwrap().iter().find(|j| j["name"] == "words").unwrap();
    assert_eq!(words["replaces"], true);
    let text = String::from_utf8(bench.run(&["plan", "jobs.yaml", "--sandbox", "--prune"]).stdout).unwrap();
    assert!(text.contains("in the next 30 days: 120 messages added, 60 moved, 150 cancelled, 210 as before"), "{text}");
}

#[test]
fn simulate_can_stand_in_a_pipeline() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: Europe/Berlin\ninstances: { shop: { gateway: sandbox } }\njobs:\n  \
         \"=cmd|x\": { cron: \"0 9 * * *\", to: \"201000000001\", text: hi }\n",
    );
    bench.write("rules", "# quiet\nnever between 22:00 and 07:00\n\nat least 1 per day\n");
    let span = ["--from", "2026-12-01", "--until", "2026-12-08"];
    let simulate = |extra: &[&str]| bench.run(&[&["simulate", "jobs.yaml"][..], &span, extra].concat());
    let good = simulate(&["--assert-file", "rules"]);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    let broken = simulate(&["--assert", "never on sunday", "--assert", "nothing skipped"]);
    let text = String::from_utf8_lossy(&broken.stdout).into_owned();
    assert_eq!(broken.status.code(), Some(1));
    assert!(text.contains("BROKEN  never on sunday: 1 time\n        Sun 2026-12-06 09:00"), "{text}");
    assert!(text.contains("holds   nothing skipped"), "{text}");
    let unread = simulate(&["--assert", "mostly harmless"]);
    assert_eq!(unread.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unread.stderr).contains("never between 22:00 and 07:00"));
    assert_eq!(
        bench.run(&["simulate", "jobs.yaml", "--from", "2026-12-08", "--until", "2026-12-01"]).status.code(),
        Some(2)
    );
    let csv = String::from_utf8(simulate(&["--csv", "-"]).stdout).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0], "job,occurrence,instance,to,due,typing_from,sends_at,held_by,state,reason");
    assert!(lines[1].starts_with("'=cmd|x,2026-12-01T08:00:00.000Z,shop,201000000001@c.us,"), "{}", lines[1]);
    assert!(!bench.path("db").exists(), "nothing was made");
}

#[test]
fn the_timeline_tells_what_is_sent_and_what_blocks_it() {
    let bench = Bench::new();
    bench.write(
        "jobs.yaml",
        "version: 1\ntimezone: UTC\ninstances:\n  shop: { gateway: sandbox, pacing: { gap: 60s..60s } }\n  \
         \"desk\": { gateway: sandbox, window: { days: all, hours: \"10:00-11:00\" } }\njobs:\n  \
         a: { every: 1h, instance: shop, to: [\"201000000001\", \"201000000002\"], text: hi }\n  \
         b: { cron: \"0 * * * *\", overlap: allow, instance: desk, to: \"201000000003\", text: hi }\n",
    );
    assert!(bench.run(&["job", "apply", "jobs.yaml", "--sandbox"]).status.success());
    let document = bench.json(&["timeline", "--svg", "a.svg"]);
    let lane =
        |name: &str| document["instances"].as_array().unwrap().iter().find(|i| i["name"] == name).unwrap().clone();
    let shop = lane("shop");
    let sends = shop["sends"].as_array().unwrap();
    // Every hour but the one that is just ending, each time two a gap apart.
    assert!((46..=48).contains(&sends.len()), "{}", sends.len());
    assert_eq!(ms(&sends[1]["at"]).unwrap() - ms(&sends[0]["at"]).unwrap(), 60_020);
    assert_eq!(sends[1]["held_by"], "gap");
    assert_eq!(ms(&shop["typing"][0]["until"]).unwrap() - ms(&shop["typing"][0]["from"]).unwrap(), 2_500);
    assert!(shop["blocked"].as_array().unwrap().iter().all(|b| b["why"] == "gap"));
    let desk = lane("desk");
    assert!(desk["blocked"].as_array().unwrap().iter().any(|b| b["why"] == "window"));
    for send in desk["sends"].as_array().unwrap() {
        assert!(send["at"].as_str().unwrap().contains("T10:"), "{send}");
    }
    let svg = std::fs::read_to_string(bench.path("a.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>") && svg.contains("url(#hatch)"));
    let text = String::from_utf8(bench.run(&["timeline"]).stdout).unwrap();
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert!(text.contains("░ window") && !text.contains('\u{1b}'), "{text}");
    assert!(bench.run(&["pause", "--for", "2h", "--note", "lunch"]).status.success());
    let paused = bench.json(&["timeline"]);
    let shop = paused["instances"].as_array().unwrap().iter().find(|i| i["name"] == "shop").unwrap().clone();
    assert!(shop["blocked"].as_array().unwrap().iter().any(|b| b["why"] == "paused: lunch"), "{shop}");
    let first = ms(&shop["sends"][0]["at"]).unwrap();
    assert!(first >= now_ms() + 7_100_000, "nothing leaves before the pause is over");
    assert_eq!(bench.run(&["timeline", "--from", "2020-01-01"]).status.code(), Some(2));
}

#[test]
fn the_timeline_and_explain_tell_the_same_instants() {
    let bench = Bench::new();
    let people: Vec<String> = (0..6).map(|n| format!("\"20100000000{n}\"")).collect();
    bench.write(
        "jobs.yaml",
        &format!(
            "version: 1\ntimezone: UTC\ninstances: {{ shop: {{ gateway: sandbox, pacing: {{ gap: 10s..40s, concurrency: 2 }} }} }}\njobs:\n  \
             a: {{ in: 1h, to: [{}], text: hi }}\n  b: {{ in: 61m, to: \"201000000009\", text: hi }}\n",
            people.join(", ")
        ),
    );
    let run = bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let timeline = bench.json(&["timeline"]);
    let sends = timeline["instances"][0]["sends"].as_array().unwrap();
    let messages = bench.messages();
    assert_eq!((sends.len(), messages.len()), (7, 7));
    for m in messages {
        let explained = bench.json(&["explain", m["id"].as_str().unwrap()]);
        let send = sends.iter().find(|s| s["to"] == m["to"]).unwrap();
        assert_eq!(explained["earliest_at"], send["at"], "{m}");
    }
}
