//! An answer of Wawp: a line with the status, then the body.

#![no_main]

// The reader is private to the program, so its file is compiled in here too.
#[expect(dead_code, reason = "errors are read by way of their outcome")]
#[path = "../../src/gateway/wawp_answer.rs"]
mod wawp_answer;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use onthedot::domain;
use onthedot::domain::outcome::Outcome;
use onthedot::domain::time::Millis;
use onthedot::gateway::redact::Redactor;
use onthedot::gateway::wawp::classify;
use secrecy::SecretString;

const TOKEN: &str = "to\"ken/+1";

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new([SecretString::from(TOKEN)]));

fuzz_target!(|bytes: &[u8]| {
    let line = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
    let (status, body) = bytes.split_at(line);
    let status = std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).unwrap_or(200);
    match classify(status, Some(Millis::seconds(7)), body) {
        Outcome::Accepted { gateway_id, .. } => {
            assert!((200..300).contains(&status), "only a success is one");
            assert!(!gateway_id.is_empty(), "a message has an id");
        }
        Outcome::NotNow { after } => assert_eq!((status, after), (429, Some(Millis::seconds(7)))),
        Outcome::NotSent { .. } => panic!("what was answered was sent"),
        other => assert!(!other.why().is_empty(), "it says why"),
    }
    for message in wawp_answer::history(body).into_iter().flatten() {
        assert!(!message.gateway_id.is_empty(), "a message has an id");
    }
    assert!(!REDACTOR.bytes(body.to_vec()).contains(TOKEN), "no secret is kept");
});
