//! The store in a map: what the SQL promises, in a hundred lines. The simulation runs the engine against it.

use std::collections::{BTreeMap, VecDeque};

use onthedot::domain::ack::Ack;
use onthedot::domain::claim::Wanted;
use onthedot::domain::doubt::Looks;
use onthedot::domain::flow::{Flow, Room};
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::message::{Change, Due, Facts, Verdict};
use onthedot::domain::state::{Reason, State, StateName};
use onthedot::domain::time::Timestamp;

/// One row, with what the engine needs of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) due: Due,
    pub(crate) state: StateName,
    pub(crate) wake_at: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) tries: u32,
    pub(crate) first_marked_at: Option<Timestamp>,
    /// When its latest attempt was marked.
    pub(crate) marked_at: Timestamp,
    /// Starts in a row that found it in dead hands.
    pub(crate) crashes: u32,
    /// The looks at that attempt, where it is in doubt.
    pub(crate) looks: Looks,
    /// What an unclear answer called that attempt.
    pub(crate) named: Option<String>,
    /// The ack that is shown.
    pub(crate) ack: Option<Ack>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ModelStore {
    pub(crate) rows: BTreeMap<MessageId, Row>,
    /// Since and until when everything is paused.
    pub(crate) pause: Option<(Timestamp, Timestamp)>,
}

impl ModelStore {
    pub(crate) fn insert(&mut self, due: &Due) {
        let wake_at = due.target - due.lead;
        let row = Row {
            due: due.clone(),
            state: StateName::Scheduled,
            wake_at,
            attempts: 0,
            tries: 0,
            first_marked_at: None,
            marked_at: Timestamp(0),
            crashes: 0,
            looks: Looks::default(),
            named: None,
            ack: None,
        };
        self.rows.insert(due.id, row);
    }

    pub(crate) fn claim(
        &self,
        instance: &InstanceName,
        now: Timestamp,
        wanted: &Wanted,
    ) -> (Vec<Due>, bool, Option<Timestamp>) {
        let Wanted { horizon, limit, strict_limit, ref except, ref held } = *wanted;
        if self.is_paused(now) {
            return (Vec::new(), false, self.pause.map(|(_, t)| t + horizon.since(now)));
        }
        let waiting = || {
            self.rows.values().filter(|r| {
                r.due.instance == *instance && r.state == StateName::Scheduled && !except.contains(&r.due.id)
            })
        };
        let mut due: Vec<&Row> = waiting().filter(|r| r.wake_at <= horizon).collect();
        due.sort_by_key(|r| (r.due.flow, r.wake_at, r.due.id));
        let (strict, turns): (Vec<&Row>, Vec<&Row>) = due.into_iter().partition(|r| r.due.class.is_strict());
        let mut flows: Vec<(Flow, VecDeque<&Row>)> = Vec::new();
        for row in turns {
            match flows.last_mut() {
                Some((flow, rows)) if *flow == row.due.flow => rows.push_back(row),
                _ => flows.push((row.due.flow, [row].into())),
            }
        }
        // Those of the classes first, then those that have waited longest.
        flows.sort_by_key(|(flow, rows)| ((!flow.is_of_class()).then(|| rows[0].wake_at), *flow));
        let mut room = Room::new(limit, held, flows.iter().map(|(flow, _)| *flow));
        let mut ordinary = Vec::new();
        loop {
            let round = room.round();
            if round.is_empty() {
                break;
            }
            for (flow, part) in round {
                let (_, rows) = flows.iter_mut().find(|(f, _)| *f == flow).unwrap();
                let part = part.min(rows.len());
                ordinary.extend(rows.drain(..part));
                room.brought(flow, part);
            }
        }
        let more = room.is_short();
        let later = waiting().filter(|r| r.wake_at > horizon && !room.is_short_of(r.due.flow));
        let next = later.map(|r| r.wake_at).min();
        let hand = |r: &Row| Due {
            target: r.wake_at + r.due.lead,
            attempts: r.attempts,
            tries: r.tries,
            first_marked_at: r.first_marked_at,
            kept_waiting: self.pause.is_some_and(|(_, until)| r.wake_at + r.due.lead < until),
            ..r.due.clone()
        };
        let all = strict.into_iter().take(strict_limit).chain(ordinary).map(hand).collect();
        (all, more, next)
    }

    pub(crate) fn is_paused(&self, now: Timestamp) -> bool {
        self.pause.is_some_and(|(_, t)| t > now)
    }

    pub(crate) fn gone(&self, ids: &[MessageId]) -> Vec<MessageId> {
        let ours = |s| matches!(s, StateName::Scheduled | StateName::Typing);
        ids.iter().copied().filter(|i| !self.rows.get(i).is_some_and(|r| ours(r.state))).collect()
    }

    pub(crate) fn apply(&mut self, change: &Change) -> Verdict {
        let Some(row) = self.rows.get_mut(&change.id) else { return Verdict::Stale };
        let waits = matches!(row.state, StateName::Scheduled | StateName::Typing);
        let paused = self.pause.is_some_and(|(_, t)| t > change.at);
        if matches!(change.facts, Facts::Mark { .. }) && waits && paused {
            return Verdict::Paused;
        }
        let put_off =
            matches!(&change.facts, Facts::Mark { slot, .. } | Facts::TypingShown { slot, .. } if row.wake_at > *slot);
        let lead_ended = change.transition.reason() == Some(Reason::LeadEnded) && row.state != StateName::Typing;
        let moved =
            lead_ended && matches!(change.transition.to(), State::Scheduled { wake_at } if row.wake_at > *wake_at);
        let late_wake = put_off || moved;
        if row.attempts != change.attempts || !change.transition.accepts().contains(&row.state) || late_wake {
            return Verdict::Stale;
        }
        if [&[StateName::Sending][..], &[StateName::Held][..]].contains(&change.transition.accepts()) {
            row.crashes = 0;
        }
        row.state = change.transition.to().name();
        match change.transition.to() {
            State::Scheduled { wake_at } => row.wake_at = *wake_at,
            State::InDoubt { look_at } => row.wake_at = *look_at,
            _ => {}
        }
        match &change.facts {
            Facts::Mark { number, marked_at, .. } => {
                row.attempts = *number;
                (row.marked_at, row.looks, row.named) = (*marked_at, Looks::default(), None);
                row.first_marked_at = row.first_marked_at.or(Some(*marked_at));
            }
            Facts::Record { tries, named, .. } => (row.tries, row.named) = (*tries, named.clone()),
            Facts::Verdict { tries, .. } => row.tries = *tries,
            Facts::TypingShown { .. } | Facts::Moved { .. } | Facts::Judged { .. } | Facts::Note(_) => {}
        }
        Verdict::Applied
    }

    /// An ack arrived; answers the one that is shown.
    pub(crate) fn ack(&mut self, id: MessageId, ack: Ack) -> Ack {
        let Some(row) = self.rows.get_mut(&id) else { return ack };
        *row.ack.insert(Ack::raise(row.ack, ack))
    }

    /// What a start does before anything is claimed.
    pub(crate) fn recover(&mut self, look_at: Timestamp) {
        for row in self.rows.values_mut() {
            if !matches!(row.state, StateName::Sending | StateName::Typing) {
                continue;
            }
            row.crashes += 1;
            if row.crashes >= 3 {
                row.state = StateName::Held;
                continue;
            }
            match row.state {
                StateName::Sending => (row.state, row.wake_at) = (StateName::InDoubt, look_at),
                StateName::Typing => row.state = StateName::Scheduled,
                _ => {}
            }
        }
    }
}
