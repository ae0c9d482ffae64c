//! From a declared content to what is handed to a gateway: templates filled in, and everything checked that holds
//! for every gateway.

use crate::domain::content::{Body, Content, File};
use crate::domain::recipient::parse_number;
use crate::domain::template::{Moments, Template, TemplateError, Vars};
use crate::domain::time::{Timestamp, parse_instant};

/// Longest text the program hands to any gateway: Wawp's documented limit, 4096 characters.
pub const TEXT_LIMIT_CHARS: usize = 4096;

/// Answers of a poll: WhatsApp's bounds.
pub const POLL_OPTIONS: std::ops::RangeInclusive<usize> = 2..=12;

/// Longest answer of a poll, in characters (Wawp: below 255).
pub const POLL_OPTION_CHARS: usize = 254;

/// Why a content could not be turned into a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A template failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Something came out empty.
    #[error("{0} is empty once its template is filled in")]
    Empty(&'static str),
    /// Something came out too long.
    #[error("{what} is {length} characters long once its template is filled in; the limit is {limit}")]
    TooLong {
        /// What.
        what: &'static str,
        /// Its length in characters.
        length: usize,
        /// The limit in characters.
        limit: usize,
    },
    /// Something is not what it must be.
    #[error("{what} cannot be '{given}': {expected}")]
    Wrong {
        /// What.
        what: &'static str,
        /// What it came out as, cut to 80 characters.
        given: String,
        /// What is expected.
        expected: &'static str,
    },
}

fn wrong(what: &'static str, given: &str, expected: &'static str) -> RenderError {
    RenderError::Wrong { what, given: given.chars().take(80).collect(), expected }
}

/// A content whose templates are parsed, ready to be rendered for many recipients.
#[derive(Debug)]
pub struct CompiledContent {
    content: Content,
    /// In the order of [`Content::try_map`].
    templates: Vec<Template>,
}

/// A content with every template filled in and checked. Names and types of files are known, numbers of cards are
/// digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// The content.
    pub content: Content,
    /// Of an invitation: when it begins and ends.
    pub event: Option<(Timestamp, Option<Timestamp>)>,
}

impl Content {
    /// Parses the templates of this content.
    ///
    /// # Errors
    /// [`TemplateError`] when a template cannot be parsed.
    pub fn compile(&self) -> Result<CompiledContent, TemplateError> {
        let mut templates = Vec::new();
        self.try_map(|text| {
            templates.push(Template::compile(text)?);
            Ok::<_, TemplateError>(String::new())
        })?;
        Ok(CompiledContent { content: self.clone(), templates })
    }
}

impl CompiledContent {
    /// Whether what it says depends on the recipient's variables.
    pub fn needs_vars(&self) -> bool {
        self.templates.iter().any(Template::needs_vars)
    }

    /// Fills in the templates for one recipient.
    ///
    /// # Errors
    /// [`RenderError`] when a variable is missing, a template fails, or the result cannot be sent by any gateway.
    pub fn render(&self, vars: &Vars, moments: &Moments) -> Result<Rendered, RenderError> {
        let mut templates = self.templates.iter();
        let content = self.content.try_map(|text| match templates.next() {
            Some(template) => template.render(vars, moments),
            None => Ok(text.to_owned()),
        })?;
        finish(content, moments)
    }
}

fn finish(mut content: Content, moments: &Moments) -> Result<Rendered, RenderError> {
    let mut event = None;
    match &mut content.body {
        Body::Text(text) => check_text("the text", text)?,
        Body::Image(file) => file_known(file, "image/")?,
        Body::Document(file) => file_known(file, "")?,
        Body::Video(file) => file_known(file, "video/")?,
        Body::Voice(file) => voice_known(file)?,
        Body::Location(place) => {
            degrees("the latitude", &mut place.latitude, 90.0)?;
            degrees("the longitude", &mut place.longitude, 180.0)?;
        }
        Body::Poll(poll) => {
            filled("the poll's name", &poll.name)?;
            if !POLL_OPTIONS.contains(&poll.options.len()) {
                return Err(wrong("the poll's options", &poll.options.len().to_string(), "2 to 12 are allowed"));
            }
            for option in &poll.options {
                filled("an option of the poll", option)?;
                within("an option of the poll", option, POLL_OPTION_CHARS)?;
            }
            let mut met = std::collections::HashSet::new();
            if let Some(twice) = poll.options.iter().find(|o| !met.insert(o.as_str())) {
                return Err(wrong("an option of the poll", twice, "it stands twice"));
            }
        }
        Body::Contact(cards) => {
            for card in cards {
                filled("the contact's name", &card.name)?;
                card.phone = parse_number(card.phone.trim())
                    .map_err(|expected| wrong("the contact's phone", &card.phone, expected))?;
            }
        }
        Body::Link(link) => {
            check_text("the text", &link.text)?;
            https("the link's url", &link.url)?;
            filled("the link's title", &link.title)?;
            if !link.text.contains(&link.url) {
                return Err(wrong("the text", &link.text, "it must hold the url it previews"));
            }
        }
        Body::List(menu) => {
            filled("the list's title", &menu.title)?;
            filled("the list's button", &menu.button)?;
            for row in menu.sections.iter().flat_map(|s| &s.rows) {
                filled("the title of a row", &row.title)?;
                filled("the id of a row", &row.id)?;
            }
        }
        Body::Event(invitation) => {
            filled("the event's name", &invitation.name)?;
            let read = |what, text: &str| {
                parse_instant(text, &moments.zone, false)
                    .ok_or_else(|| wrong(what, text, "no date and time such as 2026-12-01T10:00"))
            };
            let start = read("the event's start", &invitation.start)?;
            let end = invitation.end.as_deref().map(|t| read("the event's end", t)).transpose()?;
            if let (Some(e), Some(text)) = (end, &invitation.end)
                && e <= start
            {
                return Err(wrong("the event's end", text, "it must come after the start"));
            }
            event = Some((start, end));
        }
    }
    if let Some(caption) = file_of(&content.body).and_then(|f| f.caption.as_deref()) {
        within("the caption", caption, TEXT_LIMIT_CHARS)?;
    }
    Ok(Rendered { content, event })
}

fn file_of(body: &Body) -> Option<&File> {
    match body {
        Body::Image(f) | Body::Document(f) | Body::Video(f) | Body::Voice(f) => Some(f),
        _ => None,
    }
}

fn filled(what: &'static str, text: &str) -> Result<(), RenderError> {
    if text.trim().is_empty() { Err(RenderError::Empty(what)) } else { Ok(()) }
}

fn within(what: &'static str, text: &str, limit: usize) -> Result<(), RenderError> {
    match text.chars().count() {
        length if length > limit => Err(RenderError::TooLong { what, length, limit }),
        _ => Ok(()),
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), RenderError> {
    filled(what, text)?;
    within(what, text, TEXT_LIMIT_CHARS)
}

fn https(what: &'static str, url: &str) -> Result<(), RenderError> {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or("");
    if host.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong(what, url, "a public address that begins with https:// is expected"));
    }
    Ok(())
}

fn degrees(what: &'static str, text: &mut String, most: f64) -> Result<(), RenderError> {
    *text = text.trim().to_owned();
    let fits = text.parse::<f64>().is_ok_and(|n| n.is_finite() && n.abs() <= most);
    if fits {
        Ok(())
    } else {
        Err(wrong(what, text, "a number of degrees within −90…90 and −180…180 is expected"))
    }
}

/// The last segment of an address's path; empty where it has none.
fn last_segment(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or("");
    let has_path = path.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { path.rsplit('/').next().unwrap_or("") } else { "" }
}

/// Name and type of a file that says neither: by the last segment of its address.
fn file_known(file: &mut File, family: &str) -> Result<(), RenderError> {
    https("the url", &file.url)?;
    let from_url = last_segment(&file.url).to_owned();
    let name = match file.filename.take().filter(|n| !n.trim().is_empty()) {
        Some(name) => name,
        None if !from_url.is_empty() => from_url.clone(),
        None => return Err(wrong("the url", &file.url, "its last segment names no file: give filename:")),
    };
    let mimetype = match file.mimetype.take().filter(|m| !m.trim().is_empty()) {
        Some(given) => given,
        None => by_extension(&name)
            .or_else(|| by_extension(&from_url))
            .ok_or_else(|| wrong("the filename", &name, "its extension tells no type: give mimetype:"))?
            .to_owned(),
    };
    if !mimetype.starts_with(family) || !mimetype.contains('/') {
        return Err(wrong("the mimetype", &mimetype, "it does not fit this kind of content"));
    }
    (file.filename, file.mimetype) = (Some(name), Some(mimetype));
    Ok(())
}

/// The type WhatsApp plays as a voice message.
pub const VOICE_TYPE: &str = "audio/ogg; codecs=opus";

fn voice_known(file: &mut File) -> Result<(), RenderError> {
    let segment = last_segment(&file.url).to_owned();
    if file.filename.is_none() && segment.is_empty() {
        file.filename = Some("voice.ogg".to_owned());
    }
    let name = file.filename.as_deref().unwrap_or(&segment);
    if file.mimetype.is_none() && by_extension(name).is_none() {
        file.mimetype = Some(VOICE_TYPE.to_owned());
    }
    file_known(file, "audio/")
}

fn by_extension(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "mp4" | "m4v" => "video/mp4",
        "3gp" => "video/3gpp",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "ogg" | "oga" | "opus" => VOICE_TYPE,
        "mp3" => "audio/mpeg",
        "txt" => "text/plain",
        "csv" => "text/csv",
        "zip" => "application/zip",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => return None,
    })
}

impl Rendered {
    /// The characters a person would have to type: what a typing length by text is measured on.
    pub fn typed_chars(&self) -> usize {
        self.text().map_or(0, |t| t.chars().count())
    }

    /// The text by which a gateway's history is searched for this message; `None` where it shows none.
    pub fn text(&self) -> Option<&str> {
        match &self.content.body {
            Body::Text(text) => Some(text),
            Body::Link(link) => Some(&link.text),
            body => file_of(body).and_then(|f| f.caption.as_deref()).filter(|c| !c.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Millis;

    fn render(json: &str) -> Result<Rendered, String> {
        let content: Content = serde_json::from_str(json).unwrap();
        let moments = Moments {
            due: Timestamp(0),
            nominal: None,
            event: None,
            late_by: Millis::ZERO,
            zone: jiff::tz::TimeZone::UTC,
            pick: crate::domain::draw::Draw::new(0, "trial"),
        };
        content.compile().unwrap().render(&Vars::new(), &moments).map_err(|e| e.to_string())
    }

    #[test]
    fn names_and_types_of_files_come_from_their_address_where_they_are_not_given() {
        let r = render(r#"{"image":{"url":"https://x.test/a/b.JPG?x=1"}}"#).unwrap();
        let Body::Image(f) = r.content.body else { unreachable!() };
        assert_eq!((f.filename.as_deref(), f.mimetype.as_deref()), (Some("b.JPG"), Some("image/jpeg")));
        let r = render(r#"{"voice":{"url":"https://x.test/"}}"#).unwrap();
        let Body::Voice(f) = r.content.body else { unreachable!() };
        assert_eq!((f.filename.as_deref(), f.mimetype.as_deref()), (Some("voice.ogg"), Some(VOICE_TYPE)));
        let r = render(r#"{"document":{"url":"https://x.test/d","filename":"r.pdf"}}"#).unwrap();
        let Body::Document(f) = r.content.body else { unreachable!() };
        assert_eq!(f.mimetype.as_deref(), Some("application/pdf"));
    }

    #[test]
    fn what_no_gateway_could_send_is_refused_with_what_is_expected() {
        let long = "x".repeat(4_097);
        let cases = [
            (format!(r#"{{"text":"{long}"}}"#), "4097 characters"),
            (r#"{"text":"  "}"#.into(), "empty"),
            (r#"{"image":{"url":"http://x.test/a.png"}}"#.into(), "https://"),
            (r#"{"image":{"url":"https://"}}"#.into(), "https://"),
            (r#"{"image":{"url":"https://x.test/a b.png"}}"#.into(), "https://"),
            (r#"{"image":{"url":"https://x.test"}}"#.into(), "filename"),
            (r#"{"image":{"url":"https://x.test/a"}}"#.into(), "mimetype"),
            (r#"{"image":{"url":"https://x.test/a.pdf"}}"#.into(), "does not fit"),
            (r#"{"voice":{"url":"https://x.test/a.ogg","mimetype":"video/mp4"}}"#.into(), "does not fit"),
            (r#"{"location":{"latitude":"91","longitude":"0"}}"#.into(), "latitude"),
            (r#"{"location":{"latitude":"0","longitude":"east"}}"#.into(), "longitude"),
            (r#"{"poll":{"name":"?","options":["a"]}}"#.into(), "2 to 12"),
            (r#"{"poll":{"name":"?","options":["a","a"]}}"#.into(), "twice"),
            (format!(r#"{{"poll":{{"name":"?","options":["a","{}"]}}}}"#, "y".repeat(255)), "255 characters"),
            (r#"{"contact":[{"name":"A","phone":"0170 1"}]}"#.into(), "country code"),
            (r#"{"link":{"text":"see","url":"https://x.test","title":"t"}}"#.into(), "must hold the url"),
            (r#"{"event":{"name":"e","start":"soon"}}"#.into(), "soon"),
            (r#"{"event":{"name":"e","start":"2026-01-01T10:00","end":"2026-01-01T09:00"}}"#.into(), "after the start"),
            (r#"{"list":{"title":"t","button":"","sections":[]}}"#.into(), "button"),
        ];
        for (json, word) in cases {
            let error = render(&json).unwrap_err();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn limits_are_met_exactly() {
        assert!(render(&format!(r#"{{"text":"{}"}}"#, "x".repeat(4_096))).is_ok());
        let options: Vec<String> = (0..12).map(|n| format!("\"{n}{}\"", "y".repeat(252))).collect();
        assert!(render(&format!(r#"{{"poll":{{"name":"?","options":[{}]}}}}"#, options.join(","))).is_ok());
        assert!(render(r#"{"location":{"latitude":"-90","longitude":"180.0"}}"#).is_ok());
    }
}
