//! What is said: a text, a picture, a place, a question.

use serde::{Deserialize, Serialize};

/// The content of a message. As declared its strings are templates; as a
/// [`Rendered`](crate::domain::render::Rendered) they are filled in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Content {
    /// What it consists of.
    #[serde(flatten)]
    pub body: Body,
    /// The message it answers, by its serialized id at the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// The kinds of content. All numbers and instants are kept as they were written, because they may be templates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A text message.
    Text(String),
    /// A picture.
    Image(File),
    /// A document.
    Document(File),
    /// A film.
    Video(File),
    /// A voice message.
    Voice(File),
    /// A place on the map.
    Location(Place),
    /// A question with answers to choose from.
    Poll(Poll),
    /// One or more address cards.
    Contact(Vec<Card>),
    /// A text with a preview of a page.
    Link(Link),
    /// A list of rows to choose from.
    List(Menu),
    /// An invitation to an event.
    Event(Invitation),
}

/// A file at an address.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct File {
    /// Where the gateway fetches it: HTTPS.
    pub url: String,
    /// A text below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Its name; the last segment of the address where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Its type; by the extension of its name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mimetype: Option<String>,
    /// Of a film: shown in a round frame.
    #[serde(default, skip_serializing_if = "is_false")]
    pub note: bool,
    /// Of a voice message: the gateway shall convert it to OGG/Opus.
    #[serde(default, skip_serializing_if = "is_false")]
    pub convert: bool,
}

/// A place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Degrees, −90 to 90.
    pub latitude: String,
    /// Degrees, −180 to 180.
    pub longitude: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Poll {
    /// The question.
    pub name: String,
    /// The answers, 2 to 12.
    pub options: Vec<String>,
    /// Whether several may be chosen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub multiple: bool,
}

/// An address card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Card {
    /// The person's full name.
    pub name: String,
    /// An international number.
    pub phone: String,
    /// Where they work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

/// A text with a preview.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    /// The text, which holds the address.
    pub text: String,
    /// The address.
    pub url: String,
    /// The preview's title.
    pub title: String,
    /// The preview's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The address of the preview's picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// A list of rows to choose from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Menu {
    /// Its title.
    pub title: String,
    /// The word on the button that opens it.
    pub button: String,
    /// Its sections.
    pub sections: Vec<MenuSection>,
    /// A text below the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A small text at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
}

/// A section of a [`Menu`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MenuSection {
    /// Its title.
    pub title: String,
    /// Its rows.
    pub rows: Vec<MenuRow>,
}

/// A row of a [`MenuSection`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MenuRow {
    /// What is shown.
    pub title: String,
    /// What an answer names it by.
    pub id: String,
    /// A small text below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An invitation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The event's name.
    pub name: String,
    /// When it begins: civil time in the job's zone, or with an offset.
    pub start: String,
    /// When it ends; after its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Whether guests may be brought.
    #[serde(default, skip_serializing_if = "is_false")]
    pub guests: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The words for the kinds, in the order of [`Body`].
pub const KINDS: [&str; 11] =
    ["text", "image", "document", "video", "voice", "location", "poll", "contact", "link", "list", "event"];

impl Content {
    /// A text without anything else.
    pub fn text(text: impl Into<String>) -> Content {
        Content { body: Body::Text(text.into()), reply_to: None }
    }

    /// The same with a line before it, where it is a text.
    #[must_use]
    pub fn behind(self, line: &str) -> Content {
        match self.body {
            Body::Text(text) => Content { body: Body::Text(format!("{line}\n{text}")), ..self },
            _ => self,
        }
    }

    /// The word for the kind, as in the jobs file.
    pub fn kind(&self) -> &'static str {
        KINDS[match &self.body {
            Body::Text(_) => 0,
            Body::Image(_) => 1,
            Body::Document(_) => 2,
            Body::Video(_) => 3,
            Body::Voice(_) => 4,
            Body::Location(_) => 5,
            Body::Poll(_) => 6,
            Body::Contact(_) => 7,
            Body::Link(_) => 8,
            Body::List(_) => 9,
            Body::Event(_) => 10,
        }]
    }

    /// Hands every string of it to `each`, in a fixed order: all of them are templates.
    ///
    /// # Errors
    /// The first error of `each`.
    pub fn try_map<E>(&self, mut each: impl FnMut(&str) -> Result<String, E>) -> Result<Content, E> {
        let mut content = self.clone();
        for text in content.strings_mut() {
            *text = each(text)?;
        }
        Ok(content)
    }

    /// Every string of it, in the order of [`Content::try_map`].
    fn strings_mut(&mut self) -> Vec<&mut String> {
        let mut all: Vec<&mut String> = Vec::new();
        match &mut self.body {
            Body::Text(text) => all.push(text),
            Body::Image(f) | Body::Document(f) | Body::Video(f) | Body::Voice(f) => {
                all.push(&mut f.url);
                all.extend([&mut f.caption, &mut f.filename, &mut f.mimetype].into_iter().flatten());
            }
            Body::Location(p) => {
                all.extend([&mut p.latitude, &mut p.longitude]);
                all.extend([&mut p.title, &mut p.address].into_iter().flatten());
            }
            Body::Poll(p) => {
                all.push(&mut p.name);
                all.extend(p.options.iter_mut());
            }
            Body::Contact(cards) => {
                for c in cards {
                    all.extend([&mut c.name, &mut c.phone]);
                    all.extend(&mut c.organization);
                }
            }
            Body::Link(l) => {
                all.extend([&mut l.text, &mut l.url, &mut l.title]);
                all.extend([&mut l.description, &mut l.image].into_iter().flatten());
            }
            Body::List(m) => {
                all.extend([&mut m.title, &mut m.button]);
                all.extend([&mut m.description, &mut m.footer].into_iter().flatten());
                for section in &mut m.sections {
                    all.push(&mut section.title);
                    for row in &mut section.rows {
                        all.extend([&mut row.title, &mut row.id]);
                        all.extend(&mut row.description);
                    }
                }
            }
            Body::Event(e) => {
                all.extend([&mut e.name, &mut e.start]);
                all.extend([&mut e.end, &mut e.description, &mut e.location].into_iter().flatten());
            }
        }
        all.extend(&mut self.reply_to);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_stored_as_it_always_was() {
        let text = Content::text("hi");
        assert_eq!(serde_json::to_string(&text).unwrap(), r#"{"text":"hi"}"#);
        assert_eq!(serde_json::from_str::<Content>(r#"{"text":"hi"}"#).unwrap(), text);
        let reply: Content = serde_json::from_str(r#"{"text":"hi","reply_to":"false_1@c.us_A"}"#).unwrap();
        assert_eq!(reply.reply_to.as_deref(), Some("false_1@c.us_A"));
    }

    #[test]
    fn every_string_of_every_kind_is_a_template() {
        let samples = [
            r#"{"text":"§"}"#,
            r#"{"image":{"url":"§","caption":"§","filename":"§","mimetype":"§"},"reply_to":"§"}"#,
            r#"{"location":{"latitude":"§","longitude":"§","title":"§","address":"§"}}"#,
            r#"{"poll":{"name":"§","options":["§","§"]}}"#,
            r#"{"contact":[{"name":"§","phone":"§","organization":"§"}]}"#,
            r#"{"link":{"text":"§","url":"§","title":"§","description":"§","image":"§"}}"#,
            r#"{"list":{"title":"§","button":"§","sections":[{"title":"§","rows":[{"title":"§","id":"§","description":"§"}]}],"description":"§","footer":"§"}}"#,
            r#"{"event":{"name":"§","start":"§","end":"§","description":"§","location":"§"}}"#,
        ];
        for sample in samples {
            let content: Content = serde_json::from_str(sample).unwrap();
            let filled = content.try_map(|s| Ok::<_, ()>(s.replace('§', "x"))).unwrap();
            let json = serde_json::to_string(&filled).unwrap();
            assert!(!json.contains('§'), "{json}");
            assert_eq!(json.matches("\"x\"").count(), sample.matches('§').count(), "{json}");
        }
    }
}
