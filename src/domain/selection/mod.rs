//! Selections: which of many recipients are meant, by what is known of them: `city == 'Rome' and not tag('vip')`.

mod compare;
mod condition;

use std::collections::BTreeSet;

use minijinja::Environment;

use crate::domain::selection::condition::{Condition, TAGS_VAR};
use crate::domain::template::Vars;

/// Longest selection, in characters: the parser needs stack in proportion to it.
const LIMIT: usize = 2_000;

/// A condition on a recipient's variables, read once.
#[derive(Clone, Debug)]
pub struct Selection {
    text: String,
    condition: Condition,
    /// The variables it names.
    names: BTreeSet<String>,
    /// Knows the filters.
    environment: Environment<'static>,
}

/// Why a selection cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the condition \"{text}\" {what}")]
pub struct SelectionError {
    /// The condition.
    pub text: String,
    /// What is wrong with it.
    pub what: String,
}

impl SelectionError {
    fn new(text: &str, what: String) -> SelectionError {
        SelectionError { text: text.chars().take(80).collect(), what }
    }
}

impl Selection {
    /// Reads a condition: comparisons of variables, `and`, `or`, `not`, `in`, parentheses, some filters, `tag('NAME')`, and
    /// `attribute('NAME')` for a variable whose name is no word. A variable that a recipient does not have equals nothing.
    ///
    /// # Errors
    /// [`SelectionError`] where it cannot be read.
    pub fn read(text: &str) -> Result<Selection, SelectionError> {
        if text.chars().count() > LIMIT {
            return Err(SelectionError::new(text, format!("is longer than {LIMIT} characters")));
        }
        let (condition, names) = condition::read(text).map_err(|what| SelectionError::new(text, what))?;
        Ok(Selection { text: text.to_owned(), condition, names, environment: Environment::new() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The variables it names that a recipient may be asked to have: all but the tags, which everybody may be without.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|name| *name != TAGS_VAR)
    }

    /// Whether a recipient is meant.
    ///
    /// # Errors
    /// [`SelectionError`] where the condition cannot be tried on these variables, such as a word compared with a number.
    pub fn takes(&self, vars: &Vars) -> Result<bool, SelectionError> {
        let value = self.condition.value(vars, &self.environment);
        value.map(|v| v.is_true()).map_err(|what| SelectionError::new(&self.text, what))
    }
}

impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(all: &[(&str, &str)]) -> Vars {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_condition_takes_those_it_is_true_for() {
        let rome = vars(&[
            ("city", "Rome"),
            ("tags", "vip, Press"),
            ("age", "41"),
            ("größe", "9"),
            ("first name", "Ada"),
            ("nick", ""),
        ]);
        for (text, taken) in [
            ("city == 'Rome'", true),
            ("city == 'Rome' and not tag('vip')", false),
            ("tag('press') or tag('crew')", true),
            ("tag('pre')", false),
            ("city in ['Rome', 'Oslo']", true),
            ("city not in ('Rome', 'Oslo')", false),
            ("city != 'Rome'", false),
            ("country == 'IT'", false),
            ("not country", true),
            ("country is defined", false),
            ("age | int > 40", true),
            ("age > 40", true),
            ("age > 100", false),
            ("age == 41.0", true),
            ("18 <= age < 65", true),
            ("age > -1", true),
            ("größe < 10", true),
            ("attribute('first name') == 'Ada'", true),
            ("attribute('größe') == 9", true),
            ("city | lower == 'rome'", true),
            ("nick | default('none', true) == 'none'", true),
            ("'om' in city", true),
            ("country | int < 18", false),
            ("nick | int < 18", false),
            ("nick < 18", false),
            ("not (country > 3)", true),
            ("true", true),
        ] {
            assert_eq!(Selection::read(text).unwrap().takes(&rome), Ok(taken), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for text in [
            "city = 'Rome'",
            "",
            "city ==",
            "tag(",
            "nosuch('x')",
            "age + 1 > 40",
            "city[0] == 'R'",
            "city | reverse == 'emoR'",
            "range(100000) | map('string') | join | length > 3",
            "-city",
            "tag(*city)",
            "attribute(city)",
            "{'a': 1}",
            "age is string",
        ] {
            let told = Selection::read(text).unwrap_err().to_string();
            assert!(told.contains("cannot be read: "), "{told}");
        }
        assert!(Selection::read(&"(".repeat(1_999)).is_err() && Selection::read(&"x".repeat(2_001)).is_err());
    }

    #[test]
    fn what_cannot_be_tried_is_told_with_its_name() {
        let ada = vars(&[("age", "unknown"), ("city", "Rome")]);
        for (text, told) in [
            ("age > 40", "compares age (the text 'unknown') with the number 40"),
            ("city == 'Oslo' or 40 <= age", "compares the number 40 with age (the text 'unknown')"),
            ("age in [40, 41]", "compares age (the text 'unknown') with the list [40, 41]"),
            ("city == true", "compares city (the text 'Rome') with true"),
            ("age | int > 40", "cannot apply int to age ('unknown')"),
        ] {
            let error = Selection::read(text).unwrap().takes(&ada).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(Selection::read("city == 'Oslo' and age > 40").unwrap().takes(&ada), Ok(false), "it is not asked");
    }

    #[test]
    fn the_variables_it_names_are_known() {
        let selection = Selection::read("ctiy == 'Rome' and tag('vip') and age | int > 3 and 'x' in tags").unwrap();
        assert_eq!(selection.names().collect::<Vec<_>>(), ["age", "ctiy"]);
        let quoted = Selection::read("attribute('first name') != zone").unwrap();
        assert_eq!(quoted.names().collect::<Vec<_>>(), ["first name", "zone"]);
    }
}
