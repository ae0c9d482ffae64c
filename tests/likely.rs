//! `campaign eta` by chance: over random campaigns and gateways, how often the true end lies in the span that was told. The
//! truth is a play with a gateway whose habits are known only from some answers it gave before.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

use jiff::tz::TimeZone;
use onthedot::domain::campaign::CampaignName;
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
use onthedot::future::{Answer, Answered, Counted, LanePremise, Premise, Waiting, finish_by_chance};

/// 2026-12-01T10:00Z.
const NOW: Timestamp = Timestamp(1_796_119_200_000);

/// Configurations tried; of every twenty, sixteen must hold.
const CONFIGURATIONS: i64 = 20;

fn message(n: i64, draw: Draw) -> Waiting {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    let due = Due {
        id: MessageId(id),
        instance: InstanceName::new("shop"),
        chat: Chat::from_stored(&format!("{n}@c.us")),
        class: Class::Campaign,
        flow: Flow::of_occurrence(1, Class::Campaign, 1_000),
        due_at: NOW,
        target: NOW,
        lead: Millis(2_500),
        late: Late::KeepDue,
        attempts: 0,
        tries: 0,
        first_marked_at: None,
        retry: RetryPolicy::default(),
        max_lateness: Millis(86_400_000),
        expires_at: None,
        event_at: None,
        hours: Vec::new(),
        free_from: Timestamp(i64::MIN),
        stopped: Vec::new(),
        allowed_from: None,
        kept_waiting: false,
        leads_on: false,
        draw: draw.with_number(n),
    };
    Waiting {
        due,
        job: Some("launch".into()),
        nominal: Some(NOW),
        beside: false,
        frequency: None,
        typed: None,
        then: Vec::new(),
    }
}

/// What a gateway answers, by habits of its own.
fn answers(draw: Draw, count: i64) -> Vec<Answer> {
    let (fast, slow) = (draw.with_text("fast").between(50, 600), draw.with_text("slow").between(800, 6_000));
    let (again, hold) = (draw.with_text("again").between(0, 40), draw.with_text("hold").between(0, 8));
    let one = |n: i64| {
        let draw = draw.with_text("answer").with_number(n);
        let kind = match draw.with_text("kind").between(0, 999) {
            k if k < again => Answered::RefusedForNow,
            k if k < again + hold => Answered::NotNow,
            _ => Answered::Accepted,
        };
        let took = Millis(draw.with_text("took").between(fast, slow));
        Answer { late: Millis(draw.with_text("late").between(0, 4)), took, kind }
    };
    (0..count).map(one).collect()
}

fn premise(draw: Draw, seen: Vec<Answer>) -> Premise {
    let between = |word, low, high| draw.with_text(word).between(low, high);
    let concurrency = u32::try_from(between("concurrency", 1, 4)).unwrap();
    let gap = Some((Millis(between("low", 100, 1_500)), Millis(between("high", 1_500, 4_000))));
    let rate = Some(Rate { count: u32::try_from(between("rate", 10, 60)).unwrap(), window: Millis(60_000) });
    let pacing = match between("pacing", 0, 2) {
        0 => Pacing { concurrency: Some(concurrency), ..Pacing::default() },
        1 => Pacing { gap, concurrency: Some(concurrency), ..Pacing::default() },
        _ => Pacing { rate, ..Pacing::default() },
    };
    let start = LaneStart {
        instance: InstanceName::new("shop"),
        pacing,
        refresh_every: Millis(8_000),
        recent_sends: Vec::new(),
        outages: Vec::new(),
        standing: Standing::Working,
        quarantine: Millis(60_000),
        seed: 1,
        zone: TimeZone::UTC,
    };
    let waiting = (0..between("size", 100, 600)).map(|n| message(n, draw)).collect();
    let lanes = vec![LanePremise { start, window: None, stops: Vec::new(), waiting, seen }];
    let (until, counted) = (NOW + Millis(10 * 86_400_000), Counted::new());
    Premise { from: NOW, until, seed: 1, chance: None, lanes, jobs: Vec::new(), counted }
}

#[test]
fn the_true_end_of_a_campaign_lies_in_the_span_that_was_told_at_least_four_times_in_five() {
    let campaign = CampaignName { job: "launch".to_owned(), nominal: NOW };
    let mut inside = 0;
    let mut told = Vec::new();
    for n in 0..CONFIGURATIONS {
        let draw = Draw::new(17, "likely").with_number(n);
        let habits = answers(draw, 4_000);
        // Of those the program has seen some, as after a day or after weeks.
        let seen = habits[..usize::try_from(draw.with_text("seen").between(30, 400)).unwrap()].to_vec();
        let mut known = premise(draw, seen);
        let [early, middle, late] = finish_by_chance(&mut known, &campaign, 30).map(|at| at.unwrap());
        let mut truth = premise(draw, habits);
        truth.seed = 999;
        let [.., end] = finish_by_chance(&mut truth, &campaign, 1).map(|at| at.unwrap());
        let holds = (early..=late).contains(&end);
        inside += i64::from(holds);
        let after = |t: Timestamp| t.since(NOW).0;
        told.push(format!("{n}: {} in {}..{}..{} {holds}", after(end), after(early), after(middle), after(late)));
    }
    println!("the true end lies in the span in {inside} of {CONFIGURATIONS}");
    assert!(inside * 5 >= CONFIGURATIONS * 4, "{inside} of {CONFIGURATIONS}\n{}", told.join("\n"));
}
