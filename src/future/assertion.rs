//! What shall be true of a prediction, in words: read from the command line or a file.

use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::time::{Millis, parse_duration};
use crate::domain::window::{Days, Hours, OpenHours};

/// Every form of an assertion, for whoever wrote another. Each may end in `for job NAME`, and those that look at the
/// clock in `in ZONE` before it.
pub const FORMS: [&str; 6] = [
    "never on sunday [in ZONE]",
    "never between 22:00 and 07:00 [in ZONE]",
    "at most 3 per recipient|instance|job|total and hour|day|week|month",
    "at least 1 per hour|day|week|month",
    "nothing late by more than 10m",
    "nothing skipped",
];

/// Something that shall be true of a prediction.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// As it was written.
    pub text: String,
    /// Only of this job.
    pub job: Option<String>,
    pub(super) rule: Rule,
}

#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// No send within these hours.
    Never(OpenHours),
    AtMost {
        count: u64,
        per: Per,
        period: Period,
    },
    AtLeast {
        count: u64,
        period: Period,
    },
    NothingLate(Millis),
    NothingSkipped,
}

/// What is counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Per {
    Recipient,
    Instance,
    Job,
    Total,
}

/// A stretch of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Period {
    Hour,
    Day,
    /// From Monday on.
    Week,
    Month,
}

/// What was written is no assertion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the assertion '{given}' cannot be read: {what}")]
pub struct NotAnAssertion {
    given: String,
    what: String,
}

impl Assertion {
    /// The job it is about, where it names one.
    pub fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// Reads an assertion. Clocks it does not name are those of `zone`.
    ///
    /// # Errors
    /// [`NotAnAssertion`] for everything but the [`FORMS`].
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Assertion, NotAnAssertion> {
        let wrong =
            |what: &str| NotAnAssertion { given: text.trim().chars().take(120).collect(), what: what.to_owned() };
        let (form, job) = match text.split_once(" for job ") {
            Some((form, job)) if !job.trim().is_empty() => (form, Some(job.trim().to_owned())),
            Some(_) => return Err(wrong("it names no job")),
            None => (text, None),
        };
        let words: Vec<&str> = form.split_whitespace().collect();
        let lower: Vec<String> = words.iter().map(|w| w.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let zoned = |rest: &[&str], at: usize| match rest {
            [] => Ok(zone.clone()),
            ["in", _] => clock::zone(words[at + 1]).map_err(|e| wrong(&e.to_string())),
            _ => Err(wrong("expected `in ZONE` or nothing after it")),
        };
        let rule = match lower.as_slice() {
            ["never", "on", days, rest @ ..] => {
                let days =
                    weekdays(days).ok_or_else(|| wrong("expected weekdays such as sunday, sat,sun or mon-fri"))?;
                Rule::Never(OpenHours { days, hours: Hours::ALL, zone: zoned(rest, 3)? })
            }
            ["never", "between", from, "and", to, rest @ ..] => {
                let hours = Hours::parse(&format!("{from}-{to}"));
                let hours = hours.ok_or_else(|| wrong("expected times of day such as 22:00"))?;
                Rule::Never(OpenHours { days: Days::ALL, hours, zone: zoned(rest, 5)? })
            }
            ["at", "most", count, "per", rest @ ..] => {
                let (per, period) = most_of(rest).ok_or_else(|| {
                    wrong("expected recipient, instance, job or total, then `and`, then hour, day, week or month")
                })?;
                Rule::AtMost { count: number(count).ok_or_else(|| wrong("expected a number"))?, per, period }
            }
            ["at", "least", count, "per", period] => {
                let period = Period::named(period).ok_or_else(|| wrong("expected hour, day, week or month"))?;
                Rule::AtLeast { count: number(count).ok_or_else(|| wrong("expected a number"))?, period }
            }
            ["nothing", "late", "by", "more", "than", length] => {
                Rule::NothingLate(parse_duration(length).map_err(|e| wrong(&e.to_string()))?)
            }
            ["nothing", "skipped"] => Rule::NothingSkipped,
            _ => return Err(wrong("it has none of the known forms")),
        };
        Ok(Assertion { text: text.trim().to_owned(), job, rule })
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Weekdays by their short or whole names.
fn weekdays(text: &str) -> Option<Days> {
    let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let mut short = text.to_owned();
    for name in names {
        short = short.replace(&format!("{name}s"), &name[..3]).replace(name, &name[..3]);
    }
    Days::parse(&short)
}

fn most_of(words: &[&str]) -> Option<(Per, Period)> {
    match words {
        [period] => Some((Per::Total, Period::named(period)?)),
        [per, "and", period] => {
            let per = match *per {
                "recipient" => Per::Recipient,
                "instance" => Per::Instance,
                "job" => Per::Job,
                "total" => Per::Total,
                _ => return None,
            };
            Some((per, Period::named(period)?))
        }
        _ => None,
    }
}

impl Period {
    fn named(name: &str) -> Option<Period> {
        Some(match name {
            "hour" => Period::Hour,
            "day" => Period::Day,
            "week" => Period::Week,
            "month" => Period::Month,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_everything_else_is_refused() {
        for good in [
            "never on sunday",
            "never on sat,sun in Europe/Berlin",
            "Never on mon-fri for job a b",
            "never between 22:00 and 07:00",
            "never between 22:00 and 07:00 in America/New_York",
            "at most 3 per recipient and week",
            "at most 10 per total and hour",
            "at most 10 per day",
            "at least 1 per day for job report",
            "nothing late by more than 1h30m",
            "nothing skipped",
        ] {
            assert!(Assertion::parse(good, &TimeZone::UTC).is_ok(), "{good}");
        }
        for bad in [
            "",
            "never",
            "never on funday",
            "never on sunday in Atlantis",
            "never between 25:00 and 07:00",
            "at most three per day",
            "at most 3 per chat and day",
            "at most 3 per recipient and fortnight",
            "at least 1 per recipient and day",
            "nothing late by more than soon",
            "nothing skipped for job ",
            "always on sunday",
        ] {
            assert!(Assertion::parse(bad, &TimeZone::UTC).is_err(), "{bad}");
        }
    }
}
