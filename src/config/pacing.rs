//! The pacing of an instance, from the jobs file and back into its form.

use serde_json::{Value as Json, json};

use crate::config::read::{Reading, short};
use crate::config::tree::Node;
use crate::domain::pace::{Pacing, Rate};
use crate::domain::time::{Millis, parse_duration};
use crate::domain::warm_up::WarmUp;

const DAY: Millis = Millis(86_400_000);

impl Reading<'_> {
    /// How fast an instance may send.
    pub(crate) fn pacing(&mut self, node: &Node) -> Pacing {
        let mut pacing = Pacing::default();
        let known = ["rate", "gap", "concurrency", "per_hour", "per_day", "warm_up", "batch", "rest", "reserve"];
        let Some(map) = self.map(node, "pacing", &known, &[]) else { return pacing };
        pacing.rate = map.get("rate").and_then(|n| self.rate(n));
        pacing.gap = map.get("gap").and_then(|n| self.range(n, "pacing.gap"));
        let mut count = |key: &str| map.get(key).and_then(|n| self.whole(n, &format!("pacing.{key}"), 1, 100_000));
        pacing.concurrency = count("concurrency");
        pacing.per_hour = count("per_hour");
        pacing.per_day = count("per_day");
        pacing.batch = count("batch");
        pacing.warm_up = map.get("warm_up").and_then(|n| self.warm_up(n, pacing.per_day));
        pacing.rest = map.get("rest").and_then(|n| self.range(n, "pacing.rest"));
        if let Some(node) = map.get("reserve")
            && let Some(part) = self.percent(node, "pacing.reserve")
        {
            let percent = (0..=90).find(|p| f64::from(*p) >= part * 100.0);
            if percent.is_none() {
                self.error(
                    node,
                    "pacing.reserve is 90% at most: something must be left for the others".to_owned(),
                    None,
                );
            }
            pacing.reserve = percent.filter(|p| *p > 0);
        }
        for (key, other) in [("batch", "rest"), ("rest", "batch")] {
            if let (Some(n), None) = (map.get(key), map.get(other)) {
                let hint = "such as batch: 40, rest: 2m..4m".to_owned();
                self.error(n, format!("pacing.{key} needs pacing.{other} beside it"), Some(hint));
            }
        }
        pacing
    }

    /// `{ since: 2026-12-01, from: 20, over: 14d }`, beside the `per_day` it leads to.
    fn warm_up(&mut self, node: &Node, per_day: Option<u32>) -> Option<WarmUp> {
        let map = self.map(node, "pacing.warm_up", &["since", "from", "over"], &[])?;
        let missing = ["since", "from", "over"].into_iter().find(|key| !map.has(key));
        if let Some(key) = missing {
            let hint = "warm_up: { since: 2026-12-01, from: 20, over: 14d }".to_owned();
            self.error(node, format!("pacing.warm_up needs {key}"), Some(hint));
            return None;
        }
        let since = map.get("since").and_then(|n| self.warm_up_since(n));
        let from = map.get("from").and_then(|n| self.whole(n, "pacing.warm_up.from", 1, 100_000));
        let longest = Millis(DAY.0 * i64::from(WarmUp::LONGEST));
        let over = map.get("over").and_then(|n| self.duration_in(n, "pacing.warm_up.over", DAY, longest));
        let Some(full) = per_day else {
            self.error(
                node,
                "pacing.warm_up needs pacing.per_day, to which it leads",
                Some("per_day: 1000".to_owned()),
            );
            return None;
        };
        let (since, from, over) = (since?, from?, over?);
        if from >= full {
            self.error(
                node,
                format!("pacing.warm_up begins with {from} a day; expected less than the {full} of per_day"),
                None,
            );
            return None;
        }
        Some(WarmUp { since, from, days: u32::try_from(over.0 / DAY.0).unwrap_or(WarmUp::LONGEST) })
    }

    fn warm_up_since(&mut self, node: &Node) -> Option<jiff::civil::Date> {
        let text = self.text(node, "pacing.warm_up.since")?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let hint = Some("write a date such as 2026-12-01".to_owned());
            self.error(node, format!("pacing.warm_up.since cannot be '{}'", short(&text)), hint);
        }
        parsed
    }

    fn rate(&mut self, node: &Node) -> Option<Rate> {
        let text = self.text(node, "pacing.rate")?;
        let parsed = Rate::parse(&text);
        if parsed.is_none() {
            let hint = "write a whole number and /s, /min, /h or /day, such as 20/min".to_owned();
            self.error(node, format!("pacing.rate cannot be '{}'", short(&text)), Some(hint));
        }
        parsed
    }

    /// `2s..5s`, or one length for both ends.
    pub(crate) fn range(&mut self, node: &Node, what: &str) -> Option<(Millis, Millis)> {
        let text = self.text(node, what)?;
        let (low, high) = text.split_once("..").unwrap_or((&text, &text));
        match (parse_duration(low), parse_duration(high)) {
            (Ok(low), Ok(high)) if low <= high && high <= DAY => Some((low, high)),
            (Ok(low), Ok(high)) => {
                self.error(
                    node,
                    format!("{what} runs from {low} to {high}; expected a rising range of at most a day"),
                    None,
                );
                None
            }
            (Err(e), _) | (_, Err(e)) => {
                self.error(node, format!("{what}: {e}"), Some("a range is written 2s..5s".to_owned()));
                None
            }
        }
    }
}

/// A pacing in the form of the jobs file.
pub(crate) fn pacing_json(pacing: &Pacing) -> Json {
    json!({
        "rate": pacing.rate.map(|r| {
            let unit = match r.window.0 { 1_000 => "s", 60_000 => "min", 3_600_000 => "h", _ => "day" };
            format!("{}/{unit}", r.count)
        }),
        "gap": pacing.gap.map(|(low, high)| format!("{low}..{high}")),
        "concurrency": pacing.concurrency.map(|c| c.to_string()),
        "per_hour": pacing.per_hour.map(|c| c.to_string()),
        "per_day": pacing.per_day.map(|c| c.to_string()),
        "warm_up": pacing.warm_up.map(|w| {
            json!({ "since": w.since.to_string(), "from": w.from.to_string(), "over": format!("{}d", w.days) })
        }),
        "batch": pacing.batch.map(|c| c.to_string()),
        "rest": pacing.rest.map(|(low, high)| format!("{low}..{high}")),
        "reserve": pacing.reserve.map(|p| format!("{p}%")),
    })
}
