//! What follows a message until it is answered: `nag` and `escalate`.

use crate::config::content::Said;
use crate::config::job::Around;
use crate::config::read::{Map, Reading};
use crate::config::schedule::one_or_more;
use crate::config::tree::Node;
use crate::domain::content::Content;
use crate::domain::follow::{ESCALATIONS_LIMIT, Ends, Escalation, FollowUp, Nag, Until};
use crate::domain::id::InstanceName;
use crate::domain::template::Moments;
use crate::domain::time::Millis;
use crate::gateway::Kind;

/// The keys read here.
pub(super) const KEYS: [&str; 2] = ["nag", "escalate"];

/// Nags of one message.
const NAGS_LIMIT: u32 = 100;

const MONTH: Millis = Millis(31 * 86_400_000);

impl Reading<'_> {
    /// What follows the messages of a job.
    pub(super) fn follow_up(
        &mut self,
        map: &Map<'_>,
        what: &str,
        (instance, kind): (&InstanceName, Kind),
        around: &Around<'_>,
        (mut said, moments): (Option<&mut Said>, &Moments),
    ) -> Option<FollowUp> {
        let (nag, escalate) = (map.get("nag"), map.get("escalate"));
        let node = nag.or(escalate)?;
        if map.get("messages").is_some() {
            let hint = "make it a job with one content".to_owned();
            self.error(node, format!("{what} has messages: which of them would be followed?"), Some(hint));
            return None;
        }
        let nag = nag.map(|n| self.nag(n));
        let mut steps = Vec::new();
        if let Some(node) = escalate {
            let nodes = one_or_more(node);
            if nodes.is_empty() || nodes.len() > ESCALATIONS_LIMIT {
                self.error(node, format!("escalate takes 1 to {ESCALATIONS_LIMIT} steps"), None);
                return None;
            }
            for n in nodes {
                steps.push(self.escalation(n, what, (instance, kind), around, (said.as_deref_mut(), moments)));
            }
        }
        let escalate = steps.into_iter().collect::<Option<Vec<_>>>()?;
        if escalate.windows(2).any(|w| w[1].after < w[0].after) {
            self.error(node, format!("the steps of escalate of {what} must rise in `after`"), None);
            return None;
        }
        let nag = match nag {
            Some(nag) => Some(nag?),
            None => None,
        };
        Some(FollowUp { nag, escalate })
    }

    fn nag(&mut self, node: &Node) -> Option<Nag> {
        let map = self.map(node, "nag", &["every", "max", "until", "window"], &[])?;
        let Some(every) = map.get("every") else {
            self.error(node, "nag needs every", Some("nag: { every: 10m, max: 3, until: read }".to_owned()));
            return None;
        };
        let every = self.duration_in(every, "nag.every", Millis::seconds(1), MONTH)?;
        let Some(max) = map.get("max") else {
            let hint = "nag: { every: 10m, max: 3, until: read }".to_owned();
            self.error(node, "nag needs max: receipts may be switched off, and then it would never end", Some(hint));
            return None;
        };
        let max = self.whole(max, "nag.max", 1, NAGS_LIMIT)?;
        let until = self.until(&map, "nag.until")?;
        let window = match map.get("window") {
            Some(n) => Some(self.window(n)?),
            None => None,
        };
        Some(Nag { every, max, until, window })
    }

    fn until(&mut self, map: &Map<'_>, what: &str) -> Option<Until> {
        match map.get("until") {
            Some(n) => self.word(n, what, &Until::WORDS, Until::from_name),
            None => Some(Until::Read),
        }
    }

    fn escalation(
        &mut self,
        node: &Node,
        what: &str,
        (own, own_kind): (&InstanceName, Kind),
        around: &Around<'_>,
        (said, moments): (Option<&mut Said>, &Moments),
    ) -> Option<Escalation> {
        let map = self.map(node, "escalate", &["after", "until", "to", "instance", "text", "ends"], &[])?;
        let Some(after) = map.get("after") else {
            let hint = "escalate: { after: 30m, until: read, to: \"+49 170 1234567\" }".to_owned();
            self.error(node, "escalate needs after", Some(hint));
            return None;
        };
        let after = self.duration_in(after, "escalate.after", Millis::seconds(1), MONTH)?;
        let until = self.until(&map, "escalate.until")?;
        let (instance, kind) = match map.get("instance") {
            None => (None, own_kind),
            Some(n) => {
                let name = self.text(n, "escalate.instance")?;
                let Some((found, kind)) = around.declared.iter().find(|(d, _)| *d.0 == *name) else {
                    self.unknown_instance(n, &name, around.declared);
                    return None;
                };
                (Some(found.clone()).filter(|f| f != own), *kind)
            }
        };
        let to = match map.get("to") {
            None => None,
            Some(n) => {
                let text = self.text(n, "escalate.to")?;
                match kind.parse_recipient(&text) {
                    Ok(chat) => Some(chat),
                    Err(e) => {
                        self.error(n, e.to_string(), None);
                        return None;
                    }
                }
            }
        };
        if to.is_none() && instance.is_none() {
            let hint = "to: CHAT or instance: NAME; to ask the same recipient again there is nag".to_owned();
            self.error(node, format!("escalate of {what} goes to nobody else"), Some(hint));
            return None;
        }
        let content = match map.get("text") {
            None => None,
            Some(n) => {
                let content = Content::text(&self.text(n, "escalate.text")?);
                if let Some(Err(e)) = said.map(|s| s.also(&content, kind, moments)) {
                    self.error(n, format!("text of escalate: {e}"), None);
                    return None;
                }
                Some(content)
            }
        };
        let ends = match map.get("ends") {
            None => Ends::Own,
            Some(n) => self.word(n, "escalate.ends", &Ends::WORDS, Ends::from_name)?,
        };
        Some(Escalation { after, until, to, instance, content, ends })
    }
}
