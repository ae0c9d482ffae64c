//! The future in virtual time, against cases worked out by hand.
//!
//! `JOBS=10000 DAYS=30` plays the whole month of cron jobs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test stand outside its functions")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;

use onthedot::config;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::future::{Assertion, Busiest, Foreseen, Judge, Known, Premise, Summary, of_file, play};

fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

fn premise(zone: &str, settings: &str, jobs: &str, from: &str, until: &str) -> Premise {
    let text =
        format!("version: 1\ntimezone: {zone}\ninstances: {{ shop: {{ gateway: sandbox{settings} }} }}\njobs:\n{jobs}");
    let parsed = config::parse(Path::new("jobs.yaml"), &text, &|_| None, (true, None), at(from));
    let settings = parsed.unwrap_or_else(|e| panic!("{e:?}"));
    of_file(&settings, &Known::default(), at(from), at(until)).unwrap()
}

fn all(premise: &Premise) -> Vec<Foreseen> {
    let mut all = Vec::new();
    play(premise, |f| {
        all.push(f.clone());
        Ok::<_, Infallible>(())
    })
    .unwrap();
    all
}

/// Each message in a word: its recipient's last digit, when it leaves in ms from `origin` (or how it ends), and why.
fn told(premise: &Premise, origin: &str) -> Vec<String> {
    let origin = at(origin);
    let word = |f: &Foreseen| {
        let to = f.to.as_str().split('@').next().unwrap().chars().last().unwrap();
        let how = match f.sends_at {
            Some(t) => format!("{}", t.since(origin).0),
            None => format!("{} {}", f.state.name(), f.reason.map_or("", |r| r.name())),
        };
        let held = f.held_by.map_or(String::new(), |h| format!(" {}", h.name()));
        format!("{to} {how}{held}")
    };
    all(premise).iter().map(word).collect()
}

const THREE: &str = "to: [\"201000000001\", \"201000000002\", \"201000000003\"], text: hi";

#[test]
fn a_chain_of_gaps_leaves_each_a_gap_and_its_margin_after_the_one_before_with_full_typing() {
    let job = format!("  a: {{ at: 2026-12-01T10:00, {THREE} }}\n");
    let p = premise("UTC", ", pacing: { gap: 10s..10s }", &job, "2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z");
    assert_eq!(told(&p, "2026-12-01T10:00:00Z"), ["1 0", "2 10020 gap", "3 20040 gap"]);
    for f in all(&p) {
        assert_eq!(f.sends_at.unwrap().since(f.typing_from.unwrap()), Millis(2_500), "{f:?}");
    }
}

#[test]
fn what_comes_at_night_leaves_when_its_window_opens() {
    let p = premise(
        "Europe/Berlin",
        ", window: { days: mon-fri, hours: \"09:00-20:00\" }",
        "  a: { cron: \"0 22 * * fri\", to: \"201000000001\", text: hi }\n",
        "2026-11-23T00:00:00Z",
        "2026-12-01T00:00:00Z",
    );
    // Friday 22:00 in Berlin; its window opens on Monday.
    assert_eq!(told(&p, "2026-11-30T08:00:00Z"), ["1 0 window"]);
    assert_eq!(all(&p)[0].typing_from, Some(at("2026-11-30T07:59:57.5Z")));
}

#[test]
fn what_waits_for_its_turn_is_judged_by_frequency_when_that_comes() {
    let judged = "to: \"201000000001\", text: hi, frequency: { at_most: 1, within: 30s }";
    let jobs = format!(
        "  a: {{ at: 2026-12-01T10:00, {judged} }}\n  \
           b: {{ at: 2026-12-01T10:00:05, to: [\"201000000002\", \"201000000003\"], text: hi }}\n  \
           c: {{ at: 2026-12-01T10:00:10, {judged} }}\n  \
           d: {{ at: 2026-12-01T10:00:11, {judged} }}\n"
    );
    let p = premise("UTC", ", pacing: { gap: 20s..20s }", &jobs, "2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z");
    let told = told(&p, "2026-12-01T10:00:00Z");
    assert_eq!(told, ["1 0", "2 20020 gap", "3 40040 gap", "1 60060 gap", "1 skipped too_often"]);
}

#[test]
fn a_daily_cap_counts_the_civil_day_however_long_it_is() {
    let jobs =
        |day: &str| format!("  a: {{ at: [{day}T00:30, {day}T12:00, {day}T13:00], to: \"201000000001\", text: hi }}\n");
    for (day, next) in [
        ("2026-10-25", "2026-10-25T23:00:00Z"),
        ("2026-03-29", "2026-03-29T22:00:00Z"),
        ("2026-06-01", "2026-06-01T22:00:00Z"),
    ] {
        let from = format!("{day}T00:00:00+02:00");
        let until = "2026-12-01T00:00:00Z";
        let p = premise("Europe/Berlin", ", pacing: { per_day: 2 }", &jobs(day), &from, until);
        let all = all(&p);
        let (last, cap) = (all[2].sends_at.unwrap(), all[2].held_by.unwrap());
        assert_eq!((last, cap.name()), (at(next), "per_day"), "{day}");
    }
}

#[test]
fn an_occurrence_that_meets_an_unfinished_one_does_as_its_job_says() {
    let played = |overlap: &str| {
        let job = format!("  a: {{ cron: \"* * * * *\", overlap: {overlap}, {THREE} }}\n");
        let pacing = ", pacing: { gap: 40s..40s }";
        told(&premise("UTC", pacing, &job, "2026-12-01T09:59:30Z", "2026-12-01T10:01:30Z"), "2026-12-01T10:00:00Z")
    };
    // The first minute's three leave at 0, 40.02 and 80.04 s, so the second minute finds the third of them waiting.
    let skip = ["1 0", "2 40020 gap", "1 skipped overlap", "2 skipped overlap", "3 skipped overlap", "3 80040 gap"];
    assert_eq!(played("skip"), skip);
    let replace = ["1 0", "2 40020 gap", "3 cancelled overtaken", "1 80040 gap", "2 scheduled ", "3 scheduled "];
    assert_eq!(played("replace"), replace);
    // What waits in the queue still waits when the span ends at 90 s.
    let queue =
        ["1 0", "2 40020 gap", "3 80040 gap", "1 scheduled  overlap", "2 scheduled  overlap", "3 scheduled  overlap"];
    assert_eq!(played("queue"), queue);
    let allow = ["1 0", "2 40020 gap", "3 80040 gap", "1 scheduled ", "2 scheduled ", "3 scheduled "];
    assert_eq!(played("allow"), allow);
}

#[test]
fn a_queued_occurrence_begins_when_the_one_before_it_is_finished() {
    let job = format!("  a: {{ cron: [\"0 10 * * *\", \"1 10 * * *\"], overlap: queue, {THREE} }}\n");
    let p = premise("UTC", ", pacing: { gap: 40s..40s }", &job, "2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z");
    let expected = ["1 0", "2 40020 gap", "3 80040 gap", "1 120060 gap", "2 160080 gap", "3 200100 gap"];
    assert_eq!(told(&p, "2026-12-01T10:00:00Z"), expected);
}

#[test]
fn a_sequence_is_typed_step_by_step_and_ends_where_a_step_does() {
    let two = "messages: [{ text: a }, { text: b }], typing: { lead: 2s }";
    let job = format!("  a: {{ at: 2026-12-01T10:00, to: \"201000000001\", {two} }}\n");
    let p = premise("UTC", "", &job, "2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z");
    assert_eq!(told(&p, "2026-12-01T10:00:00Z"), ["1 0", "1 2000 sequence"]);
    assert_eq!(all(&p)[1].typing_from, Some(at("2026-12-01T10:00:00Z")));
    let job = format!("  a: {{ at: 2026-12-01T10:00, expires: 1h, to: \"201000000001\", {two} }}\n");
    let window = ", window: { days: all, hours: \"12:00-13:00\" }";
    let p = premise("UTC", window, &job, "2026-12-01T09:00:00Z", "2026-12-01T14:00:00Z");
    assert_eq!(told(&p, "2026-12-01T10:00:00Z"), ["1 expired expires", "1 skipped sequence"]);
    assert_eq!(all(&p)[0].at, at("2026-12-01T11:00:00Z"));
}

#[test]
fn spread_and_jitter_are_laid_out_and_what_passed_before_the_first_day_is_a_misfire() {
    let jobs = format!(
        "  a: {{ at: 2026-12-01T10:00, spread: 30m, {THREE} }}\n  \
         b: {{ at: [2026-12-01T06:00, 2026-12-01T08:30], to: \"201000000004\", text: hi, typing: off }}\n"
    );
    let p = premise("UTC", "", &jobs, "2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z");
    // Three hours are more than `max_lateness`, half an hour is not.
    let expected = ["4 expired misfire", "4 0 due", "1 3600000", "2 4200000", "3 4800000"];
    let told = told(&p, "2026-12-01T09:00:00Z");
    let without_why: Vec<&str> = told.iter().map(|t| t.trim_end_matches(" chat")).collect();
    assert_eq!(without_why, expected.map(|e| e.trim_end_matches(" due")));
}

#[test]
fn reminders_of_an_event_are_foretold_and_those_it_has_overtaken_are_not_sent() {
    let job = "  a: { event: 2026-12-03T15:30, remind: [-1d, -2h, -5m], to: \"201000000001\", text: hi, typing: off, timezone: UTC }\n";
    let p = premise("UTC", "", job, "2026-12-03T13:00:00Z", "2026-12-04T00:00:00Z");
    // The day before is long past; two hours before is half an hour late, within `max_lateness`.
    let told = told(&p, "2026-12-03T15:30:00Z");
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "1 expired misfire");
    assert!(told.contains(&"1 -300000".to_owned()), "{told:?}");
    let p = premise("UTC", "", job, "2026-12-03T16:00:00Z", "2026-12-04T00:00:00Z");
    assert!(all(&p).iter().all(|f| f.reason.map(|r| r.name()) == Some("event_passed")), "{:?}", all(&p));
}

#[test]
fn each_recipient_is_due_by_its_own_clock() {
    let job = "  a: { cron: \"0 9 * * *\", timezone: recipient, to: [\"491700000001\", \"819000000002\"], text: hi }\n";
    let p = premise("UTC", "", job, "2026-12-01T12:00:00Z", "2026-12-03T12:00:00Z");
    let mut sends: Vec<(String, Timestamp)> =
        all(&p).iter().filter_map(|f| Some((f.to.as_str()[..2].to_owned(), f.sends_at?))).collect();
    sends.sort();
    let expected = [
        ("49", "2026-12-02T08:00:00Z"),
        ("49", "2026-12-03T08:00:00Z"),
        ("81", "2026-12-02T00:00:00Z"),
        ("81", "2026-12-03T00:00:00Z"),
    ];
    assert_eq!(sends, expected.map(|(to, t)| (to.to_owned(), at(t))));
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn in_a_month_of_cron_jobs_every_occurrence_fires_exactly_once() {
    let (jobs, days) = (number("JOBS", 400), i64::try_from(number("DAYS", 5)).unwrap());
    let mut text = String::new();
    for n in 0..jobs {
        let cron = match n % 4 {
            0 => format!("{} {} * * *", n % 60, n % 24),
            1 => format!("*/{} {} * * mon-fri", 5 + n % 20, n % 24),
            2 => format!("{},{} 1-4 * * *", n % 30, 30 + n % 30),
            _ => format!("0 {} {}/2 * *", n % 24, 1 + n % 2),
        };
        let zone = ["UTC", "Europe/Berlin", "America/New_York"][n % 3];
        writeln!(
            text,
            "  j{n}: {{ cron: \"{cron}\", timezone: {zone}, to: \"2010{n:08}\", text: hi, overlap: allow }}"
        )
        .unwrap();
    }
    // Over the autumn's change of clocks.
    let from = at("2026-10-23T00:00:00Z");
    let until = from + Millis(days * 86_400_000);
    let p = premise("UTC", "", &text, &from.to_string(), &until.to_string());
    let mut fired: BTreeMap<(String, Timestamp), u32> = BTreeMap::new();
    let mut late = 0;
    for f in all(&p) {
        late += i32::from(f.sends_at != Some(f.due_at));
        *fired.entry((f.job.unwrap().to_string(), f.occurrence.unwrap())).or_default() += 1;
    }
    let mut expected = 0;
    for j in &p.jobs {
        for t in j.job.schedule.all_after(from - Millis(1), from, &j.zone).take_while(|t| *t < until) {
            expected += 1;
            assert_eq!(fired.get(&(j.name.to_string(), t)), Some(&1), "{} at {t}", j.name);
        }
    }
    assert_eq!(fired.len(), expected);
    assert!(expected > jobs * usize::try_from(days).unwrap() / 2, "only {expected}");
    // The last minute's may still be typed when the span ends.
    assert!(late <= i32::try_from(jobs / 50 + 1).unwrap(), "{late} were not on the dot");
}

#[test]
fn each_assertion_holds_or_is_broken_as_it_says() {
    // A Tuesday to a Monday; twice a day to one, once a week to another. The cap moves Sunday's third to Monday's first
    // instant, and so Monday's third past the end.
    let jobs = "  twice: { cron: \"0 9,21 * * *\", to: \"201000000001\", text: hi }\n  \
                weekly: { cron: \"0 12 * * sun\", to: \"201000000002\", text: hi }\n";
    let p = premise("UTC", ", pacing: { per_day: 2 }", jobs, "2026-12-01T00:00:00Z", "2026-12-08T00:00:00Z");
    let table = [
        ("never on sunday", 2),
        ("never on saturday for job weekly", 0),
        ("never between 20:00 and 22:00", 5),
        ("never between 22:00 and 07:00", 1),
        ("never between 20:00 and 22:00 in Asia/Tokyo", 1),
        ("at most 2 per recipient and day", 0),
        ("at most 1 per recipient and day", 6),
        ("at most 12 per recipient and week", 0),
        ("at most 2 per total and day", 0),
        ("at most 0 per job and month for job weekly", 1),
        ("at least 1 per day", 0),
        ("at least 1 per day for job weekly", 6),
        ("at least 2 per day for job twice", 1),
        ("nothing late by more than 10m", 2),
        ("nothing late by more than 10m for job weekly", 0),
        ("nothing skipped", 0),
    ];
    let zone = jiff::tz::TimeZone::UTC;
    let mut wrong = Vec::new();
    for (text, offences) in table {
        let mut judge = Judge::new(Assertion::parse(text, &zone).unwrap(), &p, zone.clone());
        all(&p).iter().for_each(|f| judge.hear(f));
        let verdict = judge.judge();
        if verdict.offences != offences {
            wrong.push(format!("{text}: {} {:?}, expected {offences}", verdict.offences, verdict.first));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_summary_counts_what_is_late_and_the_busiest_day_and_hour() {
    let jobs = format!(
        "  a: {{ at: 2026-12-01T10:00, {THREE} }}\n  b: {{ at: 2026-12-02T10:00, to: \"201000000004\", text: hi }}\n"
    );
    let p = premise("UTC", ", pacing: { gap: 10s..10s }", &jobs, "2026-12-01T09:00:00Z", "2026-12-03T00:00:00Z");
    let mut summary = Summary::new(jiff::tz::TimeZone::UTC);
    all(&p).iter().for_each(|f| summary.note(f));
    assert_eq!((summary.total.messages, summary.total.sent, summary.total.late), (4, 4, 2));
    assert_eq!((summary.total.late_mean(), summary.total.late_most), (Millis(15_030), Millis(20_040)));
    assert_eq!(summary.occurrences(), 2);
    let Busiest { day, hour } = summary.busiest();
    assert_eq!(day, Some((jiff::civil::date(2026, 12, 1), 3)));
    assert_eq!(hour, Some((at("2026-12-01T10:00:00Z"), 3)));
}

#[test]
fn over_a_week_with_a_day_of_25_hours_everybody_is_written_to_in_the_window_of_their_zone_and_the_unknown_in_the_senders()
 {
    let folder = tempfile::tempdir().unwrap();
    // Who, the column `zone`, and whose clock counts: the country of a number tells one where all of it shows the same time.
    let people = [
        ("10000000000000@lid", "Asia/Tokyo", "Asia/Tokyo"),
        ("12125550124@c.us", "America/Chicago", "America/Chicago"),
        ("10000000000001@lid", "", "Europe/Berlin"),
        ("12125550123@c.us", "", "Europe/Berlin"),
        ("201234567890@c.us", "", "Africa/Cairo"),
    ];
    let rows: String = people.iter().map(|(chat, zone, _)| format!("{chat},{zone}\n")).collect();
    std::fs::write(folder.path().join("people.csv"), format!("phone,zone\n{rows}")).unwrap();
    let text = "version: 1\ntimezone: Europe/Berlin\ninstances: { shop: { gateway: sandbox, pacing: { gap: 2s..5s } } }\njobs:\n  \
        news: { every: 3h, overlap: allow, to: { csv: people.csv, chat: phone }, text: hi, \
        window: { days: mon-sat, hours: \"09:00-20:00\", zone: recipient } }\n";
    let (from, until) = (at("2026-10-22T05:00:00Z"), at("2026-10-29T05:00:00Z"));
    let settings = config::parse(&folder.path().join("jobs.yaml"), text, &|_| None, (true, None), from).unwrap();
    let premise = of_file(&settings, &Known::default(), from, until).unwrap();
    let mut sends = [0; 5];
    for f in all(&premise) {
        let Some(leaves) = f.sends_at else { continue };
        let who = people.iter().position(|(chat, ..)| *chat == f.to.as_str()).unwrap();
        let zone = people[who].2;
        let there = jiff::Timestamp::from_millisecond(leaves.0).unwrap().in_tz(zone).unwrap();
        let open = (9..20).contains(&there.hour()) && there.weekday() != jiff::civil::Weekday::Sunday;
        assert!(open, "{} got one at {there}", f.to);
        sends[who] += 1;
    }
    // Six days of eleven hours: each is written to about as often as the others, whatever their clock.
    assert!(sends.iter().all(|n| (20..=60).contains(n)), "{sends:?}");
}
