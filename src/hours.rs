//! The windows in which a message may leave, each on its clock.

use crate::clock;
use crate::domain::template::ZONE_VAR;
use crate::domain::window::{OpenHours, Window, WindowZone};
use crate::store::Claimed;

/// The windows of a message on their clocks: its instance's and its own.
pub fn hours(instance: Option<&Window>, claimed: &Claimed) -> Vec<OpenHours> {
    let own = claimed.content.manner.window.as_ref();
    open_hours([instance, own], &claimed.content.zone, claimed.vars.get(ZONE_VAR).map(String::as_str))
}

/// Windows on their clocks: `sender` and `recipient` are zones by name, the recipient's as far as it is known.
pub fn open_hours(windows: [Option<&Window>; 2], sender: &str, recipient: Option<&str>) -> Vec<OpenHours> {
    let resolve = |w: &Window| {
        let sender = || clock::zone(sender).unwrap_or(jiff::tz::TimeZone::UTC);
        let zone = match &w.zone {
            WindowZone::Sender => sender(),
            WindowZone::Named(name) => clock::zone(name).unwrap_or_else(|_| sender()),
            // Never no window: where the recipient's zone is unknown, the sender's counts.
            WindowZone::Recipient => recipient.and_then(|name| clock::zone(name.trim()).ok()).unwrap_or_else(sender),
        };
        OpenHours { days: w.days, hours: w.hours, zone }
    };
    windows.into_iter().flatten().map(resolve).collect()
}
