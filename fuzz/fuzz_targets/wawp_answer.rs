//! An answer of Wawp: a line with the status, then the body.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use onthedot::domain::outcome::Outcome;
use onthedot::domain::recipient::Chat;
use onthedot::domain::time::Millis;
use onthedot::gateway::redact::Redactor;
use onthedot::gateway::wawp::{classify, read_history};
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
    let chat = Chat::from_stored("5511987654321@c.us");
    for message in read_history(body, &chat).into_iter().flat_map(|history| history.messages) {
        assert!(!message.gateway_id.is_empty(), "a message has an id");
    }
    assert!(!REDACTOR.bytes(body.to_vec()).contains(TOKEN), "no secret is kept");
});
