//! What counts as an opt-out at an instance, and what is answered to one.

use serde_json::{Value as Json, json};

use crate::config::content::try_one;
use crate::config::read::{Reading, short};
use crate::config::tree::{Node, Value};
use crate::domain::consent::{Consent, OptOut};
use crate::domain::content::Content;
use crate::domain::template::{Moments, Vars};
use crate::domain::time::Timestamp;
use crate::gateway::Kind;

/// Most words of an instance for each verdict: each is compared with every message that comes in.
const WORDS: usize = 100;

impl Reading<'_> {
    /// Reads `opt_out` or `opt_in` of an instance into what is known so far. Answers its form in the database.
    pub(crate) fn opt_out(&mut self, node: &Node, verdict: Consent, kind: Option<Kind>, into: &mut OptOut) -> Json {
        let (key, known): (&str, &[&str]) = match verdict {
            Consent::Out => ("opt_out", &["words", "ignore", "confirm"]),
            Consent::In => ("opt_in", &["words", "ignore", "confirm", "lifts_manual"]),
        };
        let Some(map) = self.map(node, key, known, &[]) else { return Json::Null };
        let mut list = |name: &str| match map.get(name) {
            Some(n) => self.keywords(n, &format!("{key}.{name}")),
            None => Vec::new(),
        };
        let (words, ignored) = (list("words"), list("ignore"));
        for (node, word) in &words {
            if into.keywords.means_other(word, verdict) {
                let other = if verdict == Consent::Out { "opt_in" } else { "opt_out" };
                let hint = format!("ignore: [{}] under {other} takes a usual word out", short(word));
                self.error(node, format!("'{}' opts in and out at once", short(word)), Some(hint));
            } else if !into.keywords.add(word, verdict) {
                let hint = "a keyword has letters or digits, no question mark, and 200 characters at most".to_owned();
                self.error(node, format!("nobody could ever write '{}' as a keyword", short(word)), Some(hint));
            }
        }
        for (node, word) in &ignored {
            if !into.keywords.ignore(word) {
                self.error(
                    node,
                    format!("'{}' is none of the usual keywords: it counts for nothing anyway", short(word)),
                    None,
                );
            }
        }
        let confirm = map.get("confirm").and_then(|n| self.confirmation(n, key, kind));
        let lifts_manual = map.get("lifts_manual").and_then(|n| self.flag(n, "opt_in.lifts_manual")).unwrap_or(false);
        let written = json!({
            "words": written(&words),
            "ignore": written(&ignored),
            "confirm": confirm,
            "lifts_manual": lifts_manual.then_some(true),
        });
        match verdict {
            Consent::Out => into.confirm_out = confirm,
            Consent::In => (into.confirm_in, into.lifts_manual) = (confirm, lifts_manual),
        }
        written
    }

    fn keywords<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(&'n Node, String)> {
        let nodes = match &node.value {
            Value::List(list) => list.iter().collect(),
            _ => vec![node],
        };
        if nodes.len() > WORDS {
            self.error(node, format!("{what} has {} words; at most {WORDS} are compared", nodes.len()), None);
            return Vec::new();
        }
        nodes.into_iter().filter_map(|n| Some((n, self.text(n, what)?))).collect()
    }

    /// It knows nothing of its recipient but when it is written.
    fn confirmation(&mut self, node: &Node, key: &str, kind: Option<Kind>) -> Option<String> {
        let what = format!("{key}.confirm");
        let text = self.text(node, &what)?;
        let moments = Moments::trial(Timestamp(0), jiff::tz::TimeZone::UTC);
        let compiled = Content::text(&text).compile().map_err(|e| e.to_string());
        let tried = compiled.and_then(|c| try_one(&c, kind, &Vars::new(), &moments));
        if let Err(e) = tried {
            self.error(node, format!("{what}: {e}"), None);
            return None;
        }
        Some(text)
    }
}

fn written(words: &[(&Node, String)]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.iter().map(|(_, word)| word.clone()).collect())
}
