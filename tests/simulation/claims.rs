//! What no history may break: each claim has its name.

use std::collections::{BTreeMap, BTreeSet};

use onthedot::domain::ack::Ack;
use onthedot::domain::class::Class;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::job::OnDoubt;
use onthedot::domain::pace::Rate;
use onthedot::domain::recipient::Chat;
use onthedot::domain::state::StateName;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::domain::window;

use crate::world::{Attempt, BEGIN, Entry, Fact, World, departures, policy};

fn of<'l>(world: &'l World, id: MessageId, is: impl Fn(&Fact) -> Option<MessageId> + 'l) -> Vec<Timestamp> {
    world.log.iter().filter(|e| is(&e.fact) == Some(id)).map(|e| e.at).collect()
}

/// When a message left, by the machine's clock.
fn sends_by_clock(world: &World, id: MessageId) -> Vec<Timestamp> {
    world.log.iter().filter(|e| matches!(e.fact, Fact::Sent(i) if i == id)).map(|e| e.clock).collect()
}

fn happened(world: &World, what: impl Fn(&Fact) -> bool) -> bool {
    world.log.iter().any(|e| what(&e.fact))
}

fn sends(world: &World, id: MessageId) -> Vec<Timestamp> {
    of(world, id, |f| if let Fact::Sent(i) = f { Some(*i) } else { None })
}

pub(crate) fn every_message_rests_or_will_wake(world: &World) {
    for row in world.store.rows.values() {
        assert!(
            !matches!(row.state, StateName::Scheduled | StateName::Typing | StateName::Sending),
            "{} is still {:?}",
            row.due.id,
            row.state
        );
    }
}

pub(crate) fn a_crash_never_sends_twice_unless_asked(world: &World) {
    // One delivery a message, but where its job wants a doubt resent.
    let mut delivered = BTreeSet::new();
    for Entry { at, fact, .. } in &world.log {
        if let Fact::Delivered(id) = fact
            && policy(world.seed, *id) != OnDoubt::Resend
        {
            assert!(delivered.insert(*id), "{id} was delivered twice, the second time at {at}");
        }
    }
}

pub(crate) fn what_was_delivered_is_sent_or_in_doubt(world: &World) {
    for Entry { fact, .. } in &world.log {
        if let Fact::Delivered(id) = fact {
            let state = world.store.rows[id].state;
            // What was out at three crashes in a row is held, and its doubt stays open.
            let known = matches!(state, StateName::Sent | StateName::InDoubt | StateName::Held);
            // What a job wants dropped is, and what it wants resent may come to any end.
            let by_policy = match policy(world.seed, *id) {
                OnDoubt::Hold => false,
                OnDoubt::Drop => state == StateName::Failed,
                OnDoubt::Resend => true,
            };
            assert!(known || by_policy, "{id} was delivered and is {state:?}");
        }
    }
}

pub(crate) fn nothing_is_lost_silently(world: &World) {
    for row in world.store.rows.values() {
        let delivered = happened(world, |f| matches!(f, Fact::Delivered(i) if *i == row.due.id));
        assert!(row.state != StateName::Sent || delivered, "{} is sent but was never delivered", row.due.id);
    }
}

pub(crate) fn every_send_follows_its_own_mark(world: &World) {
    for id in world.store.rows.keys() {
        let marks = of(world, *id, |f| if let Fact::Marked(i) = f { Some(*i) } else { None });
        let sends = sends(world, *id);
        assert!(sends.len() <= marks.len(), "{id}: {} sends of {} marks", sends.len(), marks.len());
        for (n, send) in sends.iter().enumerate() {
            assert!(marks.iter().filter(|m| *m <= send).count() > n, "{id}: a send before its mark");
        }
    }
}

pub(crate) fn nothing_leaves_before_its_due(world: &World) {
    let mut marked: BTreeMap<MessageId, u32> = BTreeMap::new();
    for Entry { clock, fact, .. } in &world.log {
        match fact {
            Fact::Marked(id) => *marked.entry(*id).or_default() += 1,
            // A retry may come before the clock, set back, reads the due again.
            Fact::Sent(id) if marked[id] == 1 || !happened(world, |f| matches!(f, Fact::SetBack)) => {
                let due = world.store.rows[id].due.due_at;
                assert!(*clock >= due, "{id} left {} before its due", due.since(*clock));
            }
            _ => {}
        }
    }
}

pub(crate) fn typing_comes_before_send(world: &World) {
    // Where nothing disturbs, every message with a lead that came in time shows typing its full lead before it leaves.
    let disturbs = |f: &Fact| matches!(f, Fact::Crash | Fact::Cancelled(_) | Fact::Slept | Fact::Froze | Fact::SetBack);
    if world.lies > 0 || happened(world, disturbs) {
        return;
    }
    let pause_ends: Vec<Timestamp> =
        world.log.iter().filter_map(|e| if let Fact::Paused(until) = e.fact { Some(until) } else { None }).collect();
    for (id, row) in &world.store.rows {
        // What a pause let go only between its wake and its due has its typing cut, to be on time.
        let begins = row.due.due_at - row.due.lead;
        let let_go_late = pause_ends.iter().any(|end| begins - Millis(10) < *end && *end <= row.due.due_at);
        let in_time = begins > Timestamp(BEGIN + 2_500) && !let_go_late;
        let Some(sent) = sends(world, *id).first().copied() else { continue };
        let stopped = of(world, *id, |f| if let Fact::StopTyping(i) = f { Some(*i) } else { None });
        let since = stopped.into_iter().filter(|t| *t < sent).max().unwrap_or(Timestamp(0));
        let mut typed = of(world, *id, |f| if let Fact::Typing(i) = f { Some(*i) } else { None });
        typed.retain(|t| *t >= since);
        if in_time && since == Timestamp(0) && row.due.lead > Millis::ZERO && row.attempts == 1 {
            let first = typed.first().copied().unwrap_or(Timestamp(i64::MAX));
            assert!(sent.since(first) >= row.due.lead, "{id}: typing led by {} of {}", sent.since(first), row.due.lead);
            assert!(
                sent.since(first) <= row.due.lead + Millis(300),
                "{id}: typing led by {} of {}",
                sent.since(first),
                row.due.lead
            );
            for pair in typed.windows(2) {
                assert!(pair[1].since(pair[0]) <= Millis(16_000), "{id}: the indicator died between two refreshes");
            }
        }
    }
}

pub(crate) fn what_gives_way_is_typed_to_in_full_later(world: &World) {
    let disturbs = |f: &Fact| {
        let disturbed = matches!(f, Fact::Crash | Fact::Cancelled(_) | Fact::Slept | Fact::Froze | Fact::SetBack);
        disturbed || matches!(f, Fact::Paused(_))
    };
    if world.lies > 0 || world.has_rivals() || happened(world, disturbs) {
        return;
    }
    for (id, row) in &world.store.rows {
        let gave_way = of(world, *id, |f| if let Fact::GaveWay(i) = f { Some(*i) } else { None });
        let urgent = |r: &&crate::model_store::Row| r.due.class == Class::Urgent && r.due.instance == row.due.instance;
        let urgent = world.store.rows.values().filter(urgent).count();
        assert!(gave_way.len() <= urgent, "{id} gave way {} times to {urgent} urgent messages", gave_way.len());
        let (Some(since), Some(sent)) = (gave_way.last(), sends(world, *id).first().copied()) else { continue };
        assert!(sent > *since, "{id} left although it had given way");
        if row.attempts == 1 {
            let typed = of(world, *id, |f| if let Fact::Typing(i) = f { Some(*i) } else { None });
            let again = typed.into_iter().find(|t| t >= since).unwrap_or(Timestamp(i64::MAX));
            assert!(sent.since(again) >= row.due.lead, "{id}: typed for {} of {}", sent.since(again), row.due.lead);
        }
    }
}

pub(crate) fn a_cancel_is_never_followed_by_a_send(world: &World) {
    for Entry { at, fact, .. } in &world.log {
        if let Fact::Cancelled(id) = fact {
            assert!(sends(world, *id).iter().all(|s| s <= at), "{id} was sent after its cancel");
        }
    }
}

pub(crate) fn no_chat_is_left_typing(world: &World) {
    // Typing ends with a send or a stop, or dies with the process and, seconds later, at the network.
    for id in world.store.rows.keys() {
        let last_typing = of(world, *id, |f| if let Fact::Typing(i) = f { Some(*i) } else { None }).last().copied();
        let Some(typed) = last_typing else { continue };
        let ended = world.log.iter().any(|Entry { at, fact, .. }| match fact {
            Fact::Sent(i) | Fact::StopTyping(i) => i == id && *at >= typed,
            Fact::Crash => *at >= typed,
            _ => false,
        });
        assert!(ended, "{id} was left typing");
    }
}

pub(crate) fn the_pace_is_kept(world: &World) {
    // Each node paces itself, and what a start knows of earlier sends is by the clock as it was.
    if world.has_rivals() || happened(world, |f| matches!(f, Fact::SetBack)) {
        return;
    }
    for lane in &world.lanes {
        let left = departures(&world.log, &world.store, &lane.instance, |entry| entry.at);
        let name = &lane.instance;
        if let Some((low, _)) = lane.pacing.gap {
            assert!(left.windows(2).all(|w| w[1].since(w[0]) >= low), "{name}: a gap shorter than {low}");
        }
        let hour = lane.pacing.per_hour.map(|count| Rate { count, window: Millis(3_600_000) });
        for rate in [lane.pacing.rate, hour].into_iter().flatten() {
            let n = usize::try_from(rate.count).unwrap();
            let over = left.windows(n + 1).find(|w| w[n].since(w[0]) < rate.window);
            assert!(over.is_none(), "{name}: more than {} in {}: {over:?}", rate.count, rate.window);
        }
        if lane.pacing.per_day.is_some() {
            let mut days: BTreeMap<jiff::civil::Date, u32> = BTreeMap::new();
            left.iter().for_each(|t| *days.entry(t.in_zone(&lane.zone).date()).or_default() += 1);
            let within = |(day, n): (&jiff::civil::Date, &u32)| Some(*n) <= lane.pacing.per_day_on(*day);
            assert!(days.iter().all(within), "{name}: over its daily cap: {days:?}");
        }
        if let (Some(batch), Some((rest, _))) = (lane.pacing.batch, lane.pacing.rest) {
            let mut row = 1;
            for pair in left.windows(2) {
                row = if pair[1].since(pair[0]) >= rest { 1 } else { row + 1 };
                assert!(row <= batch, "{name}: {row} in a row without a rest at {}", pair[1]);
            }
        }
    }
}

pub(crate) fn nothing_leaves_outside_its_windows(world: &World) {
    for (id, row) in &world.store.rows {
        for sent in sends_by_clock(world, *id) {
            let open = window::next_open(&row.due.hours, sent);
            assert_eq!(open, Some(sent), "{id} left at {sent}, outside its windows");
        }
    }
}

pub(crate) fn nothing_leaves_after_it_expired(world: &World) {
    for (id, row) in &world.store.rows {
        let Some(until) = row.due.expires_at else { continue };
        assert!(sends_by_clock(world, *id).iter().all(|s| *s <= until + Millis(50)), "{id} left after {until}");
    }
}

pub(crate) fn attempts_stay_under_the_limit(world: &World) {
    for row in world.store.rows.values() {
        assert!(row.tries <= row.due.retry.attempts, "{} used {} tries", row.due.id, row.tries);
    }
}

pub(crate) fn one_message_is_in_flight_per_chat(world: &World) {
    if world.has_rivals() {
        return;
    }
    let mut flying: BTreeMap<(InstanceName, Chat), MessageId> = BTreeMap::new();
    for Entry { fact, .. } in &world.log {
        match fact {
            Fact::Sent(id) => {
                let due = &world.store.rows[id].due;
                flying.insert((due.instance.clone(), due.chat.clone()), *id);
            }
            Fact::Crash => flying.clear(),
            Fact::Typing(id) => {
                let due = &world.store.rows[id].due;
                let key = (due.instance.clone(), due.chat.clone());
                if let Some(other) = flying.get(&key).filter(|o| *o != id) {
                    let other = &world.store.rows[other];
                    assert_ne!(other.state, StateName::Sending, "{id} is typed while another is out");
                }
            }
            _ => {}
        }
    }
}

/// Whichever nodes work at a time, and whichever takes another one for dead: an attempt is marked by one of them, and
/// leaves once, from the one that marked it.
pub(crate) fn no_two_nodes_send_one_message(world: &World) {
    let mut marked = BTreeMap::new();
    for Attempt { id, number, node } in &world.marks {
        let before = marked.insert((id, number), node);
        assert_eq!(before, None, "attempt {number} of {id} was marked twice, the second time by node {node}");
    }
    let mut left = BTreeSet::new();
    for Attempt { id, number, node } in &world.requests {
        assert_eq!(marked.get(&(id, number)), Some(&node), "attempt {number} of {id} left from another node");
        assert!(left.insert((id, number)), "attempt {number} of {id} left twice");
    }
}

pub(crate) fn acks_never_go_down(world: &World) {
    let mut shown: BTreeMap<MessageId, Ack> = BTreeMap::new();
    for Entry { fact, .. } in &world.log {
        if let Fact::Acked(id, ack) = fact {
            let before = shown.insert(*id, *ack);
            assert!(before.is_none_or(|b| b.rank() <= ack.rank()), "{id} showed {before:?}, then {ack:?}");
            assert_eq!(
                world.store.rows[id].ack.map(Ack::rank).max(Some(ack.rank())),
                world.store.rows[id].ack.map(Ack::rank)
            );
        }
    }
}

/// What crashes and sleeps took from a message is never more than it bears. In a line with a pace it loses only the time after its turn
/// would have come: `misfires` holds that.
pub(crate) fn what_is_too_late_is_not_sent(world: &World) {
    if world.has_rivals() || happened(world, |f| matches!(f, Fact::SetBack)) {
        return;
    }
    let paced = |of: &InstanceName| world.lanes.iter().any(|l| l.instance == *of && l.pacing.spaces_sends());
    for (id, row) in world.store.rows.iter().filter(|(_, row)| !paced(&row.due.instance)) {
        for sent in sends(world, *id) {
            let lost =
                world.outages.iter().map(|(from, to)| (*to).min(sent).since((*from).max(row.due.due_at)).0.max(0));
            let lost = Millis(lost.sum());
            assert!(
                lost <= row.due.max_lateness,
                "{id} left although {lost} were lost; it bears {}",
                row.due.max_lateness
            );
        }
    }
}
