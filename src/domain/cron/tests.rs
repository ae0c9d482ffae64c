use super::*;

/// Berlin's rule, written out: the floor knows no names of zones.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse::<Instant>().unwrap().into()
}

fn firings(pattern: &str, zone: &TimeZone, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(pattern).unwrap();
    let mut after = at(after);
    let mut found = Vec::new();
    while let Some(t) = cron.next_after(after, zone).filter(|_| found.len() < count) {
        found.push(t.in_zone(zone).strftime("%Y-%m-%d %H:%M:%S %Z").to_string());
        after = t;
    }
    found
}

fn dates(pattern: &str, count: usize) -> Vec<String> {
    let all = firings(pattern, &TimeZone::UTC, "2026-01-01T00:00:00Z", count);
    all.into_iter().map(|t| t[..10].to_owned()).collect()
}

#[test]
fn every_form_of_the_grammar_fires_on_its_days() {
    for (pattern, expected) in [
        ("0 0 l * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 0 L-3 * *", ["2026-01-28", "2026-02-25", "2026-03-28"]),
        ("0 0 15W * *", ["2026-01-15", "2026-02-16", "2026-03-16"]),
        ("0 0 1W * *", ["2026-02-02", "2026-03-02", "2026-04-01"]),
        ("0 0 31W * *", ["2026-01-30", "2026-03-31", "2026-05-29"]),
        ("0 0 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 0 * * MON#2", ["2026-01-12", "2026-02-09", "2026-03-09"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * friL", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 ? * 7", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("0 0 * * sat-sun", ["2026-01-03", "2026-01-04", "2026-01-10"]),
        ("0 0 * * 5-7/2", ["2026-01-02", "2026-01-04", "2026-01-09"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("0 0 12 1 1 ? 2027-2031/2", ["2027-01-01", "2029-01-01", "2031-01-01"]),
        ("0 0 13 * fri", ["2026-01-02", "2026-01-09", "2026-01-13"]),
        ("0 0 */10 * fri", ["2026-05-01", "2026-07-31", "2026-08-21"]),
        ("@monthly", ["2026-02-01", "2026-03-01", "2026-04-01"]),
        ("@weekly", ["2026-01-04", "2026-01-11", "2026-01-18"]),
    ] {
        assert_eq!(dates(pattern, 3), expected, "{pattern}");
    }
    assert_eq!(
        firings("15/20 */5 9-17/8 * * *", &TimeZone::UTC, "2026-01-01T09:55:30Z", 3),
        ["2026-01-01 09:55:35 UTC", "2026-01-01 09:55:55 UTC", "2026-01-01 17:00:15 UTC"]
    );
}

#[test]
fn fixed_times_fire_once_on_odd_days_and_others_follow_the_clock() {
    let berlin = berlin();
    // Set forward over 02:00 to 03:00 on 29 March, back over 02:00 to 03:00 on 25 October.
    assert_eq!(
        firings("30 2 * * *", &berlin, "2026-03-28T12:00:00Z", 2),
        ["2026-03-29 03:00:00 CEST", "2026-03-30 02:30:00 CEST"]
    );
    assert_eq!(
        firings("0,15,45 2 * * *", &berlin, "2026-03-28T12:00:00Z", 2),
        ["2026-03-29 03:00:00 CEST", "2026-03-30 02:00:00 CEST"],
        "a list is fixed, and what it loses is made up for once"
    );
    assert_eq!(
        firings("30 2 * * *", &berlin, "2026-10-24T12:00:00Z", 2),
        ["2026-10-25 02:30:00 CEST", "2026-10-26 02:30:00 CET"]
    );
    assert_eq!(
        firings("*/30 2 * * *", &berlin, "2026-10-24T12:00:00Z", 5),
        [
            "2026-10-25 02:00:00 CEST",
            "2026-10-25 02:30:00 CEST",
            "2026-10-25 02:00:00 CET",
            "2026-10-25 02:30:00 CET",
            "2026-10-26 02:00:00 CET"
        ]
    );
    assert_eq!(
        firings("30 1-3 * * *", &berlin, "2026-03-28T12:00:00Z", 3),
        ["2026-03-29 01:30:00 CET", "2026-03-29 03:30:00 CEST", "2026-03-30 01:30:00 CEST"],
        "a range follows the clock and skips the missing 02:30"
    );
}

#[test]
fn a_fixed_time_skipped_at_the_end_of_a_day_fires_as_the_next_begins() {
    // Nuuk sets its clock from 23:00 to midnight on a Saturday.
    let nuuk = TimeZone::posix("<-02>2<-01>,M3.5.0/-1,M10.5.0/0").unwrap();
    assert_eq!(
        firings("30 23 * * sat", &nuuk, "2026-03-25T00:00:00Z", 2),
        ["2026-03-29 00:00:00 -01", "2026-04-04 23:30:00 -01"]
    );
}

#[test]
fn what_cannot_be_or_never_matches_is_refused_with_the_field_named() {
    for (pattern, part) in [
        ("61 * * * *", "the minute '61' must be 0 to 59"),
        ("* * * *", "4 fields given"),
        ("* 24 * * *", "the hour '24' must be 0 to 23"),
        ("* * * foo *", "the month 'foo' must be 1 to 12 or jan to dec"),
        ("* * 0 * *", "the day of the month '0' must be 1 to 31"),
        ("*/0 * * * *", "the step of the minute '*/0' must be 1 to 59"),
        ("30-10 * * * *", "goes backwards"),
        ("* * * * MON#6", "the 1st to the 5th"),
        ("* * * * L", "5L for the last Friday"),
        ("? * * * *", "the minute '?'"),
        ("@reboot", "in: 0s"),
        ("@fortnightly", "@yearly"),
        ("0 0 30 2 *", "never matches"),
        ("0 0 31 4,6,9,11 *", "never matches"),
        ("0 0 0 29 2 ? 2027", "never matches"),
        ("+5 * * * *", "the minute '+5'"),
        ("", "0 fields given"),
    ] {
        let error = Cron::parse(pattern).unwrap_err().to_string();
        assert!(error.contains(part), "{pattern}: {error}");
    }
}

#[test]
fn a_spread_depends_on_the_name_alone() {
    let settle = |pattern: &str, name: &str| settle_spread(pattern, name).unwrap();
    assert_eq!(settle("~ 3 * * *", "a"), settle("~ 3 * * *", "a"));
    assert_eq!(settle("0 3 * * *", "a"), "0 3 * * *");
    let minutes: std::collections::BTreeSet<String> =
        (0..200).map(|n| settle("~ 3 * * *", &format!("job {n}"))).collect();
    assert!(minutes.len() > 50, "two hundred jobs use most minutes: {}", minutes.len());
    assert!(minutes.iter().all(|p| Cron::parse(p).is_ok()));
    for name in ["a", "b", "c"] {
        let hour = settle("5 9~11 * * *", name);
        assert!(["5 9 * * *", "5 10 * * *", "5 11 * * *"].contains(&hour.as_str()), "{hour}");
    }
    assert!(settle_spread("20~10 * * * *", "a").is_err());
}

#[test]
fn patterns_are_told_in_words() {
    for (pattern, expected) in [
        ("0 9 * * mon-fri", "at 09:00 on Monday to Friday"),
        ("*/5 * * * *", "every 5 minutes"),
        ("* * * * * *", "every second"),
        ("0 * * * *", "at minute 0 of every hour"),
        ("0,30 9,17 * * *", "at 09:00, 09:30, 17:00 and 17:30"),
        ("*/15 9-17 * * 1-5", "every 15 minutes from 09:00 to 17:59 on Monday to Friday"),
        ("0 0 1,15 * *", "at 00:00 on the 1st and the 15th"),
        ("0 0 13 * fri", "at 00:00 on the 13th or on Friday"),
        ("0 0 l-3 jan-mar ?", "at 00:00 on 3 days before the last of the month in January to March"),
        ("0 12 * * MON#2", "at 12:00 on the 2nd Monday"),
        ("0 0 12 ? * 5L 2027", "at 12:00 on the last Friday of the month in 2027"),
        ("@daily", "at 00:00"),
    ] {
        assert_eq!(words(pattern), expected, "{pattern}");
    }
}

#[test]
fn transitions_name_what_is_skipped_and_what_comes_twice() {
    let found = transitions(&berlin(), at("2026-01-01T00:00:00Z"), Millis(365 * 86_400_000));
    let told: Vec<String> = found.iter().map(|t| format!("{} {} {}", t.from, t.to, t.skips)).collect();
    assert_eq!(told, ["2026-03-29T02:00:00 2026-03-29T03:00:00 true", "2026-10-25T02:00:00 2026-10-25T03:00:00 false"]);
}

#[test]
fn numbers_are_digits_without_a_sign() {
    for pattern in ["*/+5 * * * *", "0 0 L-+3 * *", "0 0 * * mon#+2", "+5 * * * *"] {
        assert!(Cron::parse(pattern).is_err(), "{pattern}");
    }
}
