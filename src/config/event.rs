//! Events and their reminders.

use crate::config::read::{Map, Reading};
use crate::config::schedule::{When, one_or_more};
use crate::config::tree::{Node, Value};
use crate::domain::event::Remind;
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;

/// Reminders of one event.
const REMIND_LIMIT: usize = 100;

/// Whether an `event` is the instant of a schedule; otherwise it is a content, an invitation.
pub(super) fn is_instant(node: &Node) -> bool {
    matches!(node.value, Value::Scalar { .. })
}

impl Reading<'_> {
    /// The schedule of a job that reminds of an event.
    pub(super) fn event(&mut self, map: &Map<'_>, node: &Node, when: &When<'_>) -> Option<Schedule> {
        let at = self.instant(node, "event", when.zone, false);
        if at.is_some() {
            self.at_a_transition(node, at?, when);
        }
        let Some(remind) = map.get("remind") else {
            let hint = "remind: [-1d@18:00, -2h]".to_owned();
            self.error(node, format!("{} has an event, but no reminder of it", when.what), Some(hint));
            return None;
        };
        let nodes = one_or_more(remind);
        if nodes.is_empty() || nodes.len() > REMIND_LIMIT {
            self.error(remind, format!("remind needs 1 to {REMIND_LIMIT} distances from the event"), None);
            return None;
        }
        let mut met: Vec<(Timestamp, String)> = Vec::new();
        let mut all: Vec<Remind> = Vec::new();
        let before = self.errors.len();
        for n in nodes {
            let Some(text) = self.text(n, "remind") else { continue };
            match text.parse::<Remind>() {
                Ok(remind) => {
                    let instant = at.and_then(|at| remind.instant(at, when.zone));
                    if let Some((_, other)) = met.iter().find(|(t, _)| Some(*t) == instant) {
                        let message = format!("{text} is the same instant as {other}");
                        self.error(n, message, Some("remove one".to_owned()));
                    }
                    met.extend(instant.map(|t| (t, text)));
                    all.push(remind);
                }
                Err(e) => {
                    let hint = "d is a day of the recipient's calendar, h and m are elapsed time".to_owned();
                    self.error(n, e.to_string(), Some(hint));
                }
            }
        }
        (self.errors.len() == before).then_some(Schedule::Event { at: at?, remind: all })
    }
}
