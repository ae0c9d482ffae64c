//! Selections: which of many recipients are meant, by what is known of them: `city == 'Rome' and not tag('vip')`.

use std::collections::BTreeSet;

use minijinja::{Environment, Error, UndefinedBehavior, Value};

use crate::domain::template::Vars;

/// The attribute in which tags are kept, parted by commas.
pub const TAGS_VAR: &str = "tags";

/// Longest selection, in characters: the parser needs stack in proportion to it.
const LIMIT: usize = 2_000;

/// Work that trying one recipient may do, in the engine's units: some hundred comparisons.
const FUEL: u64 = 20_000;

/// A condition on a recipient's variables, read once.
#[derive(Clone, Debug)]
pub struct Selection {
    text: String,
    environment: Environment<'static>,
    /// The variables it names.
    names: BTreeSet<String>,
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

impl Selection {
    /// Reads a condition: comparisons of variables, `and`, `or`, `not`, `in`, parentheses, `tag('NAME')`. A variable that a
    /// recipient does not have equals nothing.
    ///
    /// # Errors
    /// [`SelectionError`] where it cannot be read.
    pub fn read(text: &str) -> Result<Selection, SelectionError> {
        let wrong = |what: String| SelectionError { text: text.chars().take(80).collect(), what };
        if text.chars().count() > LIMIT {
            return Err(wrong(format!("is longer than {LIMIT} characters")));
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(32);
        environment.add_function("tag", |state: &minijinja::State<'_, '_>, name: &str| {
            let tags = state.lookup(TAGS_VAR).unwrap_or_default();
            Ok::<_, Error>(tags.as_str().is_some_and(|tags| has_tag(tags, name)))
        });
        let names = match environment.compile_expression(text) {
            Ok(expression) => expression.undeclared_variables(false),
            Err(e) => return Err(wrong(format!("cannot be read: {}", said(&e)))),
        };
        let names = names.into_iter().filter(|n| environment.globals().all(|(known, _)| known != n)).collect();
        Ok(Selection { text: text.to_owned(), environment, names })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The variables it names, so that one that nobody has can be told.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether a recipient is meant.
    ///
    /// # Errors
    /// [`SelectionError`] where the condition cannot be tried on these variables, such as a text compared with a number.
    pub fn takes(&self, vars: &Vars) -> Result<bool, SelectionError> {
        let wrong = |e: &Error| SelectionError {
            text: self.text.chars().take(80).collect(),
            what: format!("failed: {}", said(e)),
        };
        let expression = self.environment.compile_expression(&self.text).map_err(|e| wrong(&e))?;
        expression
            .eval(Value::from_pairs(vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
            .map(|v| v.is_true())
            .map_err(|e| wrong(&e))
    }
}

impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn said(e: &Error) -> String {
    e.detail().map_or_else(|| e.kind().to_string(), str::to_owned)
}

/// Whether a list of tags, parted by commas, holds one; the case of letters does not count.
fn has_tag(tags: &str, name: &str) -> bool {
    tags.split(',').any(|tag| tag.trim().to_lowercase() == name.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(all: &[(&str, &str)]) -> Vars {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_condition_takes_those_it_is_true_for() {
        let rome = vars(&[("city", "Rome"), ("tags", "vip, Press"), ("age", "41")]);
        for (text, taken) in [
            ("city == 'Rome'", true),
            ("city == 'Rome' and not tag('vip')", false),
            ("tag('press') or tag('crew')", true),
            ("tag('pre')", false),
            ("city in ['Rome', 'Oslo']", true),
            ("city != 'Rome'", false),
            ("country == 'IT'", false),
            ("not country", true),
            ("age | int > 40", true),
            ("city | lower == 'rome'", true),
            ("'om' in city", true),
        ] {
            assert_eq!(Selection::read(text).unwrap().takes(&rome), Ok(taken), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_and_what_cannot_be_tried_too() {
        for text in ["city = 'Rome'", "", "city ==", "tag("] {
            assert!(Selection::read(text).is_err(), "{text}");
        }
        assert!(Selection::read("nosuch('x')").unwrap().takes(&Vars::new()).is_err());
        let endless = Selection::read("range(100000) | map('string') | join | length > 3").unwrap();
        assert!(endless.takes(&Vars::new()).is_err(), "the work is bounded");
    }

    #[test]
    fn the_variables_it_names_are_known() {
        let selection = Selection::read("ctiy == 'Rome' and tag('vip') and age | int > range(3) | length").unwrap();
        assert_eq!(selection.names().collect::<Vec<_>>(), ["age", "ctiy"]);
    }
}
