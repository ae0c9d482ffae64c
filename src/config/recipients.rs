//! Who gets a job: one chat, a list of them, or the rows of a CSV file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::PathBuf;

use sha2::Digest;

use crate::clock;
use crate::config::content::Said;
use crate::config::finding::Finding;
use crate::config::read::{Reading, describe, suggest};
use crate::config::tree::{Node, Value};
use crate::domain::recipient::Chat;
use crate::domain::template::{Moments, ZONE_VAR};
use crate::gateway::Kind;
use crate::store::Recipient;

/// Longest line of a CSV file, in bytes.
const LINE_LIMIT: usize = 64 * 1024;

/// The recipients of a job, checked.
#[derive(Clone, Debug)]
pub struct Recipients {
    /// Where they come from.
    pub source: Source,
    /// How many.
    pub size: u64,
    /// SHA-256 over all of them, by which a stored list is found again.
    pub fingerprint: Vec<u8>,
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
                csv.rows(|_, row| {
                    let recipient = row?;
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
        said: Option<&Said>,
        moments: &Moments,
    ) -> Option<Recipients> {
        match &node.value {
            Value::Map(_) => self.csv(node, what, kind, said, moments),
            Value::List(list) if list.is_empty() => {
                self.error(node, format!("{what} has an empty list of recipients"), None);
                None
            }
            Value::List(list) => self.inline(list.iter().collect(), kind, said, moments),
            Value::Scalar { .. } => self.inline(vec![node], kind, said, moments),
            Value::Null => {
                self.error(node, format!("{what} has no recipient"), None);
                None
            }
        }
    }

    fn inline(&mut self, nodes: Vec<&Node>, kind: Kind, said: Option<&Said>, moments: &Moments) -> Option<Recipients> {
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
            let recipient = Recipient { chat, vars: Default::default() };
            if let Some(Err(e)) = said.map(|s| s.try_for(kind, &recipient.vars, moments)) {
                self.error(node, format!("the content for {}: {e}", recipient.chat), None);
            }
            print.add(&recipient);
            list.push(recipient);
        }
        let size = u64::try_from(list.len()).unwrap_or(0);
        let clean = self.errors.len() == before;
        clean.then(|| Recipients { source: Source::Inline(list), size, fingerprint: print.finish() })
    }

    fn csv(
        &mut self,
        node: &Node,
        what: &str,
        kind: Kind,
        said: Option<&Said>,
        moments: &Moments,
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
            let recipient = match row {
                Ok(recipient) => recipient,
                Err(finding) => {
                    errors.push(finding);
                    return Ok(());
                }
            };
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
        clean.then(|| Recipients { source: Source::Csv(source), size, fingerprint: print.finish() })
    }
}

impl CsvSource {
    fn finding(&self, line: u64, column: usize, message: String, hint: Option<String>) -> Finding {
        Finding { file: self.shown.clone(), line: usize::try_from(line).unwrap_or(0), column, message, hint }
    }

    /// Hands every row to `each` until it answers an error.
    fn rows(
        &self,
        mut each: impl FnMut(u64, Result<Recipient, Finding>) -> Result<(), Finding>,
    ) -> Result<(), Finding> {
        let (file, delimiter) = self.open()?;
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(file);
        let headers = reader.headers().map_err(|e| self.unreadable(&e))?.clone();
        let names: Vec<String> = headers.iter().map(|h| h.trim_start_matches('\u{feff}').trim().to_owned()).collect();
        let Some(chat_index) = names.iter().position(|n| *n == self.chat_column) else {
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let message = format!("the file has no column '{}'", self.chat_column);
            return Err(self.finding(1, 0, message, Some(suggest(&self.chat_column, &known))));
        };
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(self.finding(1, i + 1, format!("the column '{name}' stands twice"), None));
            }
        }
        let mut record = csv::StringRecord::new();
        loop {
            match reader.read_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    each(line, self.recipient(&record, &names, chat_index, line))?;
                }
                Err(e) => {
                    let line = e.position().map_or(0, csv::Position::line);
                    let finding = self.finding(line, 0, self.unreadable(&e).message, None);
                    each(line, Err(finding))?;
                    if e.is_io_error() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn recipient(
        &self,
        record: &csv::StringRecord,
        names: &[String],
        chat_index: usize,
        line: u64,
    ) -> Result<Recipient, Finding> {
        if record.len() != names.len() {
            let message = format!("the row has {} cells; the header has {} columns", record.len(), names.len());
            return Err(self.finding(line, 0, message, None));
        }
        if record.as_slice().len() > LINE_LIMIT {
            return Err(self.finding(line, 0, format!("the row is longer than {LINE_LIMIT} bytes"), None));
        }
        let chat = self
            .kind
            .parse_recipient(&record[chat_index])
            .map_err(|e| self.finding(line, chat_index + 1, format!("column '{}': {e}", self.chat_column), None))?;
        let zone = names.iter().position(|n| n == ZONE_VAR).map(|i| (i, record[i].trim()));
        if let Some((i, name)) = zone.filter(|(_, name)| !name.is_empty())
            && let Err(e) = clock::zone(name)
        {
            return Err(self.finding(line, i + 1, format!("column '{ZONE_VAR}': {e}"), None));
        }
        let vars = names
            .iter()
            .zip(record)
            .enumerate()
            .filter(|(i, (_, cell))| *i != chat_index && !cell.trim().is_empty())
            .map(|(_, (name, cell))| (name.clone(), cell.to_owned()))
            .collect();
        Ok(Recipient { chat, vars })
    }

    /// Opens the file and finds out whether its cells are parted by commas, semicolons or tabs.
    fn open(&self) -> Result<(File, u8), Finding> {
        let unreadable = |e: std::io::Error| {
            self.finding(0, 0, format!("the file {} cannot be read: {e}", self.path.display()), None)
        };
        let meta = std::fs::metadata(&self.path).map_err(unreadable)?;
        if !meta.is_file() {
            return Err(self.finding(0, 0, format!("{} is not a file", self.path.display()), None));
        }
        let mut file = File::open(&self.path).map_err(unreadable)?;
        let mut header = Vec::new();
        let mut limited = std::io::Read::take(BufReader::new(&file), LINE_LIMIT as u64);
        limited.read_until(b'\n', &mut header).map_err(unreadable)?;
        let count = |b: u8| header.iter().filter(|h| **h == b).count();
        let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(|d| (count(*d), *d == b',')).unwrap_or(b',');
        file.rewind().map_err(unreadable)?;
        Ok((file, delimiter))
    }

    fn unreadable(&self, error: &csv::Error) -> Finding {
        let message = match error.kind() {
            csv::ErrorKind::Utf8 { err, .. } => format!("cell {} is not UTF-8", err.field() + 1),
            _ => error.to_string(),
        };
        self.finding(error.position().map_or(0, csv::Position::line), 0, message, None)
    }
}
