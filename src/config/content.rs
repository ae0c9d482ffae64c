//! The "what" of a job: its contents, read kind by kind, and rendered once for every recipient before anything is
//! applied.

use crate::config::read::{Map, Reading, describe, suggest};
use crate::config::tree::{Node, Value};
use crate::domain::content::{
    Body, Card, Content, File, Invitation, KINDS, Link, Menu, MenuRow, MenuSection, Place, Poll,
};
use crate::domain::render::CompiledContent;
use crate::domain::template::{Moments, Vars};
use crate::domain::time::Millis;
use crate::gateway::Kind;

/// Contents in one sequence.
const MESSAGES_LIMIT: usize = 20;

/// A message of a sequence is due a year after the one before it at most.
const LONGEST_AFTER: Millis = Millis(366 * 86_400_000);

/// Variants of one message.
const VARIANTS_LIMIT: usize = 20;

/// Sections of a list, and rows of a section.
const MENU_LIMIT: usize = 100;

/// Address cards in one message.
const CARDS_LIMIT: usize = 100;

/// The contents of a job with what is needed to try them for a recipient.
pub(crate) struct Said {
    /// As declared, in the order in which they are sent; never empty.
    pub contents: Vec<Content>,
    /// Where they are variants of one message, how often each; else empty.
    pub weights: Vec<u32>,
    /// Where some are due later than the first, how long each after the one before it; else empty.
    pub after: Vec<Millis>,
    compiled: Vec<CompiledContent>,
    /// What follows them says.
    also: Vec<CompiledContent>,
}

impl Said {
    /// Has a text tried for every recipient beside the contents: what follows them says it.
    ///
    /// # Errors
    /// What is wrong with it for everybody.
    pub(crate) fn also(&mut self, content: &Content, kind: Kind, moments: &Moments) -> Result<(), String> {
        let compiled = content.compile().map_err(|e| e.to_string())?;
        if !compiled.needs_vars() {
            try_one(&compiled, Some(kind), &Vars::new(), moments)?;
        }
        self.also.push(compiled);
        Ok(())
    }

    /// Renders every content for a recipient, as the send will, and asks the gateway whether it can carry it.
    ///
    /// # Errors
    /// What is wrong, for the person who wrote the file.
    pub(crate) fn try_for(&self, kind: Kind, vars: &Vars, moments: &Moments) -> Result<(), String> {
        for (i, compiled) in self.compiled.iter().enumerate() {
            let word = if self.weights.is_empty() { "message" } else { "variant" };
            let which = if self.compiled.len() > 1 { format!("{word} {}: ", i + 1) } else { String::new() };
            try_one(compiled, Some(kind), vars, moments).map_err(|e| format!("{which}{e}"))?;
        }
        for compiled in &self.also {
            try_one(compiled, Some(kind), vars, moments).map_err(|e| format!("the text of escalate: {e}"))?;
        }
        Ok(())
    }
}

/// Fills a content in as the send will, and asks the gateway whether it can carry it.
///
/// # Errors
/// What is wrong, for the person who wrote the file.
pub(crate) fn try_one(
    content: &CompiledContent,
    kind: Option<Kind>,
    vars: &Vars,
    moments: &Moments,
) -> Result<(), String> {
    let rendered = content.render(vars, moments).map_err(|e| e.to_string())?;
    kind.map_or(Ok(()), |k| k.check_content(&rendered))
}

impl Reading<'_> {
    /// The contents of a job: one of the kinds, or a list of them under `messages`.
    pub(crate) fn said(&mut self, map: &Map<'_>, what: &str, kind: Option<Kind>, moments: &Moments) -> Option<Said> {
        let listed = ["messages", "variants"].into_iter().find_map(|key| Some((key, map.get(key)?)));
        let (contents, weights, after) = match listed {
            None => (vec![self.content(map, what, kind)?], Vec::new(), Vec::new()),
            Some((word, node)) => {
                let mut beside = KINDS.iter().chain(&["reply_to", "messages", "variants"]);
                if let Some(key) = beside.find(|k| **k != word && map.get(k).is_some()) {
                    self.error(node, format!("{what} has both {word} and {key}"), Some("keep one".to_owned()));
                }
                match word {
                    "messages" => {
                        let (contents, after) = self.sequence(node, what, kind)?;
                        (contents, Vec::new(), after)
                    }
                    _ => {
                        let (contents, weights) = self.variants(node, what, kind)?;
                        (contents, weights, Vec::new())
                    }
                }
            }
        };
        let mut compiled = Vec::with_capacity(contents.len());
        let before = self.errors.len();
        for content in &contents {
            let node = listed.map(|(_, node)| node).or_else(|| map.get(content.kind())).unwrap_or(map.node);
            match content.compile() {
                Ok(c) => {
                    // What is wrong for everybody is told once, where it is written.
                    let tried = (!c.needs_vars()).then(|| try_one(&c, kind, &Vars::new(), moments));
                    if let Some(Err(e)) = tried {
                        self.error(node, format!("{} of {what}: {e}", content.kind()), None);
                    }
                    compiled.push(c);
                }
                Err(e) => self.error(node, format!("{} of {what}: {e}", content.kind()), None),
            }
        }
        (self.errors.len() == before).then_some(Said { contents, weights, after, compiled, also: Vec::new() })
    }

    /// Messages sent in order, and how long after the one before it each but the first is due.
    fn sequence(&mut self, node: &Node, what: &str, kind: Option<Kind>) -> Option<(Vec<Content>, Vec<Millis>)> {
        let Value::List(list) = &node.value else {
            self.error(node, format!("messages of {what} must be a list, not {}", describe(node)), None);
            return None;
        };
        if list.is_empty() || list.len() > MESSAGES_LIMIT {
            self.error(node, format!("messages of {what} must hold 1 to {MESSAGES_LIMIT} contents"), None);
            return None;
        }
        let known: Vec<&str> = KINDS.iter().copied().chain(["reply_to", "after"]).collect();
        let (mut contents, mut after) = (Vec::with_capacity(list.len()), Vec::new());
        for (i, node) in list.iter().enumerate() {
            let what = format!("message {} of {what}", i + 1);
            let Some(map) = self.map(node, &what, &known, &[]) else { continue };
            contents.extend(self.content(&map, &what, kind));
            let later = match map.get("after") {
                Some(n) if i == 0 => {
                    let hint = "the first is due when the job is; `after` counts from the message before".to_owned();
                    self.error(n, "after stands at the second message and those behind it".to_owned(), Some(hint));
                    continue;
                }
                Some(n) => self.duration_in(n, "after", Millis::ZERO, LONGEST_AFTER),
                None => Some(Millis::ZERO),
            };
            after.extend(later.filter(|_| i > 0));
        }
        if after.iter().all(|a| *a == Millis::ZERO) {
            after.clear();
        }
        (contents.len() == list.len()).then_some((contents, after))
    }

    /// Variants of one message, and how often each is to go out.
    fn variants(&mut self, node: &Node, what: &str, kind: Option<Kind>) -> Option<(Vec<Content>, Vec<u32>)> {
        let Value::List(list) = &node.value else {
            self.error(node, format!("variants of {what} must be a list, not {}", describe(node)), None);
            return None;
        };
        if list.len() < 2 || list.len() > VARIANTS_LIMIT {
            self.error(node, format!("variants of {what} must hold 2 to {VARIANTS_LIMIT} contents"), None);
            return None;
        }
        let known: Vec<&str> = KINDS.iter().copied().chain(["reply_to", "weight"]).collect();
        let mut read = Vec::with_capacity(list.len());
        for (i, node) in list.iter().enumerate() {
            let what = format!("variant {} of {what}", i + 1);
            let Some(map) = self.map(node, &what, &known, &[]) else { continue };
            let weight = map.get("weight").map_or(Some(1), |n| self.whole(n, "weight", 1, 1_000_000));
            read.extend(self.content(&map, &what, kind).zip(weight));
        }
        (read.len() == list.len()).then(|| read.into_iter().unzip())
    }

    fn content(&mut self, map: &Map<'_>, what: &str, kind: Option<Kind>) -> Option<Content> {
        // An `event` that is an instant belongs to the schedule.
        let is_content = |k: &str, n: &Node| k != "event" || !matches!(n.value, Value::Scalar { .. });
        let given: Vec<&str> = KINDS.into_iter().filter(|k| map.get(k).is_some_and(|n| is_content(k, n))).collect();
        let &[word] = given.as_slice() else {
            let message = match given.len() {
                0 => format!("{what} has no content"),
                _ => format!("{what} has several contents: {}", given.join(", ")),
            };
            self.error(map.node, message, Some(format!("give exactly one of {}", KINDS.join(", "))));
            return None;
        };
        let node = map.get(word)?;
        if let Some(kind) = kind.filter(|k| !k.capabilities().kinds.contains(&word)) {
            let hint = format!("it carries {}", kind.capabilities().kinds.join(", "));
            self.error(node, format!("the gateway '{}' cannot carry a {word}", kind.name()), Some(hint));
            return None;
        }
        if word == "voice" && kind.is_some_and(|k| !k.capabilities().shows_recording) {
            let hint = "typing is shown instead".to_owned();
            self.warn(node, "this gateway documents no way to show \"recording audio…\"", Some(hint));
        }
        let body = self.body(word, node)?;
        let reply_to = match map.get("reply_to") {
            Some(n) => Some(self.text(n, "reply_to")?),
            None => None,
        };
        Some(Content { body, reply_to })
    }

    fn body(&mut self, word: &str, node: &Node) -> Option<Body> {
        Some(match word {
            "text" => Body::Text(self.text(node, "text")?),
            "image" => Body::Image(self.file(node, word, &["url", "caption", "filename", "mimetype"])?),
            "document" => Body::Document(self.file(node, word, &["url", "caption", "filename", "mimetype"])?),
            "video" => Body::Video(self.file(node, word, &["url", "caption", "filename", "mimetype", "note"])?),
            "voice" => Body::Voice(self.file(node, word, &["url", "convert", "filename", "mimetype"])?),
            "location" => {
                let m = self.map(node, word, &["latitude", "longitude", "title", "address"], &[])?;
                Body::Location(Place {
                    latitude: self.needed(&m, word, "latitude")?,
                    longitude: self.needed(&m, word, "longitude")?,
                    title: self.optional(&m, "title")?,
                    address: self.optional(&m, "address")?,
                })
            }
            "poll" => self.poll(node)?,
            "contact" => self.cards(node)?,
            "link" => {
                let m = self.map(node, word, &["text", "url", "title", "description", "image"], &[])?;
                Body::Link(Link {
                    text: self.needed(&m, word, "text")?,
                    url: self.needed(&m, word, "url")?,
                    title: self.needed(&m, word, "title")?,
                    description: self.optional(&m, "description")?,
                    image: self.optional(&m, "image")?,
                })
            }
            "list" => self.menu(node)?,
            _ => {
                let known = ["name", "start", "end", "description", "location", "guests"];
                let m = self.map(node, word, &known, &[])?;
                Body::Event(Invitation {
                    name: self.needed(&m, word, "name")?,
                    start: self.needed(&m, word, "start")?,
                    end: self.optional(&m, "end")?,
                    description: self.optional(&m, "description")?,
                    location: self.optional(&m, "location")?,
                    guests: self.flag_or_false(&m, "guests")?,
                })
            }
        })
    }

    fn file(&mut self, node: &Node, word: &str, known: &[&str]) -> Option<File> {
        // An address alone is a file without anything else.
        if matches!(node.value, Value::Scalar { .. }) {
            return Some(File { url: self.text(node, word)?, ..File::default() });
        }
        let m = self.map(node, word, known, &[])?;
        Some(File {
            url: self.needed(&m, word, "url")?,
            caption: self.optional(&m, "caption")?,
            filename: self.optional(&m, "filename")?,
            mimetype: self.optional(&m, "mimetype")?,
            note: self.flag_or_false(&m, "note")?,
            convert: self.flag_or_false(&m, "convert")?,
        })
    }

    fn poll(&mut self, node: &Node) -> Option<Body> {
        let m = self.map(node, "poll", &["name", "options", "multiple"], &[])?;
        let name = self.needed(&m, "poll", "name")?;
        let options: Vec<String> = match m.get("options").map(|n| (n, &n.value)) {
            Some((_, Value::List(list))) => {
                list.iter().map(|n| self.text(n, "an option of the poll")).collect::<Option<_>>()?
            }
            _ => {
                self.error(node, "poll needs options", Some("options: [Yes, No]".to_owned()));
                return None;
            }
        };
        Some(Body::Poll(Poll { name, options, multiple: self.flag_or_false(&m, "multiple")? }))
    }

    fn cards(&mut self, node: &Node) -> Option<Body> {
        let nodes: Vec<&Node> = match &node.value {
            Value::List(list) => list.iter().collect(),
            _ => vec![node],
        };
        if nodes.is_empty() || nodes.len() > CARDS_LIMIT {
            self.error(node, format!("contact must hold 1 to {CARDS_LIMIT} cards"), None);
            return None;
        }
        let read: Vec<Option<Card>> = nodes
            .into_iter()
            .map(|n| {
                let m = self.map(n, "contact", &["name", "phone", "organization"], &[])?;
                Some(Card {
                    name: self.needed(&m, "contact", "name")?,
                    phone: self.needed(&m, "contact", "phone")?,
                    organization: self.optional(&m, "organization")?,
                })
            })
            .collect();
        Some(Body::Contact(read.into_iter().collect::<Option<_>>()?))
    }

    fn menu(&mut self, node: &Node) -> Option<Body> {
        let m = self.map(node, "list", &["title", "button", "sections", "description", "footer"], &[])?;
        let (title, button) = (self.needed(&m, "list", "title")?, self.needed(&m, "list", "button")?);
        let sections = self.items(m.get("sections"), node, "sections of the list")?;
        let sections: Vec<Option<MenuSection>> = sections.into_iter().map(|n| self.menu_section(n)).collect();
        Some(Body::List(Menu {
            title,
            button,
            sections: sections.into_iter().collect::<Option<_>>()?,
            description: self.optional(&m, "description")?,
            footer: self.optional(&m, "footer")?,
        }))
    }

    fn menu_section(&mut self, node: &Node) -> Option<MenuSection> {
        let m = self.map(node, "a section", &["title", "rows"], &[])?;
        let title = self.needed(&m, "a section", "title")?;
        let rows: Vec<Option<MenuRow>> = self
            .items(m.get("rows"), node, "rows of a section")?
            .into_iter()
            .map(|n| {
                let m = self.map(n, "a row", &["title", "id", "description"], &[])?;
                Some(MenuRow {
                    title: self.needed(&m, "a row", "title")?,
                    id: self.needed(&m, "a row", "id")?,
                    description: self.optional(&m, "description")?,
                })
            })
            .collect();
        Some(MenuSection { title, rows: rows.into_iter().collect::<Option<_>>()? })
    }

    fn items<'n>(&mut self, node: Option<&'n Node>, around: &Node, what: &str) -> Option<Vec<&'n Node>> {
        match node.map(|n| &n.value) {
            Some(Value::List(list)) if (1..=MENU_LIMIT).contains(&list.len()) => Some(list.iter().collect()),
            _ => {
                self.error(node.unwrap_or(around), format!("{what} must be a list of 1 to {MENU_LIMIT}"), None);
                None
            }
        }
    }

    fn needed(&mut self, map: &Map<'_>, what: &str, key: &'static str) -> Option<String> {
        match map.get(key) {
            Some(n) => self.text(n, key),
            None => {
                self.error(map.node, format!("{what} needs {key}"), Some(format!("add {key}: …")));
                None
            }
        }
    }

    fn optional(&mut self, map: &Map<'_>, key: &str) -> Option<Option<String>> {
        match map.get(key) {
            Some(n) => self.text(n, key).map(Some),
            None => Some(None),
        }
    }

    fn flag_or_false(&mut self, map: &Map<'_>, key: &str) -> Option<bool> {
        map.get(key).map_or(Some(false), |n| self.flag(n, key))
    }
}

/// Reads a content written as JSON, such as a command's `--content`, with the same care as a jobs file's.
///
/// # Errors
/// What is wrong with it.
pub fn content_from_json(text: &str, kind: Kind) -> Result<Content, String> {
    let env = |_: &str| None;
    let mut reading = Reading::new(std::path::Path::new("content"), &env, true);
    let root = match crate::config::tree::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => return Err(format!("it is empty; {}", suggest("", &KINDS))),
        Err(e) => return Err(e.message),
    };
    let known: Vec<&str> = KINDS.iter().copied().chain(["reply_to"]).collect();
    let content = reading.map(&root, "the content", &known, &[]).and_then(|m| reading.content(&m, "it", Some(kind)));
    match content {
        Some(content) if reading.errors.is_empty() => Ok(content),
        _ => Err(reading.errors.iter().map(|f| f.message.clone()).collect::<Vec<_>>().join("; ")),
    }
}
