//! `bench`: how fast this machine carries the program.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bench::{Bench, Figures, SCENARIOS, Scenario, median};
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, table};

/// Measure how fast this machine carries the program: nothing leaves it
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot bench                         all but the large ones, in this folder, whose disk is measured
  onthedot bench drain late-50 --runs 5  the middle of five runs
  onthedot bench --list                  what can be measured
  onthedot bench drain --json | jq .scenarios[].median.per_second")]
pub(super) struct BenchArgs {
    /// What to measure; everything but the large ones if absent
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Say what can be measured
    #[arg(long)]
    list: bool,
    /// Messages of a scenario, where it does not run for a time
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(64..=10_000_000))]
    messages: u64,
    /// How long scenarios take that have so many messages each second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Messages in flight at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: u32,
    /// Runs of each scenario, taken in turns; the middle is told
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=101))]
    runs: u32,
    /// A server on this machine that speaks Wawp, in place of the sandbox: messages are posted to it
    #[arg(long, value_name = "URL", value_parser = on_this_machine)]
    gateway: Option<String>,
    /// Messages due another day beside those measured, in place of what the scenario says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=20_000_000))]
    behind: Option<u64>,
    /// Instances over which the messages are spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances: u32,
    /// The folder whose disk is measured
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

pub(super) async fn bench(args: &BenchArgs, out: &Out) -> anyhow::Result<Exit> {
    let chosen = chosen(&args.scenarios, args.list)?;
    if args.list {
        if out.json {
            let all: Vec<Value> =
                chosen.iter().map(|s| json!({ "name": s.name, "about": s.about, "large": s.large })).collect();
            out.document(&json!({ "scenarios": all }))?;
        } else {
            let rows = chosen
                .iter()
                .map(|s| vec![s.name.to_owned(), if s.large { "yes" } else { "" }.to_owned(), s.about.to_owned()])
                .collect();
            out.data(&table(&["scenario", "large", "what it shows"], rows))?;
        }
        return Ok(Exit::Ok);
    }
    crate::cli::run::raise_file_limit();
    let folder = std::fs::canonicalize(&args.folder)
        .map_err(|e| told(Exit::Usage, format!("--folder {}: {e}", args.folder.display())))?;
    let bench = Bench {
        folder,
        messages: args.messages,
        seconds: args.seconds,
        in_flight: args.in_flight,
        gateway: args.gateway.clone(),
        behind: args.behind,
        instances: args.instances,
    };
    let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); chosen.len()];
    for run in 1..=args.runs {
        for (scenario, figures) in chosen.iter().zip(&mut runs) {
            out.note(&format!("{} ({run} of {}) …", scenario.name, args.runs));
            figures.push(scenario.run(&bench).await?);
        }
    }
    let results: Vec<(&Scenario, Vec<Figures>)> = chosen.into_iter().zip(runs).collect();
    if out.json {
        let all: Vec<Value> = results.iter().map(|(scenario, runs)| result(scenario, runs)).collect();
        out.document(&json!({ "in_flight": args.in_flight, "runs": args.runs, "scenarios": all }))?;
    } else {
        out.data(&words(&results))?;
    }
    Ok(Exit::Ok)
}

/// Thousands of messages go to numbers that are made up: never to a gateway that may deliver them.
fn on_this_machine(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| format!("not an address: {e}"))?;
    let here = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(_)) | None => false,
    };
    if here { Ok(text.to_owned()) } else { Err("only a loopback address such as http://127.0.0.1:9700".to_owned()) }
}

fn chosen(names: &[String], list: bool) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().filter(|s| !s.large || list).collect());
    }
    let find = |name: &String| {
        SCENARIOS.iter().find(|s| s.name == name).ok_or_else(|| {
            let known: Vec<&str> = SCENARIOS.iter().map(|s| s.name).collect();
            told(Exit::Usage, format!("there is no scenario '{name}'; known: {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

fn result(scenario: &Scenario, runs: &[Figures]) -> Value {
    json!({
        "name": scenario.name,
        "median": figures(&median(runs)),
        "runs": runs.iter().map(figures).collect::<Vec<_>>(),
    })
}

fn figures(f: &Figures) -> Value {
    json!({
        "messages": f.messages,
        "per_second": f.per_second,
        "late_us": f.late.map(|l| json!({ "min": l.least, "p50": l.p50, "p99": l.p99, "max": l.most })),
        "cpu_us_per_message": f.cpu_us,
        "memory_kib": f.memory_kib,
        "acks_per_second": f.acks_per_second,
        "first_send_ms": f.first_ms,
        "start_ms": f.beginning.map(|b| json!({ "new": b.new.0, "open": b.open.0, "claim": b.claim.0, "check": b.check.0 })),
        "idle_core_ppm": f.core_ppm,
    })
}

fn words(results: &[(&Scenario, Vec<Figures>)]) -> String {
    let or_dash = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
    let ms = |us: i64| format!("{}{}.{:02}", if us < 0 { "-" } else { "" }, us.abs() / 1_000, us.abs() % 1_000 / 10);
    let row = |(scenario, runs): &(&Scenario, Vec<Figures>)| {
        let f = median(runs);
        let late = f.late.map(|l| [l.least, l.p50, l.p99, l.most].map(ms).join(" / "));
        vec![
            scenario.name.to_owned(),
            f.messages.to_string(),
            or_dash(f.per_second.map(|n| n.to_string())),
            or_dash(late),
            or_dash(f.cpu_us.map(|n| n.to_string())),
            or_dash(f.memory_kib.map(|n| (n / 1_024).to_string())),
            or_dash(f.acks_per_second.map(|n| n.to_string())),
            or_dash(f.first_ms.map(|n| n.to_string())),
            or_dash(f.beginning.map(|b| [b.new, b.open, b.claim, b.check].map(|ms| ms.0.to_string()).join(" / "))),
            or_dash(f.core_ppm.map(|ppm| format!("{}.{:02}", ppm / 10_000, ppm % 10_000 / 100))),
        ]
    };
    let head = [
        "scenario",
        "messages",
        "a second",
        "late ms (min / 50 / 99 / 100 %)",
        "CPU us each",
        "MiB",
        "acks a second",
        "first send ms",
        "start ms (new / open / claim / check)",
        "idle %",
    ];
    table(&head, results.iter().map(row).collect())
}
