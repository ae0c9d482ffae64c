//! The live view on a real pseudo-terminal: what is seen, and that the screen is whole again however the run ends.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/terminal.rs"]
mod terminal;

use std::time::Duration;

use process::{Bench, until};
use rustix::process::Signal;
use terminal::Terminal;

const LIMIT: Duration = Duration::from_secs(30);

fn bench() -> Bench {
    let bench = Bench::new();
    let jobs = "version: 1
timezone: UTC
instances:
  shop: { gateway: sandbox, pacing: { gap: 300ms..300ms, concurrency: 4 } }
  desk: { gateway: sandbox }
jobs:
  hello: { in: 2s, to: \"201234567890\", text: hi, instance: desk }
  doors-open: { in: 2500ms, to: [\"201000000001\", \"201000000002\", \"201000000003\", \"201000000004\", \"201000000005\", \"201000000006\"], text: hi, instance: shop }
  nobody: { in: 2s, to: \"209999999999\", text: hi, instance: desk }
  slow: { in: 9s, to: [\"120363025246125486@g.us\", \"201000000009\"], text: hi, typing: { lead: 6s }, instance: desk }
  lunch: { in: 2h, to: \"201000000011\", text: hi, instance: desk }
  new-year: { at: 2099-01-01T00:00, to: \"201000000012\", text: hi, instance: shop }
";
    bench.write("jobs.yaml", jobs);
    bench.write("scenario.yaml", "not_on_whatsapp: [\"2099*\"]\n");
    bench
}

fn run(bench: &Bench) -> std::process::Command {
    bench.command(&["run", "jobs.yaml", "--sandbox", "--scenario", "scenario.yaml", "--listen", "127.0.0.1:0"])
}

/// Starts the view and waits until something was read and somebody is being typed to.
fn in_motion(bench: &Bench, columns: u16, rows: u16) -> Terminal {
    let terminal = Terminal::start(run(bench), columns, rows);
    until("the view moves", LIMIT, || {
        let text = terminal.text();
        text.contains("●●●") && text.contains("read") && text.contains("refused") && !text.contains("0 read")
    });
    terminal
}

fn is_whole(terminal: &Terminal) -> bool {
    !terminal.is_second_screen() && !terminal.hides_cursor() && terminal.is_cooked()
}

/// Writes what is seen where the documents show it, when asked to; always checks that the documents show one.
fn keep_capture(name: &str, text: &str) {
    let path = format!("docs/captures/{name}.txt");
    if std::env::var_os("UPDATE_CAPTURES").is_some() {
        std::fs::create_dir_all("docs/captures").unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    for word in ["── typing", "── next", "── landed", "── lanes", "●●●", "✓✓ read", "in doubt"]
    {
        assert!(kept.contains(word), "{path} lacks '{word}'; UPDATE_CAPTURES=1 makes it anew");
    }
}

#[test]
fn typing_departures_landings_and_lanes_are_seen_at_both_sizes() {
    for (columns, rows) in [(80, 24), (160, 50)] {
        let bench = bench();
        let terminal = in_motion(&bench, columns, rows);
        until("what comes is seen", LIMIT, || terminal.text().contains("lunch"));
        let text = terminal.text();
        keep_capture(&format!("live-{columns}x{rows}"), &text);
        for word in
            ["onthedot", "sandbox: nothing leaves", "── typing", "lunch", "ms", "desk", "shop", "working", "1 failed"]
        {
            assert!(text.contains(word), "'{word}' is missing:\n{text}");
        }
        assert!(text.lines().count() <= usize::from(rows));
        assert!(text.lines().all(|l| l.chars().count() <= usize::from(columns)), "{text}");
    }
}

#[test]
fn the_screen_is_whole_after_a_signal_a_key_and_a_resize() {
    for end in ["INT", "TERM", "q"] {
        let bench = bench();
        let mut terminal = in_motion(&bench, 80, 24);
        assert!(terminal.is_second_screen() && !terminal.is_cooked());
        terminal.resize(60, 16);
        until("the picture fits the new size", LIMIT, || {
            let text = terminal.text();
            text.lines().next().is_some_and(|l| l.contains("onthedot")) && text.contains("q ends")
        });
        match end {
            "INT" => terminal.signal(Signal::INT),
            "TERM" => terminal.signal(Signal::TERM),
            _ => terminal.type_key(b'q'),
        }
        until("the daemon ends", LIMIT, || terminal.child.try_wait().unwrap().is_some());
        assert!(terminal.child.wait().unwrap().success(), "{end}");
        until("the screen is whole", LIMIT, || is_whole(&terminal));
        until("the summary is seen", LIMIT, || terminal.text().contains("messages in"));
    }
}

#[test]
fn the_screen_is_whole_after_a_second_signal_that_ends_at_once() {
    let bench = bench();
    let mut terminal = in_motion(&bench, 80, 24);
    terminal.signal(Signal::TERM);
    until("it is stopping, or has ended", LIMIT, || {
        terminal.text().contains("stopping") || terminal.child.try_wait().unwrap().is_some()
    });
    if terminal.child.try_wait().unwrap().is_none() {
        terminal.signal(Signal::TERM);
    }
    until("the daemon ends", LIMIT, || terminal.child.try_wait().unwrap().is_some());
    until("the screen is whole", LIMIT, || is_whole(&terminal));
}

#[test]
fn off_a_terminal_and_when_asked_for_less_there_are_lines() {
    let bench = bench();
    let mut command = run(&bench);
    command.arg("-v");
    let terminal = Terminal::start(command, 100, 30);
    until("lines come", LIMIT, || terminal.text().contains("ready"));
    assert!(!terminal.is_second_screen());
}

/// People on the list of the campaign below.
const GUESTS: u64 = 40;

/// A campaign that goes on for some ten seconds, and one with a name of wide characters.
fn campaigns() -> Bench {
    let bench = Bench::new();
    let rows: String = (0..GUESTS).map(|n| format!("2010000{n:05}\n")).collect();
    bench.write("guests.csv", &format!("phone\n{rows}"));
    let jobs = "version: 1
timezone: UTC
instances:
  shop: { gateway: sandbox, pacing: { gap: 250ms..250ms } }
  desk: { gateway: sandbox, pacing: { rate: 1/min } }
jobs:
  sale: { in: 2s, class: campaign, to: { csv: guests.csv, chat: phone }, text: hi, instance: shop }
  新年のご挨拶: { in: 2s, to: [\"201000000901\", \"201000000902\", \"201000000903\"], text: hi, instance: desk }
";
    bench.write("jobs.yaml", jobs);
    bench
}

/// The line of a campaign on the screen.
fn line_of(text: &str, name: &str) -> Option<String> {
    let below = text.lines().skip_while(|l| !l.contains("── campaigns")).skip(1);
    below.take_while(|l| !l.starts_with('─')).find(|l| l.contains(name)).map(str::to_owned)
}

/// How many were sent, as a line says.
fn sent_on(line: &str) -> u64 {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| *w == "of").unwrap();
    words[at - 1].parse().unwrap()
}

fn columns(line: &str) -> usize {
    line.chars()
        .map(|c| if ('\u{1100}'..='\u{115f}').contains(&c) || ('\u{2e80}'..='\u{ffdc}').contains(&c) { 2 } else { 1 })
        .sum()
}

#[test]
fn the_bar_of_a_campaign_counts_what_was_sent_and_fits_the_terminal() {
    let bench = campaigns();
    let terminal =
        Terminal::start(bench.command(&["run", "jobs.yaml", "--sandbox", "--listen", "127.0.0.1:0"]), 120, 30);
    until("some of it was sent", LIMIT, || line_of(&terminal.text(), "sale").is_some_and(|l| sent_on(&l) >= 5));
    let seen = sent_on(&line_of(&terminal.text(), "sale").unwrap());
    let sent = bench.json(&["campaign", "show", "sale"])["counts"]["sent"].as_u64().unwrap();
    assert!((5..=sent).contains(&seen), "{seen} on the screen, {sent} in the database");
    until("the other one is seen too", LIMIT, || line_of(&terminal.text(), "新年").is_some_and(|l| sent_on(&l) == 1));
    for (width, rows) in [(120, 30), (80, 24), (40, 16), (120, 30)] {
        terminal.resize(width, rows);
        until("the picture fits the new size", LIMIT, || {
            let text = terminal.text();
            let head = text.lines().find(|l| l.contains("── campaigns")).map(columns);
            head == Some(usize::from(width)) && text.lines().any(|l| l.contains(" %")) && text.contains(" read  ")
        });
        let text = terminal.text();
        keep_campaigns(width, rows, &text);
        let wide = text.lines().find(|l| columns(l) > usize::from(width));
        assert!(wide.is_none() && text.lines().count() <= usize::from(rows), "{wide:?}\n{text}");
        assert!(text.contains("── typing") && text.contains("── lanes"), "{text}");
    }
    bench.json(&["campaign", "pause", "sale", "--note", "wrong price"]);
    until("the pause is seen, and exactly what was sent", LIMIT, || {
        let sent = bench.json(&["campaign", "show", "sale"])["counts"]["sent"].as_u64().unwrap();
        let line = line_of(&terminal.text(), "sale").unwrap();
        sent < GUESTS && line.contains("paused") && line.contains("waits: pause: wrong price") && sent_on(&line) == sent
    });
    bench.json(&["campaign", "resume", "sale"]);
    until("all of it is seen to be sent", LIMIT, || {
        let line = line_of(&terminal.text(), "sale").unwrap();
        line.contains("100 %")
            && line.contains("████████")
            && line.contains("████████")
            && !line.contains('░')
            && line.contains("finished")
            && sent_on(&line) == GUESTS
    });
}

/// Writes what is seen of campaigns where the documents show it, when asked to.
fn keep_campaigns(columns: u16, rows: u16, text: &str) {
    let path = format!("docs/captures/campaigns-{columns}x{rows}.txt");
    if std::env::var_os("UPDATE_CAPTURES").is_some() {
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept.contains("── campaigns") && kept.contains(" %"), "{path}; UPDATE_CAPTURES=1 makes it anew");
}

#[test]
fn a_campaign_is_watched_in_place_until_a_signal_ends_it() {
    let bench = campaigns();
    let _daemon = bench.start(&["run", "jobs.yaml", "--sandbox", "--listen", "127.0.0.1:0"]);
    let began = || bench.path("db").exists() && bench.run(&["campaign", "show", "新年のご挨拶"]).status.success();
    until("it began", LIMIT, began);
    let mut terminal = Terminal::start(bench.command(&["campaign", "show", "新年のご挨拶", "--watch"]), 100, 30);
    until("it is seen what was sent and what is waited for", LIMIT, || {
        let text = terminal.text();
        text.contains(" 1 of 3") && text.contains("waits      rate until") && text.contains("finish ")
    });
    assert_eq!(terminal.text().matches("campaign   ").count(), 1, "it is drawn in place");
    terminal.resize(50, 20);
    until("it fits the new size", LIMIT, || {
        let text = terminal.text();
        text.contains(" 1 of 3") && text.contains("…") && text.lines().all(|l| columns(l) <= 50)
    });
    terminal.signal(Signal::INT);
    until("it ends", LIMIT, || terminal.child.try_wait().unwrap().is_some());
    assert_eq!(terminal.child.wait().unwrap().code(), Some(130));
}
