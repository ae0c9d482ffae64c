//! A template, and after a line `---` the recipient's variables, one `name=value` a line.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use onthedot::domain::draw::Draw;
use onthedot::domain::template::{Moments, Template, Vars};
use onthedot::domain::time::{Millis, Timestamp};

/// More than the fuel of a rendering writes, besides the template's own text.
const LONGEST: usize = 4 * 1024 * 1024;

fuzz_target!(|text: &str| {
    let (text, given) = text.split_once("\n---\n").unwrap_or((text, ""));
    let vars: Vars = given
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name != "event")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let Ok(template) = Template::compile(text) else {
        assert!(text.contains('{'), "a text without markers is its own result");
        return;
    };
    let moments = moments();
    let rendered = template.render(&vars, &moments);
    assert_eq!(template.render(&vars, &moments), rendered, "the same gives the same");
    if let Ok(rendered) = &rendered {
        assert!(rendered.len() <= LONGEST + text.len());
        assert!(text.contains('{') || rendered == text, "a text without markers is its own result");
    }
    if !template.needs_vars() {
        assert_eq!(template.render(&Vars::new(), &moments), rendered, "it says that it needs no variables");
    }
});

fn moments() -> Moments {
    let due = Timestamp(1_796_115_600_000);
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("the zone can be read");
    Moments {
        due,
        nominal: Some(due),
        event: Some(due + Millis::seconds(3_600)),
        late_by: Millis(1_500),
        zone,
        pick: Draw::new(1, "fuzz"),
    }
}
