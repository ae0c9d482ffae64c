//! A cron pattern in words, for whoever wants to be sure of what was written.

use crate::domain::cron::Cron;
use crate::domain::cron::parse::{Fields, Item};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 8] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Times of day that are told one by one; more are told by minute and hour.
const TIMES_TOLD: usize = 6;

/// A pattern in words, such as `at 09:00 on Monday to Friday`; what cannot be read is given back as it is.
pub fn words(pattern: &str) -> String {
    let (Ok(fields), Ok(cron)) = (Fields::read(pattern), Cron::parse(pattern)) else { return pattern.to_owned() };
    let Fields([seconds, minutes, hours, days, months, weekdays, years]) = &fields;
    let mut parts = vec![time(seconds, minutes, hours)];
    let joint = match cron.joins_days() {
        Some(true) => " or ",
        _ => " and ",
    };
    let dates: Vec<String> = [days_words(days), weekday_words(weekdays)].into_iter().flatten().collect();
    if !dates.is_empty() {
        parts.push(dates.join(joint));
    }
    if let Some(names) = names(months, |n| name(&MONTHS, n.wrapping_sub(1)), "month") {
        parts.push(format!("in {names}"));
    }
    if let Some(names) = names(years, |n| n.to_string(), "year") {
        parts.push(format!("in {names}"));
    }
    parts.join(" ")
}

fn time(seconds: &[Item], minutes: &[Item], hours: &[Item]) -> String {
    if let (Some(s), Some(m), Some(h)) = (ones(seconds), ones(minutes), ones(hours))
        && s.len() * m.len() * h.len() <= TIMES_TOLD
    {
        let mut times = Vec::new();
        for hour in &h {
            for minute in &m {
                for second in &s {
                    times.push(match second {
                        0 => format!("{hour:02}:{minute:02}"),
                        second => format!("{hour:02}:{minute:02}:{second:02}"),
                    });
                }
            }
        }
        times.sort();
        return format!("at {}", list(&times));
    }
    let mut parts = Vec::new();
    if ones(seconds) != Some(vec![0]) {
        parts.push(unit(seconds, "second"));
    }
    let every_second = matches!(seconds, [Item::Star { step: 1 }]);
    if !(every_second && matches!(minutes, [Item::Star { step: 1 }])) {
        parts.push(unit(minutes, "minute"));
    }
    match hours {
        [Item::Star { step: 1 }] if ones(minutes).is_some() => parts.push("of every hour".to_owned()),
        [Item::Star { step: 1 }] => {}
        [Item::Star { step }] => parts.push(format!("of every {} hour from midnight on", ordinal(*step))),
        [Item::Range { from, to, step: 1 }] => parts.push(format!("from {from:02}:00 to {to:02}:59")),
        _ => parts.push(format!("in hours {}", list(&plain(hours)))),
    }
    parts.join(" ")
}

/// `every minute`, `every 5 minutes`, `at minute 5`, `at minutes 0 to 10`.
fn unit(items: &[Item], name: &str) -> String {
    match items {
        [Item::Star { step: 1 }] => format!("every {name}"),
        [Item::Star { step }] => format!("every {step} {name}s"),
        [Item::One(n)] => format!("at {name} {n}"),
        _ => format!("at {name}s {}", list(&plain(items))),
    }
}

fn plain(items: &[Item]) -> Vec<String> {
    items.iter().map(|i| item(*i, &|n| n.to_string())).collect()
}

fn days_words(items: &[Item]) -> Option<String> {
    if matches!(items, [Item::Star { step: 1 }]) {
        return None;
    }
    let told: Vec<String> = items
        .iter()
        .map(|i| match *i {
            Item::Star { step } => format!("every {} day of the month", ordinal(step)),
            Item::One(n) => format!("the {}", ordinal(n)),
            Item::FromLast(0) => "the last day of the month".to_owned(),
            Item::FromLast(1) => "the day before the last of the month".to_owned(),
            Item::FromLast(n) => format!("{n} days before the last of the month"),
            Item::Nearest(n) => format!("the weekday nearest to the {}", ordinal(n)),
            Item::LastWeekday => "the last weekday of the month".to_owned(),
            other => format!("the {}", item(other, &ordinal)),
        })
        .collect();
    Some(format!("on {}", list(&told)))
}

fn weekday_words(items: &[Item]) -> Option<String> {
    if matches!(items, [Item::Star { step: 1 }]) {
        return None;
    }
    let told: Vec<String> = items
        .iter()
        .map(|i| match *i {
            Item::Nth { weekday, nth } => format!("the {} {}", ordinal(nth), name(&WEEKDAYS, weekday)),
            Item::Last(weekday) => format!("the last {} of the month", name(&WEEKDAYS, weekday)),
            other => item(other, &|n| name(&WEEKDAYS, n)),
        })
        .collect();
    Some(format!("on {}", list(&told)))
}

fn names(items: &[Item], name: impl Fn(u32) -> String, unit: &str) -> Option<String> {
    match items {
        [Item::Star { step: 1 }] => None,
        [Item::Star { step }] => Some(format!("every {} {unit}", ordinal(*step))),
        _ => Some(list(&items.iter().map(|i| item(*i, &name)).collect::<Vec<_>>())),
    }
}

fn item(item: Item, name: &dyn Fn(u32) -> String) -> String {
    match item {
        Item::One(n) => name(n),
        Item::Range { from, to, step: 1 } => format!("{} to {}", name(from), name(to)),
        Item::Range { from, to, step } => format!("every {} from {} to {}", ordinal(step), name(from), name(to)),
        Item::Star { step } => format!("every {}", ordinal(step)),
        Item::FromLast(_) | Item::Nearest(_) | Item::LastWeekday | Item::Nth { .. } | Item::Last(_) => String::new(),
    }
}

fn ones(items: &[Item]) -> Option<Vec<u32>> {
    items.iter().map(|i| if let Item::One(n) = i { Some(*n) } else { None }).collect()
}

fn name(names: &[&str], place: u32) -> String {
    usize::try_from(place).ok().and_then(|p| names.get(p)).map_or_else(|| place.to_string(), |n| (*n).to_owned())
}

fn ordinal(n: u32) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

fn list(told: &[String]) -> String {
    match told {
        [] => String::new(),
        [only] => only.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}
