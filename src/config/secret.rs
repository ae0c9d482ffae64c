//! Secrets: read once, wrapped, and remembered by where they came from.

use std::os::unix::fs::PermissionsExt;

use secrecy::SecretString;
use serde_json::{Value as Json, json};

use crate::config::read::Reading;
use crate::config::tree::{Node, Value};

/// A secret with its origin. What is stored of it is the origin, never the value.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The value.
    pub value: SecretString,
    origin: Origin,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Origin {
    Env(String),
    File(String),
    Inline,
    Sandbox,
}

/// Largest secret file, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;

impl Secret {
    /// A value made by the program itself for the sandbox.
    pub fn sandbox(value: &str) -> Secret {
        Secret { value: SecretString::from(value), origin: Origin::Sandbox }
    }

    /// How it is written down in the database: a reference, or that there is none.
    pub fn reference(&self) -> Json {
        match &self.origin {
            Origin::Env(name) => json!({ "env": name }),
            Origin::File(path) => json!({ "file": path }),
            Origin::Inline | Origin::Sandbox => Json::Null,
        }
    }
}

impl Reading<'_> {
    /// A secret: a text, `${VAR}`, `{ env: NAME }` or `{ file: path }`. In sandbox mode an unset one is fine.
    pub(crate) fn secret(&mut self, node: &Node, what: &str) -> Option<Secret> {
        match &node.value {
            Value::Map(_) => {
                let map = self.map(node, what, &["env", "file"], &[])?;
                match (map.get("env"), map.get("file")) {
                    (Some(name), None) => {
                        let name_text = self.text(name, what)?;
                        self.secret_of_env(name, &name_text)
                    }
                    (None, Some(path)) => self.secret_of_file(path, what),
                    _ => {
                        self.error(node, format!("{what} takes either env or file"), None);
                        None
                    }
                }
            }
            Value::Scalar { text, plain: true } if only_variable(text).is_some() => {
                let name = only_variable(text)?.to_owned();
                self.secret_of_env(node, &name)
            }
            Value::Scalar { .. } => {
                let before = self.errors.len();
                match self.text(node, what) {
                    Some(text) => Some(Secret { value: SecretString::from(text), origin: Origin::Inline }),
                    None if self.sandbox => {
                        self.errors.truncate(before);
                        Some(Secret::sandbox("sandbox"))
                    }
                    None => None,
                }
            }
            _ => {
                self.error(node, format!("{what} must be a text, {{ env: NAME }} or {{ file: path }}"), None);
                None
            }
        }
    }

    fn secret_of_env(&mut self, node: &Node, name: &str) -> Option<Secret> {
        match (self.env)(name).filter(|v| !v.is_empty()) {
            Some(value) => Some(Secret { value: SecretString::from(value), origin: Origin::Env(name.to_owned()) }),
            None if self.sandbox => {
                Some(Secret { value: SecretString::from("sandbox"), origin: Origin::Env(name.to_owned()) })
            }
            None => {
                self.error(
                    node,
                    format!("the environment variable {name} is not set"),
                    Some(format!("export {name}=…")),
                );
                None
            }
        }
    }

    fn secret_of_file(&mut self, node: &Node, what: &str) -> Option<Secret> {
        let written = self.text(node, what)?;
        let path = self.folder.join(&written);
        let origin = Origin::File(path.display().to_string());
        let read = std::fs::metadata(&path).and_then(|m| {
            if m.permissions().mode() & 0o077 != 0 {
                return Ok(Err(format!("the file {} of {what} can be read by others", path.display())));
            }
            if !m.is_file() || m.len() > FILE_LIMIT {
                return Ok(Err(format!("{} of {what} is not a small file", path.display())));
            }
            std::fs::read_to_string(&path).map(Ok)
        });
        match read {
            Ok(Ok(text)) => Some(Secret { value: SecretString::from(text.trim_end().to_owned()), origin }),
            Ok(Err(message)) => {
                self.error(node, message, Some(format!("chmod 600 {}", path.display())));
                None
            }
            Err(_) if self.sandbox => Some(Secret { value: SecretString::from("sandbox"), origin }),
            Err(e) => {
                self.error(node, format!("the file {} of {what} cannot be read: {e}", path.display()), None);
                None
            }
        }
    }
}

/// The name of a scalar that is exactly one `${VAR}`.
fn only_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.is_empty() && !name.contains([':', '$', '{', '}'])).then_some(name)
}
