//! Windows and expiry: when a message may leave, and when it is of no use any more.

use jiff::tz::TimeZone;

use crate::clock;
use crate::config::read::{Reading, short, suggest};
use crate::config::tree::{Node, Value};
use crate::domain::job::Expires;
use crate::domain::time::{Millis, parse_duration, parse_instant};
use crate::domain::window::{Days, Hours, Window, WindowZone};

const YEAR: Millis = Millis(365 * 86_400_000);

impl Reading<'_> {
    /// A window: `{ days: mon-fri, hours: "09:00-20:00", zone: recipient }`, each key optional.
    pub(crate) fn window(&mut self, node: &Node) -> Option<Window> {
        let map = self.map(node, "window", &["days", "hours", "zone"], &[])?;
        let days = match map.get("days") {
            None => Days::ALL,
            Some(n) => {
                let text = self.text_or_list(n, "window.days")?;
                let days = Days::parse(&text);
                if days.is_none() {
                    let hint = "write mon-fri, mon,wed,sat or all".to_owned();
                    self.error(n, format!("window.days cannot be '{}'", short(&text)), Some(hint));
                }
                days?
            }
        };
        let hours = match map.get("hours") {
            None => Hours::ALL,
            Some(n) => {
                let text = self.text(n, "window.hours")?;
                let hours = Hours::parse(&text);
                if hours.is_none() {
                    let hint = "write \"09:00-20:00\"; \"22:00-06:00\" crosses midnight".to_owned();
                    self.error(n, format!("window.hours cannot be '{}'", short(&text)), Some(hint));
                }
                hours?
            }
        };
        let zone = match map.get("zone") {
            None => WindowZone::Sender,
            Some(n) => match self.text(n, "window.zone")?.as_str() {
                "sender" => WindowZone::Sender,
                "recipient" => WindowZone::Recipient,
                name if clock::zone(name).is_ok() => WindowZone::Named(name.to_owned()),
                name => {
                    let near = suggest(name, &["sender", "recipient"]);
                    let hint = format!("{near}, or the name of a zone such as Europe/Berlin");
                    self.error(n, format!("window.zone cannot be '{}'", short(name)), Some(hint));
                    return None;
                }
            },
        };
        if days.is_empty() {
            self.error(node, "the window opens on no day", None);
            return None;
        }
        Some(Window { days, hours, zone })
    }

    /// Days may also be written as a YAML list.
    fn text_or_list(&mut self, node: &Node, what: &str) -> Option<String> {
        let Value::List(list) = &node.value else { return self.text(node, what) };
        let all: Vec<Option<String>> = list.iter().map(|n| self.text(n, what)).collect();
        Some(all.into_iter().collect::<Option<Vec<_>>>()?.join(","))
    }

    /// When a message is of no use any more: a duration after its due, or an instant.
    pub(crate) fn expires(&mut self, node: &Node, zone: &TimeZone) -> Option<Expires> {
        let text = self.text(node, "expires")?;
        if let Ok(length) = parse_duration(&text) {
            if length < Millis::seconds(1) || length > YEAR {
                self.error(node, format!("expires is {length}; expected 1s to {YEAR}"), None);
                return None;
            }
            return Some(Expires::After(length));
        }
        let instant = parse_instant(&text, zone, true).map(Expires::At);
        if instant.is_none() {
            let hint = "a duration after due such as 2h, or an instant such as 2026-12-01T10:00".to_owned();
            self.error(node, format!("expires cannot be '{}'", short(&text)), Some(hint));
        }
        instant
    }
}
