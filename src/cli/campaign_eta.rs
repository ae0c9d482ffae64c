//! `campaign eta`: when a campaign will be finished, as it stands and as it might be.

use serde_json::{Value, json};

use crate::cli::campaign::found;
use crate::cli::exit::{Exit, told};
use crate::cli::out::{Out, counted, safe};
use crate::cli::place::Zone;
use crate::cli::progress::undone;
use crate::cli::{Global, place};
use crate::clock;
use crate::domain::pace::Rate;
use crate::domain::time::Timestamp;
use crate::domain::window::{Days, Hours};
use crate::future::{Finish, LeftOut, WhatIf, eta};
use crate::store::Opening;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "What waits is played in virtual time with the engine that will send it: first with a gateway that \
answers at once, then many times with one that answers as it did lately, refusals and slow answers included. `likely` \
is where eight of ten of those end. Outages and people are not foreseen.

Examples:
  onthedot campaign eta launch
  onthedot campaign eta launch --rate 30/min --window \"mon-sat 08:00-20:00\"
  onthedot campaign eta launch --instances 3 --json | jq .what_if.finish_at"
)]
pub(super) struct EtaArgs {
    /// The campaign, or its job: then the latest that has come, else the first that is to come
    name: String,
    /// What if its instances had this rate: a whole number and /s, /min, /h or /day
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// What if this were its only window, in the zone of the jobs file: "09:00-20:00" or "mon-fri 09:00-20:00"
    #[arg(long, value_name = "WINDOW")]
    window: Option<String>,
    /// What if it went through so many instances like its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    instances: Option<u32>,
}

impl EtaArgs {
    fn what_if(&self) -> anyhow::Result<WhatIf> {
        let rate = |text: &String| {
            let wrong = || told(Exit::Usage, format!("--rate cannot be '{text}': write it as 20/min"));
            Rate::parse(text).ok_or_else(wrong)
        };
        let window = |text: &String| {
            let wrong =
                || told(Exit::Usage, format!("--window cannot be '{text}': write it as \"mon-fri 09:00-20:00\""));
            let (days, hours) = text.trim().rsplit_once(' ').unwrap_or(("all", text.trim()));
            Days::parse(days).zip(Hours::parse(hours)).filter(|(days, _)| !days.is_empty()).ok_or_else(wrong)
        };
        Ok(WhatIf {
            rate: self.rate.as_ref().map(rate).transpose()?,
            window: self.window.as_ref().map(window).transpose()?,
            instances: self.instances,
        })
    }
}

pub(super) async fn campaign_eta(global: &Global, args: &EtaArgs, out: &Out) -> anyhow::Result<Exit> {
    let what_if = args.what_if()?;
    let store = place::open(global, Opening::Reading).await?;
    let now = clock::now();
    let zone = place::zone(&store).await?;
    let looked = async {
        let view = found(&store, &args.name, now).await?;
        let counted = undone(&view);
        let left_out = LeftOut::of(&store, &view.name, view.occurrence, now).await?;
        let waits = counted.without(left_out);
        let as_is = eta(&store, &view.name, waits, WhatIf::default(), now).await?;
        let supposed = match what_if == WhatIf::default() {
            true => None,
            false => Some(eta(&store, &view.name, waits, what_if, now).await?),
        };
        Ok::<_, anyhow::Error>((view, left_out, as_is, supposed))
    };
    let looked = looked.await;
    store.close().await;
    let (view, left_out, as_is, supposed) = looked?;
    if out.json {
        let mut document = json!({
            "campaign": view.name.to_string(), "what_if": supposed.as_ref().map(json_of), "suppressed": left_out.suppressed,
            "too_often": left_out.too_often,
        });
        if let (Value::Object(all), Value::Object(own)) = (&mut document, json_of(&as_is)) {
            all.extend(own);
        }
        out.document(&document)?;
        return Ok(Exit::Ok);
    }
    let mut lines = vec![
        format!("campaign   {}", safe(&view.name.to_string())),
        format!("waiting    {}", counted(as_is.waiting, "message")),
        format!("finish     {}", words(&as_is, &zone, now)),
    ];
    lines.extend(left_out_words(left_out));
    if let Some(supposed) = &supposed {
        lines.push(format!("what if    {}", words(supposed, &zone, now)));
    }
    out.data(&lines.join("\n"))?;
    Ok(Exit::Ok)
}

/// Who is left out of a prediction, and why.
pub(super) fn left_out_words(LeftOut { suppressed, too_often }: LeftOut) -> impl Iterator<Item = String> {
    let why = [
        (suppressed, "their recipients are suppressed"),
        (too_often, "their recipients have had what `frequency` allows"),
    ];
    let told = |(n, why)| format!("skipped    {} more: {why}", counted(n, "message"));
    why.into_iter().filter(|(n, _)| *n > 0).map(told)
}

pub(super) fn words(finish: &Finish, zone: &Zone, now: Timestamp) -> String {
    match (finish.waiting, finish.last) {
        (0, _) => "nothing waits".to_owned(),
        (_, Some(last)) => {
            let mut told = format!("{}, in {}", zone.show_exactly(last), last.since(now));
            if finish.extrapolated {
                told = format!("about {told}, at the pace of the first {}", finish.leave);
            }
            match finish.likely {
                [Some(early), _, Some(late)] if late > last || early > last => {
                    format!("{told}\nlikely     {} to {}", zone.show_exactly(early), zone.show_exactly(late))
                }
                _ => told,
            }
        }
        (all, None) if finish.leave == 0 => {
            format!(
                "nobody knows: none of {all} is foreseen to leave within 400 days; `campaign show` and `explain` say why"
            )
        }
        (all, None) => format!("nobody knows: {} of {all} are foreseen to leave within 400 days", finish.leave),
    }
}

pub(super) fn json_of(finish: &Finish) -> Value {
    json!({
        "waiting": finish.waiting,
        "leave": finish.leave,
        "next_at": finish.next.map(Timestamp::to_rfc3339),
        "finish_at": finish.last.map(Timestamp::to_rfc3339),
        "extrapolated": finish.extrapolated,
        "p10_at": finish.likely[0].map(Timestamp::to_rfc3339),
        "p50_at": finish.likely[1].map(Timestamp::to_rfc3339),
        "p90_at": finish.likely[2].map(Timestamp::to_rfc3339),
    })
}
