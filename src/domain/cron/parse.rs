//! Reading cron patterns.

use crate::domain::cron::{Cron, Days, Run, Weekdays, bit};
use crate::domain::draw::Draw;

/// Why a cron pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It cannot be read.
    #[error("'{pattern}' is not a cron pattern: {what}")]
    Syntax {
        /// What was written.
        pattern: String,
        /// What is wrong with it.
        what: String,
    },
    /// It can never match.
    #[error("the cron pattern '{pattern}' never matches any date")]
    Never {
        /// What was written.
        pattern: String,
    },
}

/// One field of a pattern: its name, its bounds, and the words that stand for values.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
    /// The value of the first word.
    first: u32,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

pub(super) const SECOND: Kind = Kind { name: "second", low: 0, high: 59, names: &[], first: 0 };
pub(super) const MINUTE: Kind = Kind { name: "minute", low: 0, high: 59, names: &[], first: 0 };
pub(super) const HOUR: Kind = Kind { name: "hour", low: 0, high: 23, names: &[], first: 0 };
pub(super) const DAY: Kind = Kind { name: "day of the month", low: 1, high: 31, names: &[], first: 0 };
pub(super) const MONTH: Kind = Kind { name: "month", low: 1, high: 12, names: &MONTHS, first: 1 };
pub(super) const WEEKDAY: Kind = Kind { name: "day of the week", low: 0, high: 7, names: &WEEKDAYS, first: 0 };
pub(super) const YEAR: Kind = Kind { name: "year", low: 1970, high: 9998, names: &[], first: 0 };

/// What stands for a whole pattern.
const NICKNAMES: [(&str, &str); 8] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@minutely", "* * * * *"),
];

/// One item of a field's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Item {
    /// `*` or `?`, every so many.
    Star { step: u32 },
    /// A value.
    One(u32),
    /// Values from one to another, every so many.
    Range { from: u32, to: u32, step: u32 },
    /// `L`, `L-3`: so many days before the last of the month.
    FromLast(u32),
    /// `15W`: the weekday nearest to a day.
    Nearest(u32),
    /// `LW`: the last weekday of the month.
    LastWeekday,
    /// `MON#2`: the second Monday of the month.
    Nth { weekday: u32, nth: u32 },
    /// `5L`: the last Friday of the month.
    Last(u32),
}

/// A pattern's fields in the order second, minute, hour, day, month, weekday, year.
pub(super) struct Fields(pub [Vec<Item>; 7]);

pub(super) const KINDS: [Kind; 7] = [SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR];

impl Fields {
    /// Reads five fields, six with seconds first, or seven with years last.
    pub(super) fn read(pattern: &str) -> Result<Fields, CronError> {
        let wrong = |what: String| CronError::Syntax { pattern: pattern.chars().take(120).collect(), what };
        let trimmed = pattern.trim();
        let lower = trimmed.to_ascii_lowercase();
        let text = match NICKNAMES.iter().find(|(name, _)| *name == lower) {
            Some((_, text)) => text,
            None if lower == "@reboot" => {
                return Err(wrong("@reboot is no time; `in: 0s` fires once when the job is first applied".to_owned()));
            }
            None if lower.starts_with('@') => {
                let names: Vec<&str> = NICKNAMES.iter().map(|(n, _)| *n).collect();
                return Err(wrong(format!("expected {} or @every with a duration", names.join(", "))));
            }
            None => lower.as_str(),
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        match words.len() {
            5 => {
                words.insert(0, "0");
                words.push("*");
            }
            6 => words.push("*"),
            7 => {}
            n => {
                return Err(wrong(format!(
                    "{n} field{} given, expected five (minute hour day month weekday), six (with seconds first) or \
                     seven (with years last)",
                    if n == 1 { "" } else { "s" }
                )));
            }
        }
        let mut fields: [Vec<Item>; 7] = Default::default();
        for ((word, kind), field) in words.iter().zip(KINDS).zip(&mut fields) {
            for item in word.split(',') {
                field.push(read_item(item, kind).map_err(&wrong)?);
            }
        }
        Ok(Fields(fields))
    }
}

impl Cron {
    /// Reads a pattern: five fields, six with seconds first, seven with years last, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// [`CronError`] for what cannot be read and for what never matches any date, such as `0 0 30 2 *`.
    pub fn parse(pattern: &str) -> Result<Cron, CronError> {
        let Fields([seconds, minutes, hours, days, months, weekdays, years]) = Fields::read(pattern)?;
        let fixed = [&seconds, &minutes, &hours].iter().all(|f| f.iter().all(|i| matches!(i, Item::One(_))));
        let cron = Cron {
            seconds: set(&seconds, SECOND),
            minutes: set(&minutes, MINUTE),
            hours: set(&hours, HOUR),
            days: days_of(&days),
            months: set(&months, MONTH),
            weekdays: weekdays_of(&weekdays),
            years: runs(&years),
            fixed,
        };
        // The calendar from 1970 on holds every kind of year; a pattern bound to years is looked for in those.
        match cron.next_date(jiff::civil::date(1970, 1, 1)) {
            Some(_) => Ok(cron),
            None if cron.years.iter().any(|r| r.from > 2_300) => Ok(cron),
            None => Err(CronError::Never { pattern: pattern.to_owned() }),
        }
    }
}

fn read_item(text: &str, kind: Kind) -> Result<Item, String> {
    let unknown = || format!("the {} '{text}' is not understood", kind.name);
    if kind.name == DAY.name
        && let Some(item) = day_item(text)?
    {
        return Ok(item);
    }
    if kind.name == WEEKDAY.name
        && let Some(item) = weekday_item(text)?
    {
        return Ok(item);
    }
    let (range, step) = match text.split_once('/') {
        Some((range, step)) => {
            let step = number(step).ok_or_else(unknown)?;
            if step == 0 || step > kind.high {
                return Err(format!("the step of the {} '{text}' must be 1 to {}", kind.name, kind.high));
            }
            (range, Some(step))
        }
        None => (text, None),
    };
    if range == "*" || (range == "?" && [DAY.name, WEEKDAY.name].contains(&kind.name)) {
        return Ok(Item::Star { step: step.unwrap_or(1) });
    }
    let (from, to) = match (range.split_once('-'), step) {
        (Some((from, to)), _) => (value(from, kind)?, value(to, kind)?),
        // From a value on, as Quartz reads it.
        (None, Some(_)) => (value(range, kind)?, if kind.name == WEEKDAY.name { 6 } else { kind.high }),
        (None, None) => return Ok(Item::One(value(range, kind)?)),
    };
    // A week that ends on Sunday.
    let to = if kind.name == WEEKDAY.name && to == 0 && from > 0 { 7 } else { to };
    if to < from {
        return Err(format!("the {} '{text}' goes backwards", kind.name));
    }
    Ok(Item::Range { from, to, step: step.unwrap_or(1) })
}

fn day_item(text: &str) -> Result<Option<Item>, String> {
    if text == "l" {
        return Ok(Some(Item::FromLast(0)));
    }
    if text == "lw" || text == "wl" {
        return Ok(Some(Item::LastWeekday));
    }
    if let Some(days) = text.strip_prefix("l-") {
        return match number(days) {
            Some(n) if n <= 30 => Ok(Some(Item::FromLast(n))),
            _ => Err(format!("'{}' must count 0 to 30 days before the last", text.to_uppercase())),
        };
    }
    match text.strip_suffix('w') {
        Some(day) => Ok(Some(Item::Nearest(value(day, DAY)?))),
        None => Ok(None),
    }
}

fn weekday_item(text: &str) -> Result<Option<Item>, String> {
    if let Some((weekday, nth)) = text.split_once('#') {
        let weekday = value(weekday, WEEKDAY)? % 7;
        return match number(nth) {
            Some(nth @ 1..=5) => Ok(Some(Item::Nth { weekday, nth })),
            _ => Err(format!("'{}' must name the 1st to the 5th of a month", text.to_uppercase())),
        };
    }
    match text.strip_suffix('l') {
        Some("") => Err("'L' needs a day of the week before it, such as 5L for the last Friday".to_owned()),
        Some(weekday) => Ok(Some(Item::Last(value(weekday, WEEKDAY)? % 7))),
        None => Ok(None),
    }
}

/// Digits alone: the standard library would take a plus sign too.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

fn value(text: &str, kind: Kind) -> Result<u32, String> {
    if let Some(place) = kind.names.iter().position(|n| *n == text) {
        return Ok(kind.first + u32::try_from(place).unwrap_or(0));
    }
    match number(text) {
        Some(n) if (kind.low..=kind.high).contains(&n) => Ok(n),
        _ => {
            let names = match kind.names {
                [] => String::new(),
                [first, .., last] => format!(" or {first} to {last}"),
                [only] => format!(" or {only}"),
            };
            Err(format!("the {} '{text}' must be {} to {}{names}", kind.name, kind.low, kind.high))
        }
    }
}

fn run(item: &Item, kind: Kind) -> Option<Run> {
    match *item {
        Item::Star { step } => Some(Run { from: kind.low, to: kind.high, step }),
        Item::One(n) => Some(Run { from: n, to: n, step: 1 }),
        Item::Range { from, to, step } => Some(Run { from, to, step }),
        _ => None,
    }
}

fn set(items: &[Item], kind: Kind) -> u64 {
    let values = items.iter().filter_map(|i| run(i, kind));
    values.flat_map(|r| (r.from..=r.to).step_by(usize::try_from(r.step).unwrap_or(1))).fold(0, |all, n| all | bit(n))
}

fn runs(items: &[Item]) -> Vec<Run> {
    if items.contains(&Item::Star { step: 1 }) {
        return Vec::new();
    }
    items.iter().filter_map(|i| run(i, YEAR)).collect()
}

fn days_of(items: &[Item]) -> Days {
    let mut days = Days {
        set: set(items, DAY),
        // Vixie looks at how the field begins.
        star: matches!(items.first(), Some(Item::Star { .. })),
        ..Days::default()
    };
    for item in items {
        match *item {
            Item::FromLast(n) => days.from_last |= bit(n),
            Item::Nearest(day) => days.nearest_weekday |= bit(day),
            Item::LastWeekday => days.last_weekday = true,
            _ => {}
        }
    }
    days
}

fn weekdays_of(items: &[Item]) -> Weekdays {
    let seven = set(items, WEEKDAY);
    let mut weekdays = Weekdays {
        set: (seven | (seven >> 7)) & crate::domain::cron::bits(0, 6),
        star: matches!(items.first(), Some(Item::Star { .. })),
        ..Weekdays::default()
    };
    for item in items {
        match *item {
            Item::Nth { weekday, nth } => {
                if let Some(week) = usize::try_from(nth).ok().and_then(|n| weekdays.nth.get_mut(n - 1)) {
                    *week |= bit(weekday);
                }
            }
            Item::Last(weekday) => weekdays.last |= bit(weekday),
            _ => {}
        }
    }
    weekdays
}

/// Settles every `~` of a pattern on a value that depends on a name alone: jobs that all say `~ 3 * * *` are spread over
/// the hour, each always at its own minute. `10~20` draws between the two; a day of the month from 1 to 28.
///
/// # Errors
/// [`CronError::Syntax`] for a `~` that is not understood; the rest of the pattern is not looked at.
pub fn settle_spread(pattern: &str, name: &str) -> Result<String, CronError> {
    if !pattern.contains('~') {
        return Ok(pattern.to_owned());
    }
    let words: Vec<&str> = pattern.split_whitespace().collect();
    let skipped = usize::from(words.len() == 5);
    let mut settled = Vec::with_capacity(words.len());
    for (place, word) in words.iter().enumerate() {
        let Some((low, high)) = word.split_once('~') else {
            settled.push((*word).to_owned());
            continue;
        };
        let wrong = |what: String| CronError::Syntax { pattern: pattern.chars().take(120).collect(), what };
        let kind = KINDS.get(place + skipped).copied().unwrap_or(YEAR);
        let most = match kind.name {
            name if name == DAY.name => 28,
            name if name == WEEKDAY.name => 6,
            name if name == YEAR.name => return Err(wrong("the year cannot be spread with ~".to_owned())),
            _ => kind.high,
        };
        let bound = |text: &str, absent| if text.is_empty() { Ok(absent) } else { value(text, kind) };
        let low = bound(&low.to_ascii_lowercase(), kind.low).map_err(&wrong)?;
        let high = bound(&high.to_ascii_lowercase(), most).map_err(&wrong)?;
        if high < low {
            return Err(wrong(format!("the {} '{word}' goes backwards", kind.name)));
        }
        let draw = Draw::new(0, "cron").with_text(name).with_number(i64::try_from(place + skipped).unwrap_or(0));
        settled.push(draw.between(i64::from(low), i64::from(high)).to_string());
    }
    Ok(settled.join(" "))
}
