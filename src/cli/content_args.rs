//! The content of a message given on the command line.

use serde_json::{Value, json};

use crate::cli::exit::{Exit, told};
use crate::config;
use crate::domain::content::Content;
use crate::gateway::Kind;

/// Exactly one of these says what is sent; the others refine it.
#[derive(clap::Args, Debug, Default)]
pub(super) struct ContentArgs {
    /// A text; {{ due | time }} and the like are filled in
    #[arg(long, value_name = "TEXT", group = "what", help_heading = "What")]
    pub text: Option<String>,
    /// A picture at a public HTTPS address
    #[arg(long, value_name = "URL", group = "what", help_heading = "What")]
    image: Option<String>,
    /// A document at a public HTTPS address (Wawp: PDF)
    #[arg(long, value_name = "URL", group = "what", help_heading = "What")]
    document: Option<String>,
    /// A film at a public HTTPS address
    #[arg(long, value_name = "URL", group = "what", help_heading = "What")]
    video: Option<String>,
    /// A voice message at a public HTTPS address (OGG/Opus)
    #[arg(long, value_name = "URL", group = "what", help_heading = "What")]
    voice: Option<String>,
    /// A place, such as 52.52,13.40
    #[arg(long, value_name = "LAT,LON", group = "what", allow_hyphen_values = true, help_heading = "What")]
    location: Option<String>,
    /// A question; its answers are given with --option
    #[arg(long, value_name = "QUESTION", group = "what", requires = "option", help_heading = "What")]
    poll: Option<String>,
    /// An address card, such as "Ada Lovelace=+49 170 1234567"; may be repeated
    #[arg(long, value_name = "NAME=PHONE", group = "what", help_heading = "What")]
    contact: Vec<String>,
    /// Any content as in the jobs file, such as '{"event": {"name": "Party", "start": "2026-12-01T20:00"}}'
    #[arg(long, value_name = "JSON", group = "what", help_heading = "What")]
    content: Option<String>,
    /// A text below a picture, document or film
    #[arg(long, value_name = "TEXT", help_heading = "What")]
    caption: Option<String>,
    /// The file's name, where its address tells none
    #[arg(long, value_name = "NAME", help_heading = "What")]
    filename: Option<String>,
    /// The file's type, where its name tells none
    #[arg(long, value_name = "TYPE", help_heading = "What")]
    mimetype: Option<String>,
    /// The name of a place
    #[arg(long, value_name = "TEXT", requires = "location", help_heading = "What")]
    title: Option<String>,
    /// The address of a place
    #[arg(long, value_name = "TEXT", requires = "location", help_heading = "What")]
    address: Option<String>,
    /// An answer of a poll; 2 to 12 of them
    #[arg(long, value_name = "ANSWER", requires = "poll", help_heading = "What")]
    option: Vec<String>,
    /// Several answers may be chosen
    #[arg(long, requires = "poll", help_heading = "What")]
    multiple: bool,
    /// The message it answers, by its serialized id
    #[arg(long, value_name = "ID", help_heading = "What")]
    reply_to: Option<String>,
}

impl ContentArgs {
    /// The content, or `None` when nothing was given.
    pub(super) fn read(&self, kind: Kind) -> anyhow::Result<Option<Content>> {
        let file = [&self.image, &self.document, &self.video, &self.voice].into_iter().any(Option::is_some);
        for (flag, given) in
            [("--caption", &self.caption), ("--filename", &self.filename), ("--mimetype", &self.mimetype)]
        {
            if given.is_some() && !file {
                return Err(told(Exit::Usage, format!("{flag} goes with --image, --document, --video or --voice")));
            }
        }
        let Some(mut written) = self.written()? else { return Ok(None) };
        if let (Some(id), Some(map)) = (&self.reply_to, written.as_object_mut()) {
            map.insert("reply_to".to_owned(), json!(id));
        }
        let content = config::content_from_json(&written.to_string(), kind);
        Ok(Some(content.map_err(|e| told(Exit::Usage, format!("the content: {e}")))?))
    }

    /// The content in the form of the jobs file.
    fn written(&self) -> anyhow::Result<Option<Value>> {
        let file = |url: &str| {
            let mut map = serde_json::Map::new();
            map.insert("url".to_owned(), json!(url));
            for (key, value) in [("caption", &self.caption), ("filename", &self.filename), ("mimetype", &self.mimetype)]
            {
                if let Some(value) = value {
                    map.insert(key.to_owned(), json!(value));
                }
            }
            Value::Object(map)
        };
        for (key, url) in
            [("image", &self.image), ("document", &self.document), ("video", &self.video), ("voice", &self.voice)]
        {
            if let Some(url) = url {
                return Ok(Some(json!({ key: file(url) })));
            }
        }
        if let Some(text) = &self.text {
            return Ok(Some(json!({ "text": text })));
        }
        if let Some(place) = &self.location {
            let (latitude, longitude) = place
                .split_once(',')
                .ok_or_else(|| told(Exit::Usage, format!("--location cannot be '{place}'; such as 52.52,13.40")))?;
            let (title, address) = (&self.title, &self.address);
            let place = json!({ "latitude": latitude.trim(), "longitude": longitude.trim(), "title": title, "address": address });
            return Ok(Some(json!({ "location": place })));
        }
        if let Some(name) = &self.poll {
            let poll = json!({ "name": name, "options": self.option, "multiple": self.multiple });
            return Ok(Some(json!({ "poll": poll })));
        }
        if !self.contact.is_empty() {
            let cards: Vec<Value> = self
                .contact
                .iter()
                .map(|c| {
                    let (name, phone) = c.rsplit_once('=').ok_or_else(|| {
                        told(Exit::Usage, format!("--contact cannot be '{c}'; such as \"Ada=+49 170 1234567\""))
                    })?;
                    Ok(json!({ "name": name, "phone": phone }))
                })
                .collect::<anyhow::Result<_>>()?;
            return Ok(Some(json!({ "contact": cards })));
        }
        match &self.content {
            Some(text) => {
                let value: Value =
                    serde_json::from_str(text).map_err(|e| told(Exit::Usage, format!("--content is no JSON: {e}")))?;
                Ok(Some(value))
            }
            None => Ok(None),
        }
    }
}
