//! `maintenance`: what the daemon does for itself, and when.

use crate::config::read::{Map, Reading, short};
use crate::config::tree::{Node, Value};
use crate::config::{InstanceSettings, JobSettings};
use crate::domain::chore::{BACKUPS_KEPT, Chore, ChoreName, FAILED_KEPT, KEPT, Task, default_cron};
use crate::domain::cron::{Cron, settle_spread};
use crate::domain::pace::MARGIN;
use crate::domain::time::Millis;

/// Nothing is forgotten earlier than this.
const SHORTEST_KEEP: Millis = Millis(3_600_000);

/// A hundred years.
const LONGEST_KEEP: Millis = Millis(36_525 * 86_400_000);

/// What a chore says of itself.
enum Said {
    /// Nothing: it is as it is by default.
    Nothing,
    /// `off`.
    Off,
    /// Something wrong, which was told.
    Wrong,
    /// A cron pattern.
    Cron(String),
}

impl Reading<'_> {
    /// The chores a file asks for, those included that it does not switch off.
    pub(super) fn maintenance(&mut self, node: Option<&Node>) -> Vec<Chore> {
        let known: Vec<&str> = ChoreName::ALL.iter().map(|(_, name, _)| *name).collect();
        let Some(map) = node.and_then(|n| self.map(n, "maintenance", &known, &[])) else {
            return Chore::defaults();
        };
        ChoreName::ALL.into_iter().filter_map(|(name, ..)| self.chore(name, map.get(name.name()))).collect()
    }

    /// Refuses to forget what a pace or a `frequency` of the file counts: it would be forgotten that it was sent.
    pub(super) fn keeps_what_counts(
        &mut self,
        node: &Node,
        chores: &[Chore],
        instances: &[InstanceSettings],
        jobs: &[JobSettings],
    ) {
        let kept = |chore: &Chore| match &chore.task {
            Task::Prune { keep, .. } => Some(*keep),
            _ => None,
        };
        let Some(keep) = chores.iter().find_map(kept) else { return };
        let paces = instances.iter().map(|i| (i.pacing.memory() - MARGIN, format!("the pacing of '{}'", i.name)));
        let often = jobs.iter().filter_map(|j| {
            let within = j.job.manner.frequency?.within;
            Some((within, format!("the frequency of job '{}'", j.job.name)))
        });
        let Some((longest, what)) = paces.chain(often).max_by_key(|(span, _)| *span) else { return };
        if keep < longest {
            let message = format!("maintenance.prune.keep is {keep}, and {what} counts what was sent for {longest}");
            self.error(node, message, Some(format!("keep: {longest}, or longer")));
        }
    }

    fn chore(&mut self, name: ChoreName, node: Option<&Node>) -> Option<Chore> {
        let what = format!("maintenance.{}", name.name());
        let map = match node {
            Some(n) if matches!(n.value, Value::Map(_)) => Some(self.map(n, &what, keys(name), &[])?),
            _ => None,
        };
        let said = match (&map, node) {
            (Some(map), _) => map.get("cron").map_or(Said::Nothing, |n| self.pattern(n, &format!("{what}.cron"), name)),
            (None, Some(n)) => self.pattern(n, &what, name),
            (None, None) => Said::Nothing,
        };
        let cron = match said {
            Said::Off | Said::Wrong => return None,
            Said::Cron(text) => text,
            Said::Nothing if node.is_none() && matches!(name, ChoreName::Prune | ChoreName::Backup) => return None,
            Said::Nothing => default_cron(name).to_owned(),
        };
        let task = match name {
            ChoreName::Tidy => Task::Tidy,
            ChoreName::Checkpoint => Task::Checkpoint,
            ChoreName::Report => Task::Report,
            ChoreName::Prune => self.prune(map.as_ref()),
            ChoreName::Backup => self.backup(map.as_ref(), node?)?,
        };
        Some(Chore { task, cron })
    }

    fn pattern(&mut self, node: &Node, what: &str, name: ChoreName) -> Said {
        let Some(text) = self.text(node, what) else { return Said::Wrong };
        if text == "off" {
            return Said::Off;
        }
        let settled = settle_spread(&text, name.name()).and_then(|t| Cron::parse(&t).map(|_| t));
        match settled {
            Ok(t) if t.starts_with('@') || t.split_whitespace().count() == 5 => Said::Cron(t),
            Ok(_) => {
                let message = format!("{what} cannot be '{}': a chore's pattern has five fields", short(&text));
                self.error(node, message, Some(format!("such as \"{}\", or off", default_cron(name))));
                Said::Wrong
            }
            Err(e) => {
                self.error(node, e.to_string(), Some(format!("such as \"{}\", or off", default_cron(name))));
                Said::Wrong
            }
        }
    }

    fn prune(&mut self, map: Option<&Map<'_>>) -> Task {
        let keep = map.and_then(|m| m.get("keep")).and_then(|n| self.kept(n, "maintenance.prune.keep"));
        let keep = keep.unwrap_or(KEPT);
        let failed = map.and_then(|m| m.get("keep_failed")).and_then(|n| self.kept(n, "maintenance.prune.keep_failed"));
        Task::Prune { keep, keep_failed: failed.unwrap_or(FAILED_KEPT.max(keep)) }
    }

    fn kept(&mut self, node: &Node, what: &str) -> Option<Millis> {
        self.duration_in(node, what, SHORTEST_KEEP, LONGEST_KEEP)
    }

    fn backup(&mut self, map: Option<&Map<'_>>, node: &Node) -> Option<Task> {
        let Some(to) = map.and_then(|m| m.get("to")) else {
            let hint = "backup: { cron: \"0 3 * * *\", to: backups, keep: 7 }".to_owned();
            self.error(node, "maintenance.backup needs to: FOLDER", Some(hint));
            return None;
        };
        let text = self.text(to, "maintenance.backup.to")?;
        let folder = std::path::absolute(self.folder.join(&text)).ok().filter(|_| !text.is_empty());
        let Some(folder) = folder.filter(|f| !f.is_file()) else {
            let hint = "name a folder, relative to that of this file; it is made where there is none".to_owned();
            self.error(to, format!("maintenance.backup.to cannot be '{}'", short(&text)), Some(hint));
            return None;
        };
        let keep = match map.and_then(|m| m.get("keep")) {
            Some(n) => self.whole(n, "maintenance.backup.keep", 1, 10_000)?,
            None => BACKUPS_KEPT,
        };
        Some(Task::Backup { to: folder.to_string_lossy().into_owned(), keep })
    }
}

/// The keys of a chore that is written as a map.
fn keys(name: ChoreName) -> &'static [&'static str] {
    match name {
        ChoreName::Tidy | ChoreName::Checkpoint | ChoreName::Report => &["cron"],
        ChoreName::Prune => &["cron", "keep", "keep_failed"],
        ChoreName::Backup => &["cron", "to", "keep"],
    }
}
