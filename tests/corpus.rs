//! Nasty files: what spreadsheets, exports and people really write, each with the exact report it must get.

#![expect(clippy::unwrap_used, reason = "helpers of a test stand outside its functions")]

#[path = "support/process.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared: no test uses all of it")]
mod process;

use process::Bench;

const A: &str = "201000000001";
const B: &str = "201000000002";

/// A file's name, its bytes, what is imported, merged and bad, and the flaws as `line:column message`.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    counts: (u64, u64, u64),
    flaws: Vec<&'static str>,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, counts: (u64, u64, u64), flaws: &[&'static str]) -> Case {
    Case { name, bytes: bytes.into(), counts, flaws: flaws.to_vec() }
}

fn good_csv() -> Vec<Case> {
    vec![
        case("plain.csv", format!("to,name\n{A},Ada\n{B},Bob\n"), (2, 0, 0), &[]),
        case("bom.csv", format!("\u{feff}to,name\n{A},Ada\n"), (1, 0, 0), &[]),
        case("crlf.csv", format!("to,name\r\n{A},Ada\r\n{B},Bob\r\n"), (2, 0, 0), &[]),
        case("semicolon.csv", format!("to;name\n{A};Ada, the first\n"), (1, 0, 0), &[]),
        case("tab.csv", format!("to\tname\n{A}\tAda\n"), (1, 0, 0), &[]),
        case("quoted-newline.csv", format!("to,name\n{A},\"Ada\nLovelace\"\n{B},Bob\n"), (2, 0, 0), &[]),
        case("quoted-quote.csv", format!("to,name\n{A},\"Ada \"\"the first\"\"\"\n"), (1, 0, 0), &[]),
        case("quoted-header.csv", format!("\"to\",\"name, first\",name\n{A},x,Ada\n"), (1, 0, 0), &[]),
        case(
            "windows-1252.csv",
            [b"to,name\n201000000001,J".as_slice(), &[0xfc], b"rgen \x80\n"].concat(),
            (1, 0, 0),
            &[],
        ),
        case("no-newline-at-end.csv", format!("to,name\n{A},Ada"), (1, 0, 0), &[]),
        case("blank-lines.csv", format!("to,name\n\n{A},Ada\n\n\n{B},Bob\n\n"), (2, 0, 0), &[]),
        case("blank-cells.csv", format!("to,name\n{A},Ada\n,\n ,\t\n"), (1, 0, 0), &[]),
        case(
            "numbers-as-people-write-them.csv",
            "to,name\n\"+20 (100) 000-00.01\",Ada\n201000000002@c.us,Bob\n",
            (2, 0, 0),
            &[],
        ),
        case("same-twice.csv", format!("to,name\n{A},Ada\n+20 100 000 0001,Ada\n"), (1, 1, 0), &[]),
        case(
            "same-chat-other-instants.csv",
            format!("to,name,at\n{A},Ada,2099-01-01T10:00\n{A},Ada,2099-01-02T10:00\n{A},Ada,2099-01-01T10:00\n"),
            (2, 1, 0),
            &[],
        ),
        case("emoji.csv", format!("to,name\n{A},Ada 👩‍🚀\n"), (1, 0, 0), &[]),
        case("formula.csv", format!("to,name\n{A},=1+1\n"), (1, 0, 0), &[]),
        case("template-in-data.csv", format!("to,name\n{A},{{{{ 7*7 }}}}\n"), (1, 0, 0), &[]),
        case("empty-last-column.csv", format!("to,name,\n{A},Ada,\n"), (1, 0, 0), &[]),
        case("zones.csv", format!("to,name,at,zone\n{A},Ada,2099-01-01T10:00,America/New_York\n"), (1, 0, 0), &[]),
        case("classes-and-keys.csv", format!("to,name,class,key\n{A},Ada,urgent,k1\n{B},Bob,,k2\n"), (2, 0, 0), &[]),
    ]
}

fn bad_csv() -> Vec<Case> {
    vec![
        case("empty.csv", "", (0, 0, 0), &["0:0 the file is empty"]),
        case("header-only.csv", "to,name\n", (0, 0, 0), &["0:0 the file holds no rows"]),
        case("no-such-column.csv", format!("phone,name\n{A},Ada\n"), (0, 0, 0), &["1:0 the file has no column 'to'"]),
        case(
            "column-twice.csv",
            format!("to,name,name\n{A},Ada,Ada\n"),
            (0, 0, 0),
            &["1:3 the column 'name' stands twice"],
        ),
        case(
            "utf-16.csv",
            [0xff, 0xfe, b't', 0, b'o', 0, b'\n', 0],
            (0, 0, 0),
            &["0:0 the file is UTF-16, which is not read"],
        ),
        case(
            "ragged.csv",
            format!("to,name\n{A},Ada,extra\n{B}\n{B},Bob\n"),
            (1, 0, 2),
            &["2:0 the row has 3 cells; the header has 2 columns", "3:0 the row has 1 cells; the header has 2 columns"],
        ),
        case(
            "letters-in-number.csv",
            "to,name\n+20 1000OOOO01,Ada\n",
            (0, 0, 1),
            &["2:1 '+20 1000OOOO01' is not an address this gateway can take: a number holds no letters"],
        ),
        case(
            "number-of-a-spreadsheet.csv",
            "to,name\n2.01E+11,Ada\n",
            (0, 0, 1),
            &[
                "2:1 '2.01E+11' is not an address this gateway can take: write +<country code> <number>, or the bare digits of an international number",
            ],
        ),
        case(
            "national-number.csv",
            "to,name\n0170 1234567,Ada\n",
            (0, 0, 1),
            &[
                "2:1 '0170 1234567' is not an address this gateway can take: write +<country code> <number>, or the bare digits of an international number",
            ],
        ),
        case("no-number.csv", format!("to,name\n,Ada\n{A},Ada\n"), (1, 0, 1), &["2:1 'to' is empty"]),
        case(
            "no-name.csv",
            format!("to,name\n{A},\n"),
            (0, 0, 1),
            &[
                "2:0 the content for 201000000001@c.us: the template needs 'name', which this recipient does not have (use {{ name | default(\"…\") }} where it may be absent)",
            ],
        ),
        case(
            "bad-instant.csv",
            format!("to,name,at\n{A},Ada,tomorrow\n"),
            (0, 0, 1),
            &["2:3 'tomorrow' is no date and time such as 2026-12-01T10:00"],
        ),
        case(
            "bad-zone.csv",
            format!("to,name,zone\n{A},Ada,Europe/Berln\n"),
            (0, 0, 1),
            &["2:3 'Europe/Berln' is no time zone; write a name such as Europe/Berlin"],
        ),
        case(
            "bad-class.csv",
            format!("to,name,class\n{A},Ada,vip\n"),
            (0, 0, 1),
            &["2:3 'vip' is no class; expected urgent, reminder, normal, campaign, bulk"],
        ),
        case(
            "at-and-in.csv",
            format!("to,name,at,in\n{A},Ada,2099-01-01T10:00,5m\n"),
            (0, 0, 1),
            &["2:4 the row has both 'at' and 'in'; keep one"],
        ),
        case(
            "key-twice.csv",
            format!("to,name,key\n{A},Ada,k\n{B},Bob,k\n"),
            (1, 0, 1),
            &["3:3 the key 'k' stands twice: on line 2 and on line 3"],
        ),
        case("nul.csv", format!("to,name\n{A},A\0da\n"), (0, 0, 1), &["2:2 column 'name' holds a NUL character"]),
        case(
            "column-without-a-name.csv",
            format!("to,name,\n{A},Ada,x\n"),
            (0, 0, 1),
            &["2:3 this cell stands in a column without a name"],
        ),
        case(
            "open-quote.csv",
            format!("to,name\n{A},\"Ada\n{}", "x".repeat(70_000)),
            (0, 0, 1),
            &["2:0 the row is longer than 65536 bytes"],
        ),
        case(
            "line-after-newline-in-cell.csv",
            format!("to,name\n{A},\"Ada\nL\"\nnobody,Bob\n"),
            (1, 0, 1),
            &["4:1 'nobody' is not an address this gateway can take: a number holds no letters"],
        ),
    ]
}

fn json_lines() -> Vec<Case> {
    vec![
        case(
            "plain.jsonl",
            format!("{{\"to\":\"{A}\",\"name\":\"Ada\"}}\n{{\"to\":\"{B}\",\"name\":\"Bob\"}}\n"),
            (2, 0, 0),
            &[],
        ),
        case("bom.jsonl", format!("\u{feff}{{\"to\":\"{A}\",\"name\":\"Ada\"}}\n"), (1, 0, 0), &[]),
        case("crlf-and-blank.jsonl", format!("{{\"to\":\"{A}\",\"name\":\"Ada\"}}\r\n\r\n"), (1, 0, 0), &[]),
        case("numbers.jsonl", format!("{{\"to\":{A},\"name\":7}}\n"), (1, 0, 0), &[]),
        case("null.jsonl", format!("{{\"to\":\"{A}\",\"name\":\"Ada\",\"zone\":null}}\n"), (1, 0, 0), &[]),
        case(
            "no-json.jsonl",
            format!("{{\"to\":\"{A}\",\"name\":\"Ada\"}}\n{{\"to\": \n"),
            (1, 0, 1),
            &["2:6 the line is no JSON: EOF while parsing a value"],
        ),
        case("list.jsonl", "[1,2]\n", (0, 0, 1), &["1:0 the line is no JSON object"]),
        case(
            "nested.jsonl",
            format!("{{\"to\":\"{A}\",\"name\":{{\"first\":\"Ada\"}}}}\n"),
            (0, 0, 1),
            &["1:0 'name' must be a text or a number, not a list or an object"],
        ),
        case(
            "not-utf8.jsonl",
            [b"{\"to\":\"201000000001\",\"name\":\"".as_slice(), &[0xfc], b"\"}\n"].concat(),
            (0, 0, 1),
            &["1:0 the line is not UTF-8"],
        ),
        case("no-to.jsonl", "{\"name\":\"Ada\"}\n", (0, 0, 1), &["1:0 'to' is empty"]),
        case(
            "long.jsonl",
            format!("{{\"to\":\"{A}\",\"name\":\"{}\"}}\n{{\"to\":\"{B}\",\"name\":\"Bob\"}}\n", "x".repeat(70_000)),
            (1, 0, 1),
            &["1:0 the row is longer than 65536 bytes"],
        ),
        case("empty.jsonl", "\n\n", (0, 0, 0), &["0:0 the file holds no rows"]),
    ]
}

#[test]
fn every_nasty_file_ends_in_the_exact_report_it_must() {
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    let cases: Vec<Case> = good_csv().into_iter().chain(bad_csv()).chain(json_lines()).collect();
    assert!(cases.len() >= 40, "{} files", cases.len());
    let mut wrong = Vec::new();
    for c in &cases {
        std::fs::write(bench.path(c.name), &c.bytes).unwrap();
        let output = bench.run(&["--json", "import", c.name, "--job", "greet", "--text", "Hi {{ name }}", "--dry-run"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        // A file that cannot be read as a whole is told on standard error alone.
        if let ([whole], (0, 0, 0)) = (c.flaws.as_slice(), c.counts) {
            let message = whole.split_once(' ').unwrap().1;
            if output.status.code() != Some(65) || !errors.contains(message) {
                wrong.push(format!("{}: exit {:?}, {errors}", c.name, output.status.code()));
            }
            continue;
        }
        let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let flaws: Vec<String> = done["errors"]
            .as_array()
            .map(|all| {
                all.iter()
                    .map(|f| {
                        format!(
                            "{}:{} {}",
                            f["line"].as_u64().unwrap_or(0),
                            f["column"].as_u64().unwrap_or(0),
                            f["message"].as_str().unwrap()
                        )
                    })
                    .collect()
            })
            .unwrap_or_default();
        let rows = done["rows"].as_u64().unwrap_or(0);
        let counted = (c.counts.0 + c.counts.1 + c.counts.2, c.counts.1, c.counts.2);
        let found = (rows, done["merged"].as_u64().unwrap_or(0), done["bad"].as_u64().unwrap_or(0));
        let exit = if c.counts.2 > 0 { 65 } else { 0 };
        if found != counted || flaws != c.flaws || output.status.code() != Some(exit) {
            wrong.push(format!("{}: exit {:?} {found:?} {flaws:#?} {errors}", c.name, output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_is_all_or_nothing_unless_asked_otherwise_and_shows_up_at_once() {
    let bench = Bench::new();
    bench.write("jobs.yaml", "version: 1\ntimezone: UTC\ninstances: { shop: { gateway: sandbox } }\njobs: {}\n");
    assert!(bench.run(&["run", "jobs.yaml", "--sandbox", "--listen", "off", "--until-idle=1s"]).status.success());
    let mut rows = "phone,name,at,key\n".to_owned();
    for n in 0..3_000 {
        rows.push_str(&format!("2010000{n:05},Ada {n},2099-01-01T10:{:02},k{n}\n", n % 60));
    }
    bench.write("good.csv", &rows);
    bench.write("bad.csv", &format!("{rows}nobody,Bob,2099-01-01T10:00,kx\n"));
    let import = |file: &str, more: &[&str]| {
        let arguments =
            [&["--json", "import", file, "--job", "vip", "--chat", "phone", "--text", "Hi {{ name }}"], more].concat();
        let output = bench.run(&arguments);
        (output.status.code().unwrap(), serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default())
    };
    let (code, done) = import("bad.csv", &["--report", "bad-rows.csv"]);
    assert_eq!((code, done["bad"].as_i64(), done["imported"].as_i64()), (65, Some(1), Some(0)));
    let report = std::fs::read_to_string(bench.path("bad-rows.csv")).unwrap();
    assert!(report.starts_with("line,column,message,row\n3002,1,\"'nobody'"), "{report}");
    assert!(report.ends_with(",\"nobody,Bob,2099-01-01T10:00,kx\"\n"), "{report}");
    assert_eq!(bench.messages().len(), 0, "nothing was imported");
    let (code, done) = import("bad.csv", &["--allow-partial"]);
    assert_eq!((code, done["imported"].as_i64(), done["bad"].as_i64()), (4, Some(3_000), Some(1)));
    assert_eq!(bench.json(&["stats"])["states"]["scheduled"], 3_000);
    let (code, done) = import("good.csv", &[]);
    assert_eq!(
        (code, done["known"].as_i64(), done["imported"].as_i64()),
        (0, Some(3_000), Some(0)),
        "keys make it idempotent"
    );
    let one = bench.json(&["list", "--to", "201000001234"])["messages"][0].clone();
    assert_eq!((one["job"].as_str(), one["due_at"].as_str()), (Some("vip"), Some("2099-01-01T10:34:00.000Z")));
    let shown = bench.json(&["show", one["id"].as_str().unwrap()]);
    assert_eq!(shown["vars"]["name"], "Ada 1234");
    assert_eq!(
        bench.run(&["import", "good.csv", "--job", "nobody"]).status.code(),
        Some(3),
        "a new job needs a content"
    );
}
