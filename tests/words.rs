//! Which of several words about being written to counts: in whatever order, however often and under whatever name they come.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use std::time::Duration;

use onthedot::domain::consent::{Consent, ConsentSource};
use onthedot::domain::id::InstanceName;
use onthedot::domain::recipient::Chat;
use onthedot::domain::time::Timestamp;
use onthedot::store::{ConsentNews, Opening, Recipient, SqliteStore};
use process::{Bench, Running, now_ms, until};
use proptest::prelude::*;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A daemon whose gateway nobody answers at: what it is told is all that matters. `desk` lets an opt-in lift everything.
fn begin(jobs: &str) -> (Bench, Running) {
    let bench = Bench::new();
    let account = |more: &str| {
        format!("{{ gateway: sandbox, base_url: \"http://127.0.0.1:9\", webhook: {{ unsigned: true }}{more} }}")
    };
    let (shop, desk) = (account(", opt_out: { confirm: Bye. }"), account(", opt_in: { lifts_manual: true }"));
    let jobs = if jobs.is_empty() { "{}" } else { jobs };
    let file = format!(
        "version: 1\ntimezone: UTC\ninstances:\n  shop: {shop}\n  desk: {desk}\ndefaults: {{ instance: shop }}\njobs: {jobs}\n"
    );
    bench.write("jobs.yaml", &file);
    let daemon = bench.start(&["run", "jobs.yaml", "--listen", "127.0.0.1:0"]);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    (bench, daemon)
}

fn said(from: &str, id: &str, text: &str, stamp: Option<i64>) -> String {
    let payload =
        json!({ "id": format!("false_{from}_{id}"), "from": from, "fromMe": false, "body": text, "timestamp": stamp });
    json!({ "event": "message", "payload": payload }).to_string()
}

fn suppressed_by(bench: &Bench, chat: &str) -> Option<String> {
    bench.json(&["contact", "show", chat])["suppressed"]["source"].as_str().map(str::to_owned)
}

/// What was said as `contact show` has it: the verdict, and a mark where another word counts.
fn consents(bench: &Bench, chat: &str) -> Vec<String> {
    let all = bench.json(&["contact", "show", chat])["consents"].as_array().unwrap().clone();
    let one =
        |c: &Value| format!("{}{}", c["verdict"].as_str().unwrap(), if c["overruled"] == true { "!" } else { "" });
    all.iter().map(one).collect()
}

fn now_s() -> i64 {
    now_ms() / 1_000
}

#[test]
fn a_word_told_again_is_nothing_and_of_several_the_later_one_counts_by_its_own_instant() {
    let (bench, _daemon) = begin("");
    let noon = now_s() - 3_600;
    let at = |second: i64| Some(noon + second);
    // The words with their ids and instants in the order in which they come, whether nothing goes there in the end, and what is shown.
    type Case<'c> = (&'c [(&'c str, &'c str, Option<i64>)], bool, &'c [&'c str]);
    let cases: &[Case<'_>] = &[
        (&[("start", "B", at(60)), ("stop", "C", at(120)), ("start", "B", at(60))], true, &["in", "out"]),
        (&[("stop", "A", at(0)), ("start", "B", at(60)), ("stop", "A", at(0))], false, &["out", "in"]),
        (&[("stop", "A", at(120)), ("start", "B", at(60))], true, &["out", "in!"]),
        (&[("start", "A", at(120)), ("stop", "B", at(60))], false, &["in", "out!"]),
        (&[("stop", "A", at(0)), ("stop", "B", at(90)), ("start", "C", at(60))], true, &["out", "in!"]),
        (&[("stop", "A", at(0)), ("start", "B", at(0))], true, &["out", "in!"]),
        (&[("start", "A", at(0)), ("stop", "B", at(0))], true, &["in", "out"]),
        (&[("stop", "A", None), ("start", "B", None)], true, &["out", "in!"]),
        (&[("stop", "A", at(0)), ("start", "B", None)], true, &["out", "in!"]),
        (&[("start", "A", None)], false, &["in"]),
        (&[("stop", "A", None), ("start", "B", at(3_630)), ("stop", "A", None)], false, &["out", "in"]),
        (&[("start", "A", at(40_000_000)), ("stop", "B", None)], true, &["in", "out"]),
        (&[("stop", "A", Some(noon * 1_000)), ("start", "B", Some(noon * 1_000 + 1_001))], false, &["out", "in"]),
        (&[("stop", "A", Some(0)), ("start", "B", Some(1))], true, &["out", "in!"]),
    ];
    for (n, (words, silent, shown)) in cases.iter().enumerate() {
        let chat = format!("2010000000{n:02}");
        for (text, id, stamp) in *words {
            assert_eq!(bench.post_hook("shop", &said(&format!("{chat}@c.us"), id, text, *stamp)), 200);
        }
        assert_eq!(suppressed_by(&bench, &chat).is_some(), *silent, "{words:?}");
        assert_eq!(consents(&bench, &chat), *shown, "{words:?}");
    }
    let answered = |chat: &str| bench.json(&["list", "--to", chat])["messages"].as_array().unwrap().len();
    assert_eq!(answered("201000000002"), 1, "an opt-out is answered");
    assert_eq!(answered("201000000003"), 0, "one that does not count is not");
    assert_eq!(answered("201000000001"), 1, "nor is one that is told again");
    let told = String::from_utf8(bench.run(&["contact", "show", "201000000002"]).stdout).unwrap();
    assert!(told.contains("by keyword  (changes nothing: another word counts)  start"), "{told}");
}

#[test]
fn what_a_person_suppressed_is_lifted_by_a_person_or_where_the_instance_lets_a_keyword() {
    let (bench, _daemon) = begin("");
    let chat = |n: u8| format!("20100000000{n}");
    let say = |n: u8, instance: &str, id: &str, text: &str, later: i64| {
        assert_eq!(
            bench.post_hook(instance, &said(&format!("{}@c.us", chat(n)), id, text, Some(now_s() + later))),
            200
        );
    };
    let person = || Some("person".to_owned());
    say(4, "shop", "A", "stop", -60);
    let done = bench.json(&["contact", "suppress", &chat(1), &chat(2), &chat(3), &chat(4), "--note", "by phone"]);
    assert_eq!(done["changed"].as_array().unwrap().len(), 4, "{done}");
    say(1, "shop", "B", "start", 5);
    say(2, "desk", "B", "start", 5);
    say(3, "shop", "B", "stop", 5);
    say(3, "shop", "C", "start", 10);
    say(4, "shop", "B", "start", 5);
    let all: Vec<_> = (1..=4).map(|n| suppressed_by(&bench, &chat(n))).collect();
    assert_eq!(all, [person(), None, person(), person()]);
    assert_eq!(bench.json(&["contact", "show", &chat(4)])["suppressed"]["note"], "by phone");
    assert_eq!(consents(&bench, &chat(1)), ["out", "in!"]);
    assert_eq!(consents(&bench, &chat(3)), ["out", "out", "in"], "their own opt-out was taken back");
    let again = bench.json(&["contact", "suppress", &chat(1)]);
    assert_eq!(again["unchanged"].as_array().unwrap().len(), 1);
    bench.json(&["contact", "unsuppress", &chat(1), &chat(3), &chat(4)]);
    assert!((1..=4).all(|n| suppressed_by(&bench, &chat(n)).is_none()));
}

#[test]
fn a_stop_told_again_or_late_after_a_person_lifted_it_is_nothing_and_a_new_one_counts() {
    let (bench, _daemon) = begin("");
    let now = now_s();
    let say = |id: &str, at: i64| bench.post_hook("shop", &said("201000000001@c.us", id, "stop", Some(at)));
    say("A", now - 60);
    assert!(suppressed_by(&bench, "201000000001").is_some());
    bench.json(&["contact", "unsuppress", "201000000001"]);
    say("A", now - 60);
    say("B", now - 30);
    assert_eq!(suppressed_by(&bench, "201000000001"), None);
    assert_eq!(consents(&bench, "201000000001"), ["out", "in", "out!"]);
    bench.json(&["contact", "erase", "201000000001"]);
    say("A", now - 60);
    say("B", now - 30);
    assert_eq!(
        bench.run(&["contact", "show", "201000000001"]).status.code(),
        Some(3),
        "forgotten, and known to be told"
    );
    say("C", now_s() + 5);
    assert!(suppressed_by(&bench, "201000000001").is_some());
    // What a person says of somebody who is not suppressed counts against an older word, too.
    let done = bench.json(&["contact", "unsuppress", "201000000002"]);
    assert_eq!(done["unchanged"].as_array().unwrap().len(), 1, "{done}");
    bench.post_hook("shop", &said("201000000002@c.us", "E", "stop", Some(now - 600)));
    assert_eq!(suppressed_by(&bench, "201000000002"), None);
    bench.post_hook("shop", &said("201000000002@c.us", "F", "stop", Some(now_s() + 5)));
    assert!(suppressed_by(&bench, "201000000002").is_some());
}

#[test]
fn an_opt_out_counts_under_every_name_that_its_chat_has() {
    let forms = [
        "201000000000:12@c.us",
        "201000000001",
        "201000000002@C.US",
        " 20 100 000 0003@c.us ",
        "201000000004@s.whatsapp.net",
        "201000000005:3@S.WhatsApp.net",
        "+20 100 000 0006",
        "\u{202a}+20\u{a0}100\u{a0}000\u{a0}0007\u{202c}",
        "201000000008.0:1@s.whatsapp.net",
        "\u{feff}201000000009@c.us\u{200b}",
    ];
    let to = (0..10).map(|n| format!("\"20100000000{n}\"")).collect::<Vec<_>>().join(", ");
    let (bench, _daemon) = begin(&format!("\n  news: {{ in: 5s, to: [{to}], text: hi, typing: off }}"));
    for (n, from) in forms.iter().enumerate() {
        assert_eq!(bench.post_hook("shop", &said(from, &format!("A{n}"), "Stop!", Some(now_s()))), 200);
        assert_eq!(suppressed_by(&bench, &format!("20100000000{n}")).as_deref(), Some("keyword"), "{from:?}");
    }
    let rest = || bench.json(&["list", "--job", "news", "--state", "skipped"])["messages"].as_array().unwrap().clone();
    until("nothing of it leaves", LIMIT, || rest().len() == 10);
    assert!(rest().iter().all(|m| m["reason"] == "opted_out"));
    assert_eq!(bench.json(&["contact", "list", "--suppressed"])["suppressed"].as_array().unwrap().len(), 10);
}

#[test]
fn an_opt_out_of_nobody_who_can_be_named_is_loud_and_counted() {
    let (bench, _daemon) = begin("");
    for (n, from) in ["1203@broadcasting", "0170 1234567", "", "Ada"].iter().enumerate() {
        assert_eq!(bench.post_hook("shop", &said(from, &format!("A{n}"), "STOP", Some(now_s()))), 200, "{from}");
    }
    assert!(bench.json(&["contact", "list", "--suppressed"])["suppressed"].as_array().unwrap().is_empty());
    assert_eq!(bench.json(&["stats"])["ignored_webhooks"], 4);
    let loud = || bench.log().lines().filter(|l| l.contains("ERROR") && l.contains("nobody is suppressed")).count();
    until("it is told", LIMIT, || loud() == 4);
    bench.post_hook("shop", &said("Ada", "B", "hello", Some(now_s())));
    assert_eq!((bench.json(&["stats"])["ignored_webhooks"].as_i64(), loud()), (Some(5), 4));
}

#[test]
fn who_says_stop_to_everybody_has_not_opted_out_and_is_not_answered() {
    let (bench, _daemon) = begin("\n  news: { in: 1h, to: \"120363025246125486@newsletter\", text: hi }");
    for (n, from) in ["status@broadcast", "120363025246125486@newsletter", "120363025246125487@g.us"].iter().enumerate()
    {
        assert_eq!(bench.post_hook("shop", &said(from, &format!("A{n}"), "STOP", Some(now_s()))), 200, "{from}");
    }
    assert!(bench.json(&["contact", "list", "--suppressed"])["suppressed"].as_array().unwrap().is_empty());
    assert_eq!(bench.post_hook("shop", &said("201000000001@c.us", "B", "STOP", Some(now_s()))), 200);
    until("a person is answered", LIMIT, || {
        bench.json(&["list", "--to", "201000000001"])["messages"].as_array().unwrap().len() == 1
    });
    let all = bench.json(&["list"])["messages"].as_array().unwrap().clone();
    assert_eq!(all.len(), 2, "nobody else is: {all:?}");
    assert_eq!(bench.json(&["stats"])["ignored_webhooks"], 2, "a group's message counts as an answer");
    assert!(!bench.log().contains("nobody is suppressed"), "{}", bench.log());
}

/// A message with a payload of its own.
fn told(payload: &Value) -> String {
    json!({ "event": "message", "payload": payload }).to_string()
}

#[test]
fn who_writes_from_a_lid_is_heard_for_the_number_that_is_told_beside_it_and_loudly_where_none_is() {
    let jobs = "\n  news: { in: 1h, to: \"88888@lid\", text: hi }";
    let (bench, _daemon) = begin(jobs);
    let from = |lid: &str, id: &str, text: &str, number: Option<&str>| {
        let key = json!({ "remoteJid": lid, "remoteJidAlt": number });
        let payload = json!({ "id": format!("false_{lid}_{id}"), "from": lid, "fromMe": false, "body": text,
                              "timestamp": now_s(), "_data": { "key": key } });
        assert_eq!(bench.post_hook("shop", &told(&payload)), 200);
    };
    let loud = || bench.log().lines().filter(|l| l.contains("ERROR") && l.contains("which number they have")).count();
    from("98765432101234@lid", "A", "stop", Some("201000000001@s.whatsapp.net"));
    assert_eq!(suppressed_by(&bench, "201000000001").as_deref(), Some("keyword"));
    assert_eq!(suppressed_by(&bench, "98765432101234@lid").as_deref(), Some("keyword"));
    let answers = || bench.json(&["list", "--to", "98765432101234@lid"])["messages"].as_array().unwrap().len();
    assert_eq!(answers(), 0, "a person is answered once, by their number");
    until("the number is answered", LIMIT, || {
        bench.json(&["list", "--to", "201000000001"])["messages"].as_array().unwrap().len() == 1
    });
    from("77777@lid", "B", "on my way", Some("201000000002@s.whatsapp.net"));
    assert_eq!(loud(), 0);
    from("98765432101235@lid", "C", "stop", None);
    until("it is told", LIMIT, || loud() == 1);
    from("98765432101235@lid", "D", "stop", None);
    until("it is told again, though the LID was answered", LIMIT, || loud() == 2);
    from("88888@lid", "E", "stop", None);
    assert_eq!(suppressed_by(&bench, "88888@lid").as_deref(), Some("keyword"));
    assert_eq!(loud(), 2, "who was written to by their LID is not written to by it any more");
    let all = bench.path("db");
    let heard = wait(async { (replies_of(&all, "201000000002@c.us").await, replies_of(&all, "77777@lid").await) });
    assert_eq!(heard, (1, 1), "a reply is one under both names");
}

#[test]
fn an_opt_out_without_an_id_counts_once_however_often_it_is_told() {
    let (bench, _daemon) = begin("");
    let ids = [json!(null), json!(""), json!(7), json!({ "_serialized": "false_x_3A" }), json!({ "x": 1 })];
    for (n, id) in ids.iter().enumerate() {
        let chat = format!("20100000000{n}");
        let stop = json!({ "id": id, "from": format!("{chat}@c.us"), "fromMe": false, "body": "stop",
                           "timestamp": now_s() - 60 });
        assert_eq!(bench.post_hook("shop", &told(&stop)), 200);
        assert_eq!(suppressed_by(&bench, &chat).as_deref(), Some("keyword"), "{id}");
        assert_eq!(bench.post_hook("shop", &told(&stop)), 200);
        assert_eq!(consents(&bench, &chat), ["out"], "{id}");
    }
    // Without an instant nobody knows whether it is told again or said anew: silence wins.
    let stop = json!({ "from": "201000000009@c.us", "fromMe": false, "body": "stop" });
    bench.post_hook("shop", &told(&stop));
    let later = now_s() + 2;
    bench.post_hook("shop", &said("201000000009@c.us", "B", "start", Some(later)));
    assert_eq!(suppressed_by(&bench, "201000000009"), None);
    until("the opt-in is past", LIMIT, || now_s() > later);
    bench.post_hook("shop", &told(&stop));
    assert!(suppressed_by(&bench, "201000000009").is_some());
    assert!(!bench.log().contains("nobody is suppressed"));
    bench.post_hook("shop", &told(&json!({ "from": "201000000008@c.us", "body": "stop" })));
    until("it says what is missing", LIMIT, || bench.log().contains("does not say whether this account wrote it"));
    assert!(!bench.log().contains("who they are"));
}

#[test]
fn a_broken_message_of_a_batch_takes_no_opt_out_with_it() {
    let (bench, _daemon) = begin("");
    let half =
        r#"{"event": "message", "payload": {"notifyName": "Zo\ud83d", "from": "201000000009@c.us", "fromMe": false}}"#;
    for (n, broken) in [half, r#"{"event": NaN}"#, "{\"event\": \"\n\"}"].iter().enumerate() {
        let chat = format!("20100000000{n}");
        let stop = said(&format!("{chat}@c.us"), "A", "stop", Some(now_s()));
        assert_eq!(bench.post_hook("shop", &format!("\u{feff}[{broken}, {stop}]")), 200);
        assert_eq!(suppressed_by(&bench, &chat).as_deref(), Some("keyword"), "{broken}");
    }
    let told = || bench.log().lines().filter(|l| l.contains("WARN") && l.contains("a part of a webhook")).count();
    until("what is broken is told", LIMIT, || told() == 2);
}

#[test]
fn a_body_over_the_limit_is_refused_loudly_and_one_of_many_messages_is_read() {
    let (bench, _daemon) = begin("");
    let rest = vec![said("201000000002@c.us", "A", &"x".repeat(900), None); 900].join(",");
    let stop = said("201000000001@c.us", "B", "stop", Some(now_s()));
    assert_eq!(bench.post_hook("shop", &format!("[{rest},{stop}]")), 200);
    assert_eq!(suppressed_by(&bench, "201000000001").as_deref(), Some("keyword"));
    let large = format!("{}{stop}", " ".repeat(1_048_576));
    let loud = || bench.log().lines().filter(|l| l.contains("WARN") && l.contains("limit=1048576")).count();
    for _ in 0..3 {
        assert_eq!(bench.post_hook("shop", &large), 413);
    }
    until("it is told", LIMIT, || loud() > 0);
    assert_eq!(loud(), 1, "once a minute");
}

#[test]
fn a_question_in_any_script_asks_and_words_of_an_instance_are_met_in_any_form() {
    let bench = Bench::new();
    let words = "opt_out: { words: [\"τέλος\", \"De\u{301}crochez\"] }";
    let instance =
        format!("{{ gateway: sandbox, base_url: \"http://127.0.0.1:9\", webhook: {{ unsigned: true }}, {words} }}");
    bench.write("jobs.yaml", &format!("version: 1\ninstances: {{ shop: {instance} }}\njobs: {{}}\n"));
    let _daemon = bench.start(&["run", "jobs.yaml", "--listen", "127.0.0.1:0"]);
    until("the daemon is ready", LIMIT, || bench.log().contains(" ready ms="));
    let cases = [("STOP？", false), ("ΤΕΛΟΣ;", false), ("ΤΕΛΟΣ", true), ("DÉCROCHEZ", true), ("décrochez", true)];
    for (n, (text, silent)) in cases.iter().enumerate() {
        let chat = format!("20100000000{n}");
        bench.post_hook("shop", &said(&format!("{chat}@c.us"), "A", text, Some(now_s())));
        let listed = bench.json(&["contact", "list", "--suppressed"])["suppressed"].to_string();
        assert_eq!(listed.contains(&chat), *silent, "{text}");
    }
}

/// A word: its verdict, whether it lifts what a person set, and after how many seconds it was said.
type Told = (bool, bool, i64);

fn news(chat: &str, number: usize, (out, lifts, second): Told) -> ConsentNews {
    ConsentNews {
        chat: Chat::from_stored(chat),
        verdict: if out { Consent::Out } else { Consent::In },
        source: ConsentSource::Keyword,
        note: None,
        at: Timestamp(1_800_000_000_000),
        said_at: Some(Timestamp(1_700_000_000_000 + second * 1_000)),
        message: Some((InstanceName::new("shop"), format!("3A{number}"))),
        lifts_manual: lifts,
        confirm: None,
    }
}

/// How a chat stands after words came in some order, one by one: who silenced it, and whether it opted in.
async fn heard(
    store: &SqliteStore,
    chat: &str,
    manual: bool,
    order: &[(usize, Told)],
) -> (Option<ConsentSource>, bool) {
    let contact = Recipient { chat: Chat::from_stored(chat), vars: onthedot::domain::template::Vars::new() };
    store.store_contacts(None, vec![contact], Timestamp(1)).await.unwrap();
    if manual {
        let at = Timestamp(1_700_000_000_000);
        store
            .record_consents(vec![ConsentNews::by_person(Chat::from_stored(chat), Consent::Out, None, at)])
            .await
            .unwrap();
    }
    for (number, word) in order {
        store.record_consents(vec![news(chat, *number, *word)]).await.unwrap();
    }
    let silenced = store.suppression(chat).await.unwrap().map(|s| s.source);
    (silenced, store.contact(chat).await.unwrap().unwrap().opted_in)
}

/// Words at distinct instants, whether a person suppressed the chat before, and an order with repetitions that has each at least once.
fn histories() -> impl Strategy<Value = (Vec<Told>, bool, Vec<usize>)> {
    let word = (any::<bool>(), any::<bool>(), -500_i64..500);
    proptest::collection::vec(word, 1..7).prop_flat_map(|mut words| {
        words.sort_by_key(|w| w.2);
        words.dedup_by_key(|w| w.2);
        let all: Vec<usize> = (0..words.len()).collect();
        let more = proptest::collection::vec(0..words.len(), 0..6);
        let order = more.prop_map(move |more| [all.clone(), more].concat()).prop_shuffle();
        (Just(words), any::<bool>(), order)
    })
}

#[test]
fn any_order_and_any_repetition_of_words_ends_as_the_sorted_order_does() {
    let cases = std::env::var("CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(100);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(SqliteStore::open(&folder.path().join("db"), Opening::Daemon)).unwrap();
    let number = std::cell::Cell::new(0_u64);
    let chat = || {
        number.set(number.get() + 1);
        format!("{}@c.us", 201_000_000_000 + number.get())
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let done = runner.run(&histories(), |(words, manual, order)| {
        let sorted: Vec<(usize, Told)> = words.iter().copied().enumerate().collect();
        let drawn: Vec<(usize, Told)> = order.iter().map(|n| (*n, words[*n])).collect();
        let expected = runtime.block_on(heard(&store, &chat(), manual, &sorted));
        prop_assert_eq!(runtime.block_on(heard(&store, &chat(), manual, &drawn)), expected);
        if !manual {
            prop_assert_eq!(expected.0.is_some(), words[words.len() - 1].0, "the latest word counts");
        }
        Ok(())
    });
    assert!(done.is_ok(), "{}", done.unwrap_err());
    runtime.block_on(store.close());
}

#[tokio::test]
async fn who_answers_everything_with_a_keyword_fills_no_disk_and_loses_no_later_word() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("db"), Opening::Daemon).await.unwrap();
    let chat = "201000000001@c.us";
    let words: Vec<ConsentNews> = (0..400).map(|n| news(chat, n, (true, false, i64::try_from(n).unwrap()))).collect();
    assert_eq!(store.record_consents(words).await.unwrap(), 1);
    assert_eq!(
        store.record_consents(vec![news(chat, 900, (false, false, 398))]).await.unwrap(),
        0,
        "the last stop is later"
    );
    assert_eq!(store.record_consents(vec![news(chat, 901, (false, false, 400))]).await.unwrap(), 1);
    assert_eq!(store.record_consents(vec![news(chat, 399, (true, false, 399))]).await.unwrap(), 0);
    assert_eq!(store.suppression(chat).await.unwrap(), None);
    store.close().await;
    let kept = rows_of(&folder.path().join("db")).await;
    assert!((100..110).contains(&kept), "{kept} words are kept");
}

#[tokio::test]
async fn what_was_said_before_words_had_instants_keeps_its_effect() {
    use sqlx::Connection;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let migrations = sqlx::migrate::Migrator::new(std::path::Path::new("migrations/sqlite")).await.unwrap();
    migrations.run_to(18, &mut connection).await.unwrap();
    let rows = "INSERT INTO consents (chat, at, verdict, source) VALUES
            ('201000000001@c.us', 1000, 'out', 'person'), ('201000000001@c.us', 2000, 'in', 'keyword'),
            ('201000000002@c.us', 1000, 'out', 'person'), ('201000000003@c.us', 1000, 'out', 'keyword');
        INSERT INTO suppressions (chat, since, source) VALUES
            ('201000000002@c.us', 1000, 'person'), ('201000000003@c.us', 1000, 'keyword'), ('201000000004@c.us', 1000, 'person')";
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let store = SqliteStore::open(&database, Opening::Daemon).await.unwrap();
    let mut silenced = Vec::new();
    for (n, chat) in (1..=4).map(|n| (n, format!("20100000000{n}@c.us"))) {
        store.record_consents(vec![news(&chat, n, (false, false, 0))]).await.unwrap();
        silenced.push(store.suppression(&chat).await.unwrap().map(|s| s.source));
    }
    assert_eq!(silenced, [None, Some(ConsentSource::Person), None, Some(ConsentSource::Person)]);
    store.close().await;
}

fn wait<T>(of: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(of)
}

async fn replies_of(database: &std::path::Path, chat: &str) -> i64 {
    use sqlx::Connection;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let statement = "SELECT count(*) FROM replies WHERE chat = ?1";
    sqlx::query_scalar(statement).bind(chat.to_owned()).fetch_one(&mut connection).await.unwrap()
}

async fn rows_of(database: &std::path::Path) -> i64 {
    use sqlx::Connection;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM consents").fetch_one(&mut connection).await.unwrap()
}
