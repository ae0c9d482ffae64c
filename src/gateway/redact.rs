//! Keeping secrets out of everything that is written down.

use secrecy::{ExposeSecret, SecretString};

/// What stands in a secret's place.
const MASK: &str = "[secret]";

/// Longest body that is kept, in bytes: some gateways answer with whole profiles.
const KEPT_BYTES: usize = 16 * 1024;

/// Shorter values are not masked: they would tear holes into innocent text.
const SHORTEST_SECRET: usize = 4;

/// Masks known secrets in text.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Every form in which a secret may stand.
    forms: Vec<SecretString>,
    secrets: usize,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets)
    }
}

impl Redactor {
    /// Knows these secrets.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Redactor {
        let secrets: Vec<SecretString> =
            secrets.into_iter().filter(|s| s.expose_secret().len() >= SHORTEST_SECRET).collect();
        Redactor { forms: secrets.iter().flat_map(forms).collect(), secrets: secrets.len() }
    }

    /// The text with every secret masked, as it stands and as JSON or a URL would escape it, and cut to what is kept.
    pub fn text(&self, text: &str) -> String {
        self.owned(text.to_owned())
    }

    fn owned(&self, mut masked: String) -> String {
        for form in self.forms.iter().map(SecretString::expose_secret) {
            if masked.contains(form) {
                masked = masked.replace(form, MASK);
            }
        }
        if masked.len() > KEPT_BYTES {
            let end = (0..=KEPT_BYTES).rev().find(|i| masked.is_char_boundary(*i)).unwrap_or(0);
            masked.truncate(end);
            masked.push('…');
        }
        masked
    }

    /// The same for bytes that may not be text.
    pub fn bytes(&self, bytes: Vec<u8>) -> String {
        self.owned(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }
}

/// A secret as it stands, as JSON and as a URL would escape it, each form once.
fn forms(secret: &SecretString) -> Vec<SecretString> {
    let plain = secret.expose_secret();
    let json = serde_json::to_string(plain).unwrap_or_default();
    let url: String = url::form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    let mut forms = vec![plain.to_owned(), json.trim_matches('"').to_owned(), url];
    forms.dedup();
    forms.into_iter().map(SecretString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_however_it_is_escaped() {
        let r = Redactor::new([SecretString::from("to\"ken/+1")]);
        for text in ["x to\"ken/+1 y", r#"{"t":"to\"ken/+1"}"#, "?t=to%22ken%2F%2B1"] {
            let masked = r.text(text);
            assert!(masked.contains(MASK) && !masked.contains("ken"), "{masked}");
        }
    }

    #[test]
    fn a_long_body_is_cut_at_a_character() {
        let cut = Redactor::default().text(&"ä".repeat(KEPT_BYTES));
        assert!(cut.len() <= KEPT_BYTES + '…'.len_utf8() && cut.ends_with('…'));
    }
}
