//! The body of a webhook. Whatever it tells of a message names the message.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use onthedot::gateway::http::Clients;
use onthedot::gateway::{Account, Gateway, HookEvent, Kind, Timeouts, open};
use secrecy::SecretString;

static GATEWAY: LazyLock<Arc<dyn Gateway>> = LazyLock::new(|| {
    let account = Account {
        kind: Kind::Wawp,
        base_url: "http://127.0.0.1:9".to_owned(),
        instance_id: SecretString::from("instance"),
        access_token: SecretString::from("token"),
        timeouts: Timeouts::default(),
    };
    open(account, &mut Clients::default()).expect("the machine has trusted certificates")
});

fuzz_target!(|body: &[u8]| {
    let read = GATEWAY.parse_webhook(body);
    for event in read.iter().flatten() {
        match event {
            HookEvent::Ack { gateway_id, .. } => assert!(!gateway_id.is_empty()),
            HookEvent::Echo { gateway_id, chat, .. } => {
                assert!(!gateway_id.is_empty() && !chat.as_str().is_empty());
            }
            HookEvent::Reply { gateway_id, chat, .. } => {
                assert!(gateway_id.as_ref().is_none_or(|id| !id.is_empty()) && !chat.as_str().is_empty());
            }
            HookEvent::Stray { why, .. } | HookEvent::Unreadable { why } => assert!(!why.is_empty()),
            HookEvent::Other { event } => assert!(!event.is_empty()),
        }
    }
    // One event is read alike alone and in a list.
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(events) = read
    {
        let list = [b"[", body, b"]"].concat();
        assert_eq!(GATEWAY.parse_webhook(&list), Ok(events));
    }
});
