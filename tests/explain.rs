//! Why a message waits: a table of situations, each with the gates that hold and the exact earliest instant.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

use jiff::tz::TimeZone;
use onthedot::domain::class::Class;
use onthedot::domain::draw::Draw;
use onthedot::domain::flow::Flow;
use onthedot::domain::id::{InstanceName, MessageId};
use onthedot::domain::message::{Departure, Due};
use onthedot::domain::pace::{Pacing, Rate};
use onthedot::domain::recipient::Chat;
use onthedot::domain::retry::RetryPolicy;
use onthedot::domain::state::{Reason, StateName};
use onthedot::domain::time::{Millis, Timestamp};
use onthedot::domain::timeline::Late;
use onthedot::domain::warm_up::WarmUp;
use onthedot::domain::window::{Days, Hours, OpenHours};
use onthedot::engine::explain::{Situation, explain};
use onthedot::engine::{LaneStart, Standing};

/// 2026-11-23, a Monday, 12:00 UTC.
fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse::<jiff::Timestamp>().unwrap().into()
}

/// So many milliseconds from now.
fn t(ms: i64) -> Timestamp {
    now() + Millis(ms)
}

fn due(n: u8, in_ms: i64) -> Due {
    let chat = Chat::from_stored(&format!("2010000000{n:02}@c.us"));
    Due {
        id: MessageId([n; 16]),
        instance: InstanceName::new("shop"),
        class: Class::Normal,
        flow: Flow::of_class(Class::Normal),
        due_at: t(in_ms),
        target: t(in_ms),
        lead: Millis(2_500),
        late: Late::KeepDue,
        attempts: 0,
        tries: 0,
        first_marked_at: None,
        retry: RetryPolicy::default(),
        max_lateness: Millis(3_600_000),
        expires_at: None,
        event_at: None,
        hours: Vec::new(),
        free_from: Timestamp(i64::MIN),
        stopped: Vec::new(),
        allowed_from: None,
        kept_waiting: false,
        leads_on: false,
        draw: Draw::new(1, "test").with_number(i64::from(n)),
        chat,
    }
}

/// A message due in ten seconds, through a lane without limits, served by a daemon.
fn base() -> Situation {
    Situation {
        due: due(50, 10_000),
        state: StateName::Scheduled,
        reason: None,
        typing_at: None,
        slot: None,
        look_at: None,
        planning: false,
        suppressed: false,
        pauses: Vec::new(),
        blocked: None,
        waits_for: None,
        others: Vec::new(),
        too_many: false,
        typed: Vec::new(),
        lane: LaneStart {
            instance: InstanceName::new("shop"),
            pacing: Pacing::default(),
            refresh_every: Millis(8_000),
            recent_sends: Vec::new(),
            outages: Vec::new(),
            standing: Standing::Working,
            quarantine: Millis(60_000),
            seed: 1,
            zone: TimeZone::UTC,
        },
        served: true,
    }
}

fn paced(pacing: Pacing, sent_ago: &[i64]) -> Situation {
    let mut s = base();
    s.lane.pacing = pacing;
    let draw = Draw::new(1, "test");
    s.lane.recent_sends = sent_ago.iter().map(|ago| Departure { at: t(-ago), draw }).collect();
    s.lane.recent_sends.sort_unstable_by_key(|d| d.at);
    s
}

fn hours(from_to: &str) -> Vec<OpenHours> {
    vec![OpenHours { days: Days::ALL, hours: Hours::parse(from_to).unwrap(), zone: TimeZone::UTC }]
}

/// A situation's name, itself, the gates that hold, and the earliest instant in milliseconds from now.
type Row = (&'static str, Situation, &'static [&'static str], Option<i64>);

fn waiting_by_itself() -> Vec<Row> {
    let with = |change: &dyn Fn(&mut Situation)| {
        let mut s = base();
        change(&mut s);
        s
    };
    let hour = 3_600_000;
    vec![
        ("its instant has not come", base(), &["due"], Some(10_000)),
        ("its instant has passed", with(&|s| s.due = due(50, -1_000)), &[], Some(0)),
        (
            "it waits for its next try",
            with(&|s| {
                (s.due.attempts, s.due.tries, s.due.target) = (1, 1, t(45_000));
                s.reason = Some(Reason::RefusedForNow);
            }),
            &["retry"],
            Some(45_000),
        ),
        ("it is held", with(&|s| s.state = StateName::Held), &["person"], None),
        (
            "it is in doubt",
            with(&|s| (s.state, s.look_at) = (StateName::InDoubt, Some(t(60_000)))),
            &["evidence"],
            None,
        ),
        ("its broadcast is still written", with(&|s| s.planning = true), &["due", "planning"], None),
        (
            "a pause with an end",
            with(&|s| s.pauses = vec![(Some(t(90_000)), Some("lunch".into()))]),
            &["due", "pause"],
            Some(90_000),
        ),
        ("a recipient who opted out", with(&|s| s.suppressed = true), &["due", "consent"], None),
        ("a pause without one", with(&|s| s.pauses = vec![(None, None)]), &["due", "pause"], None),
        (
            "its instance rests",
            with(&|s| s.blocked = Some((Some(t(30_000)), "too many requests".into()))),
            &["due", "instance"],
            Some(30_000),
        ),
        ("its instance is down", with(&|s| s.blocked = Some((None, "logged out".into()))), &["due", "instance"], None),
        (
            "an earlier message of its sequence waits",
            with(&|s| s.waits_for = Some(MessageId([9; 16]))),
            &["due", "sequence"],
            None,
        ),
        (
            "its window opens this evening",
            with(&|s| s.due.hours = hours("18:00-20:00")),
            &["due", "window"],
            Some(6 * hour),
        ),
        ("its window is open", with(&|s| s.due.hours = hours("09:00-20:00")), &["due"], Some(10_000)),
        (
            "it is being typed",
            with(&|s| (s.state, s.typing_at, s.slot) = (StateName::Typing, Some(t(7_501)), Some(t(10_000)))),
            &["due"],
            Some(10_000),
        ),
        (
            "its recipient had enough of them",
            with(&|s| s.due.allowed_from = Some(Timestamp::MAX)),
            &["due", "frequency"],
            None,
        ),
        ("more wait before it than can be looked at", with(&|s| s.too_many = true), &["due", "line"], None),
        ("no daemon runs", with(&|s| s.served = false), &["due", "daemon"], Some(10_000)),
    ]
}

fn waiting_for_others() -> Vec<Row> {
    let gap = |ms| Pacing { gap: Some((Millis(ms), Millis(ms))), ..Pacing::default() };
    let mut one_chat = base();
    let mut before = due(1, 9_000);
    before.chat = one_chat.due.chat.clone();
    one_chat.others = vec![before];
    let mut behind = paced(gap(20_000), &[]);
    behind.others = vec![due(1, 9_000), due(2, 9_500)];
    let mut urgent = paced(gap(20_000), &[]);
    (urgent.due.class, urgent.due.flow) = (Class::Urgent, Flow::of_class(Class::Urgent));
    urgent.others = vec![due(1, 9_990), due(2, 10_000), due(3, 9_995)];
    let mut urgent_behind = paced(gap(20_000), &[0]);
    (urgent_behind.due.class, urgent_behind.due.flow) = (Class::Urgent, Flow::of_class(Class::Urgent));
    let mut in_the_way = paced(gap(20_000), &[]);
    (in_the_way.due.class, in_the_way.due.flow) = (Class::Urgent, Flow::of_class(Class::Urgent));
    in_the_way.due.target = t(9_500);
    in_the_way.typed = vec![(due(1, 0), t(9_000)), (due(2, 0), t(29_020)), (due(3, 0), t(49_040))];
    let mut beside = paced(gap(20_000), &[10_000]);
    let campaign = Flow::of_occurrence(1, Class::Campaign, 100);
    beside.others = (1..=10).map(|n| Due { class: Class::Campaign, flow: campaign, ..due(n, 0) }).collect();
    let mut among = paced(gap(20_000), &[10_000]);
    (among.due.class, among.due.flow) = (Class::Campaign, campaign);
    among.others = (1..=10).map(|n| due(n, 9_000)).collect();
    let mut allowed_by_then = paced(gap(60_000), &[20_000]);
    allowed_by_then.due.allowed_from = Some(t(40_000));
    let mut not_by_then = paced(gap(60_000), &[20_000]);
    not_by_then.due.allowed_from = Some(t(41_000));
    let mut full = base();
    full.lane.pacing.concurrency = Some(1);
    full.others = vec![due(1, 9_000)];
    let mut typed_now = base();
    typed_now.lane.pacing.concurrency = Some(1);
    typed_now.typed = vec![(due(1, 0), t(1_000))];
    let mut gap_after_typed = paced(gap(20_000), &[]);
    gap_after_typed.typed = vec![(due(1, 0), t(1_000))];
    let rate = Pacing { rate: Some(Rate { count: 2, window: Millis(60_000) }), ..Pacing::default() };
    let per_hour = Pacing { per_hour: Some(2), ..Pacing::default() };
    let per_day = Pacing { per_day: Some(2), ..Pacing::default() };
    let since = now().in_zone(&jiff::tz::TimeZone::UTC).date();
    let warm_up = Some(WarmUp { since, from: 1, days: 3 });
    let warming = Pacing { per_day: Some(100), warm_up, ..Pacing::default() };
    let mut kept = paced(Pacing { reserve: Some(50), ..per_day }, &[600_000]);
    (kept.due.class, kept.due.flow) = (Class::Urgent, Flow::of_class(Class::Urgent));
    let mut kept_beside = kept.clone();
    kept_beside.others = vec![due(1, -5_000), due(2, 9_000)];
    let rest = Some((Millis(300_000), Millis(300_000)));
    let batch = Pacing { batch: Some(2), rest, ..Pacing::default() };
    let hour = 3_600_000;
    vec![
        // The one before it leaves at 9 s; then this one is typed in full.
        ("another message to the same chat goes first", one_chat, &["due", "chat"], Some(11_500)),
        // One that is being typed leaves in a second; the place is free then, and this one is typed in full.
        ("the only place is taken by one that is being typed", typed_now, &["due"], Some(10_000)),
        ("the gap after one that is being typed", gap_after_typed, &["due", "gap"], Some(21_020)),
        // 9 s, 29.02 s, 49.04 s: every gap has a margin of 20 ms.
        ("two messages of its instance go first", behind, &["due", "line", "gap"], Some(49_040)),
        // One of the others leaves at 9.99 s, before it was due; then it goes before all that wait.
        ("an urgent one waits for at most one send", urgent, &["due", "line", "gap"], Some(30_010)),
        // Three that are typed to leave at 9, 29.02 and 49.04 s: the latter two give way.
        ("what is typed to gives way to an urgent one", in_the_way, &["due", "gap"], Some(29_020)),
        ("an urgent one waits for the gap after a send that is out", urgent_behind, &["due", "gap"], Some(20_020)),
        // Ten of a campaign have waited for the gap; it waits no longer than that.
        ("a single message does not stand behind a campaign", beside, &["due", "gap"], Some(10_020)),
        // Ten single ones wait before it: the first of them goes, then it is the campaign's turn.
        ("a message of a campaign takes turns with single ones", among, &["due", "line", "gap"], Some(30_040)),
        ("all places are taken until the one before leaves", full, &["due", "line"], Some(11_500)),
        ("the gap is not over", paced(gap(60_000), &[20_000]), &["due", "gap"], Some(40_020)),
        ("its recipient had enough until its turn comes", allowed_by_then, &["due", "gap"], Some(40_020)),
        ("its recipient has had enough still when its turn comes", not_by_then, &["due", "frequency"], None),
        ("the rate is used up", paced(rate, &[10_000, 5_000]), &["due", "rate"], Some(50_020)),
        ("the hour is used up", paced(per_hour, &[600_000, 300_000]), &["due", "per_hour"], Some(hour - 600_000 + 20)),
        (
            "what is kept of the day is for others",
            paced(Pacing { reserve: Some(50), ..per_day.clone() }, &[600_000]),
            &["due", "per_day"],
            Some(12 * hour),
        ),
        ("an urgent message has what is kept", kept, &["due"], Some(10_000)),
        ("and waits for none whose part of the day is used up", kept_beside, &["due"], Some(10_000)),
        ("the day is used up", paced(per_day, &[600_000, 300_000]), &["due", "per_day"], Some(12 * hour)),
        (
            "the day of an account that warms up is used up",
            paced(warming, &[600_000]),
            &["due", "per_day"],
            Some(12 * hour),
        ),
        ("the instance rests after a batch", paced(batch, &[60_000, 30_000]), &["due", "rest"], Some(270_020)),
    ]
}

#[test]
fn every_situation_names_its_gates_and_the_exact_earliest_instant() {
    let rows: Vec<Row> = waiting_by_itself().into_iter().chain(waiting_for_others()).collect();
    assert!(rows.len() >= 20);
    let mut wrong = Vec::new();
    for (name, situation, gates, earliest) in &rows {
        let e = explain(situation, now());
        let holds: Vec<&str> = e.gates.iter().filter(|g| !g.passed).map(|g| g.name.name()).collect();
        let at = e.earliest.map(|at| at.since(now()).0);
        if holds != *gates || at != *earliest {
            wrong.push(format!("{name}: {holds:?} {at:?}, expected {gates:?} {earliest:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_forecast_shows_typing_before_the_slot_and_looks_far_ahead() {
    let mut s = paced(Pacing { gap: Some((Millis(1_000), Millis(1_000))), ..Pacing::default() }, &[]);
    s.others = (0..20_000_u32)
        .map(|n| {
            let mut d = due(1, 0);
            d.id.0[..4].copy_from_slice(&n.to_be_bytes());
            d.chat = Chat::from_stored(&format!("{}@c.us", 201_000_000_000_u64 + u64::from(n)));
            d
        })
        .collect();
    let e = explain(&s, now());
    let earliest = e.earliest.unwrap();
    // Twenty thousand sends a gap of 1.02 s apart; the first leaves at once, cut typing and all.
    let expected = t(20_000 * 1_020);
    assert!(earliest.since(expected).0.abs() < 5_000, "{}", earliest.since(expected));
    assert_eq!(e.typing_from, Some(earliest - Millis(2_500)));
}
