//! Reading values out of the tree, collecting every error instead of stopping at the first.

use std::path::{Path, PathBuf};

use crate::config::finding::{FINDINGS_LIMIT, Finding};
use crate::config::tree::{Node, Value};
use crate::domain::time::{Millis, parse_duration};

/// How far two words may be apart for one to be suggested for the other (Jaro–Winkler similarity).
const NEAR: f64 = 0.78;

/// Where values of the environment come from; a function so that tests bring their own.
pub(crate) type EnvLookup<'e> = &'e dyn Fn(&str) -> Option<String>;

/// One reading of one file.
pub(crate) struct Reading<'e> {
    /// The file as it was named.
    pub file: String,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// The environment.
    pub env: EnvLookup<'e>,
    /// Whether unset secrets are fine because nothing leaves the machine.
    pub sandbox: bool,
    /// The database in which lists of contacts stand, if any.
    pub lists: Option<PathBuf>,
    /// Errors so far.
    pub errors: Vec<Finding>,
    /// Warnings so far.
    pub warnings: Vec<Finding>,
}

/// A map whose keys were checked.
pub(crate) struct Map<'n> {
    /// Where it stands.
    pub node: &'n Node,
    entries: Vec<(&'n str, &'n Node)>,
}

impl<'n> Map<'n> {
    /// The value of a key; absent and null are the same.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| *k == key).map(|(_, v)| *v).filter(|v| v.value != Value::Null)
    }

    /// Whether the key stands there at all, null included.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| *k == key)
    }
}

impl<'e> Reading<'e> {
    /// Begins a reading.
    pub(crate) fn new(path: &Path, env: EnvLookup<'e>, sandbox: bool) -> Reading<'e> {
        let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
        let (file, errors, warnings) = (path.display().to_string(), Vec::new(), Vec::new());
        Reading { file, folder, env, sandbox, lists: None, errors, warnings }
    }

    /// Notes an error at a node.
    pub(crate) fn error(&mut self, at: &Node, message: impl Into<String>, hint: Option<String>) {
        let finding = self.finding(at.line, at.column, message.into(), hint);
        self.push_error(finding);
    }

    /// Notes an error made elsewhere.
    pub(crate) fn push_error(&mut self, finding: Finding) {
        if self.errors.len() < FINDINGS_LIMIT {
            self.errors.push(finding);
        }
    }

    /// Notes a warning at a node.
    pub(crate) fn warn(&mut self, at: &Node, message: impl Into<String>, hint: Option<String>) {
        let finding = self.finding(at.line, at.column, message.into(), hint);
        if self.warnings.len() < FINDINGS_LIMIT {
            self.warnings.push(finding);
        }
    }

    /// Something to be told about a place of the file.
    pub(crate) fn finding(&self, line: usize, column: usize, message: String, hint: Option<String>) -> Finding {
        Finding { file: self.file.clone(), line, column, message, hint }
    }

    /// Checks that a node is a map with known keys only. `later` are keys this build knows of but does not honour.
    pub(crate) fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&str], later: &[&str]) -> Option<Map<'n>> {
        let Value::Map(entries) = &node.value else {
            self.error(node, format!("{what} must be a map of keys, not {}", describe(node)), None);
            return None;
        };
        let mut map = Map { node, entries: Vec::with_capacity(entries.len()) };
        for (key, value) in entries {
            let Value::Scalar { text, .. } = &key.value else {
                self.error(key, format!("a key of {what} must be a word, not {}", describe(key)), None);
                continue;
            };
            if map.has(text) {
                self.error(key, format!("the key '{text}' stands twice in {what}"), Some("remove one".to_owned()));
            } else if later.contains(&text.as_str()) {
                let message = format!("the key '{text}' of {what} is not honoured by this version yet");
                self.error(key, message, Some("remove it: a key that is silently ignored would mislead".to_owned()));
            } else if known.contains(&text.as_str()) {
                map.entries.push((text, value));
            } else {
                let all: Vec<&str> = known.iter().chain(later).copied().collect();
                self.error(key, format!("unknown key '{text}' in {what}"), Some(suggest(text, &all)));
            }
        }
        Some(map)
    }

    /// The entries of a map whose keys are names of the user's choice.
    pub(crate) fn named<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(&'n str, &'n Node, &'n Node)> {
        let Value::Map(entries) = &node.value else {
            self.error(node, format!("{what} must be a map of names, not {}", describe(node)), None);
            return Vec::new();
        };
        let mut met = std::collections::HashSet::new();
        let mut named = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match &key.value {
                Value::Scalar { text, .. } if !met.insert(text.as_str()) => {
                    self.error(key, format!("the name '{text}' stands twice in {what}"), None);
                }
                Value::Scalar { text, .. }
                    if text.is_empty() || text.len() > 100 || text.chars().any(char::is_control) =>
                {
                    self.error(key, format!("a name in {what} must have 1 to 100 printable characters"), None);
                }
                Value::Scalar { text, .. } => named.push((text.as_str(), key, value)),
                _ => self.error(key, format!("a name in {what} must be a word, not {}", describe(key)), None),
            }
        }
        named
    }

    /// A scalar's text with `${VAR}` and `${VAR:-default}` filled in where it stood without quotes.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Scalar { text, plain: true } if text.contains("${") => self.fill(node, text),
            Value::Scalar { text, .. } => Some(text.clone()),
            _ => {
                self.error(node, format!("{what} must be a text, not {}", describe(node)), None);
                None
            }
        }
    }

    fn fill(&mut self, node: &Node, text: &str) -> Option<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            filled.push_str(&rest[..start]);
            let Some(length) = rest[start..].find('}') else {
                self.error(node, format!("'{text}' opens a ${{ that is not closed"), None);
                return None;
            };
            let inside = &rest[start + 2..start + length];
            let (name, default) = match inside.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inside, None),
            };
            match ((self.env)(name).filter(|v| !v.is_empty() || default.is_none()), default) {
                (Some(value), _) => filled.push_str(&value),
                (None, Some(default)) => filled.push_str(default),
                (None, None) => {
                    let hint = format!("export {name}=…, or write ${{{name}:-default}}");
                    self.error(node, format!("the environment variable {name} is not set"), Some(hint));
                    return None;
                }
            }
            rest = &rest[start + length + 1..];
        }
        filled.push_str(rest);
        Some(filled)
    }

    /// One of a list of words.
    pub(crate) fn word<T>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[&str],
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        let found = parse(&text);
        if found.is_none() {
            let hint = suggest(&text, words);
            self.error(node, format!("{what} cannot be '{}'; expected {}", short(&text), words.join(", ")), Some(hint));
        }
        found
    }

    /// A length of time.
    pub(crate) fn duration(&mut self, node: &Node, what: &str) -> Option<Millis> {
        let text = self.text(node, what)?;
        match parse_duration(&text) {
            Ok(length) => Some(length),
            Err(e) => {
                self.error(node, format!("{what}: {e}"), None);
                None
            }
        }
    }

    /// A length of time within bounds.
    pub(crate) fn duration_in(&mut self, node: &Node, what: &str, low: Millis, high: Millis) -> Option<Millis> {
        let length = self.duration(node, what)?;
        if length < low || length > high {
            self.error(node, format!("{what} is {length}; expected {low} to {high}"), None);
            return None;
        }
        Some(length)
    }

    /// A whole number within bounds.
    pub(crate) fn whole(&mut self, node: &Node, what: &str, low: u32, high: u32) -> Option<u32> {
        let text = self.text(node, what)?;
        match text.trim().parse::<u32>() {
            Ok(n) if (low..=high).contains(&n) => Some(n),
            _ => {
                self.error(
                    node,
                    format!("{what} cannot be '{}'; expected a whole number from {low} to {high}", short(&text)),
                    None,
                );
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        self.word(node, what, &["true", "false"], |t| t.parse().ok())
    }

    /// A percentage such as `20%`, as a fraction from 0 to 1.
    pub(crate) fn percent(&mut self, node: &Node, what: &str) -> Option<f64> {
        let text = self.text(node, what)?;
        let number = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        match number.filter(|n| (0.0..=100.0).contains(n)) {
            Some(n) => Some(n / 100.0),
            None => {
                self.error(
                    node,
                    format!("{what} cannot be '{}'; expected a percentage such as 20%", short(&text)),
                    None,
                );
                None
            }
        }
    }
}

/// The nearest known word as a hint, or all of them where none is near.
pub(crate) fn suggest(given: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|k| (strsim::jaro_winkler(&given.to_lowercase(), k), *k))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, word)) => format!("did you mean '{word}'?"),
        None => format!("known: {}", known.join(", ")),
    }
}

/// What a node is, for an error.
pub(crate) fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Scalar { text, .. } => format!("'{}'", short(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

/// The beginning of a text, for an error.
pub(crate) fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(60).filter(|c| !c.is_control()).collect();
    if text.chars().count() > 60 {
        cut.push('…');
    }
    cut
}
