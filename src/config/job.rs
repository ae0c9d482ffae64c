//! One job of a file.

use jiff::tz::TimeZone;

use crate::clock;
use crate::config::InstanceSettings;
use crate::config::content::Said;
use crate::config::event::is_instant;
use crate::config::follow;
use crate::config::manner;
use crate::config::read::{Map, Reading};
use crate::config::recipients::{Recipients, Source};
use crate::config::schedule::When;
use crate::config::tree::{Node, Value};
use crate::config::whereabouts::Whereabouts;
use crate::domain::content::KINDS;
use crate::domain::follow::FollowUp;
use crate::domain::id::InstanceName;
use crate::domain::job::{Job, Manner};
use crate::domain::recipient::Chat;
use crate::domain::template::Moments;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::window::{Window, WindowZone};
use crate::gateway::Kind;

/// Most accounts of one job: each recipient's is drawn among all of them.
const POOL_LIMIT: usize = 100;

const KEYS: [&str; 18] = [
    "at", "in", "every", "cron", "remind", "anchor", "starts", "ends", "count", "exclude", "jitter", "timezone", "to",
    "messages", "variants", "reply_to", "instance", "spread",
];

/// Recipients are spread over a month at most.
const SPREAD_LIMIT: Millis = Millis(31 * 86_400_000);

/// A job as it is meant, with its recipients.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// The declaration.
    pub job: Job,
    /// Who gets it.
    pub recipients: Recipients,
    /// Where it stands in the file.
    pub line: usize,
}

/// What a job may refer to.
pub(crate) struct Around<'s> {
    /// The instances the file declares, usable or not.
    pub declared: &'s [(InstanceName, Kind)],
    /// Those of them that can be used.
    pub instances: &'s [InstanceSettings],
    /// The instance of jobs that name none.
    pub default_instance: Option<&'s InstanceName>,
    /// The manner of jobs that say nothing else.
    pub defaults: &'s Manner,
    /// The zone of jobs that name none.
    pub zone: &'s str,
    /// Now.
    pub now: Timestamp,
}

impl Reading<'_> {
    /// Reads a job.
    pub(crate) fn job(&mut self, name: &str, node: &Node, around: &Around<'_>) -> Option<JobSettings> {
        let what = format!("job '{name}'");
        let known: Vec<&str> = KEYS.iter().chain(&KINDS).chain(&manner::KEYS).chain(&follow::KEYS).copied().collect();
        let map = self.map(node, &what, &known, &[])?;
        let own_clock =
            matches!(map.get("timezone").map(|n| &n.value), Some(Value::Scalar { text, .. }) if text == "recipient");
        let (zone_name, zone) = if own_clock {
            (around.zone.to_owned(), clock::zone(around.zone).ok()?)
        } else {
            self.zone(&map, around.zone)?
        };
        // Each recipient's clock shows every hour of a day once: UTC stands for it.
        let schedule_zone = if own_clock { TimeZone::UTC } else { zone.clone() };
        let when = When { name, what: &what, zone_name: &zone_name, zone: &schedule_zone, own_clock, now: around.now };
        let schedule = self.schedule(&map, &when);
        let mut manner = self.manner(&map, around.defaults, &zone);
        manner.own_clock = own_clock;
        let spread = map.get("spread").and_then(|n| self.duration_in(n, "spread", Millis::ZERO, SPREAD_LIMIT));
        let jitter = map.get("jitter").and_then(|n| self.duration_in(n, "jitter", Millis::ZERO, SPREAD_LIMIT));
        let pool = self.job_instances(&map, &what, around);
        let instance = pool.first().copied();
        let event = match &schedule {
            Some(schedule) => schedule.event_at(),
            // What is wrong with it, or with its reminders, is told already: the texts that name it are not to blame.
            None => map.get("event").is_some_and(is_instant).then_some(around.now),
        };
        let moments = Moments { event, ..Moments::trial(around.now, zone) };
        let mut said = self.said(&map, &what, instance.map(|(_, kind)| *kind), &moments);
        if let Some((instance, kind)) = instance {
            manner.follow = self.follow_up(&map, &what, (instance, *kind), around, (said.as_mut(), &moments));
        }
        let of_instance = |name: &InstanceName| around.instances.iter().find(|i| i.name == *name)?.window.as_ref();
        let by_recipient = |w: Option<&Window>| w.is_some_and(|w| w.zone == WindowZone::Recipient);
        let wanted = own_clock
            || event.is_some()
            || by_recipient(manner.window.as_ref())
            || pool.iter().any(|(name, _)| by_recipient(of_instance(name)));
        let recipients = match (map.get("to"), instance) {
            (Some(to), Some((_, kind))) => {
                let mut whereabouts =
                    wanted.then(|| Whereabouts::new(&zone_name, own_clock || event.is_some(), around.now));
                let read = self.recipients(to, &what, *kind, (said.as_ref(), &moments), whereabouts.as_mut());
                if let Some(w) = whereabouts {
                    w.warn(self, to, &what);
                }
                read
            }
            (None, _) => {
                self.error(node, format!("{what} has no recipient"), Some("to: \"+49 170 1234567\"".to_owned()));
                None
            }
            (Some(_), None) => None,
        };
        if let (Some(r), Some(follow)) = (&recipients, &manner.follow) {
            self.warn_of_the_same(r, follow, &map, &what);
        }
        let Said { mut contents, weights, after, .. } = said?;
        let recipients = recipients?;
        let job = Job {
            name: name.to_owned(),
            schedule: schedule?,
            zone: zone_name,
            instance: instance?.0.clone(),
            others: pool.iter().skip(1).map(|(name, _)| name.clone()).collect(),
            content: contents.remove(0),
            then: contents,
            weights,
            after,
            live: recipients.live(),
            manner,
            spread,
            jitter: jitter.filter(|j| *j > Millis::ZERO),
        };
        Some(JobSettings { job, recipients, line: node.line })
    }

    /// Says where an escalation goes to somebody who gets the message itself.
    fn warn_of_the_same(&mut self, recipients: &Recipients, follow: &FollowUp, map: &Map<'_>, what: &str) {
        let Source::Inline(list) = &recipients.source else { return };
        let same = |to: &Chat| list.iter().any(|r| r.chat == *to);
        for step in follow.escalate.iter().filter(|s| s.instance.is_none()) {
            if let (Some(to), Some(node)) = (step.to.as_ref().filter(|to| same(to)), map.get("escalate")) {
                let hint = "to ask the same recipient again there is nag".to_owned();
                self.warn(node, format!("escalate of {what} goes to {to}, who gets the message itself"), Some(hint));
            }
        }
    }

    fn zone(&mut self, map: &Map<'_>, default: &str) -> Option<(String, TimeZone)> {
        let Some(node) = map.get("timezone") else {
            return clock::zone(default).ok().map(|z| (default.to_owned(), z));
        };
        let name = self.text(node, "timezone")?;
        self.zone_named(node, &name)
    }

    /// A zone by its name.
    pub(crate) fn zone_named(&mut self, node: &Node, name: &str) -> Option<(String, TimeZone)> {
        match clock::zone(name) {
            Ok(zone) => Some((name.to_owned(), zone)),
            Err(e) => {
                self.error(node, e.to_string(), None);
                None
            }
        }
    }

    /// The accounts a job goes through: one, or a list of them.
    fn job_instances<'s>(&mut self, map: &Map<'_>, what: &str, around: &Around<'s>) -> Vec<&'s (InstanceName, Kind)> {
        let listed = map.get("instance").and_then(|n| match &n.value {
            Value::List(list) => Some((n, list)),
            _ => None,
        });
        let Some((node, list)) = listed else { return self.job_instance(map, what, around).into_iter().collect() };
        let mut pool: Vec<&(InstanceName, Kind)> = Vec::with_capacity(list.len());
        for n in list {
            let Some(name) = self.text(n, "instance") else { continue };
            match around.declared.iter().find(|(declared, _)| *declared.0 == *name) {
                None => self.unknown_instance(n, &name, around.declared),
                Some(found) if pool.contains(&found) => {
                    self.error(n, format!("the instance '{name}' stands twice in the list of {what}"), None);
                }
                Some(found) if pool.first().is_some_and(|(_, kind)| *kind != found.1) => {
                    let hint = "the accounts of one job speak to one kind of gateway".to_owned();
                    self.error(n, format!("the instance '{name}' of {what} has another gateway"), Some(hint));
                }
                Some(found) => pool.push(found),
            }
        }
        if list.is_empty() || list.len() > POOL_LIMIT {
            let many = list.len();
            self.error(node, format!("{what} goes through {many} instances; expected 1 to {POOL_LIMIT}"), None);
        }
        pool
    }

    fn job_instance<'s>(&mut self, map: &Map<'_>, what: &str, around: &Around<'s>) -> Option<&'s (InstanceName, Kind)> {
        let find = |name: &str| around.declared.iter().find(|(n, _)| *n.0 == *name);
        if let Some(node) = map.get("instance") {
            let name = self.text(node, "instance")?;
            let found = find(&name);
            if found.is_none() {
                self.unknown_instance(node, &name, around.declared);
            }
            return found;
        }
        if let Some(name) = around.default_instance {
            return find(&name.0);
        }
        match around.declared {
            [only] => Some(only),
            // A file without any instance has been told so already.
            [] => None,
            _ => {
                let hint = "instance: NAME, or defaults: { instance: NAME }".to_owned();
                self.error(map.node, format!("{what} does not say through which instance"), Some(hint));
                None
            }
        }
    }

    /// Notes that an instance is not declared.
    pub(crate) fn unknown_instance(&mut self, node: &Node, name: &str, declared: &[(InstanceName, Kind)]) {
        let names: Vec<&str> = declared.iter().map(|(n, _)| &*n.0).collect();
        self.error(node, format!("there is no instance '{name}'"), Some(crate::config::read::suggest(name, &names)));
    }
}
