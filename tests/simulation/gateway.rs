//! The gateway, which is mostly honest, what it tells later, and what is made of it.

use onthedot::domain::ack::Ack;
use onthedot::domain::doubt::{self, History, HistoryMessage, Look, Ruling};
use onthedot::domain::draw::Draw;
use onthedot::domain::id::MessageId;
use onthedot::domain::job::OnDoubt;
use onthedot::domain::message::{Change, DoubtVerdict, Facts, SendFacts, Verdict};
use onthedot::domain::outcome::{DownCause, Outcome};
use onthedot::domain::state::{self, Event, Reason, State, StateName};
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::engine::Input;

use super::{Fact, Pending, QUARANTINE, World};
use crate::model_store::Row;

/// What a job says about its doubts.
pub(crate) fn policy(seed: u64, id: MessageId) -> OnDoubt {
    match Draw::new(seed, "policy").with_text(&id.to_string()).between(0, 4) {
        0 => OnDoubt::Resend,
        1 => OnDoubt::Drop,
        _ => OnDoubt::Hold,
    }
}

impl World {
    /// The gateway: mostly honest, sometimes slow, down, or lying about what it did.
    pub(super) fn send(&mut self, k: usize, id: MessageId, slot: Timestamp) {
        assert!(self.now >= slot, "a message left before its slot");
        let own = self.marks.iter().rfind(|m| m.id == id && m.node == k).copied();
        assert!(own.is_some(), "{id} leaves a node that did not mark it");
        let attempt = own.unwrap();
        let gateway_id = format!("{id}-{}", attempt.number);
        let started_at = self.now;
        let answers = self.dice.roll(1, 400);
        let does = self.dice.roll(0, 600);
        let (outcome, done) = if self.now < self.session_down_until {
            (Outcome::InstanceDown { cause: DownCause::Session, why: "logged out".into() }, false)
        } else if self.dice.chance(self.lies) {
            match self.dice.roll(0, 6) {
                0 => {
                    let names = self.acks.as_mut().is_some_and(|dice| dice.chance(50));
                    (Outcome::InDoubt { why: "timed out".into(), named: names.then(|| gateway_id.clone()) }, true)
                }
                1 => (Outcome::InDoubt { why: "reset".into(), named: None }, false),
                2 => (Outcome::Refused { why: "no".into() }, false),
                3 => (Outcome::RefusedForNow { why: "busy".into() }, false),
                4 => (Outcome::NotNow { after: Some(Millis(self.dice.roll(500, 9_000))) }, false),
                5 => (Outcome::NotSent { why: "refused".into() }, false),
                _ => {
                    self.session_down_until = self.now + Millis(self.dice.roll(1_000, 60_000));
                    (Outcome::InstanceDown { cause: DownCause::Session, why: "logged out".into() }, false)
                }
            }
        } else {
            (Outcome::Accepted { gateway_id: gateway_id.clone(), ack: None }, true)
        };
        // A connection that never opened carried nothing.
        if !matches!(outcome, Outcome::NotSent { .. }) {
            self.note(Fact::Sent(id));
            self.requests.push(attempt);
        }
        if done {
            self.later(does, Pending::Done(id, gateway_id));
        }
        let finished_at = started_at + Millis(answers);
        let facts = SendFacts { started_at, finished_at, status: None, outcome: outcome.name(), response: "".into() };
        self.later(answers, Pending::Input(k, Input::SendDone { id, outcome, facts }));
    }

    /// What the network will tell of a message: some levels, in any order, some of them twice.
    pub(super) fn plan_acks(&mut self, id: MessageId, gateway_id: &str) {
        let Some(dice) = &mut self.acks else { return };
        let told: Vec<(i64, Ack)> = (0..dice.roll(0, 6))
            .map(|_| (dice.roll(0, 90_000), Ack::ALL[usize::try_from(dice.roll(0, 5)).unwrap()]))
            .collect();
        for (after, ack) in told {
            self.later(after, Pending::Ack(id, gateway_id.to_owned(), ack));
        }
    }

    /// An ack arrives: it is shown, and for an id that an unclear answer named it is evidence.
    pub(super) fn ack(&mut self, id: MessageId, gateway_id: &str, ack: Ack) {
        let shown = self.store.ack(id, ack);
        self.note(Fact::Acked(id, shown));
        let row = self.store.rows[&id].clone();
        let named = row.named.as_deref() == Some(gateway_id);
        if named && matches!(row.state, StateName::InDoubt | StateName::Scheduled | StateName::Typing) {
            let event = Event::ProvedSent { sent_at: row.marked_at, reason: Reason::ToldSent };
            self.settle(&row, &event, DoubtVerdict::Sent);
        }
    }

    /// When the next doubt is looked at, if any is.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        let doubts = self.store.rows.values().filter(|r| r.state == StateName::InDoubt);
        doubts.map(|r| r.wake_at).filter(|w| *w < Timestamp::MAX).min()
    }

    /// The seeker: asks histories, and does what the rule says.
    pub(super) fn look_at_doubts(&mut self) {
        let due = |r: &&Row| r.state == StateName::InDoubt && r.wake_at <= self.now;
        let ids: Vec<MessageId> = self.store.rows.values().filter(due).map(|r| r.due.id).collect();
        for id in ids {
            let row = self.store.rows[&id].clone();
            let look = self.look(&row);
            let at = (row.marked_at, QUARANTINE, self.now);
            let ruling = doubt::rule(&look, row.looks, policy(self.seed, id), at);
            if let Some(row) = self.store.rows.get_mut(&id) {
                row.looks.absent += u32::from(look == Look::Absent);
                row.looks.out_of_reach += u32::from(matches!(look, Look::OutOfReach | Look::Unclear | Look::Earlier));
                row.looks.failed += u32::from(look == Look::Unavailable);
                row.wake_at = if let Ruling::LookAgain(at) = ruling { at } else { Timestamp::MAX };
            }
            let again = |reason| match row.tries + 1 >= row.due.retry.attempts {
                true => Event::GivenUp { reason: Reason::TriesUsedUp },
                false => Event::TryAgain { wake_at: self.now, reason },
            };
            let (event, verdict) = match ruling {
                Ruling::LookAgain(_) | Ruling::Wait => continue,
                Ruling::Sent => {
                    let event = Event::ProvedSent { sent_at: row.marked_at, reason: Reason::FoundInHistory };
                    (event, DoubtVerdict::Sent)
                }
                Ruling::Unsent => (again(Reason::ProvedUnsent), DoubtVerdict::Unsent),
                Ruling::Resend => (again(Reason::ResentOnDoubt), DoubtVerdict::Resent),
                Ruling::Drop => (Event::GivenUp { reason: Reason::Dropped }, DoubtVerdict::Dropped),
            };
            assert_eq!(self.settle(&row, &event, verdict), Verdict::Applied, "nobody else settles doubts here");
        }
    }

    pub(super) fn settle(&mut self, row: &Row, event: &Event, verdict: DoubtVerdict) -> Verdict {
        let before = match row.state {
            StateName::Scheduled => State::Scheduled { wake_at: row.wake_at },
            StateName::Typing => State::Typing,
            _ => State::InDoubt { look_at: self.now },
        };
        let (id, number) = (row.due.id, row.attempts);
        let tries = row.tries + u32::from(verdict != DoubtVerdict::Sent);
        let facts = Facts::Verdict { number, verdict, tries, gateway_id: None, note: String::new(), due_at: None };
        let transition = state::apply(&before, event).unwrap();
        let verdict = self.store.apply(&Change { id, attempts: number, at: self.now, transition, facts });
        self.tell_all(&Input::Nudge);
        verdict
    }

    /// What the history of a chat shows: what was carried out by now, behind it something old. Some gateways keep none, and
    /// now and then one cannot be asked.
    fn look(&mut self, row: &Row) -> Look {
        if self.looker.chance(5) {
            return Look::Unavailable;
        }
        let message =
            |gateway_id: String, from_me, text: String, at| HistoryMessage { gateway_id, from_me, text, at, ack: None };
        let mut history = Vec::new();
        if self.seed % 7 != 2 {
            history.push(message("OLD".into(), false, "hello".into(), Timestamp(0)));
            let done = self.log.iter().enumerate().filter_map(|(n, entry)| match entry.fact {
                Fact::Delivered(id) if self.store.rows[&id].due.chat == row.due.chat => Some((n, entry.at, id)),
                _ => None,
            });
            let behind = self.gateway_behind;
            history.extend(done.map(|(n, at, id)| message(n.to_string(), true, id.to_string(), at - behind)));
        }
        doubt::look(&History { messages: history, unread: 0 }, &row.due.id.to_string(), row.marked_at, 0, |_| None)
    }
}
