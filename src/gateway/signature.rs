//! Whether a webhook comes from who it says. Without a configured proof nothing is let in.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Sha256, Sha512};

use crate::domain::time::{Millis, Timestamp};

/// How webhooks of an instance prove themselves.
#[derive(Clone, Debug)]
pub enum HookProof {
    /// By a keyed hash of the body in a header.
    Signature {
        /// The shared key.
        secret: SecretString,
        /// The header's name.
        header: String,
        /// The hash.
        algorithm: Algorithm,
        /// Text before the hash, such as `sha256=`.
        prefix: String,
    },
    /// By an address nobody can guess: `/hooks/{instance}/{token}`.
    PathToken(SecretString),
    /// Not at all, which the jobs file must say in words (`unsigned: true`).
    Unsigned,
    /// Nothing is configured: every webhook is refused.
    Missing,
}

/// The hash of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-512, as WAHA signs.
    Sha512,
}

/// The header WAHA signs in, taken where the jobs file names none.
pub const DEFAULT_HEADER: &str = "X-Webhook-Hmac";

/// The header in which gateways stamp each webhook as they post it: ms, or seconds, since 1970.
pub const STAMP_HEADER: &str = "X-Webhook-Timestamp";

/// How old, and how far ahead of our clock, such a stamp may be: gateways try again for hours, and what an ack may still
/// be joined to is kept for a day.
const BELIEVED: (Millis, Millis) = (Millis(86_400_000), Millis::seconds(300));

/// Whether a webhook was stamped so long ago, or so far ahead, that it is not told but played again. One without a
/// stamp, or with one that is no number, is not.
pub fn is_stale(stamp: Option<&str>, now: Timestamp) -> bool {
    let Some(given) = stamp.and_then(|s| s.trim().parse::<i64>().ok()) else { return false };
    // Ten digits are seconds until the year 2286, and as ms long past.
    let ms = if given.unsigned_abs() < 10_000_000_000 { given * 1_000 } else { given };
    ms < now.0.saturating_sub(BELIEVED.0.0) || ms > now.0.saturating_add(BELIEVED.1.0)
}

impl HookProof {
    /// Whether a webhook is let in. `header` reads a header; `token` is the path's last part, where there is one.
    pub fn lets_in<'h>(&self, header: impl Fn(&str) -> Option<&'h str>, token: Option<&str>, body: &[u8]) -> bool {
        match self {
            HookProof::Signature { secret, header: name, algorithm, prefix } => {
                let Some(given) = header(name).and_then(|v| v.strip_prefix(prefix.as_str())) else { return false };
                verify(*algorithm, secret, body, given)
            }
            HookProof::PathToken(wanted) => token.is_some_and(|given| {
                use subtle::ConstantTimeEq;
                given.as_bytes().ct_eq(wanted.expose_secret().as_bytes()).into()
            }),
            HookProof::Unsigned => true,
            HookProof::Missing => false,
        }
    }
}

/// Signs a body, as hexadecimal digits.
pub fn sign(algorithm: Algorithm, secret: &SecretString, body: &[u8]) -> String {
    fn digits(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
    let key = secret.expose_secret().as_bytes();
    match algorithm {
        Algorithm::Sha256 => Hmac::<Sha256>::new_from_slice(key)
            .map(|mut m| {
                m.update(body);
                digits(&m.finalize().into_bytes())
            })
            .unwrap_or_default(),
        Algorithm::Sha512 => Hmac::<Sha512>::new_from_slice(key)
            .map(|mut m| {
                m.update(body);
                digits(&m.finalize().into_bytes())
            })
            .unwrap_or_default(),
    }
}

fn verify(algorithm: Algorithm, secret: &SecretString, body: &[u8], given: &str) -> bool {
    use subtle::ConstantTimeEq;
    let wanted = sign(algorithm, secret, body);
    !wanted.is_empty() && given.to_ascii_lowercase().as_bytes().ct_eq(wanted.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(algorithm: Algorithm) -> HookProof {
        let secret = SecretString::from("my-secret-key");
        HookProof::Signature { secret, header: DEFAULT_HEADER.into(), algorithm, prefix: String::new() }
    }

    /// The vector of WAHA's documentation.
    const BODY: &[u8] = br#"{"event":"message","session":"default","engine":"WEBJS"}"#;
    const SHA512: &str = "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89";

    #[test]
    fn the_documented_vector_is_let_in_and_one_flipped_byte_is_not() {
        let proof = proof(Algorithm::Sha512);
        assert!(proof.lets_in(|n| (n == DEFAULT_HEADER).then_some(SHA512), None, BODY));
        let mut flipped = BODY.to_vec();
        flipped[3] ^= 1;
        assert!(!proof.lets_in(|_| Some(SHA512), None, &flipped));
        assert!(!proof.lets_in(|_| Some(&SHA512[..64]), None, BODY));
        assert!(!proof.lets_in(|_| None, None, BODY));
    }

    #[test]
    fn what_was_stamped_long_ago_or_ahead_of_us_is_stale() {
        let now = Timestamp(1_760_000_000_000);
        for fresh in
            ["1760000000000", "1760000000", "1759913600000", "1760000300000", "", "soon", "99999999999999999999"]
        {
            assert!(!is_stale(Some(fresh), now), "{fresh}");
        }
        for stale in [
            "1759913599999",
            "1760000300001",
            "1759913599",
            "1760000301",
            "0",
            "-5",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert!(is_stale(Some(stale), now), "{stale}");
        }
        assert!(!is_stale(None, now));
    }

    #[test]
    fn nothing_configured_lets_nothing_in() {
        assert!(!HookProof::Missing.lets_in(|_| Some(SHA512), Some("x"), BODY));
        let by_path = HookProof::PathToken(SecretString::from("unguessable"));
        assert!(by_path.lets_in(|_| None, Some("unguessable"), BODY));
        assert!(!by_path.lets_in(|_| None, Some("guess"), BODY));
        assert!(!by_path.lets_in(|_| None, None, BODY));
    }
}
