//! How a condition compares what is known of a recipient: numbers as numbers where both are, texts as texts, and neither with
//! the other.

use std::cmp::Ordering;

use minijinja::value::{Value, ValueKind};

/// How much of a text an error shows, in characters.
const SHOWN: usize = 40;

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
    /// One of a list, or a part of a text.
    Within,
    NotWithin,
}

/// Values that cannot be compared, each in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unlike(pub String, pub String);

/// Whether the comparison holds. What a recipient does not have equals nothing and is neither less nor more than anything.
pub(super) fn holds(operator: Operator, left: &Value, right: &Value) -> Result<bool, Unlike> {
    let order = |wanted: fn(Ordering) -> bool| order(left, right).map(|found| found.is_some_and(wanted));
    match operator {
        Operator::Equal => equal(left, right),
        Operator::Unequal => equal(left, right).map(|same| !same),
        Operator::Less => order(Ordering::is_lt),
        Operator::AtMost => order(Ordering::is_le),
        Operator::More => order(Ordering::is_gt),
        Operator::AtLeast => order(Ordering::is_ge),
        Operator::Within => within(left, right),
        Operator::NotWithin => within(left, right).map(|found| !found),
    }
}

/// What there is to compare.
enum Side<'v> {
    Nothing,
    Text(&'v str),
    Number(Number),
    Truth(bool),
    Other,
}

impl Side<'_> {
    fn of(value: &Value) -> Side<'_> {
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => Side::Nothing,
            ValueKind::Bool => Side::Truth(value.is_true()),
            ValueKind::Number => Number::of(value).map_or(Side::Other, Side::Number),
            _ => value.as_str().map_or(Side::Other, Side::Text),
        }
    }
}

/// A number that is told exactly where it is whole.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Broken(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Number> {
        let whole = value.is_integer().then(|| i128::try_from(value.clone()).ok()).flatten();
        whole.map(Number::Whole).or_else(|| f64::try_from(value.clone()).ok().map(Number::Broken))
    }

    /// A text that is a number as people write it: digits with a sign or a point, and nothing else.
    fn read(text: &str) -> Option<Number> {
        let text = text.trim();
        let (whole, rest) =
            text.trim_start_matches(['+', '-']).split_once('.').map_or((text, None), |(w, r)| (w, Some(r)));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match rest {
            None => whole.parse().ok().map(Number::Whole),
            Some(rest) if digits(whole) && digits(rest) => text.parse().ok().map(Number::Broken),
            Some(_) => None,
        }
    }

    fn order(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a.cmp(&b),
            (a, b) => a.broken().total_cmp(&b.broken()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "beside a broken number the last digits of a long one do not count")]
    fn broken(self) -> f64 {
        match self {
            Number::Whole(n) => n as f64,
            // Nought is nought, whatever its sign.
            Number::Broken(n) => n + 0.0,
        }
    }
}

fn equal(left: &Value, right: &Value) -> Result<bool, Unlike> {
    match (Side::of(left), Side::of(right)) {
        (Side::Text(a), Side::Text(b)) => Ok(a == b),
        (Side::Truth(a), Side::Truth(b)) => Ok(a == b),
        (Side::Nothing, Side::Nothing) => Ok(true),
        _ => Ok(order(left, right)? == Some(Ordering::Equal)),
    }
}

/// How they are ordered; `None` where one of them says nothing.
fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, Unlike> {
    match (Side::of(left), Side::of(right)) {
        (Side::Nothing, _) | (_, Side::Nothing) => Ok(None),
        (Side::Number(a), Side::Number(b)) => Ok(Some(a.order(b))),
        (Side::Text(text), Side::Number(_)) | (Side::Number(_), Side::Text(text)) if text.trim().is_empty() => Ok(None),
        (Side::Text(a), Side::Number(b)) => {
            Number::read(a).map(|a| Some(a.order(b))).ok_or_else(|| unlike(left, right))
        }
        (Side::Number(a), Side::Text(b)) => {
            Number::read(b).map(|b| Some(a.order(b))).ok_or_else(|| unlike(left, right))
        }
        (Side::Text(a), Side::Text(b)) => match (Number::read(a), Number::read(b)) {
            (Some(a), Some(b)) => Ok(Some(a.order(b))),
            _ => Ok(Some(a.cmp(b))),
        },
        _ => Err(unlike(left, right)),
    }
}

fn within(left: &Value, right: &Value) -> Result<bool, Unlike> {
    match (Side::of(left), Side::of(right)) {
        (Side::Nothing, _) | (_, Side::Nothing) => Ok(false),
        (Side::Text(part), Side::Text(whole)) => Ok(whole.contains(part)),
        (_, Side::Other) if right.kind() == ValueKind::Seq => one_of(left, right),
        _ => Err(unlike(left, right)),
    }
}

/// A list may hold values of several kinds: they are unlike where all of them are.
fn one_of(value: &Value, list: &Value) -> Result<bool, Unlike> {
    let compared: Vec<Result<bool, Unlike>> = list.try_iter().into_iter().flatten().map(|e| equal(value, &e)).collect();
    if compared.contains(&Ok(true)) {
        return Ok(true);
    }
    let all_unlike = !compared.is_empty() && compared.iter().all(Result::is_err);
    if all_unlike { Err(unlike(value, list)) } else { Ok(false) }
}

fn unlike(left: &Value, right: &Value) -> Unlike {
    Unlike(in_words(left), in_words(right))
}

fn in_words(value: &Value) -> String {
    match Side::of(value) {
        Side::Nothing => "nothing".to_owned(),
        Side::Text(text) => format!("the text '{}'", text.chars().take(SHOWN).collect::<String>()),
        Side::Number(_) => format!("the number {value}"),
        Side::Truth(truth) => format!("{truth}"),
        Side::Other => format!("the list {}", value.to_string().chars().take(SHOWN).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(left: impl Into<Value>, operator: Operator, right: impl Into<Value>) -> Result<bool, Unlike> {
        holds(operator, &left.into(), &right.into())
    }

    #[test]
    fn numbers_compare_as_numbers_however_they_are_written() {
        for (left, operator, right, found) in [
            ("9", Operator::Less, 40, true),
            ("41", Operator::More, 40, true),
            (" 40 ", Operator::Equal, 40, true),
            ("40.0", Operator::Equal, 40, true),
            ("-3", Operator::AtMost, -3, true),
            ("+3.5", Operator::AtLeast, 4, false),
            ("", Operator::Less, 40, false),
            ("", Operator::Equal, 0, false),
            ("", Operator::Unequal, 0, true),
        ] {
            assert_eq!(compared(left, operator, right), Ok(found), "'{left}' {operator:?} {right}");
            assert_eq!(compared(right, Operator::Equal, left), compared(left, Operator::Equal, right), "'{left}'");
        }
        let (long, longer) = ("9007199254740992", "9007199254740993");
        assert_eq!(compared(long, Operator::Less, longer), Ok(true), "long numbers are told apart");
        assert_eq!(compared(0.0, Operator::Equal, "-0.0"), Ok(true));
    }

    #[test]
    fn texts_compare_as_texts_unless_both_are_numbers_and_one_is_asked_to_be_more() {
        for (left, operator, right, found) in [
            ("00123", Operator::Equal, "123", false),
            ("9", Operator::Less, "40", true),
            ("9a", Operator::Less, "40", false),
            ("Oslo", Operator::Less, "Rome", true),
            ("om", Operator::Within, "Rome", true),
            ("om", Operator::NotWithin, "Rome", false),
        ] {
            assert_eq!(compared(left, operator, right), Ok(found), "'{left}' {operator:?} '{right}'");
        }
    }

    #[test]
    fn what_is_not_there_equals_nothing_and_is_neither_less_nor_more() {
        for operator in [Operator::Equal, Operator::Less, Operator::AtLeast, Operator::Within] {
            for other in [Value::from("x"), Value::from(1), Value::from(true), Value::from(vec![1])] {
                assert_eq!(holds(operator, &Value::UNDEFINED, &other), Ok(false), "{operator:?} {other}");
            }
        }
        assert_eq!(compared(Value::UNDEFINED, Operator::Equal, ()), Ok(true), "which is told by `none`");
        assert_eq!(compared(Value::UNDEFINED, Operator::Unequal, "x"), Ok(true));
    }

    #[test]
    fn unlike_kinds_are_refused_in_words() {
        let Err(Unlike(left, right)) = compared("unknown", Operator::More, 40) else { panic!("it compared them") };
        assert_eq!((left.as_str(), right.as_str()), ("the text 'unknown'", "the number 40"));
        for number in ["1e5", "inf", "nan", "0x1F", "1.", ".5", "3,5", "--1", "1 000"] {
            assert!(compared(number, Operator::Less, 40).is_err(), "{number}");
        }
        for other in [Value::from(true), Value::from(vec!["Rome"])] {
            assert!(compared("Rome", Operator::Equal, other.clone()).is_err(), "{other}");
        }
        assert!(compared(4, Operator::Within, "42").is_err());
    }

    #[test]
    fn a_list_may_hold_values_of_several_kinds() {
        let list = Value::from(vec![Value::from(40), Value::from("unknown")]);
        for (value, found) in [("40", true), ("unknown", true), ("41", false), ("Rome", false)] {
            assert_eq!(compared(value, Operator::Within, list.clone()), Ok(found), "{value}");
        }
        assert_eq!(compared("Rome", Operator::Within, Value::from(Vec::<Value>::new())), Ok(false));
        assert!(compared("Rome", Operator::Within, vec![1, 2]).is_err(), "no city is a number");
    }
}
