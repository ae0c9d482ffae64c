//! A jobs file as persons write and edit it: drawn jobs, and drawn changes of them.

use std::fmt::Write;

use onthedot::domain::time::Timestamp;

use crate::dice::Dice;
use crate::machine::BEGIN;

/// Chats that are written to.
pub(crate) const CHATS: usize = 6;

/// Messages that an account with a rate may send within a minute.
const RATE: usize = 60;

/// Who is told of what is not read.
const BOSS: &str = "491701234999";

/// The list that jobs follow.
pub(crate) const LIST: &str = "customers";

/// When a job is due.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum When {
    At(Vec<Timestamp>),
    In(i64),
    Cron(i64),
    Every(i64),
    Event(Timestamp, i64),
}

/// A job of the file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) when: When,
    pub(crate) to: Vec<usize>,
    /// Its recipients are those of the list `customers`, as it changes.
    pub(crate) live: bool,
    pub(crate) text: u32,
    pub(crate) instance: &'static str,
    /// Ms; none = off.
    pub(crate) lead: Option<i64>,
    pub(crate) overlap: &'static str,
    pub(crate) on_doubt: &'static str,
    pub(crate) hold: bool,
    /// Seconds between the messages of a drip, which ends with a reply.
    pub(crate) drip: Option<i64>,
    pub(crate) nag: bool,
    /// Somebody else is told where it is not read.
    pub(crate) escalate: bool,
    /// Seconds after due, or after the beginning, after which it is of no use.
    pub(crate) expires: Option<(bool, i64)>,
    /// At most two messages to a recipient in half a minute.
    pub(crate) frequency: bool,
    /// Seconds by which it may be late, where that is not five minutes.
    pub(crate) max_lateness: Option<i64>,
    /// It opens when the first minute is over, or closes then.
    pub(crate) hours: Option<&'static str>,
    pub(crate) class: &'static str,
}

/// The whole file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) jobs: Vec<Declared>,
    pacing: [String; 2],
    versions: u32,
    lateness: Dice,
}

pub(crate) fn number(k: usize) -> String {
    format!("4917012340{k:02}")
}

pub(crate) fn chat(k: usize) -> String {
    format!("{}@c.us", number(k))
}

fn pick<T: Copy>(dice: &mut Dice, of: &[T]) -> T {
    of[usize::try_from(dice.roll(0, i64::try_from(of.len()).unwrap() - 1)).unwrap()]
}

impl File {
    /// The first file of a history.
    pub(crate) fn drawn(seed: u64, dice: &mut Dice, now: Timestamp) -> File {
        let pacing = [(); 2].map(|()| match dice.roll(0, 5) {
            0 => "pacing: { concurrency: 1 }, ".to_owned(),
            1 => "pacing: { gap: 500ms..2s }, ".to_owned(),
            2 => format!("pacing: {{ rate: {RATE}/min, concurrency: 2 }}, "),
            _ => String::new(),
        });
        let mut file = File { jobs: Vec::new(), pacing, versions: 0, lateness: Dice::of(seed, "lateness") };
        for n in 0..dice.roll(1, 3) {
            let job = file.job(dice, format!("job{n}"), now);
            file.jobs.push(job);
        }
        file
    }

    fn job(&mut self, dice: &mut Dice, name: String, now: Timestamp) -> Declared {
        let when = when(dice, now);
        let recurs = matches!(when, When::Cron(_) | When::Every(_));
        let is_event = matches!(when, When::Event(..));
        self.versions += 1;
        Declared {
            name,
            when,
            to: recipients(dice),
            live: dice.chance(25),
            text: self.versions,
            instance: pick(dice, &["shop", "shop", "desk"]),
            lead: pick(dice, &[Some(1_500), Some(2_500), Some(5_000), Some(400), None]),
            overlap: pick(dice, &["skip", "queue", "queue", "replace", "allow"]),
            on_doubt: pick(dice, &["hold", "hold", "drop", "resend"]),
            hold: !recurs && dice.chance(15),
            drip: (dice.chance(15) && !is_event).then(|| dice.roll(3, 12)),
            nag: dice.chance(15),
            escalate: dice.chance(10),
            expires: dice.chance(12).then(|| (dice.chance(50), dice.roll(5, 90))),
            frequency: dice.chance(12),
            max_lateness: self.lateness.chance(15).then(|| self.lateness.roll(4, 15)),
            hours: dice.chance(8).then(|| pick(dice, &["00:01-24:00", "00:00-00:01"])),
            class: pick(dice, &["normal", "normal", "campaign", "urgent", "bulk"]),
        }
    }

    /// A person edits the file.
    pub(crate) fn edit(&mut self, dice: &mut Dice, now: Timestamp) {
        for _ in 0..dice.roll(1, 2) {
            if self.jobs.is_empty() || self.jobs.len() < 4 && dice.chance(12) {
                let name = format!("job{}", dice.roll(0, 4));
                if self.jobs.iter().all(|j| j.name != name) {
                    let job = self.job(dice, name, now);
                    self.jobs.push(job);
                    continue;
                }
            }
            if self.jobs.is_empty() {
                return;
            }
            let k = usize::try_from(dice.roll(0, i64::try_from(self.jobs.len()).unwrap() - 1)).unwrap();
            self.versions += 1;
            let version = self.versions;
            let job = &mut self.jobs[k];
            match dice.roll(0, 17) {
                16 => (job.nag, job.escalate) = (!job.nag, dice.chance(40)),
                17 => job.expires = dice.chance(50).then(|| (dice.chance(50), dice.roll(5, 90))),
                0..=4 => job.text = version,
                5 | 6 => job.to = recipients(dice),
                7 => {
                    job.when = when(dice, now);
                    job.drip = job.drip.filter(|_| !matches!(job.when, When::Event(..)));
                }
                8 => job.instance = if job.instance == "shop" { "desk" } else { "shop" },
                9 => job.overlap = pick(dice, &["skip", "queue", "replace", "allow"]),
                10 => job.name = format!("job{}", 5 + version),
                11 => job.lead = pick(dice, &[Some(1_500), Some(4_000), None]),
                12 => {
                    self.jobs.remove(k);
                }
                13 => self.jobs.rotate_left(1),
                14 => job.live = !job.live,
                _ => job.hold = !job.hold && !matches!(job.when, When::Cron(_) | When::Every(_)),
            }
        }
    }

    /// How many messages an account may send within a minute, where there is a limit.
    pub(crate) fn rate_of(&self, instance: &str) -> Option<usize> {
        let pacing = &self.pacing[usize::from(instance != "shop")];
        pacing.contains("rate").then_some(RATE)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "version: 1\ntimezone: UTC\ninstances:\n  shop: {{ {}gateway: sandbox, doubt: {{ quarantine: 5s }}, webhook: {{ unsigned: true }} }}\n  \
             desk: {{ {}gateway: sandbox, doubt: {{ quarantine: 5s }}, webhook: {{ unsigned: true }} }}\n\
             defaults: {{ instance: shop, retry: {{ attempts: 4, backoff: [3s, 6s], jitter: 10% }}, max_lateness: 5m }}\njobs:\n",
            self.pacing[0], self.pacing[1]
        );
        for job in &self.jobs {
            job.write(&mut text);
        }
        if self.jobs.is_empty() {
            text.truncate(text.len() - "jobs:\n".len());
            text.push_str("jobs: {}\n");
        }
        text
    }
}

impl Declared {
    fn write(&self, text: &mut String) {
        let when = match &self.when {
            When::At(all) => {
                format!(
                    "at: [{}]",
                    all.iter().map(|t| format!("\"{}\"", t.to_rfc3339())).collect::<Vec<_>>().join(", ")
                )
            }
            When::In(ms) => format!("in: {ms}ms"),
            When::Cron(seconds) => format!("cron: \"*/{seconds} * * * * *\""),
            When::Every(seconds) => format!("every: {seconds}s"),
            When::Event(at, before) => format!("event: \"{}\"\n    remind: [-{before}s, -1s]", at.to_rfc3339()),
        };
        let some: Vec<String> = self.to.iter().map(|k| format!("\"{}\"", number(*k))).collect();
        let to = if self.live { format!("{{ list: {LIST}, live: true }}") } else { format!("[{}]", some.join(", ")) };
        let lead = self.lead.map_or("off".to_owned(), |ms| format!("{{ lead: {ms}ms }}"));
        let _ = write!(
            text,
            "  {}:\n    {when}\n    to: {to}\n    instance: {}\n    typing: {lead}\n    overlap: {}\n    on_doubt: {}\n    hold: {}\n    class: {}\n",
            self.name, self.instance, self.overlap, self.on_doubt, self.hold, self.class
        );
        match self.drip {
            Some(after) => {
                let _ = write!(
                    text,
                    "    stop_on: reply\n    messages: [{{ text: \"{0} a\" }}, {{ after: {after}s, text: \"{0} b\" }}, {{ after: {after}s, text: \"{0} c\" }}]\n",
                    self.said()
                );
            }
            None => {
                let _ = writeln!(text, "    text: \"{}\"", self.said());
                if self.nag {
                    text.push_str("    nag: { every: 10s, max: 2, until: reply }\n");
                }
                if self.escalate {
                    let _ = writeln!(
                        text,
                        "    escalate: {{ after: 8s, until: read, to: \"{BOSS}\", text: \"{} told\" }}",
                        self.said()
                    );
                }
            }
        }
        if let Some((after_due, seconds)) = self.expires {
            let instant = Timestamp(BEGIN + seconds * 1_000).to_rfc3339();
            let _ = match after_due {
                true => writeln!(text, "    expires: {seconds}s"),
                false => writeln!(text, "    expires: \"{instant}\""),
            };
        }
        if let Some(seconds) = self.max_lateness {
            let _ = writeln!(text, "    max_lateness: {seconds}s");
        }
        if self.frequency {
            text.push_str("    frequency: { at_most: 2, within: 30s }\n");
        }
        if let Some(hours) = self.hours {
            let _ = writeln!(text, "    window: {{ days: all, hours: \"{hours}\" }}");
        }
    }

    fn said(&self) -> String {
        format!("{} v{}", self.name, self.text)
    }
}

fn recipients(dice: &mut Dice) -> Vec<usize> {
    let all: Vec<usize> = (0..CHATS).filter(|_| dice.chance(60)).collect();
    if all.is_empty() { vec![0] } else { all }
}

fn when(dice: &mut Dice, now: Timestamp) -> When {
    use onthedot::domain::time::Millis;
    let soon = |dice: &mut Dice| now + Millis(dice.roll(500, 40_000));
    match dice.roll(0, 9) {
        0..=3 => When::At(vec![soon(dice)]),
        4 => {
            let first = soon(dice);
            When::At(vec![first, first + Millis(dice.roll(1_000, 15_000))])
        }
        5 => When::In(dice.roll(1_000, 20_000)),
        6 | 7 => When::Cron(pick(dice, &[5, 10, 15])),
        8 => When::Every(dice.roll(6, 20)),
        _ => When::Event(now + Millis(dice.roll(8_000, 60_000)), dice.roll(3, 7)),
    }
}
