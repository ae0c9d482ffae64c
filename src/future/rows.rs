//! From a job to the messages of one occurrence, exactly as the planner makes them.

use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::flow::Flow;
use crate::domain::message::{Due, draw_of};
use crate::domain::misfire::Policy;
use crate::domain::occurrence::{Layout, Whose};
use crate::domain::state::{Reason, StateName};
use crate::domain::template::ZONE_VAR;
use crate::domain::time::{Millis, Timestamp};
use crate::domain::typing::Typing;
use crate::domain::window::{OpenHours, Window, WindowZone};
use crate::future::queue::Row;
use crate::future::{Foreseen, JobPremise};
use crate::hours::open_hours;
use crate::intake;
use crate::store::Recipient;

/// Occurrences that are not planned yet have numbers behind those of a database.
const FIRST_FORESEEN: i64 = 1 << 40;

/// A job with what its messages have in common.
#[derive(Debug)]
pub(super) struct Mould<'p> {
    pub premise: &'p JobPremise,
    pub max_lateness: Millis,
    /// The clock of recipients whose own is unknown.
    job_zone: TimeZone,
    windows: [Option<&'p Window>; 2],
    /// The windows of every message, where they do not depend on the recipient.
    hours: Option<Vec<OpenHours>>,
    /// Characters of each content, where they do not depend on the recipient or the instant.
    chars: Vec<Option<usize>>,
}

impl<'p> Mould<'p> {
    /// What the messages of a job applied at `now` have in common.
    pub(super) fn new(premise: &'p JobPremise, instance: Option<&'p Window>, now: Timestamp) -> Mould<'p> {
        let job = &premise.job;
        let windows = [instance, job.manner.window.as_ref()];
        let of_recipient = windows.iter().flatten().any(|w| w.zone == WindowZone::Recipient);
        let hours = (!of_recipient).then(|| open_hours(windows, &job.zone, None));
        let contents = std::iter::once(&job.content).chain(&job.then);
        let chars = contents
            .map(|content| {
                let text = serde_json::to_string(content).unwrap_or_default();
                let fixed = !(text.contains("{{") || text.contains("{%"));
                fixed.then(|| intake::typed_chars(content, &Default::default(), now, &job.zone))
            })
            .collect();
        let job_zone = clock::zone(&job.zone).unwrap_or(TimeZone::UTC);
        Mould { premise, max_lateness: job.max_lateness(now, &premise.zone), job_zone, windows, hours, chars }
    }

    /// Whether its recipients are due at instants of their own, each judged by itself.
    pub(super) fn own_instants(&self) -> bool {
        let job = &self.premise.job;
        job.manner.own_clock || job.schedule.event_at().is_some()
    }

    /// How late an occurrence, or a message judged by itself, may be and still be served.
    pub(super) fn allowed(&self) -> Millis {
        let manner = &self.premise.job.manner;
        let (misfire, grace, max_catchup) = (manner.misfire, manner.grace, manner.max_catchup);
        Policy { misfire, grace, max_lateness: self.max_lateness, max_catchup }.allowed()
    }

    /// How a message begins that is made at `now`, as the planner decides.
    pub(super) fn fate(&self, due: &Due, misfire: bool, now: Timestamp) -> Option<(StateName, Reason)> {
        let passed = due.event_at.is_some_and(|event| due.expires_at == Some(event) && event <= now);
        if passed {
            return Some((StateName::Skipped, Reason::EventPassed));
        }
        if self.premise.job.manner.hold {
            return Some((StateName::Held, Reason::Approval));
        }
        let late = misfire || (self.own_instants() && now.since(due.due_at) > self.allowed());
        late.then_some((StateName::Expired, Reason::Misfire))
    }

    /// How many messages each recipient gets.
    pub(super) fn steps(&self) -> usize {
        self.premise.job.steps()
    }

    /// The longest lead of its messages.
    pub(super) fn longest_lead(&self) -> Millis {
        match self.premise.job.manner.typing {
            Typing::Off => Millis::ZERO,
            Typing::Lead(lead) => lead,
            Typing::BySpeed { max, .. } => max,
        }
    }

    /// When and how the messages of its occurrences are laid out.
    pub(super) fn layout(&self, seed: u64) -> Layout<'p> {
        let JobPremise { job, zone, first_applied, recipients, .. } = self.premise;
        let size = u64::try_from(recipients.len()).unwrap_or(u64::MAX);
        Layout { job, zone, size, first_applied: *first_applied, seed }
    }

    fn lead(&self, layout: &Layout<'_>, step: usize, recipient: &Recipient, nominal: Timestamp) -> Millis {
        let job = &self.premise.job;
        let typing = &job.manner.typing;
        let draw = layout.typing_draw(nominal, recipient.chat.as_str());
        let number = job.variant_of(layout.seed, nominal, &recipient.chat).unwrap_or(step);
        match (typing, self.chars.get(number).copied().flatten()) {
            (Typing::Off | Typing::Lead(_), _) => typing.lead(0, draw),
            (Typing::BySpeed { .. }, Some(chars)) => typing.lead(chars, draw),
            (Typing::BySpeed { .. }, None) => {
                let content = if number == 0 { &job.content } else { &job.then[number - 1] };
                intake::lead_of(content, typing, &recipient.vars, nominal, &job.zone, draw)
            }
        }
    }

    /// The message of one recipient and step.
    pub(super) fn due(
        &self,
        layout: &Layout<'_>,
        (nominal, jitter): (Timestamp, Millis),
        step: usize,
        (place, recipient): (i64, &Recipient),
    ) -> Due {
        let job = &self.premise.job;
        let lead = self.lead(layout, step, recipient, nominal);
        let own = recipient.vars.get(ZONE_VAR).and_then(|name| clock::zone(name.trim()).ok());
        let whose = Whose { place, zone: own.as_ref().unwrap_or(&self.job_zone) };
        let due_at = layout.due(nominal, jitter, &whose, lead) + job.offset(step);
        let useless_from = layout.useless_from(nominal);
        let of_recipient = || {
            let zone = recipient.vars.get(ZONE_VAR).map(String::as_str);
            open_hours(self.windows, &job.zone, zone)
        };
        Due {
            id: super::queue::id_of(0),
            instance: self.premise.sender_of(&recipient.chat).clone(),
            chat: recipient.chat.clone(),
            class: job.manner.class,
            flow: Flow::of_class(job.manner.class),
            due_at,
            target: due_at,
            lead,
            late: job.manner.late,
            attempts: 0,
            tries: 0,
            first_marked_at: None,
            retry: job.manner.retry.clone(),
            max_lateness: self.max_lateness,
            expires_at: job.manner.expires.map(|e| e.of(due_at)).into_iter().chain(useless_from).min(),
            event_at: job.schedule.event_at(),
            hours: self.hours.clone().unwrap_or_else(of_recipient),
            free_from: Timestamp(i64::MIN),
            stopped: Vec::new(),
            allowed_from: None,
            kept_waiting: step > 0,
            leads_on: step + 1 < self.steps(),
            draw: draw_of(layout.seed, Some(&job.name), nominal, recipient.chat.as_str()),
        }
    }

    /// A row of the virtual store that nobody has taken up yet.
    pub(super) fn row(&self, mut due: Due, nominal: Timestamp, occurrence: u64) -> Row {
        let number = FIRST_FORESEEN.saturating_add_unsigned(occurrence);
        let recipients = u64::try_from(self.premise.recipients.len()).unwrap_or(u64::MAX);
        due.flow = Flow::of_occurrence(number, due.class, recipients);
        // Of a sequence the first counts.
        let frequency = self.premise.job.manner.frequency.filter(|_| !due.kept_waiting);
        let row = row(due, Some(self.premise.name.clone()), Some(nominal), Some(occurrence));
        Row { frequency, ..row }
    }
}

/// A row of the virtual store that nobody has taken up yet.
pub(super) fn row(
    due: Due,
    job: Option<std::sync::Arc<str>>,
    nominal: Option<Timestamp>,
    occurrence: Option<u64>,
) -> Row {
    let foreseen = Foreseen {
        job,
        occurrence: nominal,
        instance: due.instance.clone(),
        to: due.chat.clone(),
        due_at: due.due_at,
        typing_from: None,
        sends_at: None,
        held_by: None,
        state: StateName::Scheduled,
        reason: None,
        at: due.due_at,
    };
    Row {
        due,
        foreseen,
        occurrence,
        hidden: false,
        blocked: false,
        then: None,
        in_hand: false,
        marked: false,
        kept_by: None,
        frequency: None,
    }
}
