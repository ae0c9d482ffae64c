//! The premise of a jobs file: as if it were first applied where the prediction begins.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::clock;
use crate::config::{ConfigError, Settings};
use crate::domain::occurrence::SLOWEST_CLOCK;
use crate::domain::time::{Millis, Timestamp};
use crate::engine::{LaneStart, Standing};
use crate::future::{Counted, JobPremise, LanePremise, Premise};

/// Typing is shown again this often: it moves no send.
pub(super) const REFRESH_EVERY: Millis = Millis(8_000);

/// What a database knows that a prediction from a file goes by.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The seed of every draw.
    pub seed: u64,
    /// When jobs entered it, by name.
    pub first_applied: HashMap<String, Timestamp>,
}

/// The premise of a file.
///
/// # Errors
/// [`ConfigError`] when a file of recipients changed or vanished meanwhile.
pub fn of_file(settings: &Settings, known: &Known, from: Timestamp, until: Timestamp) -> Result<Premise, ConfigError> {
    let zone = clock::zone(&settings.zone).unwrap_or(TimeZone::UTC);
    let lanes = settings.instances.iter().map(|i| LanePremise {
        start: LaneStart {
            instance: i.name.clone(),
            pacing: i.pacing.clone(),
            refresh_every: REFRESH_EVERY,
            recent_sends: Vec::new(),
            outages: Vec::new(),
            standing: Standing::Working,
            quarantine: i.quarantine,
            seed: known.seed,
            zone: zone.clone(),
        },
        window: i.window.clone(),
        stops: Vec::new(),
        waiting: Vec::new(),
        seen: Vec::new(),
    });
    let mut jobs = Vec::with_capacity(settings.jobs.len());
    for declared in &settings.jobs {
        let mut recipients = Vec::new();
        declared.recipients.for_each(|r| recipients.push(r)).map_err(|f| ConfigError(vec![f]))?;
        let applied = known.first_applied.get(&declared.job.name).copied();
        // What passed before a job was known is a misfire of its first day; what a database knows it has dealt with.
        let after = match applied {
            // On clocks of their own, some recipients of an occurrence are due before its nominal instant, some after.
            _ if declared.job.manner.own_clock && declared.job.schedule.recurs() => from - SLOWEST_CLOCK - Millis(1),
            Some(_) if declared.job.manner.own_clock => from - SLOWEST_CLOCK - Millis(1),
            Some(_) => from - Millis(1),
            None if declared.job.schedule.recurs() => from - Millis(1),
            None => Timestamp(i64::MIN),
        };
        jobs.push(JobPremise {
            name: Arc::from(declared.job.name.as_str()),
            job: declared.job.clone(),
            zone: clock::zone(declared.job.schedule_zone()).unwrap_or(TimeZone::UTC),
            first_applied: applied.unwrap_or(from),
            after,
            recipients,
            senders: HashMap::new(),
        });
    }
    Ok(Premise { from, until, seed: known.seed, chance: None, lanes: lanes.collect(), jobs, counted: Counted::new() })
}
