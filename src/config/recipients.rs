//! Who gets a job: one chat, a list of them, or the rows of a CSV file.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use sha2::Digest;

use crate::clock;
use crate::config::content::Said;
use crate::config::finding::Finding;
use crate::config::list::ListSource;
use crate::config::read::{Map, Reading, describe, short, suggest};
use crate::config::tree::{Node, Value};
use crate::config::whereabouts::Whereabouts;
use crate::domain::country::Country;
use crate::domain::job::LiveList;
use crate::domain::recipient::Chat;
use crate::domain::selection::Selection;
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
    /// Which of them are meant.
    selection: Option<Selection>,
    /// Finds out the zones of those that do not say theirs, where they matter.
    whereabouts: Option<Whereabouts>,
    /// The job whose alone they are: they change while it runs.
    only_of: Option<String>,
}

impl Recipients {
    /// The list that is followed while the job runs, where one is.
    pub(crate) fn live(&self) -> Option<LiveList> {
        let Source::List(list) = &self.source else { return None };
        self.only_of.as_ref()?;
        Some(LiveList {
            list: list.name.clone(),
            selection: self.selection.as_ref().map(|s| s.text().to_owned()),
            guesses_zones: self.whereabouts.as_ref().map(Whereabouts::guesses),
        })
    }
}

/// Where recipients come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Written in the jobs file.
    Inline(Vec<Recipient>),
    /// The rows of a file, read again each time so that a hundred thousand never stand in memory.
    Csv(CsvSource),
    /// The members of a list, as they are when the file is applied.
    List(ListSource),
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
    country: Option<Country>,
}

impl Recipients {
    /// Hands every recipient to `each`, in order.
    ///
    /// # Errors
    /// A [`Finding`] when the file cannot be read any more, or no longer says what was checked.
    pub fn for_each(&self, mut each: impl FnMut(Recipient)) -> Result<(), Finding> {
        let mut print = Fingerprint::default();
        self.read(&mut None, &mut self.whereabouts.clone(), &mut |_, recipient| {
            let recipient = match recipient {
                Ok(recipient) => recipient,
                // Who does not fit the condition of a followed list does not join: the file was read with a warning of it.
                Err(_) if self.only_of.is_some() => return Ok(()),
                Err(finding) => return Err(finding),
            };
            print.add(&recipient);
            each(recipient);
            Ok(())
        })?;
        // A list that is followed may well have changed: who follows it makes up for that.
        if self.only_of.is_none() && print.finish() != self.fingerprint {
            let message = "the recipients changed while they were read; run the command again";
            return Err(self.finding(0, message.to_owned(), None));
        }
        Ok(())
    }

    /// Hands the recipients that are meant to `each`, with their lines, and what is wrong with the others. Where only some are
    /// meant, `known` gathers the variables that any of them has.
    fn read(
        &self,
        known: &mut Option<BTreeSet<String>>,
        whereabouts: &mut Option<Whereabouts>,
        each: &mut dyn FnMut(u64, Result<Recipient, Finding>) -> Result<(), Finding>,
    ) -> Result<(), Finding> {
        let mut one = |line: u64, row: Result<Recipient, Finding>| {
            let mut recipient = match row {
                Ok(recipient) => recipient,
                Err(finding) => return each(line, Err(finding)),
            };
            if let Some(selection) = &self.selection {
                let known = known.get_or_insert_default();
                if !recipient.vars.keys().all(|name| known.contains(name)) {
                    known.extend(recipient.vars.keys().cloned());
                }
                match selection.takes(&recipient.vars) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(e) => {
                        return each(line, Err(self.finding(line, format!("for {}: {e}", recipient.chat), None)));
                    }
                }
            }
            if let Some(w) = whereabouts {
                w.fill_in(&recipient.chat, &mut recipient.vars);
            }
            each(line, Ok(recipient))
        };
        match &self.source {
            Source::Inline(list) => list.iter().cloned().try_for_each(|r| one(0, Ok(r))),
            Source::Csv(csv) => csv.rows(one),
            Source::List(list) => {
                let mut ended = Ok(());
                let read = list.members(&mut |recipient| {
                    if ended.is_ok() {
                        ended = one(0, Ok(recipient));
                    }
                });
                read.map_err(|e| self.finding(0, e.message, e.hint))?;
                ended
            }
        }
    }

    fn finding(&self, line: u64, message: String, hint: Option<String>) -> Finding {
        match &self.source {
            Source::Csv(csv) => csv.finding(line, 0, message, hint),
            Source::List(list) => Finding { file: format!("list '{}'", list.name), line: 0, column: 0, message, hint },
            Source::Inline(_) => Finding { file: String::new(), line: 0, column: 0, message, hint },
        }
    }
}

/// The chats of a file met so far with their lines, sixteen bytes each: a hash of 96 bits stands for a chat, so that a million
/// take 36 MB instead of a hundred.
#[derive(Default)]
struct Met(HashMap<[u8; 12], u32>);

impl Met {
    /// Meets a chat on a line. Answers on which line it was met before.
    fn meet(&mut self, chat: &Chat, line: u64) -> Option<u64> {
        let mut short = [0; 12];
        short.copy_from_slice(&sha2::Sha256::digest(chat.as_str())[..12]);
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        self.0.insert(short, line).map(u64::from)
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
            Value::Map(_) => self.many(node, what, kind, texts, whereabouts),
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
        clean.then_some(Recipients {
            source: Source::Inline(list),
            size,
            fingerprint,
            selection: None,
            whereabouts: None,
            only_of: None,
        })
    }

    fn many(
        &mut self,
        node: &Node,
        what: &str,
        kind: Kind,
        (said, moments): (Option<&Said>, &Moments),
        whereabouts: Option<&mut Whereabouts>,
    ) -> Option<Recipients> {
        let map =
            self.map(node, &format!("to of {what}"), &["csv", "chat", "country", "list", "where", "live"], &[])?;
        let selection = match map.get("where") {
            Some(n) => Some(self.selection(n)?),
            None => None,
        };
        let source = self.source(&map, what, kind)?;
        let live = map.get("live").and_then(|n| Some((n, self.flag(n, "live")?)));
        if let (Some((n, true)), Source::Csv(_)) = (live, &source) {
            let hint = "contact import FILE --list NAME keeps it in a list, which may change".to_owned();
            self.error(n, format!("to of {what} is a file, which nobody joins: live belongs to list"), Some(hint));
        }
        let only_of = live.filter(|(_, live)| *live).map(|_| what.to_owned());
        let mut learned = whereabouts.as_deref().cloned();
        let mut all = Recipients { source, size: 0, fingerprint: Vec::new(), selection, whereabouts: None, only_of };
        let mut met = Met::default();
        let (mut print, mut errors, mut size) = (Fingerprint::default(), Vec::new(), 0);
        let mut known = None;
        let read = all.read(&mut known, &mut learned, &mut |line, recipient| {
            let recipient = match recipient {
                Ok(recipient) => recipient,
                Err(finding) => {
                    errors.push(finding);
                    return Ok(());
                }
            };
            if let Source::Csv(_) = &all.source
                && let Some(first) = met.meet(&recipient.chat, line)
            {
                let message = format!("{} stands twice: on line {first} and on line {line}", recipient.chat);
                errors.push(all.finding(line, message, None));
                return Ok(());
            }
            if let Some(Err(e)) = said.map(|s| s.try_for(kind, &recipient.vars, moments)) {
                errors.push(all.finding(line, format!("the content for {}: {e}", recipient.chat), None));
            }
            print.add(&recipient);
            size += 1;
            Ok(())
        });
        if let Err(finding) = &read {
            errors.push(finding.clone());
        } else if let Some(finding) = self.unknown(node, &all, known.as_ref()) {
            errors.push(finding);
        } else if size == 0 && errors.is_empty() {
            errors.push(self.nobody(node, &all));
        }
        if all.only_of.is_some() && read.is_ok() {
            // Who is in it may change while it is followed: that keeps no file from being applied.
            errors.drain(..).for_each(|finding| self.warnings.push(finding));
        }
        if let (Some(given), Some(learned)) = (whereabouts, &learned) {
            given.clone_from(learned);
        }
        (all.size, all.fingerprint, all.whereabouts) = (size, print.finish(), learned);
        if let (Some(job), Some(live)) = (&all.only_of, all.live()) {
            // It stays the same audience however the list changes.
            all.fingerprint = sha2::Sha256::digest(format!("{job} follows {live:?}")).to_vec();
        }
        let clean = errors.is_empty();
        for e in errors {
            let e = match (&all.source, map.get("list")) {
                (Source::List(_), Some(n)) => self.finding(n.line, n.column, e.message, e.hint),
                _ => e,
            };
            self.push_error(e);
        }
        clean.then_some(all)
    }

    /// The first name of a condition that none of those who were read has: nobody can have meant it. Where nobody was read
    /// nothing can be told.
    fn unknown(&self, node: &Node, all: &Recipients, known: Option<&BTreeSet<String>>) -> Option<Finding> {
        let (selection, known) = (all.selection.as_ref()?, known?);
        let name = selection.names().find(|name| !known.contains(*name))?;
        let message = format!("the condition \"{}\" names '{name}', which nobody has", short(selection.text()));
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = if known.is_empty() { "nothing is known of anybody".to_owned() } else { suggest(name, &known) };
        Some(self.finding(node.line, node.column, message, Some(hint)))
    }

    fn nobody(&self, node: &Node, all: &Recipients) -> Finding {
        match (&all.selection, &all.source) {
            (Some(selection), _) => {
                let message = format!("the condition \"{}\" takes nobody", short(selection.text()));
                self.finding(node.line, node.column, message, None)
            }
            (None, Source::List(list)) => {
                let hint = format!("onthedot contact import FILE --list {}", list.name);
                self.finding(node.line, node.column, format!("the list '{}' has no members", list.name), Some(hint))
            }
            (None, _) => all.finding(0, "the file holds no recipients".to_owned(), None),
        }
    }

    fn selection(&mut self, node: &Node) -> Option<Selection> {
        let text = self.text(node, "where")?;
        match Selection::read(&text) {
            Ok(selection) => Some(selection),
            Err(e) => {
                let hint = "such as \"city == 'Rome' and not tag('vip')\"".to_owned();
                self.error(node, e.to_string(), Some(hint));
                None
            }
        }
    }

    fn source(&mut self, map: &Map<'_>, what: &str, kind: Kind) -> Option<Source> {
        match (map.get("csv"), map.get("list")) {
            (Some(path_node), None) => {
                let shown = self.text(path_node, "csv")?;
                let chat_column = map.get("chat").map_or(Some("to".to_owned()), |n| self.text(n, "chat"))?;
                let country = match map.get("country") {
                    Some(n) => Some(self.country(n)?),
                    None => None,
                };
                Some(Source::Csv(CsvSource { path: self.folder.join(&shown), shown, chat_column, kind, country }))
            }
            (None, Some(n)) => {
                for key in ["chat", "country"] {
                    if let Some(n) = map.get(key) {
                        self.error(n, format!("{key} belongs to csv; the members of a list are chats already"), None);
                    }
                }
                let name = self.text(n, "list")?;
                let Some(database) = self.lists.clone() else {
                    self.error(n, format!("the list '{name}' stands in no database that is known here"), None);
                    return None;
                };
                Some(Source::List(ListSource { database, name }))
            }
            _ => {
                self.error(map.node, format!("to of {what} needs either csv: FILE or list: NAME"), None);
                None
            }
        }
    }

    fn country(&mut self, node: &Node) -> Option<Country> {
        let code = self.text(node, "country")?;
        Country::from_code(code.trim()).map_err(|e| self.error(node, e, None)).ok()
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
        if let Some(known) = table.without(&self.chat_column) {
            let message = format!("the file has no column '{}'", self.chat_column);
            return Err(self.finding(1, 0, message, Some(suggest(&self.chat_column, &known))));
        }
        let mut ended = None;
        let read = table.rows(|row| {
            let (line, recipient) = match row {
                Ok(row) => (row.line, self.recipient(row, &table)),
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

    fn recipient(&self, row: Row, table: &Table) -> Result<Recipient, Finding> {
        let given = row.get(&self.chat_column).unwrap_or("");
        let chat = self.kind.parse_recipient_in(given, self.country).map_err(|e| {
            self.finding(row.line, table.place(&self.chat_column), format!("column '{}': {e}", self.chat_column), None)
        })?;
        if let Some(Err(e)) = row.get(ZONE_VAR).map(|name| clock::zone(name.trim())) {
            return Err(self.finding(row.line, table.place(ZONE_VAR), format!("column '{ZONE_VAR}': {e}"), None));
        }
        let vars = row.cells.into_iter().filter(|(name, _)| *name != self.chat_column).collect();
        Ok(Recipient { chat, vars })
    }
}
