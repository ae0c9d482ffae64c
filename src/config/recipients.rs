//! Who gets a job: one chat, a list of them, or the rows of a CSV file.

use std::collections::HashMap;
use std::path::PathBuf;

use sha2::Digest;

use crate::clock;
use crate::config::content::Said;
use crate::config::finding::Finding;
use crate::config::read::{Reading, describe, suggest};
use crate::config::tree::{Node, Value};
use crate::config::whereabouts::Whereabouts;
use crate::domain::recipient::Chat;
use crate::domain::template::{Moments, ZONE_VAR};
use crate::gateway::Kind;
use crate::store::Recipient;
use crate::table::{Flaw, Row, Table};

/// The recipients of a job, checked.
#[derive(Clone, Debug)]
pub struct Recipients {
    /// Where they come from.
    pub source: Source,
    /// How many.
    pub size: u64,
    /// SHA-256 over all of them, by which a stored list is found again.
    pub fingerprint: Vec<u8>,
    /// Finds out the zones of those that do not say theirs, where they matter.
    whereabouts: Option<Whereabouts>,
}

/// Where recipients come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Written in the jobs file.
    Inline(Vec<Recipient>),
    /// The rows of a file, read again each time so that a hundred thousand never stand in memory.
    Csv(CsvSource),
}

/// A CSV file of recipients.
#[derive(Clone, Debug)]
pub struct CsvSource {
    /// The file.
    pub path: PathBuf,
    /// The name under which it is shown in errors.
    shown: String,
    chat_column: String,
    kind: Kind,
}

impl Recipients {
    /// Hands every recipient to `each`, in order.
    ///
    /// # Errors
    /// A [`Finding`] when the file cannot be read any more, or no longer says what was checked.
    pub fn for_each(&self, mut each: impl FnMut(Recipient)) -> Result<(), Finding> {
        match &self.source {
            Source::Inline(list) => list.iter().cloned().for_each(each),
            Source::Csv(csv) => {
                let mut print = Fingerprint::default();
                let mut whereabouts = self.whereabouts.clone();
                csv.rows(|_, row| {
                    let mut recipient = row?;
                    if let Some(w) = &mut whereabouts {
                        w.fill_in(&recipient.chat, &mut recipient.vars);
                    }
                    print.add(&recipient);
                    each(recipient);
                    Ok(())
                })?;
                if print.finish() != self.fingerprint {
                    return Err(csv.finding(
                        0,
                        0,
                        "the file changed while it was read; run the command again".to_owned(),
                        None,
                    ));
                }
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Fingerprint(sha2::Sha256);

impl Fingerprint {
    fn add(&mut self, recipient: &Recipient) {
        let mut part = |text: &str| {
            self.0.update(u64::try_from(text.len()).unwrap_or(0).to_le_bytes());
            self.0.update(text.as_bytes());
        };
        part(recipient.chat.as_str());
        part(&recipient.vars.len().to_string());
        for (name, value) in &recipient.vars {
            part(name);
            part(value);
        }
    }

    fn finish(self) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl Reading<'_> {
    /// The recipients of a job, each rendered once so that a template error is found now and not at the send.
    pub(crate) fn recipients(
        &mut self,
        node: &Node,
        what: &str,
        kind: Kind,
        texts: (Option<&Said>, &Moments),
        whereabouts: Option<&mut Whereabouts>,
    ) -> Option<Recipients> {
        match &node.value {
            Value::Map(_) => self.csv(node, what, kind, texts, whereabouts),
            Value::List(list) if list.is_empty() => {
                self.error(node, format!("{what} has an empty list of recipients"), None);
                None
            }
            Value::List(list) => self.inline(list.iter().collect(), kind, texts, whereabouts),
            Value::Scalar { .. } => self.inline(vec![node], kind, texts, whereabouts),
            Value::Null => {
                self.error(node, format!("{what} has no recipient"), None);
                None
            }
        }
    }

    fn inline(
        &mut self,
        nodes: Vec<&Node>,
        kind: Kind,
        (said, moments): (Option<&Said>, &Moments),
        mut whereabouts: Option<&mut Whereabouts>,
    ) -> Option<Recipients> {
        let mut met: HashMap<Chat, usize> = HashMap::new();
        let mut list = Vec::with_capacity(nodes.len());
        let mut print = Fingerprint::default();
        let before = self.errors.len();
        for node in nodes {
            if !matches!(node.value, Value::Scalar { .. }) {
                self.error(node, format!("a recipient must be a chat, not {}", describe(node)), None);
                continue;
            }
            let Some(text) = self.text(node, "to") else { continue };
            let chat = match kind.parse_recipient(&text) {
                Ok(chat) => chat,
                Err(e) => {
                    self.error(node, e.to_string(), None);
                    continue;
                }
            };
            if let Some(line) = met.insert(chat.clone(), node.line) {
                self.error(node, format!("{chat} stands twice: on line {line} and on line {}", node.line), None);
                continue;
            }
            let mut recipient = Recipient { chat, vars: Default::default() };
            if let Some(w) = whereabouts.as_deref_mut() {
                w.fill_in(&recipient.chat, &mut recipient.vars);
            }
            if let Some(Err(e)) = said.map(|s| s.try_for(kind, &recipient.vars, moments)) {
                self.error(node, format!("the content for {}: {e}", recipient.chat), None);
            }
            print.add(&recipient);
            list.push(recipient);
        }
        let size = u64::try_from(list.len()).unwrap_or(0);
        let clean = self.errors.len() == before;
        let fingerprint = print.finish();
        clean.then_some(Recipients { source: Source::Inline(list), size, fingerprint, whereabouts: None })
    }

    fn csv(
        &mut self,
        node: &Node,
        what: &str,
        kind: Kind,
        (said, moments): (Option<&Said>, &Moments),
        mut whereabouts: Option<&mut Whereabouts>,
    ) -> Option<Recipients> {
        let map = self.map(node, &format!("to of {what}"), &["csv", "chat"], &["list"])?;
        let Some(path_node) = map.get("csv") else {
            self.error(node, format!("to of {what} needs csv: FILE"), None);
            return None;
        };
        let shown = self.text(path_node, "csv")?;
        let chat_column = map.get("chat").map_or(Some("to".to_owned()), |n| self.text(n, "chat"))?;
        let source = CsvSource { path: self.folder.join(&shown), shown, chat_column, kind };
        let mut met: HashMap<Chat, u64> = HashMap::new();
        let mut print = Fingerprint::default();
        let mut size = 0;
        let mut errors = Vec::new();
        let read = source.rows(|line, row| {
            let mut recipient = match row {
                Ok(recipient) => recipient,
                Err(finding) => {
                    errors.push(finding);
                    return Ok(());
                }
            };
            if let Some(w) = whereabouts.as_deref_mut() {
                w.fill_in(&recipient.chat, &mut recipient.vars);
            }
            if let Some(first) = met.insert(recipient.chat.clone(), line) {
                let message = format!("{} stands twice: on line {first} and on line {line}", recipient.chat);
                errors.push(source.finding(line, 0, message, None));
                return Ok(());
            }
            if let Some(Err(e)) = said.map(|s| s.try_for(kind, &recipient.vars, moments)) {
                errors.push(source.finding(line, 0, format!("the content for {}: {e}", recipient.chat), None));
            }
            print.add(&recipient);
            size += 1;
            Ok(())
        });
        if let Err(finding) = read {
            errors.push(finding);
        } else if size == 0 && errors.is_empty() {
            errors.push(source.finding(0, 0, "the file holds no recipients".to_owned(), None));
        }
        let clean = errors.is_empty();
        errors.into_iter().for_each(|e| self.push_error(e));
        let (fingerprint, whereabouts) = (print.finish(), whereabouts.map(|w| w.clone()));
        clean.then_some(Recipients { source: Source::Csv(source), size, fingerprint, whereabouts })
    }
}

impl CsvSource {
    fn finding(&self, line: u64, column: usize, message: String, hint: Option<String>) -> Finding {
        Finding { file: self.shown.clone(), line: usize::try_from(line).unwrap_or(0), column, message, hint }
    }

    fn flaw(&self, flaw: Flaw) -> Finding {
        self.finding(flaw.line, flaw.column, flaw.message, flaw.hint)
    }

    /// Hands every row to `each` until it answers an error.
    fn rows(
        &self,
        mut each: impl FnMut(u64, Result<Recipient, Finding>) -> Result<(), Finding>,
    ) -> Result<(), Finding> {
        let table = Table::open(&self.path).map_err(|f| self.flaw(f))?;
        if let Some(columns) = table.columns.as_ref().filter(|c| !c.contains(&self.chat_column)) {
            let known: Vec<&str> = columns.iter().map(String::as_str).filter(|c| !c.is_empty()).collect();
            let message = format!("the file has no column '{}'", self.chat_column);
            return Err(self.finding(1, 0, message, Some(suggest(&self.chat_column, &known))));
        }
        let mut ended = None;
        let read = table.rows(|row| {
            let (line, recipient) = match row {
                Ok(row) => (row.line, self.recipient(row, table.columns.as_deref())),
                Err(flaw) => (flaw.line, Err(self.flaw(flaw))),
            };
            each(line, recipient).map_err(|finding| {
                ended = Some(finding);
                Flaw::whole("ended")
            })
        });
        match (read, ended) {
            (_, Some(finding)) => Err(finding),
            (Err(flaw), None) => Err(self.flaw(flaw)),
            (Ok(()), None) => Ok(()),
        }
    }

    fn recipient(&self, row: Row, columns: Option<&[String]>) -> Result<Recipient, Finding> {
        let place = |name: &str| columns.and_then(|c| c.iter().position(|n| n == name)).map_or(0, |i| i + 1);
        let given = row.get(&self.chat_column).unwrap_or("");
        let chat = self.kind.parse_recipient(given).map_err(|e| {
            self.finding(row.line, place(&self.chat_column), format!("column '{}': {e}", self.chat_column), None)
        })?;
        if let Some(Err(e)) = row.get(ZONE_VAR).map(|name| clock::zone(name.trim())) {
            return Err(self.finding(row.line, place(ZONE_VAR), format!("column '{ZONE_VAR}': {e}"), None));
        }
        let vars = row.cells.into_iter().filter(|(name, _)| *name != self.chat_column).collect();
        Ok(Recipient { chat, vars })
    }
}
