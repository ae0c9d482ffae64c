//! How a message's stay in hand ends: its outcome, a cancel, a pause, a stop.

use crate::domain::id::{InstanceName, MessageId};
use crate::domain::message::{Due, Facts, SendFacts};
use crate::domain::outcome::{DownCause, Outcome};
use crate::domain::state::{Event, Reason, State};
use crate::domain::time::{Millis, Timestamp};
use crate::domain::timeline::CLAIM_AHEAD;
use crate::engine::effect::{Effect, Standing};
use crate::engine::hand::Phase;
use crate::engine::lateness::open_for;
use crate::engine::{Engine, change};

/// How soon windows that are never open together are looked at again: somebody may change them.
const NEVER_OPEN_LOOK: Millis = Millis(86_400_000);

/// What an answer calls a message, and how far it says it has come.
#[derive(Default)]
struct Names {
    gateway_id: Option<String>,
    ack: Option<crate::domain::ack::Ack>,
    named: Option<String>,
}

impl Engine {
    pub(super) fn send_done(&mut self, id: MessageId, outcome: &Outcome, facts: SendFacts, now: Timestamp) {
        let Some(hand) = self.hands.get(&id) else { return };
        if hand.phase != Phase::Sending {
            return;
        }
        let due = hand.due.clone();
        let slot = hand.leave.map(|l| l.slot);
        let (event, tries) = self.judge(&due, outcome, facts.started_at, now);
        if let (Some(lane), Some(slot)) = (self.lanes.get_mut(&due.instance), slot)
            && lane.pacing.spaces_sends()
        {
            let after = lane.after(&due);
            let noted = lane.ledger.remove(slot, after);
            // What counts for the pace is when it really left; what never left does not count.
            if noted && !matches!(outcome, Outcome::NotSent { .. }) {
                lane.ledger.add(facts.started_at, after);
            }
        }
        if !matches!(outcome, Outcome::Accepted { .. }) {
            self.stop_typing(id, now);
        }
        let names = match outcome {
            Outcome::Accepted { gateway_id, ack } => {
                Names { gateway_id: Some(gateway_id.clone()), ack: *ack, named: None }
            }
            Outcome::InDoubt { named, .. } => Names { named: named.clone(), ..Names::default() },
            _ => Names::default(),
        };
        self.leave_lane(id, now);
        self.record(id, &event, tries, Some(facts), names, now);
        if self.lanes.get(&due.instance).is_some_and(|lane| !lane.works()) {
            self.clear_lane(&due.instance, now);
        }
    }

    /// What an outcome does to its message and its lane. Answers the event and the tries used up.
    fn judge(&mut self, due: &Due, outcome: &Outcome, started_at: Timestamp, now: Timestamp) -> (Event, u32) {
        let Some(lane) = self.lanes.get_mut(&due.instance) else {
            return (Event::Unclear { reason: Reason::NoClearAnswer, look_at: now }, due.tries);
        };
        let again = |wake_at, reason| (Event::TryAgain { wake_at, reason }, due.tries);
        let before = lane.standing.clone();
        let event = match outcome {
            Outcome::Accepted { .. } => {
                lane.went_well();
                (Event::Accepted { sent_at: started_at }, due.tries)
            }
            Outcome::Refused { .. } => {
                lane.went_well();
                (Event::GivenUp { reason: Reason::Refused }, due.tries + 1)
            }
            Outcome::RefusedForNow { .. } => {
                lane.went_well();
                (next_try(due, lane.retry_waits(), now), due.tries + 1)
            }
            Outcome::NotNow { after } => again(lane.rate_limited(*after, now) - due.lead, Reason::RateLimited),
            Outcome::NotSent { why } => again(lane.unreachable(why, now) - due.lead, Reason::NotSent),
            Outcome::InstanceDown { cause, why } => {
                lane.down(*cause, why, now);
                again(due.target - due.lead, Reason::InstanceDown)
            }
            Outcome::InDoubt { why, .. } => {
                lane.got_no_clear_answer(why, now);
                let look_at = now + lane.quarantine;
                (Event::Unclear { reason: Reason::NoClearAnswer, look_at }, due.tries)
            }
        };
        if lane.standing != before {
            let (instance, standing) = (due.instance.clone(), lane.standing.clone());
            self.effects.push_back(Effect::Lane { instance, standing, outage: None });
        }
        event
    }

    fn record(
        &mut self,
        id: MessageId,
        event: &Event,
        tries: u32,
        send: Option<SendFacts>,
        names: Names,
        now: Timestamp,
    ) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let late_typing = hand.typing.clone().filter(|_| hand.typing_news);
        let number = hand.number();
        let Names { gateway_id, ack, named } = names;
        let facts = Facts::Record { number, tries, send, late_typing, gateway_id, ack, named };
        if let Some(change) = change(id, number, &State::Sending, event, facts, now) {
            hand.phase = Phase::Settling(Box::new(change.clone()));
            self.persist(change);
        }
    }

    /// Ends the stay of a message that was not marked by writing `event`.
    pub(super) fn settle_unmarked(&mut self, id: MessageId, event: &Event, note: String, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let facts = Facts::Judged { due_at: hand.due.due_at, note };
        if let Some(change) = change(id, hand.due.attempts, &hand.state(), event, facts, now) {
            hand.phase = Phase::Settling(Box::new(change.clone()));
            self.persist(change);
        }
    }

    pub(super) fn unsendable(&mut self, id: MessageId, reason: Reason, note: String, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        if hand.phase != Phase::Marking {
            return;
        }
        hand.phase = Phase::Begun;
        self.forget_slot(id);
        self.stop_typing(id, now);
        self.leave_lane(id, now);
        let event = match reason {
            // Sent all the same once a person says so.
            Reason::Repeated => Event::Held { reason },
            _ => Event::Unsendable { reason },
        };
        self.settle_unmarked(id, &event, note, now);
    }

    /// Ends the stay of a message whose last instant has passed.
    pub(super) fn expire(&mut self, id: MessageId, now: Timestamp) {
        let Some(due) = self.hands.get(&id).map(|h| &h.due) else { return };
        let Some(until) = due.expires_at else { return };
        let (event, note) = if due.event_at == Some(until) {
            (Event::Unsendable { reason: Reason::EventPassed }, format!("the event it reminds of began at {until}"))
        } else {
            (Event::TooLate { reason: Reason::Expires }, format!("it was not to leave after {until}"))
        };
        self.settle_unmarked(id, &event, note, now);
    }

    /// Gives a message whose windows are closed back to the store until they open.
    pub(super) fn postpone(&mut self, id: MessageId, open: Option<Timestamp>, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let lead = hand.due.lead;
        if let Some(lane) = self.lanes.get_mut(&hand.due.instance) {
            lane.remove(&hand.due);
        }
        let (wake_at, note) = match open {
            Some(open) => (open - lead, format!("its window opens at {open}")),
            None => (now + NEVER_OPEN_LOOK, "its windows are never open together".to_owned()),
        };
        self.settle_unmarked(id, &Event::Postponed { wake_at, reason: Reason::Window }, note, now);
    }

    /// A row in hand is not ours to send now: it was cancelled, put off or hidden. What is typed goes back to `scheduled`
    /// where nobody gave it another state, since a row in motion that nobody holds would stay so for ever.
    pub(super) fn gone(&mut self, id: MessageId, now: Timestamp) {
        let Some(hand) = self.hands.get(&id) else { return };
        match hand.phase {
            Phase::Waiting => self.release(id, now),
            Phase::Begun => self.hand_back(id, "it is not to be sent now", now),
            Phase::Marking | Phase::Marked | Phase::Sending | Phase::Settling(_) => {}
        }
    }

    /// Gives a message back to the store because its lane rests or the daemon stops. What is marked is recorded as
    /// never begun; what is out is awaited.
    pub(super) fn give_up_hold(&mut self, id: MessageId, why: &str, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        match hand.phase {
            Phase::Waiting => self.release(id, now),
            Phase::Begun => self.hand_back(id, why, now),
            Phase::Marking => hand.unwanted = true,
            Phase::Marked => self.never_begun(id, now),
            Phase::Sending | Phase::Settling(_) => {}
        }
    }

    /// Ends the lead of a message without a send.
    pub(super) fn hand_back(&mut self, id: MessageId, why: &str, now: Timestamp) {
        self.forget_slot(id);
        self.stop_typing(id, now);
        self.leave_lane(id, now);
        let Some(hand) = self.hands.get(&id) else { return };
        let event = Event::LeadEnded { wake_at: hand.due.target - hand.due.lead };
        if hand.typing.is_some() {
            self.settle_unmarked(id, &event, why.to_owned(), now);
        } else {
            self.release(id, now);
        }
    }

    /// A marked message whose request was never begun goes back as not sent.
    pub(super) fn never_begun(&mut self, id: MessageId, now: Timestamp) {
        self.forget_slot(id);
        self.stop_typing(id, now);
        self.leave_lane(id, now);
        let Some(hand) = self.hands.get(&id) else { return };
        let wake_at = hand.due.target - hand.due.lead;
        let tries = hand.due.tries;
        let event = Event::TryAgain { wake_at, reason: Reason::NotSent };
        self.record(id, &event, tries, None, Names::default(), now);
    }

    fn clear_lane(&mut self, instance: &InstanceName, now: Timestamp) {
        let mut ids: Vec<MessageId> =
            self.lanes.get(instance).map(|l| l.held.iter().copied().collect()).unwrap_or_default();
        ids.sort_unstable();
        for id in ids {
            self.give_up_hold(id, "the instance cannot send", now);
        }
    }

    pub(super) fn probed(&mut self, instance: &InstanceName, down: Option<(DownCause, String)>, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(instance) else { return };
        lane.probing = false;
        let outage = match down {
            None => lane.up(now),
            Some((cause, why)) => {
                lane.probe_later(now);
                let known = Standing::Down { cause, why: why.clone() };
                if lane.standing == known {
                    return;
                }
                lane.down(cause, &why, now);
                None
            }
        };
        let standing = lane.standing.clone();
        self.effects.push_back(Effect::Lane { instance: instance.clone(), standing, outage });
    }

    /// Takes typing back where it was shown and no send cleared it.
    pub(super) fn stop_typing(&mut self, id: MessageId, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let Some(facts) = hand.typing.as_mut() else { return };
        if facts.stopped_at.is_some() {
            return;
        }
        facts.stopped_at = Some(now);
        hand.typing_news = true;
        hand.typing_open = false;
        let (instance, chat) = (hand.due.instance.clone(), hand.due.chat.clone());
        self.effects.push_back(Effect::StopTyping { id, instance, chat });
    }

    pub(super) fn forget_slot(&mut self, id: MessageId) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let Some(leave) = hand.leave.take() else { return };
        if let Some(lane) = self.lanes.get_mut(&hand.due.instance)
            && lane.pacing.spaces_sends()
        {
            let after = lane.after(&hand.due);
            lane.ledger.remove(leave.slot, after);
        }
    }

    pub(super) fn leave_lane(&mut self, id: MessageId, now: Timestamp) {
        let Some(hand) = self.hands.get_mut(&id) else { return };
        if std::mem::take(&mut hand.in_lane)
            && let Some(lane) = self.lanes.get_mut(&hand.due.instance)
        {
            lane.leave(now);
        }
    }

    /// Lets go of a message: its row is settled, or waits in the store again.
    pub(super) fn release(&mut self, id: MessageId, now: Timestamp) {
        self.leave_lane(id, now);
        let Some(hand) = self.hands.remove(&id) else { return };
        if let Some(lane) = self.lanes.get_mut(&hand.due.instance) {
            lane.remove(&hand.due);
            lane.held.remove(&id);
            if hand.holds_chat {
                lane.busy_chats.remove(&hand.due.chat);
            }
            lane.plan_by(now);
            if let Phase::Settling(change) = &hand.phase
                && let State::Scheduled { wake_at } = change.transition.to()
            {
                lane.claim_by((*wake_at - CLAIM_AHEAD).max(now));
            }
            // The next message of a sequence waited for this one.
            if hand.due.leads_on {
                lane.claim_by(now);
            }
            Self::refill(lane, now);
        }
        self.effects.push_back(Effect::Release { id });
    }
}

/// `more` is what the lane's budget of retries adds.
fn next_try(due: &Due, more: Millis, now: Timestamp) -> Event {
    let tries = due.tries + 1;
    let draw = due.draw.with_text("retry").with_number(i64::from(tries));
    match due.retry.next_after(tries, draw) {
        None => Event::GivenUp { reason: Reason::TriesUsedUp },
        Some(wait) => {
            let target = now + wait + more;
            // What a person moved meanwhile counts from its new instant, and closed windows and pauses count for nothing.
            let began = due.first_marked_at.map_or(due.due_at.max(now), |first| first.max(due.due_at));
            if open_for(due, began, target) > due.max_lateness {
                Event::TooLate { reason: Reason::TooLate }
            } else {
                Event::TryAgain { wake_at: target - due.lead, reason: Reason::RefusedForNow }
            }
        }
    }
}
