//! How messages are sent: the keys that `defaults` and every job share.

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::config::read::{Map, Reading};
use crate::config::tree::{Node, Value};
use crate::domain::brake::{LOOKED_AT, PATIENCE, PauseOn};
use crate::domain::class::Class;
use crate::domain::frequency::Frequency;
use crate::domain::job::{Manner, OnDoubt, Overlap};
use crate::domain::misfire::Misfire;
use crate::domain::retry::RetryPolicy;
use crate::domain::time::Millis;
use crate::domain::timeline::Late;
use crate::domain::typing::{LONGEST_LEAD, Typing};

/// The keys read here.
pub(super) const KEYS: [&str; 18] = [
    "typing",
    "late",
    "misfire",
    "grace",
    "max_lateness",
    "max_catchup",
    "overlap",
    "retry",
    "on_doubt",
    "class",
    "window",
    "expires",
    "hold",
    "consent",
    "pause_on",
    "stop_on",
    "quiet_after_reply",
    "frequency",
];

const YEAR: Millis = Millis(365 * 86_400_000);

impl Reading<'_> {
    /// The manner of a job: what its keys say, else `base`.
    pub(crate) fn manner(&mut self, map: &Map<'_>, base: &Manner, zone: &TimeZone) -> Manner {
        let mut manner = base.clone();
        if let Some(t) = map.get("typing").and_then(|n| self.typing(n)) {
            manner.typing = t;
        }
        let late = |t: &str| match t {
            "keep_due" => Some(Late::KeepDue),
            "keep_lead" => Some(Late::KeepLead),
            _ => None,
        };
        if let Some(l) = map.get("late").and_then(|n| self.word(n, "late", &["keep_due", "keep_lead"], late)) {
            manner.late = l;
        }
        let misfire = |t: &str| match t {
            "run_once" => Some(Misfire::RunOnce),
            "skip" => Some(Misfire::Skip),
            "run_all" => Some(Misfire::RunAll),
            _ => None,
        };
        let words = ["run_once", "skip", "run_all"];
        if let Some(m) = map.get("misfire").and_then(|n| self.word(n, "misfire", &words, misfire)) {
            manner.misfire = m;
        }
        if let Some(n) = map.get("max_catchup").and_then(|n| self.whole(n, "max_catchup", 1, 10_000)) {
            manner.max_catchup = n;
        }
        let overlap = |t: &str| match t {
            "skip" => Some(Overlap::Skip),
            "queue" => Some(Overlap::Queue),
            "replace" => Some(Overlap::Replace),
            "allow" => Some(Overlap::Allow),
            _ => None,
        };
        let words = ["skip", "queue", "replace", "allow"];
        if let Some(o) = map.get("overlap").and_then(|n| self.word(n, "overlap", &words, overlap)) {
            manner.overlap = o;
        }
        if let Some(g) = map.get("grace").and_then(|n| self.duration_in(n, "grace", Millis::ZERO, YEAR)) {
            manner.grace = g;
        }
        if let Some(m) = map.get("max_lateness").and_then(|n| self.duration_in(n, "max_lateness", Millis::ZERO, YEAR)) {
            manner.max_lateness = Some(m);
        }
        if let Some(r) = map.get("retry").and_then(|n| self.retry(n, &base.retry)) {
            manner.retry = r;
        }
        let on_doubt = |t: &str| match t {
            "hold" => Some(OnDoubt::Hold),
            "resend" => Some(OnDoubt::Resend),
            "drop" => Some(OnDoubt::Drop),
            _ => None,
        };
        let words = ["hold", "resend", "drop"];
        if let Some(d) = map.get("on_doubt").and_then(|n| self.word(n, "on_doubt", &words, on_doubt)) {
            manner.on_doubt = d;
        }
        let classes = Class::ALL.map(Class::name);
        if let Some(c) = map.get("class").and_then(|n| self.word(n, "class", &classes, Class::from_name)) {
            manner.class = c;
        }
        if let Some(w) = map.get("window").and_then(|n| self.window(n)) {
            manner.window = Some(w);
        }
        if let Some(e) = map.get("expires").and_then(|n| self.expires(n, zone)) {
            manner.expires = Some(e);
        }
        self.permission(map, &mut manner);
        manner
    }

    /// Who or what must agree before it goes out.
    fn permission(&mut self, map: &Map<'_>, manner: &mut Manner) {
        if let Some(hold) = map.get("hold").and_then(|n| self.flag(n, "hold")) {
            manner.hold = hold;
        }
        let consent = |t: &str| match t {
            "opt_in" => Some(true),
            "opt_out" => Some(false),
            _ => None,
        };
        if let Some(c) = map.get("consent").and_then(|n| self.word(n, "consent", &["opt_in", "opt_out"], consent)) {
            manner.opt_in = c;
        }
        let stop_on = |t: &str| match t {
            "reply" => Some(true),
            "nothing" => Some(false),
            _ => None,
        };
        if let Some(s) = map.get("stop_on").and_then(|n| self.word(n, "stop_on", &["reply", "nothing"], stop_on)) {
            manner.stop_on_reply = s;
        }
        if let Some(node) = map.get("quiet_after_reply") {
            let off = matches!(&node.value, Value::Scalar { text, .. } if matches!(text.as_str(), "off" | "false"));
            let quiet = if off { None } else { self.duration_in(node, "quiet_after_reply", Millis::ZERO, YEAR) };
            manner.quiet_after_reply = quiet;
        }
        if let Some(node) = map.get("frequency") {
            manner.frequency = self.frequency(node);
        }
        if let Some(node) = map.get("pause_on") {
            manner.pause_on = self.pause_on(node);
        }
    }

    fn pause_on(&mut self, node: &Node) -> Option<PauseOn> {
        if matches!(&node.value, Value::Scalar { text, .. } if matches!(text.as_str(), "off" | "false")) {
            return None;
        }
        let map = self.map(node, "pause_on", &["errors", "undelivered", "opt_outs", "of", "patience"], &[])?;
        let mut part = |key: &str| map.get(key).and_then(|n| self.percent(n, &format!("pause_on.{key}")));
        let (errors, undelivered, opt_outs) = (part("errors"), part("undelivered"), part("opt_outs"));
        if ["errors", "undelivered", "opt_outs"].iter().all(|key| map.get(key).is_none()) {
            let hint = "write pause_on: { errors: 10%, opt_outs: 3% }, or off".to_owned();
            self.error(node, "pause_on needs at least one of errors, undelivered, opt_outs".to_owned(), Some(hint));
            return None;
        }
        let of = map.get("of").map_or(Some(LOOKED_AT), |n| self.whole(n, "pause_on.of", 10, 10_000))?;
        let patience = map
            .get("patience")
            .map_or(Some(PATIENCE), |n| self.duration_in(n, "pause_on.patience", Millis::seconds(1), YEAR))?;
        Some(PauseOn { errors, undelivered, opt_outs, of, patience })
    }

    fn typing(&mut self, node: &Node) -> Option<Typing> {
        if let Value::Scalar { text, .. } = &node.value {
            // YAML 1.1 tools write `off` as false; both mean it.
            if matches!(text.as_str(), "off" | "false") {
                return Some(Typing::Off);
            }
            let hint = "write typing: { lead: 2.5s }, { chars_per_second: 8, min: 1.5s, max: 12s } or off";
            self.error(node, format!("typing cannot be '{text}'"), Some(hint.to_owned()));
            return None;
        }
        let map = self.map(node, "typing", &["lead", "chars_per_second", "min", "max", "jitter", "kind"], &[])?;
        if let Some(kind) = map.get("kind") {
            self.word(kind, "typing.kind", &["text", "voice"], |t| ["text", "voice"].contains(&t).then_some(()))?;
            if matches!(&kind.value, Value::Scalar { text, .. } if text == "voice") {
                let hint = "typing is shown instead".to_owned();
                self.warn(kind, "this gateway documents no way to show \"recording audio…\"", Some(hint));
            }
        }
        let lead = map.get("lead").map(|n| self.duration_in(n, "typing.lead", Millis::ZERO, LONGEST_LEAD));
        let speed = map.get("chars_per_second").map(|n| self.speed(n));
        match (lead, speed) {
            (Some(lead), None) => {
                for key in ["min", "max", "jitter"] {
                    if let Some(n) = map.get(key) {
                        self.error(n, format!("typing.{key} goes with chars_per_second, not with lead"), None);
                    }
                }
                Some(Typing::Lead(lead?))
            }
            (None, Some(speed)) => {
                let bound = |r: &mut Self, key: &str, default| match map.get(key) {
                    Some(n) => r.duration_in(n, &format!("typing.{key}"), Millis::ZERO, LONGEST_LEAD),
                    None => Some(default),
                };
                let min = bound(self, "min", Millis(1_500))?;
                let max = bound(self, "max", Millis(12_000).max(min))?;
                if max < min {
                    self.error(node, format!("typing.max ({max}) is shorter than typing.min ({min})"), None);
                    return None;
                }
                let jitter = map.get("jitter").map_or(Some(0.0), |n| self.percent(n, "typing.jitter"))?;
                Some(Typing::BySpeed { chars_per_second: speed?, min, max, jitter })
            }
            (Some(_), Some(_)) => {
                self.error(node, "typing takes either lead or chars_per_second, not both", None);
                None
            }
            (None, None) => {
                self.error(node, "typing needs lead or chars_per_second", Some("or write typing: off".to_owned()));
                None
            }
        }
    }

    fn speed(&mut self, node: &Node) -> Option<f64> {
        let text = self.text(node, "typing.chars_per_second")?;
        match text.parse::<f64>().ok().filter(|s| (0.1..=1_000.0).contains(s)) {
            Some(speed) => Some(speed),
            None => {
                self.error(node, format!("typing.chars_per_second cannot be '{text}'; expected 0.1 to 1000"), None);
                None
            }
        }
    }

    /// `{ at_most: 2, within: 7d }`, or off.
    fn frequency(&mut self, node: &Node) -> Option<Frequency> {
        if matches!(&node.value, Value::Scalar { text, .. } if matches!(text.as_str(), "off" | "false")) {
            return None;
        }
        let map = self.map(node, "frequency", &["at_most", "within"], &[])?;
        let (Some(at_most), Some(within)) = (map.get("at_most"), map.get("within")) else {
            let hint = "frequency: { at_most: 2, within: 7d }".to_owned();
            self.error(node, "frequency needs at_most and within", Some(hint));
            return None;
        };
        let at_most = self.whole(at_most, "frequency.at_most", 1, 1_000);
        let within = self.duration_in(within, "frequency.within", Millis::seconds(1), Frequency::LONGEST);
        Some(Frequency { at_most: at_most?, within: within? })
    }

    fn retry(&mut self, node: &Node, base: &RetryPolicy) -> Option<RetryPolicy> {
        let map = self.map(node, "retry", &["attempts", "backoff", "jitter"], &[])?;
        let mut retry = base.clone();
        if let Some(n) = map.get("attempts") {
            retry.attempts = self.whole(n, "retry.attempts", 1, 100)?;
        }
        if let Some(n) = map.get("backoff") {
            let steps = match &n.value {
                Value::List(list) => list.iter().collect(),
                _ => vec![n],
            };
            let read: Vec<Option<Millis>> =
                steps.iter().map(|s| self.duration_in(s, "retry.backoff", Millis(1), YEAR)).collect();
            retry.backoff = read.into_iter().collect::<Option<Arc<_>>>()?;
            if retry.backoff.is_empty() {
                self.error(n, "retry.backoff needs at least one duration", None);
                return None;
            }
        }
        if let Some(n) = map.get("jitter") {
            retry.jitter = self.percent(n, "retry.jitter")?;
        }
        Some(retry)
    }
}
