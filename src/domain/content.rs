//! What is said.

use serde::{Deserialize, Serialize};

use crate::domain::template::{Moments, Template, TemplateError, Vars};

/// The content of a message as declared: its strings are templates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A text message.
    Text(String),
}

/// A content with every template filled in: what is handed to a gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rendered {
    /// A text message.
    Text(String),
}

/// Longest text the program hands to any gateway: Wawp's documented limit, 4096 characters.
pub const TEXT_LIMIT_CHARS: usize = 4096;

/// Why a content could not be turned into a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A template failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The text came out empty.
    #[error("the text is empty once its template is filled in")]
    Empty,
    /// The text came out too long.
    #[error("the text is {0} characters long once its template is filled in; the limit is {TEXT_LIMIT_CHARS}")]
    TooLong(usize),
}

impl Content {
    /// The word for the kind, as in the jobs file: `text`.
    pub fn kind(&self) -> &'static str {
        match self {
            Content::Text(_) => "text",
        }
    }

    /// Compiles the templates of this content.
    ///
    /// # Errors
    /// [`TemplateError`] when a template cannot be parsed.
    pub fn compile(&self) -> Result<CompiledContent, TemplateError> {
        match self {
            Content::Text(text) => Ok(CompiledContent::Text(Template::compile(text)?)),
        }
    }
}

/// A content whose templates are parsed, ready to be rendered for many recipients.
#[derive(Debug)]
pub enum CompiledContent {
    /// A text message.
    Text(Template),
}

impl CompiledContent {
    /// Fills in the templates for one recipient.
    ///
    /// # Errors
    /// [`RenderError`] when a variable is missing, a template fails, or the result is empty or too long.
    pub fn render(&self, vars: &Vars, moments: &Moments) -> Result<Rendered, RenderError> {
        match self {
            CompiledContent::Text(template) => {
                let text = template.render(vars, moments)?;
                if text.trim().is_empty() {
                    return Err(RenderError::Empty);
                }
                match text.chars().count() {
                    n if n > TEXT_LIMIT_CHARS => Err(RenderError::TooLong(n)),
                    _ => Ok(Rendered::Text(text)),
                }
            }
        }
    }
}

impl Rendered {
    /// The characters a person would have to type: what a typing length by text is measured on.
    pub fn typed_chars(&self) -> usize {
        match self {
            Rendered::Text(text) => text.chars().count(),
        }
    }

    /// The text by which a gateway's history is searched for this message.
    pub fn text(&self) -> &str {
        match self {
            Rendered::Text(text) => text,
        }
    }
}
