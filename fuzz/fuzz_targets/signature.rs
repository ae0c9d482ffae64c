//! A secret, what a header holds, and a prefix, each on a line; then a body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onthedot::gateway::signature::{Algorithm, HookProof, sign};
use secrecy::SecretString;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(4, |b| *b == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or(b"")).into_owned();
    let (secret, given, prefix) = (line(), line(), line());
    let body = parts.next().unwrap_or(b"");

    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let secret = SecretString::from(secret.as_str());
        let signed = sign(algorithm, &secret, body);
        let proof = HookProof::Signature { secret, header: "X-Hmac".to_owned(), algorithm, prefix: prefix.clone() };
        let lets_in = |value: &str, body: &[u8]| proof.lets_in(|n| (n == "X-Hmac").then_some(value), None, body);

        assert!(lets_in(&format!("{prefix}{signed}"), body), "what is signed is let in");
        assert!(lets_in(&format!("{prefix}{}", signed.to_uppercase()), body), "in either case");
        assert!(!lets_in(&format!("{prefix}{signed}0"), body), "a longer one is not");
        assert!(!lets_in(&format!("{prefix}{signed}"), &[body, b"."].concat()), "another body is not");
        assert!(!proof.lets_in(|_| None, Some(&signed), body), "no header is not");
        let right = given.strip_prefix(&prefix).is_some_and(|s| s.eq_ignore_ascii_case(&signed));
        assert_eq!(lets_in(&given, body), right);
    }

    let by_path = HookProof::PathToken(SecretString::from(secret.as_str()));
    assert_eq!(by_path.lets_in(|_| Some(&given), Some(&given), body), given == secret);
    assert!(!by_path.lets_in(|_| Some(&secret), None, body));
    assert!(!HookProof::Missing.lets_in(|_| Some(&given), Some(&secret), body));
});
