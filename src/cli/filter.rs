//! Which messages a command means: the filters of `list`, shared by everything that works on many.

use jiff::tz::TimeZone;

use crate::cli::exit::{Exit, told};
use crate::domain::ack::Ack;
use crate::domain::state::StateName;
use crate::domain::time::{Timestamp, parse_instant};
use crate::gateway::Kind;
use crate::store::view::MessageFilter;

/// The filters of `list`.
#[derive(clap::Args, Debug, Default, Clone)]
pub(super) struct FilterArgs {
    /// In any of these states, parted by commas
    #[arg(long, value_name = "STATE,…")]
    state: Option<String>,
    /// Of this job
    #[arg(long)]
    job: Option<String>,
    /// Through this instance
    #[arg(long)]
    instance: Option<String>,
    /// To this chat
    #[arg(long, value_name = "CHAT")]
    to: Option<String>,
    /// With this ack
    #[arg(long, value_parser = Ack::ALL.map(Ack::name))]
    ack: Option<String>,
    /// Due at this instant or later
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    /// Due before this instant
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
}

impl FilterArgs {
    /// Whether nothing is filtered.
    pub(super) fn is_empty(&self) -> bool {
        let words = [&self.state, &self.job, &self.instance, &self.to, &self.ack, &self.since, &self.until];
        words.into_iter().all(Option::is_none)
    }

    /// The filter; `states` where none were named.
    pub(super) fn read(self, states: &[StateName], limit: u32, zone: &TimeZone) -> anyhow::Result<MessageFilter> {
        let mut named = Vec::new();
        for word in self.state.iter().flat_map(|s| s.split(',')).map(str::trim).filter(|w| !w.is_empty()) {
            let known = StateName::ALL.map(StateName::name).join(", ");
            let wrong = || told(Exit::Usage, format!("--state: '{word}' is not a state; known: {known}"));
            named.push(StateName::from_name(word).ok_or_else(wrong)?);
        }
        let chat = match self.to {
            Some(to) => Some(Kind::Wawp.parse_recipient(&to).map_err(|e| told(Exit::Usage, format!("--to: {e}")))?),
            None => None,
        };
        Ok(MessageFilter {
            states: if named.is_empty() { states.to_vec() } else { named },
            job: self.job,
            instance: self.instance,
            chat: chat.map(|c| c.as_str().to_owned()),
            ack: self.ack.as_deref().and_then(Ack::from_name),
            since: self.since.map(|t| instant("--since", &t, zone)).transpose()?,
            until: self.until.map(|t| instant("--until", &t, zone)).transpose()?,
            limit,
            after: None,
        })
    }
}

/// An instant given on the command line, in this zone where it names none.
pub(super) fn instant(flag: &str, text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    parse_instant(text, zone, false)
        .ok_or_else(|| told(Exit::Usage, format!("{flag} cannot be '{text}': write it as 2026-12-01T10:00")))
}
