//! Broken jobs files, shared by the tests that read them and those that apply them.

/// What stands before every job: three lines.
pub(crate) const HEAD: &str =
    "version: 1\ninstances: { shop: { gateway: sandbox, base_url: \"http://127.0.0.1:9\" } }\njobs:\n";

/// What is wrong with a job: § stands before the place of the error; then words of it.
pub(crate) const IN_JOBS: [(&str, &str); 78] = [
    ("{ at: §2099-12-05T10, to: \"201234567890\", text: hi }", "no date and time"),
    ("{ at: §20991205T1000, to: \"201234567890\", text: hi }", "no date and time"),
    ("{ at: §\"2099-12-05T10:00+25:00\", to: \"201234567890\", text: hi }", "no date and time"),
    ("{ cron: §[], to: \"201234567890\", text: hi }", "cron needs a pattern"),
    ("{ event: 2099-01-01T10:00, remind: §2h, to: \"201234567890\", text: hi }", "is no distance from an event"),
    ("{ event: §2099-01-01T10:00, to: \"201234567890\", text: hi }", "no reminder of it"),
    ("{ every: 1h, timezone: recipient, to: \"201234567890\", text: hi, §txt: hi }", "unknown key 'txt'"),
    (
        "{ in: 3s, to: §\"201234567890\", text: hi, escalate: { after: 1m, to: \"201234567891\", text: \"{{ nobody }}\" } }",
        "the text of escalate",
    ),
    ("{ in: 3s, to: \"201234567890\", §txt: hi }", "unknown key 'txt'"),
    ("{ in: 3s, to: \"201234567890\", text: §[hi] }", "text must be a text, not a list"),
    ("{ in: 3s, to: \"201234567890\", text: §{ a: b } }", "text must be a text, not a map"),
    ("{ in: 3s, to: \"201234567890\", text: §\"\" }", "the text is empty"),
    ("{ in: 3s, to: §\"201234567890\", text: \"{{ nobody }}\" }", "needs 'nobody'"),
    ("{ in: 3s, to: \"201234567890\", text: §\"{{ due\" }", "the template is wrong"),
    ("{ in: 3s, to: \"201234567890\", text: §\"{% for x in y %}\" }", "the template is wrong"),
    ("§{ in: 3s, to: \"201234567890\", text: hi, image: \"https://x.test/a.png\" }", "several contents: text, image"),
    ("{ in: 3s, to: \"201234567890\", image: §{ url: \"http://x.test/a.png\" } }", "begins with https://"),
    ("{ in: 3s, to: \"201234567890\", image: §{ caption: hi } }", "image needs url"),
    (
        "{ in: 3s, to: \"201234567890\", image: { url: \"https://x.test/a.png\", §size: 3 } }",
        "unknown key 'size' in image",
    ),
    ("{ in: 3s, to: \"201234567890\", image: §\"https://x.test/a\" }", "give mimetype"),
    ("{ in: 3s, to: \"201234567890\", image: §\"https://x.test/a.gif\" }", "image/jpeg or image/png"),
    ("{ in: 3s, to: \"201234567890\", document: §\"https://x.test/a.docx\" }", "application/pdf only"),
    (
        "{ in: 3s, to: \"201234567890\", video: { url: \"https://x.test/a.mp4\", note: §perhaps } }",
        "note cannot be 'perhaps'",
    ),
    ("{ in: 3s, to: \"201234567890\", voice: §\"https://x.test/a.mp3\" }", "codecs=opus only"),
    ("{ in: 3s, to: \"201234567890\", location: §{ latitude: 91, longitude: 0 } }", "the latitude cannot be '91'"),
    ("{ in: 3s, to: \"201234567890\", location: §{ latitude: 52 } }", "location needs longitude"),
    ("{ in: 3s, to: \"201234567890\", poll: §{ name: \"?\", options: [a] } }", "2 to 12 are allowed"),
    ("{ in: 3s, to: \"201234567890\", poll: §{ name: \"?\", options: [a, a] } }", "it stands twice"),
    ("{ in: 3s, to: \"201234567890\", poll: §{ name: \"?\" } }", "poll needs options"),
    ("{ in: 3s, to: \"201234567890\", poll: §{ options: [a, b] } }", "poll needs name"),
    ("{ in: 3s, to: \"201234567890\", contact: §{ name: Ada, phone: \"0170 1\" } }", "country code"),
    ("{ in: 3s, to: \"201234567890\", contact: §[] }", "1 to 100 cards"),
    (
        "{ in: 3s, to: \"201234567890\", link: §{ text: \"https://x.test\", url: \"https://x.test\", title: t } }",
        "cannot carry a link",
    ),
    (
        "{ in: 3s, to: \"201234567890\", list: { title: t, button: b, sections: §[] } }",
        "sections of the list must be a list",
    ),
    (
        "{ in: 3s, to: \"201234567890\", list: { title: t, button: b, sections: [{ title: s, rows: [§{ title: r }] }] } }",
        "a row needs id",
    ),
    ("{ in: 3s, to: \"201234567890\", event: §{ name: e } }", "event needs start"),
    ("{ in: 3s, to: \"201234567890\", event: §{ name: e, start: soon } }", "no date and time"),
    (
        "{ in: 3s, to: \"201234567890\", event: §{ name: e, start: 2099-01-01T10:00, end: 2099-01-01T09:00 } }",
        "must come after the start",
    ),
    ("§{ in: 3s, to: \"201234567890\", event: 2099-01-01T10:00, text: hi }", "has several schedules: in, event"),
    ("{ in: 3s, to: \"201234567890\", messages: §[] }", "must hold 1 to 20 contents"),
    ("{ in: 3s, to: \"201234567890\", messages: §hi }", "must be a list"),
    ("{ in: 3s, to: \"201234567890\", messages: [{ text: hi }, { §txt: hi }] }", "unknown key 'txt'"),
    ("{ in: 3s, to: \"201234567890\", messages: §[{ text: hi }], text: hi }", "both messages and text"),
    ("{ in: 3s, to: \"201234567890\", text: hi, typing: §fast }", "typing cannot be 'fast'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, typing: { lead: §2.5 } }", "is not a duration"),
    ("{ in: 3s, to: \"201234567890\", text: hi, typing: { lead: §2h } }", "expected 0s to 10m"),
    ("{ in: 3s, to: \"201234567890\", text: hi, typing: { chars_per_second: §0 } }", "expected 0.1 to 1000"),
    (
        "{ in: 3s, to: \"201234567890\", text: hi, typing: §{ chars_per_second: 8, min: 9s, max: 3s } }",
        "is shorter than",
    ),
    ("{ in: 3s, to: \"201234567890\", text: hi, late: §never }", "late cannot be 'never'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, misfire: §run_al }", "run_all"),
    ("{ in: 3s, to: \"201234567890\", text: hi, misfire: §always }", "misfire cannot be 'always'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, grace: §-5s }", "is not a duration"),
    ("{ in: 3s, to: \"201234567890\", text: hi, max_lateness: §9y }", "is not a duration"),
    ("{ in: 3s, to: \"201234567890\", text: hi, retry: { attempts: §0 } }", "a whole number from 1 to 100"),
    ("{ in: 3s, to: \"201234567890\", text: hi, retry: { backoff: §[] } }", "needs at least one duration"),
    ("{ in: 3s, to: \"201234567890\", text: hi, retry: { jitter: §20 } }", "a percentage"),
    ("{ in: 3s, to: \"201234567890\", text: hi, on_doubt: §hope }", "on_doubt cannot be 'hope'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, class: §vip }", "class cannot be 'vip'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, window: { days: §funday } }", "window.days cannot be 'funday'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, window: { hours: §\"9-20\" } }", "window.hours cannot be '9-20'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, window: { zone: §Mars } }", "window.zone cannot be 'Mars'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, window: §late }", "window must be a map"),
    ("{ in: 3s, to: \"201234567890\", text: hi, expires: §someday }", "expires cannot be 'someday'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, expires: §0s }", "expected 1s"),
    ("{ in: 3s, to: \"201234567890\", text: hi, spread: §wide }", "is not a duration"),
    ("{ in: 3s, to: \"201234567890\", text: hi, instance: §nobody }", "there is no instance 'nobody'"),
    ("{ in: 3s, to: \"201234567890\", text: hi, timezone: §Mars/Base }", "is not a time zone"),
    ("{ in: 3s, to: \"201234567890\", text: hi, overlap: §wait }", "queue"),
    ("{ cron: §\"30 10 31 6 *\", to: \"201234567890\", text: hi }", "never matches"),
    ("{ cron: §\"0 25 * * *\", to: \"201234567890\", text: hi }", "the hour '25' must be 0 to 23"),
    ("{ every: 1h, exclude: [§soon], to: \"201234567890\", text: hi }", "exclude cannot be 'soon'"),
    ("{ every: 1h, exclude: { calendar: §none.ics }, to: \"201234567890\", text: hi }", "cannot be read"),
    ("{ in: 1h, count: §3, to: \"201234567890\", text: hi }", "'count' bounds cron and every"),
    ("{ cron: \"@daily\", anchor: §2026-01-01, to: \"201234567890\", text: hi }", "'anchor' goes with every"),
    ("{ every: 1h, count: §0, to: \"201234567890\", text: hi }", "count"),
    ("{ in: 3s, to: \"201234567890\", text: hi, nag: §1m }", "nag must be a map"),
    ("{ in: 3s, to: \"201234567890\", text: hi, nag: §{ every: 1m } }", "nag needs max"),
    ("{ in: 3s, to: \"201234567890\", text: hi, §text: ho }", "stands twice"),
];

/// The same for schedules and recipients.
pub(crate) const WHEN_AND_WHO: [(&str, &str); 24] = [
    ("§{ to: \"201234567890\", text: hi }", "says nowhere when it is due"),
    ("§{ in: 3s, every: 5s, to: \"201234567890\", text: hi }", "several schedules: in, every"),
    ("{ in: §soon, to: \"201234567890\", text: hi }", "is not a duration"),
    ("{ at: §yesterday, to: \"201234567890\", text: hi }", "no date and time"),
    ("{ at: §[], to: \"201234567890\", text: hi }", "1 to 10000 instants"),
    ("{ every: §10ms, to: \"201234567890\", text: hi }", "expected 1s"),
    ("{ cron: §\"61 * * * *\", to: \"201234567890\", text: hi }", "is not a cron pattern"),
    ("{ cron: §\"* * * *\", to: \"201234567890\", text: hi }", "4 fields given"),
    ("{ cron: §\"0 0 31 2 *\", to: \"201234567890\", text: hi }", "never matches"),
    ("{ cron: [\"0 9 * * *\", §nonsense], to: \"201234567890\", text: hi }", "is not a cron pattern"),
    ("{ in: 3s, starts: §2099-01-01, to: \"201234567890\", text: hi }", "means nothing beside 'in'"),
    ("§{ every: 5m, starts: 2099-02-01, ends: 2099-01-01, to: \"201234567890\", text: hi }", "ends before it starts"),
    ("§{ in: 3s, text: hi }", "has no recipient"),
    ("{ in: 3s, to: §[], text: hi }", "an empty list of recipients"),
    ("{ in: 3s, to: §nobody, text: hi }", "a number holds no letters"),
    ("{ in: 3s, to: §\"0170 1234567\", text: hi }", "'0170 1234567'"),
    ("{ in: 3s, to: §\"00491701234567\", text: hi }", "instead of the leading 00"),
    ("{ in: 3s, to: §\"49170@s.whatsapp.net\", text: hi }", "write @c.us"),
    ("{ in: 3s, to: §\"1@c.us\", text: hi }", "7 to 15 digits"),
    ("{ in: 3s, to: [\"201234567890\", §\"+20 123 456 7890\"], text: hi }", "stands twice"),
    ("{ in: 3s, to: [§{ a: b }], text: hi }", "must be a chat"),
    ("{ in: 3s, to: { csv: absent.csv }, text: hi }", "cannot be read"),
    ("{ in: 3s, to: §{ chat: phone }, text: hi }", "needs either csv: FILE or list: NAME"),
    ("{ in: 3s, to: { list: §vip }, text: hi }", "there is no list 'vip'"),
];

/// The same for whole files.
pub(crate) const AROUND: [(&str, &str); 26] = [
    ("§version: 1\n", "declares no instances"),
    ("version: 1\ninstances: §[a]\n", "instances must be a map of names"),
    ("version: 1\ninstances: { a: §{} }\n", "needs a gateway"),
    ("version: 1\ninstances: { a: { gateway: §pigeon } }\n", "gateway cannot be 'pigeon'"),
    ("version: 1\ninstances: { a: { gateway: §matrix } }\n", "does not speak to the gateway 'matrix' yet"),
    ("version: 1\ninstances: { a: { gateway: sandbox, base_url: §nowhere } }\n", "no plain web address"),
    ("version: 1\ninstances: { a: { gateway: sandbox, base_url: §\"http://u:p@x\" } }\n", "no plain web address"),
    ("version: 1\ninstances: { a: { gateway: sandbox, pacing: { rate: §20 } } }\n", "such as 20/min"),
    ("version: 1\ninstances: { a: { gateway: sandbox, pacing: { gap: §5s..2s } } }\n", "a rising range"),
    ("version: 1\ninstances: { a: { gateway: sandbox, pacing: { concurrency: §0 } } }\n", "a whole number from 1"),
    ("version: 1\ninstances: { a: { gateway: sandbox, pacing: { per_hour: §many } } }\n", "a whole number from 1"),
    ("version: 1\ninstances: { a: { gateway: sandbox, pacing: { batch: §4 } } }\n", "needs pacing.rest beside it"),
    ("version: 1\ninstances: { a: { gateway: sandbox, timeouts: { send: §1ms } } }\n", "expected 100ms"),
    (
        "version: 1\ninstances: { a: { gateway: sandbox, webhook: { secret: x, algorithm: §md5 } } }\n",
        "algorithm cannot be 'md5'",
    ),
    ("version: 1\ninstances: { a: { gateway: sandbox } }\ntimezone: §Europe/Berln\n", "is not a time zone"),
    (
        "version: 1\ninstances: { a: { gateway: sandbox } }\ndaemon: { listen: §everywhere }\n",
        "daemon.listen cannot be 'everywhere'",
    ),
    ("version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { tidy: §hourly }\n", "is not a cron pattern"),
    (
        "version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { checkpoint: §\"0 0 3 * * *\" }\n",
        "a chore's pattern has five fields",
    ),
    ("version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { report: { §at: 3 } }\n", "unknown key 'at'"),
    ("version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { §vacuum: off }\n", "unknown key 'vacuum'"),
    (
        "version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { prune: { keep: §10s } }\n",
        "maintenance.prune.keep is 10s",
    ),
    (
        "version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { prune: { keep_failed: §long } }\n",
        "is not a duration",
    ),
    (
        "version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { backup: §\"0 3 * * *\" }\n",
        "maintenance.backup needs to: FOLDER",
    ),
    (
        "version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { backup: { to: §\"\" } }\n",
        "maintenance.backup.to cannot be ''",
    ),
    (
        "version: 1\ninstances: { a: { gateway: sandbox } }\nmaintenance: { backup: { to: b, keep: §0 } }\n",
        "a whole number from 1 to 10000",
    ),
    ("version: 1\ninstances: { a: { gateway: sandbox } }\ndefaults: { class: §vip }\n", "class cannot be 'vip'"),
];

/// Every broken file with what is wrong with it; § stands before the place of the error.
pub(crate) fn files() -> Vec<(String, &'static str)> {
    let jobs = IN_JOBS.iter().chain(&WHEN_AND_WHO).map(|(job, words)| (format!("{HEAD}  a: {job}\n"), *words));
    jobs.chain(AROUND.iter().map(|(text, words)| ((*text).to_owned(), *words))).collect()
}
