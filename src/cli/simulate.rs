//! `simulate`: a jobs file played in virtual time by the scheduler that will really run.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted, safe, table};
use crate::cli::{Global, place};
use crate::clock;
use crate::config::read::suggest;
use crate::config::{self, Settings};
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp, parse_instant};
use crate::future::{
    Assertion, Busiest, FORMS, Foreseen, Judge, Known, Line, Premise, Summary, Verdict, of_file, play,
};

/// Play a jobs file in virtual time with the scheduler that will really run, and check what it does
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The file is taken as if first applied at --from. With --db (or $ONTHEDOT_DB) naming a database that exists, its
jobs keep the instant at which they were first applied, and its seed is used. The gateway answers at once; outages,
refusals and people are not foreseen.

Assertions, each true of the whole span, or the command ends with 1:
  never on sunday                       a weekday, `sat,sun` or `mon-fri`; `in ZONE` names a clock
  never between 22:00 and 07:00         `in ZONE` names a clock
  at most 3 per recipient and week      per recipient, instance, job or total; hour, day, week or month
  at least 1 per day for job NAME       hour, day, week or month; whole ones within the span
  nothing late by more than 10m
  nothing skipped                       nor expired, nor cancelled
Each may end in `for job NAME`. Clocks and calendars are those of the file's zone.

Examples:
  onthedot simulate jobs.yaml --from 2026-12-01 --until 2027-01-01
  onthedot simulate jobs.yaml --until 2027-01-01 --csv plan.csv
  onthedot simulate jobs.yaml --until 2027-01-01 --assert \"never on sunday\" --assert \"at most 3 per recipient and week\""
)]
pub(super) struct SimulateArgs {
    /// The jobs file
    #[arg(value_name = "JOBS.yaml")]
    file: Option<PathBuf>,
    /// When virtual time begins [default: now]
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// When it ends
    #[arg(long, value_name = "T")]
    until: String,
    /// The seed of gaps, jitter and typing lengths [default: that of the database, else 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write one line a message to a file, or to standard output with -
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Messages shown with --json
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: u32,
    /// What shall be true; may be given several times
    #[arg(long = "assert", value_name = "ASSERTION")]
    assertions: Vec<String>,
    /// A file of such, one a line; # begins a remark
    #[arg(long, value_name = "FILE")]
    assert_file: Option<PathBuf>,
}

pub(super) async fn simulate(global: &Global, args: &SimulateArgs, out: &Out) -> anyhow::Result<Exit> {
    let Some(path) = args.file.as_ref().or(global.config.as_ref()) else {
        return Err(told(Exit::Usage, "which file? `onthedot simulate jobs.yaml --until T`"));
    };
    let now = clock::now();
    let settings = config::load(path, true, place::lists(global).as_deref(), now)?;
    settings.warnings.iter().for_each(|w| out.note(&format!("warning: {w}")));
    let zone = clock::zone(&settings.zone).unwrap_or(TimeZone::UTC);
    let from = match &args.from {
        Some(text) => instant("--from", text, &zone)?,
        None => now,
    };
    let until = instant("--until", &args.until, &zone)?;
    if until <= from {
        return Err(told(Exit::Usage, format!("--until {until} does not lie after --from {from}")));
    }
    if out.json && args.csv.as_deref().is_some_and(is_stdout) {
        return Err(told(Exit::Usage, "--json and --csv - both want the standard output; name a file for one of them"));
    }
    let assertions = assertions(args, &zone)?;
    for job in assertions.iter().filter_map(Assertion::job) {
        if !settings.jobs.iter().any(|j| j.job.name == job) {
            let known: Vec<&str> = settings.jobs.iter().map(|j| j.job.name.as_str()).take(20).collect();
            let message = format!(
                "an assertion names the job '{job}', which the file does not declare; {}",
                suggest(job, &known)
            );
            return Err(told(Exit::Usage, message));
        }
    }
    let mut known = known(global).await?;
    known.seed = args.seed.unwrap_or(known.seed);
    let premise = of_file(&settings, &known, from, until)?;
    let mut table = match &args.csv {
        Some(path) => Some(Table::begin(path)?),
        None => None,
    };
    let mut summary = Summary::new(zone.clone());
    let mut judges: Vec<Judge> = assertions.into_iter().map(|a| Judge::new(a, &premise, zone.clone())).collect();
    let limit = if out.json { usize::try_from(args.limit).unwrap_or(usize::MAX) } else { 0 };
    let mut messages = Vec::new();
    let mut left_out = 0_u64;
    play(&premise, |f| {
        summary.note(f);
        judges.iter_mut().for_each(|j| j.hear(f));
        if messages.len() < limit {
            messages.push(message_json(f));
        } else {
            left_out += 1;
        }
        table.as_mut().map_or(Ok(()), |t| t.line(f))
    })?;
    if let Some(table) = table {
        table.end()?;
    }
    let verdicts: Vec<Verdict> = judges.into_iter().map(Judge::judge).collect();
    let broken = verdicts.iter().any(|v| v.offences > 0);
    let report = Report { settings: &settings, premise: &premise, zone, verdicts: &verdicts };
    if out.json {
        out.document(&report.json(&mut summary, &messages, left_out))?;
    } else {
        let text = report.words(&mut summary);
        // Data on standard output is one thing: the table, where it goes there.
        if args.csv.as_deref().is_some_and(is_stdout) { out.note(&text) } else { out.data(&text)? }
    }
    Ok(if broken { Exit::Failed } else { Exit::Ok })
}

fn instant(flag: &str, text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    parse_instant(text, zone, false)
        .ok_or_else(|| told(Exit::Usage, format!("{flag} cannot be '{text}'; such as 2026-12-01 or 2026-12-01T10:00")))
}

fn assertions(args: &SimulateArgs, zone: &TimeZone) -> anyhow::Result<Vec<Assertion>> {
    let mut texts = args.assertions.clone();
    if let Some(path) = &args.assert_file {
        let text = std::fs::read_to_string(path)
            .map_err(|e| told(Exit::Usage, format!("--assert-file {}: it cannot be read: {e}", path.display())))?;
        texts.extend(text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty() && !l.starts_with('#')));
    }
    let read = |text: &String| {
        Assertion::parse(text, zone).map_err(|e| {
            told(
                Exit::Usage,
                format!("{e}; an assertion is one of\n  {}\neach also `… for job NAME`", FORMS.join("\n  ")),
            )
        })
    };
    texts.iter().map(read).collect()
}

/// What the database knows, where one was named and exists.
async fn known(global: &Global) -> anyhow::Result<Known> {
    let named = global.db.is_some() || std::env::var_os("ONTHEDOT_DB").is_some_and(|v| !v.is_empty());
    if !named {
        return Ok(Known::default());
    }
    let Some(store) = place::open_if_there(global).await? else { return Ok(Known::default()) };
    let views = store.job_views(None, clock::now()).await;
    let seed = store.seed();
    store.close().await;
    let first_applied: HashMap<String, Timestamp> =
        views?.into_iter().map(|v| (v.stored.job.name, v.stored.first_applied_at)).collect();
    Ok(Known { seed, first_applied })
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// One line a message, safe to be opened by a spreadsheet.
struct Table {
    writer: csv::Writer<Box<dyn Write>>,
}

const COLUMNS: [&str; 10] =
    ["job", "occurrence", "instance", "to", "due", "typing_from", "sends_at", "held_by", "state", "reason"];

impl Table {
    fn begin(path: &Path) -> anyhow::Result<Table> {
        let to: Box<dyn Write> = if is_stdout(path) {
            Box::new(std::io::stdout())
        } else {
            let wrong = |e| told(Exit::Usage, format!("--csv {}: it cannot be written: {e}", path.display()));
            Box::new(std::io::BufWriter::new(std::fs::File::create(path).map_err(wrong)?))
        };
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(COLUMNS).map_err(written)?;
        Ok(Table { writer })
    }

    fn line(&mut self, f: &Foreseen) -> anyhow::Result<()> {
        let at = |t: Option<Timestamp>| t.map_or_else(String::new, Timestamp::to_rfc3339);
        let record = [
            f.job.as_deref().map_or_else(String::new, harmless),
            at(f.occurrence),
            harmless(&f.instance.0),
            harmless(f.to.as_str()),
            f.due_at.to_rfc3339(),
            at(f.typing_from),
            at(f.sends_at),
            f.held_by.map_or("", |h| h.name()).to_owned(),
            f.state.name().to_owned(),
            f.reason.map_or("", |r| r.name()).to_owned(),
        ];
        self.writer.write_record(record).map_err(written)
    }

    fn end(mut self) -> anyhow::Result<()> {
        Ok(self.writer.flush()?)
    }
}

/// A reader who has enough ends the command quietly, as everywhere.
fn written(e: csv::Error) -> anyhow::Error {
    match e.into_kind() {
        csv::ErrorKind::Io(e) => e.into(),
        other => anyhow::anyhow!("the table cannot be written: {other:?}"),
    }
}

/// A cell that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

/// A message as JSON shows it.
pub(super) fn message_json(f: &Foreseen) -> Value {
    json!({
        "job": f.job,
        "occurrence": f.occurrence.map(Timestamp::to_rfc3339),
        "instance": f.instance,
        "to": f.to,
        "due_at": f.due_at.to_rfc3339(),
        "typing_from": f.typing_from.map(Timestamp::to_rfc3339),
        "sends_at": f.sends_at.map(Timestamp::to_rfc3339),
        "held_by": f.held_by.map(|h| h.name()),
        "state": f.state.name(),
        "reason": f.reason.map(|r| r.name()),
    })
}

struct Report<'s> {
    settings: &'s Settings,
    premise: &'s Premise,
    zone: TimeZone,
    verdicts: &'s [Verdict],
}

impl Report<'_> {
    fn json(&self, summary: &mut Summary, messages: &[Value], left_out: u64) -> Value {
        let Busiest { day, hour } = summary.busiest();
        let line = |line: &Line| {
            let unsent: Vec<Value> = line
                .unsent
                .iter()
                .map(|((state, reason), n)| json!({ "state": state.name(), "reason": reason, "messages": n }))
                .collect();
            json!({
                "messages": line.messages, "sent": line.sent, "unsent": unsent,
                "late": {
                    "messages": line.late, "mean_ms": line.late_mean(), "max_ms": line.late_most,
                    "held_by": line.held_by,
                },
            })
        };
        let jobs: Vec<Value> = summary
            .lines
            .iter()
            .map(|((job, instance), l)| {
                let mut value = line(l);
                value["job"] = json!(job);
                value["instance"] = json!(instance);
                value["occurrences"] = json!(l.occurrences);
                value
            })
            .collect();
        let mut whole = line(&summary.total);
        whole["occurrences"] = json!(summary.occurrences());
        whole["busiest_day"] = day.map_or(Value::Null, |(d, n)| json!({ "day": d.to_string(), "sent": n }));
        whole["busiest_hour"] = hour.map_or(Value::Null, |(t, n)| json!({ "from": t.to_rfc3339(), "sent": n }));
        let assertions: Vec<Value> = self
            .verdicts
            .iter()
            .map(|v| json!({ "assert": v.text, "holds": v.offences == 0, "offences": v.offences, "first": v.first }))
            .collect();
        json!({
            "from": self.premise.from.to_rfc3339(), "until": self.premise.until.to_rfc3339(),
            "seed": self.premise.seed, "zone": self.settings.zone,
            "summary": whole, "jobs": jobs, "assertions": assertions,
            "messages": messages, "left_out": left_out,
        })
    }

    fn words(&self, summary: &mut Summary) -> String {
        let Busiest { day, hour } = summary.busiest();
        let show = |t: Timestamp| t.in_zone(&self.zone).strftime("%a %Y-%m-%d %H:%M").to_string();
        let mut lines = vec![format!(
            "{} to {} ({}), seed {}",
            show(self.premise.from),
            show(self.premise.until),
            self.settings.zone,
            self.premise.seed
        )];
        if summary.total.messages == 0 {
            lines.push("nothing is due in this span".to_owned());
        } else {
            let rows = summary.lines.iter().map(|((job, instance), l)| row(job.as_deref(), &instance.0, l)).collect();
            lines.push(String::new());
            lines.push(table(&["job", "instance", "occurrences", "messages", "sent", "late", "not sent"], rows));
            lines.push(String::new());
        }
        let occurrences = counted(summary.occurrences(), "occurrence");
        let total = &summary.total;
        lines.push(format!("{}, {occurrences}: {} sent", counted(total.messages, "message"), total.sent));
        if total.late > 0 {
            lines.push(format!("later than due: {}", late(total)));
        }
        for ((state, reason), n) in &total.unsent {
            lines.push(format!("{}: {n}", why(*state, *reason)));
        }
        if let (Some((d, n)), Some((t, most))) = (day, hour) {
            lines.push(format!(
                "busiest day {} with {n} sent, busiest hour from {} with {most}",
                d.strftime("%a %Y-%m-%d"),
                show(t)
            ));
        }
        for v in self.verdicts {
            if v.offences == 0 {
                lines.push(format!("holds   {}", safe(&v.text)));
                continue;
            }
            lines.push(format!("BROKEN  {}: {}", safe(&v.text), counted(v.offences, "time")));
            lines.extend(v.first.iter().map(|f| format!("        {}", safe(f))));
            let more = v.offences.saturating_sub(u64::try_from(v.first.len()).unwrap_or(0));
            if more > 0 {
                lines.push(format!("        and {more} more"));
            }
        }
        lines.join("\n")
    }
}

fn row(job: Option<&str>, instance: &str, l: &Line) -> Vec<String> {
    let unsent: Vec<String> =
        l.unsent.iter().map(|((state, reason), n)| format!("{n} {}", why(*state, *reason))).collect();
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![
        job.map_or("-".to_owned(), safe),
        safe(instance),
        l.occurrences.to_string(),
        l.messages.to_string(),
        l.sent.to_string(),
        or_none(if l.late > 0 { late(l) } else { String::new() }),
        or_none(unsent.join(", ")),
    ]
}

fn late(l: &Line) -> String {
    let coarse = |m: Millis| if m.0 >= 10_000 { Millis(m.0 / 1_000 * 1_000) } else { m };
    let by: Vec<&str> = l.held_by.keys().copied().collect();
    let (mean, most) = (coarse(l.late_mean()), coarse(l.late_most));
    format!("{} by {mean} on average, {most} at most ({})", l.late, by.join(", "))
}

fn why(state: StateName, reason: Option<&str>) -> String {
    match (state, reason) {
        (StateName::Scheduled, None) => "after the span".to_owned(),
        (StateName::Scheduled, Some(reason)) => format!("after the span ({reason})"),
        (state, Some(reason)) => format!("{} ({reason})", state.name()),
        (state, None) => state.name().to_owned(),
    }
}
