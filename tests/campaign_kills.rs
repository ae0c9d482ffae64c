//! A campaign whose daemon is killed again and again, paused, resumed, changed and called off in between: every recipient
//! gets exactly one message or a reason that can be read, and it is finished when all of its messages rest and not before.
//! The processes, the file and the HTTP are real.
//!
//! `KILLS=n` says how often it dies (15 by default), `RECIPIENTS=n` how many there are (900 by default), `SEED=n` by which
//! draws.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/accounts.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod accounts;
#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;
#[path = "support/supply.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod supply;

use std::collections::HashMap;
use std::time::Duration;

use accounts::accounts;
use onthedot::domain::draw::Draw;
use process::{Bench, Running, pause, until};
use serde_json::Value;
use supply::gateway;

/// The gateway does what it is asked within 20 ms, and loses the answer to one send in twenty.
const SCENARIO: &str =
    "doing: 0ms..20ms\nanswering: 0ms..10ms\nfaults:\n  - { on: send, percent: 5, do: before, reset: true }\n";

const LIMIT: Duration = Duration::from_secs(90);

struct Campaign {
    bench: Bench,
    url: String,
    recipients: u64,
    /// Raised with each change of the job.
    version: u32,
    draw: Draw,
}

impl Campaign {
    /// Writes the jobs file as it says now.
    fn write(&self) {
        let pacing = "pacing: { concurrency: 4 }, doubt: { quarantine: 1s }";
        self.bench.write(
            "jobs.yaml",
            &format!(
                "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ gateway: wawp, base_url: \"{}\", instance_id: i, access_token: t, {pacing} }}\n\
                 jobs:\n  launch: {{ in: 0s, class: campaign, to: {{ csv: guests.csv }}, text: \"words {}\", typing: {{ lead: 20ms }} }}\n",
                self.url, self.version
            ),
        );
    }

    fn start(&self) -> Running {
        self.bench.start(&["run", "jobs.yaml", "--listen", "off", "-q"])
    }

    fn show(&self) -> Option<Value> {
        let output = self.bench.run(&["campaign", "show", "launch", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Whatever was done to it: everybody is in one of its counts, and what is finished has nothing undone.
    fn adds_up(&self) {
        let Some(told) = self.show() else { return };
        let counts = told["counts"].as_object().unwrap();
        let count = |state: &str| counts[state].as_u64().unwrap();
        let undone: u64 = ["scheduled", "claimed", "typing", "sending", "in_doubt", "held"].map(count).iter().sum();
        let all: u64 = counts.values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(told["undone"], undone, "{told}");
        assert!(told["state"] != "finished" || undone == 0, "{told}");
        // While it is planned anew some have no message yet, and it says so.
        let renewed = told["renewed"] == true && all < self.recipients;
        assert!(all == self.recipients || renewed || told["messages"] == 0, "{told}");
    }

    /// Something a person does while it runs.
    fn meddle(&mut self, n: i64) {
        let ok = |bench: &Bench, arguments: &[&str]| {
            let output = bench.run(arguments);
            // There may be no campaign yet.
            assert!(
                matches!(output.status.code(), Some(0 | 3)),
                "{arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        match self.draw.with_text("meddle").with_number(n).between(0, 5) {
            0 => ok(&self.bench, &["campaign", "pause", "launch", "--note", "wait", "--for", "300ms"]),
            1 => ok(&self.bench, &["campaign", "resume", "launch"]),
            2 => {
                self.version += 1;
                self.write();
                ok(&self.bench, &["job", "apply", "jobs.yaml"]);
            }
            _ => {}
        }
    }
}

impl Campaign {
    /// Settles the doubts that are not looked at any more, as a person would who saw the recipients' phones. Answers how many.
    fn settle_doubts(&self) -> usize {
        let page = self.bench.json(&["doubt", "list", "--limit", "1000"]);
        let settled = page["messages"].as_array().unwrap().iter().filter(|m| m["next_look_at"].is_null());
        let done = done_by_chat(&self.bench);
        let (sent, unsent): (Vec<&Value>, Vec<&Value>) =
            settled.partition(|m| done.contains_key(m["to"].as_str().unwrap()));
        for (of, verdict) in [(&sent, "sent"), (&unsent, "resend")] {
            let ids: Vec<&str> = of.iter().map(|m| m["id"].as_str().unwrap()).collect();
            if !ids.is_empty() {
                self.bench.json(&[&["doubt", "resolve"][..], &ids, &["--as", verdict]].concat());
            }
        }
        sent.len() + unsent.len()
    }
}

/// How often something was done in each chat.
fn done_by_chat(bench: &Bench) -> HashMap<String, usize> {
    let mut done = HashMap::new();
    for line in bench.journal().iter().filter(|l| l.done && l.path == "/v2/send/text") {
        *done.entry(line.chat.clone()).or_insert(0) += 1;
    }
    done
}

/// Kills the daemon again and again; in the end it may finish, or is called off.
fn killed(kills: i64, recipients: u64, seed: u64, called_off: bool) {
    let bench = Bench::new();
    bench.write("scenario.yaml", &format!("seed: {}\n{SCENARIO}", seed % 1_000_000));
    let (_gateway, url) = gateway(&bench);
    let rows: String = (0..recipients).map(|n| format!("2010{n:08}\n")).collect();
    bench.write("guests.csv", &format!("to\n{rows}"));
    let mut campaign = Campaign { bench, url, recipients, version: 1, draw: Draw::new(seed, "campaign") };
    campaign.write();
    for n in 0..kills {
        let mut daemon = campaign.start();
        // Reading a long list takes its time, and begins anew with each life until it is done.
        let planned = campaign.show().is_some_and(|told| told["messages"] == recipients);
        let most = if planned { 500 } else { 500 + i64::try_from(recipients).unwrap() / 5 };
        let life = campaign.draw.with_text("life").with_number(n).between(30, most);
        pause(Duration::from_millis(u64::try_from(life).unwrap()));
        if n % 3 == 2 {
            campaign.meddle(n);
        }
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
        if n % 5 == 4 {
            campaign.meddle(n + 1_000);
            campaign.adds_up();
        }
    }
    let before = campaign.show().map(|told| told["counts"]["sent"].clone());
    campaign.bench.run(&["campaign", "resume", "launch"]);
    let daemon = campaign.start();
    if called_off {
        until("it is there", LIMIT, || campaign.show().is_some_and(|told| told["messages"] == recipients));
        campaign.bench.json(&["campaign", "cancel", "launch"]);
    }
    let mut asked = 0;
    until("all of it rests", LIMIT, || {
        let Some(told) = campaign.show() else { return false };
        let waits =
            ["scheduled", "claimed", "typing", "sending", "held"].iter().any(|state| told["counts"][state] != 0);
        // What no history tells of is told by a person who knows what the gateway did.
        if !waits && told["messages"] == recipients {
            asked += campaign.settle_doubts();
        }
        told["messages"] == recipients && told["undone"] == 0
    });
    drop(daemon);
    campaign.adds_up();
    let told = campaign.show().unwrap();
    assert_eq!(told["state"], if called_off { "cancelled" } else { "finished" });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(accounts(&campaign.bench));
    found.assert_clean();
    let done = done_by_chat(&campaign.bench);
    let twice: Vec<_> = done.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let sent = told["counts"]["sent"].as_u64().unwrap();
    assert_eq!(done.len() as u64, sent, "who got it is said to have got it: {told}");
    let settled: u64 = told["counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(settled, recipients);
    assert!(called_off || sent == recipients, "{told}");
    println!(
        "seed {seed}: {kills} kills, {} versions, {} sent before the last start, {asked} doubts settled by a person, then {sent} of {recipients}",
        campaign.version,
        before.unwrap_or_default()
    );
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn every_recipient_of_a_campaign_gets_one_message_however_often_the_process_dies() {
    let (kills, recipients, seed) = (number("KILLS", 15), number("RECIPIENTS", 900), number("SEED", 3));
    killed(i64::try_from(kills).unwrap(), recipients, seed, false);
}

#[test]
fn a_campaign_that_is_called_off_after_its_process_died_accounts_for_everybody() {
    let (kills, recipients, seed) = (number("KILLS", 15).div_ceil(3), number("RECIPIENTS", 900), number("SEED", 3));
    killed(i64::try_from(kills).unwrap(), recipients, seed + 1, true);
}
