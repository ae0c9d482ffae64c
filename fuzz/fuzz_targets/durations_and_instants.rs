//! One text read as everything short that a person writes: lengths of time, instants, days, hours, distances from an
//! event, and addresses. What is accepted and printed is accepted again and means the same.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use onthedot::domain::country;
use onthedot::domain::event::Remind;
use onthedot::domain::recipient::{parse_number, parse_whatsapp};
use onthedot::domain::time::{Millis, Timestamp, civil_of, parse_duration, parse_instant};
use onthedot::domain::window::{Days, Hours};

const TEN_YEARS: Millis = Millis(3_650 * 86_400_000);

/// 0000-01-01T00:00:00Z: an earlier instant is printed with a signed year.
const YEAR_ZERO: Timestamp = Timestamp(-62_167_219_200_000);

fuzz_target!(|text: &str| {
    if let Ok(length) = parse_duration(text) {
        assert!((Millis::ZERO..=TEN_YEARS).contains(&length));
        assert_eq!(parse_duration(&length.to_string()), Ok(length));
    }
    instant(text);
    reminder(text);
    if let Some(days) = Days::parse(text) {
        assert_eq!(Days::parse(&days.to_string()), Some(days));
    }
    if let Some(hours) = Hours::parse(text) {
        assert_eq!(Hours::parse(&hours.to_string()), Some(hours));
    }
    match parse_whatsapp(text) {
        Ok(chat) => {
            assert_eq!(parse_whatsapp(chat.as_str()).as_ref(), Ok(&chat), "an address is its own form");
            country::of(&chat);
        }
        Err(e) => assert!(e.given.chars().count() <= 80),
    }
    if let Ok(digits) = parse_number(text) {
        assert_eq!(parse_number(&digits).as_ref(), Ok(&digits));
    }
});

fn instant(text: &str) {
    let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("the zone can be read");
    for zone in [&TimeZone::UTC, &berlin] {
        let Some(at) = parse_instant(text, zone, false) else { continue };
        assert!(parse_instant(text, zone, true).is_none_or(|end| end >= at), "a day ends after it begins");
        if at >= YEAR_ZERO {
            assert_eq!(parse_instant(&at.to_rfc3339(), zone, false), Some(at));
        }
        match civil_of(text) {
            Some(civil) => assert_eq!(Some(at), civil.to_zoned(zone.clone()).ok().map(|z| z.timestamp().into())),
            // The library reads the same where an instant is named.
            None => {
                let (date, time) = text.trim().split_at(10);
                let time: String = time[1..].split_whitespace().collect();
                let read = format!("{date}T{time}").parse::<jiff::Timestamp>().map(Timestamp::from);
                assert_eq!(read.ok(), Some(at), "{text}");
            }
        }
    }
}

fn reminder(text: &str) {
    let Ok(remind) = text.parse::<Remind>() else { return };
    assert!(!text.trim().trim_start_matches(['+', '-']).contains(['+', '-']), "only the distance has a sign");
    let event = Timestamp(1_796_119_200_000);
    let due = remind.instant(event, &TimeZone::UTC);
    if remind.is_before() && !text.contains('@') {
        assert!(due.is_some_and(|due| due < event));
    }
}
