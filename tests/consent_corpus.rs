//! What recipients write, and what it says about being written to: a corpus of messages with the verdict that a careful
//! operator would reach.

use onthedot::domain::consent::{Consent, Keywords};

/// Language, verdict and message, parted by tabs; the message with `\\n`, `\\t` and `\\\\`.
const CORPUS: &str = include_str!("data/opt_out_corpus.tsv");

#[test]
fn every_message_of_the_corpus_gets_the_verdict_listed() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (number, line) in CORPUS.split_terminator('\n').enumerate().skip(1) {
        let [language, verdict, message] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else {
            panic!("line {} has not three columns", number + 1);
        };
        let expected = match verdict {
            "out" => Some(Consent::Out),
            "in" => Some(Consent::In),
            "none" => None,
            other => panic!("line {}: '{other}' is no verdict", number + 1),
        };
        seen += 1;
        let found = Keywords::default().read(&unescaped(message));
        if found != expected {
            wrong.push(format!("line {} ({language}): {message:?} is {found:?}, listed {verdict}", number + 1));
        }
    }
    assert!(seen >= 200, "the corpus holds {seen} messages");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn unescaped(text: &str) -> String {
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                other => plain.extend(other),
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}
