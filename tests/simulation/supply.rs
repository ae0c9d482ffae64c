//! What a history begins with: lanes and messages, drawn.

use jiff::tz::TimeZone;
use onthedot::domain::class::Class;
use onthedot::domain::draw::Draw;
use onthedot::domain::flow::Flow;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::message::Due;
use onthedot::domain::pace::{Pacing, Rate};
use onthedot::domain::recipient::Chat;
use onthedot::domain::retry::RetryPolicy;
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::domain::timeline::Late;
use onthedot::engine::{LaneStart, Standing};

use crate::dice::Dice;
use crate::world::{BEGIN, QUARANTINE};

pub(crate) fn lane(dice: &mut Dice, n: i64, seed: u64) -> LaneStart {
    let pacing = Pacing {
        rate: dice
            .chance(30)
            .then(|| Rate { count: u32::try_from(dice.roll(1, 5)).unwrap(), window: Millis(dice.roll(1_000, 20_000)) }),
        gap: dice.chance(30).then(|| (Millis(dice.roll(0, 1_000)), Millis(dice.roll(1_000, 3_000)))),
        concurrency: dice.chance(50).then(|| u32::try_from(dice.roll(1, 4)).unwrap()),
        per_hour: dice.chance(15).then(|| u32::try_from(dice.roll(8, 30)).unwrap()),
        per_day: None,
        warm_up: None,
        batch: None,
        rest: None,
        reserve: seed.is_multiple_of(3).then_some(20),
    };
    let batch = dice.chance(20).then(|| u32::try_from(dice.roll(1, 5)).unwrap());
    let pacing = Pacing { batch, rest: batch.map(|_| (Millis(2_000), Millis(dice.roll(2_000, 9_000)))), ..pacing };
    LaneStart {
        instance: InstanceName::new(&format!("lane-{n}")),
        pacing,
        refresh_every: Millis(8_000),
        recent_sends: Vec::new(),
        outages: Vec::new(),
        standing: Standing::Working,
        quarantine: QUARANTINE,
        seed,
        zone: TimeZone::UTC,
    }
}

pub(crate) fn due(dice: &mut Dice, n: i64, lanes: &[LaneStart]) -> Due {
    let mut id = [0_u8; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    let lane = &lanes[usize::try_from(dice.roll(0, i64::try_from(lanes.len()).unwrap() - 1)).unwrap()];
    let due_at = Timestamp(BEGIN + dice.roll(-5_000, 60_000));
    let chat = Chat::from_stored(&format!("{}@c.us", dice.roll(1, 12)));
    let class = Class::ALL[usize::try_from(dice.roll(0, 4)).unwrap()];
    // One of three campaigns, or alone: by its number, so that the dice fall as they always did.
    let campaign = n * 7 % 6;
    let flow = if campaign < 3 { Flow::of_occurrence(campaign + 1, class, 100) } else { Flow::of_class(class) };
    Due {
        id: MessageId(id),
        instance: lane.instance.clone(),
        class,
        flow,
        due_at,
        target: due_at,
        lead: Millis(if dice.chance(20) { 0 } else { dice.roll(100, 20_000) }),
        late: if dice.chance(50) { Late::KeepDue } else { Late::KeepLead },
        attempts: 0,
        tries: 0,
        first_marked_at: None,
        retry: RetryPolicy { attempts: 4, backoff: [Millis(1_000), Millis(5_000)].into(), jitter: 0.2 },
        max_lateness: Millis(dice.roll(10_000, 3_600_000)),
        event_at: None,
        expires_at: dice.chance(10).then(|| due_at + Millis(dice.roll(0, 60_000))),
        hours: Vec::new(),
        free_from: Timestamp(i64::MIN),
        stopped: Vec::new(),
        allowed_from: None,
        kept_waiting: false,
        leads_on: false,
        draw: Draw::new(7, "message").with_text(chat.as_str()).with_number(n),
        chat,
    }
}
