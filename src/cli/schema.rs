//! The JSON Schema of the jobs file: what an editor completes and underlines. The reading of the file says more and has
//! the last word; a test holds that every key it takes stands here.

use serde_json::{Map, Value, json};

use crate::domain::class::Class;
use crate::domain::content::KINDS;
use crate::domain::follow::{Ends, Until};
use crate::gateway::Kind;

fn text(what: &str) -> Value {
    json!({ "type": ["string", "number", "boolean"], "description": what })
}

fn words(what: &str, words: &[&str]) -> Value {
    json!({ "enum": words, "description": what })
}

fn number(what: &str) -> Value {
    json!({ "type": ["integer", "string"], "description": what })
}

fn flag(what: &str) -> Value {
    json!({ "type": "boolean", "description": what })
}

fn object(what: &str, properties: &[(&str, Value)], required: &[&str]) -> Value {
    let map: Map<String, Value> = properties.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    json!({
        "type": "object", "description": what, "properties": map, "required": required, "additionalProperties": false,
    })
}

fn one_or_more(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item }] })
}

/// The schema, draft 2020-12.
pub(super) fn of_jobs_file() -> Value {
    let job: Vec<(&str, Value)> = schedule().into_iter().chain(what()).chain(manner()).chain(follow()).collect();
    let defaults: Vec<(&str, Value)> =
        std::iter::once(("instance", text("The instance of jobs that name none."))).chain(manner()).collect();
    let named = |of: Value| json!({ "type": "object", "additionalProperties": of });
    let mut schema = object(
        "A jobs file of onthedot: who gets what, through which account, when.",
        &[
            ("version", json!({ "const": 1, "description": "The version of the file." })),
            ("timezone", text("The zone of schedules that name none, such as Europe/Berlin.")),
            ("instances", named(instance())),
            ("defaults", object("What jobs do that say nothing else.", &defaults, &[])),
            ("jobs", named(object("A job.", &job, &["to"]))),
            (
                "daemon",
                object(
                    "How the daemon runs.",
                    &[
                        ("listen", text("Where webhooks are received: an address, or off.")),
                        ("shutdown", text("How long open sends may take when it stops.")),
                    ],
                    &[],
                ),
            ),
            ("maintenance", maintenance()),
        ],
        &["version", "instances"],
    );
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".to_owned(), json!("onthedot jobs file"));
    }
    schema
}

/// A chore is a cron pattern, `off`, or a map.
fn maintenance() -> Value {
    let cron = ("cron", text("A cron pattern of five fields, in the zone of the file; or off."));
    let plain = |what: &str| json!({ "anyOf": [text(what), object(what, std::slice::from_ref(&cron), &[])] });
    object(
        "What the daemon does for itself, and when: cron patterns of five fields in the zone of the file, or off.",
        &[
            ("tidy", plain("Forgets early acks without a message, refreshes statistics.")),
            ("checkpoint", plain("Folds the write-ahead log into the file.")),
            ("report", plain("Rolls up the latest days in figures.")),
            (
                "prune",
                json!({ "anyOf": [text("When settled messages are forgotten."), object("What is forgotten, and when.", &[
                    cron.clone(),
                    ("keep", text("How long settled messages are kept, 90d.")),
                    ("keep_failed", text("How long failed and expired ones are kept, 180d.")),
                ], &[])] }),
            ),
            (
                "backup",
                json!({ "anyOf": [words("Written by nobody.", &["off"]), object("Copies of the database.", &[
                    cron.clone(),
                    ("to", text("The folder, relative to that of this file.")),
                    ("keep", number("How many copies are kept, 7.")),
                ], &["to"])] }),
            ),
        ],
        &[],
    )
}

fn schedule() -> Vec<(&'static str, Value)> {
    vec![
        ("at", one_or_more(&text("An instant, or several: 2026-12-01T10:00 in the job's zone, or with an offset."))),
        ("in", text("This long after the file is first applied.")),
        ("every", text("Again and again, this far apart.")),
        ("cron", one_or_more(&text("A cron pattern of five to seven fields, or several."))),
        ("remind", one_or_more(&text("How far from its event it is due: -1d@18:00, -2h, +3d."))),
        ("anchor", text("An instant at which `every` fires, and so all others.")),
        ("starts", text("Nothing before this instant.")),
        ("ends", text("Nothing after this instant.")),
        (
            "count",
            json!({ "description": "Only so many occurrences.", "type": "integer", "minimum": 1, "maximum": 10_000 }),
        ),
        (
            "exclude",
            one_or_more(&json!({
                "description": "Days on which it does not fire.",
                "anyOf": [
                    { "type": "string" },
                    object("A calendar.", &[("calendar", text("An iCalendar file, or one day a line."))], &["calendar"]),
                ],
            })),
        ),
        ("jitter", text("Every occurrence is due up to so much later, drawn once.")),
        ("timezone", text("The zone of this job, or recipient: each one's own clock.")),
        ("spread", text("Recipients are due evenly over this span.")),
        ("instance", one_or_more(&text("Through which account; of several each recipient always has the same one."))),
        (
            "to",
            json!({
                "description": "Who gets it: a chat, a list of chats, the rows of a CSV file, or a list of contacts.",
                "anyOf": [
                    { "type": ["string", "integer"] },
                    { "type": "array", "items": { "type": ["string", "integer"] }, "minItems": 1 },
                    object("The rows of a file.", &[
                        ("csv", text("The file, relative to the folder of this one.")),
                        ("chat", text("The column that names the chat.")),
                        ("country", text("Where numbers without a country code are dialled: its two letters.")),
                        ("where", text("Which rows: a condition on their columns.")),
                    ], &["csv"]),
                    object("The members of a list.", &[
                        ("list", text("The list, made by `onthedot contact import --list`.")),
                        ("where", text("Which members: a condition on their attributes.")),
                        ("live", flag("Who joins while the job runs is written to, who leaves is not.")),
                    ], &["list"]),
                ],
            }),
        ),
    ]
}

/// The kinds of content with their schemas.
fn contents() -> Vec<(&'static str, Value)> {
    let file = |more: &[(&str, Value)]| {
        let all: Vec<(&str, Value)> = [
            ("url", text("A public HTTPS address.")),
            ("filename", text("Its name; by default the last segment of the address.")),
            ("mimetype", text("Its type; by default by the extension.")),
        ]
        .into_iter()
        .chain(more.iter().cloned())
        .collect();
        json!({ "anyOf": [{ "type": "string" }, object("A file.", &all, &["url"])] })
    };
    let caption = ("caption", text("A text below it."));
    let card = object(
        "An address card.",
        &[("name", text("The full name.")), ("phone", text("An international number.")), ("organization", text(""))],
        &["name", "phone"],
    );
    let optional = |keys: &[&'static str]| keys.iter().map(|k| (*k, text(""))).collect::<Vec<_>>();
    vec![
        ("text", text("A text; {{ name }} is filled in.")),
        ("image", file(std::slice::from_ref(&caption))),
        ("document", file(std::slice::from_ref(&caption))),
        ("video", file(&[caption, ("note", flag("Round."))])),
        ("voice", file(&[("convert", flag("The gateway converts it."))])),
        (
            "location",
            object("A place.", &optional(&["latitude", "longitude", "title", "address"]), &["latitude", "longitude"]),
        ),
        (
            "poll",
            object(
                "A question.",
                &[
                    ("name", text("The question.")),
                    ("options", json!({ "type": "array", "items": text("An answer."), "minItems": 2, "maxItems": 12 })),
                    ("multiple", flag("Several may be chosen.")),
                ],
                &["name", "options"],
            ),
        ),
        ("contact", one_or_more(&card)),
        (
            "link",
            object(
                "A text with a preview.",
                &optional(&["text", "url", "title", "description", "image"]),
                &["text", "url", "title"],
            ),
        ),
        ("list", menu()),
        ("event", invitation()),
    ]
}

fn menu() -> Value {
    let row = object("A row.", &[("title", text("")), ("id", text("")), ("description", text(""))], &["title", "id"]);
    let rows = json!({ "type": "array", "items": row });
    let section = object("A section.", &[("title", text("")), ("rows", rows)], &["title", "rows"]);
    object(
        "A list to choose from.",
        &[
            ("title", text("")),
            ("button", text("")),
            ("sections", json!({ "type": "array", "items": section, "minItems": 1 })),
            ("description", text("")),
            ("footer", text("")),
        ],
        &["title", "button", "sections"],
    )
}

fn invitation() -> Value {
    object(
        "An invitation.",
        &[
            ("name", text("")),
            ("start", text("An instant.")),
            ("end", text("An instant.")),
            ("description", text("")),
            ("location", text("")),
            ("guests", flag("Guests may be brought.")),
        ],
        &["name", "start"],
    )
}

fn what() -> Vec<(&'static str, Value)> {
    debug_assert_eq!(contents().len(), KINDS.len());
    let reply = ("reply_to", text("The message it answers, by its serialized id."));
    let step: Vec<(&str, Value)> = contents().into_iter().chain([reply.clone()]).collect();
    let after = ("after", text("How long after the message before it, such as 2d."));
    let later: Vec<(&str, Value)> = step.iter().cloned().chain([after]).collect();
    let steps = json!({
        "type": "array", "items": object("One message of a sequence.", &later, &[]), "minItems": 1, "maxItems": 20,
        "description": "Several contents, sent in order; what follows one that is not sent is not sent either.",
    });
    let weight = ("weight", number("How often, beside the weights of the others; 1."));
    let variant: Vec<(&str, Value)> = step.iter().cloned().chain([weight]).collect();
    let variants = json!({
        "type": "array", "items": object("One variant of a message.", &variant, &[]), "minItems": 2, "maxItems": 20,
        "description": "Variants of one message: each recipient gets one of them, drawn once.",
    });
    // At a job, an instant under `event` is one to remind of.
    let of_job = |(key, schema): (&'static str, Value)| match key {
        "event" => (key, json!({ "anyOf": [schema, text("The instant of an event, reminded of by `remind`.")] })),
        _ => (key, schema),
    };
    contents().into_iter().map(of_job).chain([reply, ("messages", steps), ("variants", variants)]).collect()
}

/// What follows a message until it is answered.
fn follow() -> Vec<(&'static str, Value)> {
    let until = || words("What ends it.", &Until::WORDS);
    let nag = object(
        "It is sent again until it is answered.",
        &[
            ("every", text("How long after the one before.")),
            ("max", number("How often at most, besides the first.")),
            ("until", until()),
            ("window", window()),
        ],
        &["every", "max"],
    );
    let escalate = object(
        "Somebody else is told when it is not answered in time.",
        &[
            ("after", text("How long after the first message.")),
            ("until", until()),
            ("to", json!({ "type": ["string", "integer"], "description": "To whom." })),
            ("instance", text("Through which account.")),
            ("text", text("What it says, where not the same.")),
            (
                "ends",
                words("What ends where they read it, or answer: what else is told to them, or all.", &Ends::WORDS),
            ),
        ],
        &["after"],
    );
    vec![("nag", nag), ("escalate", one_or_more(&escalate))]
}

fn manner() -> Vec<(&'static str, Value)> {
    let typing = json!({
        "description": "The typing before a message.",
        "anyOf": [
            { "enum": ["off", false] },
            object("Its length.", &[
                ("lead", text("The same for every message, such as 2.5s.")),
                ("chars_per_second", text("As fast as a person types.")),
                ("min", text("Never shorter.")),
                ("max", text("Never longer.")),
                ("jitter", text("How far it may be off, such as 20%.")),
                ("kind", words("What is shown.", &["text", "voice"])),
            ], &[]),
        ],
    });
    let retry = object(
        "How a message refused for now is tried again.",
        &[
            ("attempts", number("Tries in all.")),
            ("backoff", one_or_more(&text("How far apart."))),
            ("jitter", text("How far off, such as 20%.")),
        ],
        &[],
    );
    vec![
        ("typing", typing),
        ("late", words("What gives way after an outage.", &["keep_due", "keep_lead"])),
        ("misfire", words("What happens to occurrences nobody could serve.", &["run_once", "skip", "run_all"])),
        (
            "max_catchup",
            json!({ "description": "Occurrences made up for at most.", "type": "integer", "minimum": 1, "maximum": 10_000 }),
        ),
        ("overlap", words("When the occurrence before is not finished.", &["skip", "queue", "replace", "allow"])),
        ("grace", text("How late still counts as in time.")),
        ("max_lateness", text("How much time outages and retries may cost.")),
        ("retry", retry),
        ("on_doubt", words("What happens to a doubt no evidence settles.", &["hold", "resend", "drop"])),
        ("class", words("How pressing.", &Class::ALL.map(Class::name))),
        ("window", window()),
        ("expires", text("When it is of no use any more: a duration after due, or an instant.")),
        ("hold", json!({ "description": "Whether it waits for `campaign approve`.", "type": "boolean" })),
        ("consent", words("Whom it goes to: whoever did not opt out, or who opted in.", &["opt_out", "opt_in"])),
        ("stop_on", words("What ends a sequence early.", &["reply", "nothing"])),
        (
            "frequency",
            json!({ "anyOf": [
                words("No such limit.", &["off"]),
                object(
                    "How many messages its recipients get from all jobs that have it.",
                    &[("at_most", number("Messages …")), ("within", text("… in any such span, such as 7d."))],
                    &["at_most", "within"],
                ),
            ] }),
        ),
        ("quiet_after_reply", text("How long it waits after its recipient wrote, such as 10m, or off.")),
        ("pause_on", json!({ "anyOf": [pause_on(), { "enum": ["off", false] }] })),
    ]
}

fn pause_on() -> Value {
    object(
        "What pauses a campaign by itself: more than such a part of its latest sends.",
        &[
            ("errors", text("Refused, or without a clear answer: a percentage.")),
            ("undelivered", text("On no device after `patience`: a percentage.")),
            ("opt_outs", text("Recipients who opted out after it: a percentage.")),
            ("of", number("How many of the latest sends are looked at, from 10 on; 50.")),
            ("patience", text("How long a message may be on its way; 10m.")),
        ],
        &[],
    )
}

fn window() -> Value {
    object(
        "When it may leave; quiet hours are everything else.",
        &[
            ("days", one_or_more(&text("mon-fri, mon,wed,sat or all."))),
            ("hours", text("\"09:00-20:00\"; \"22:00-06:00\" crosses midnight.")),
            ("zone", text("recipient, sender (the job's zone) or a zone's name.")),
        ],
        &[],
    )
}

fn instance() -> Value {
    let secret = json!({
        "anyOf": [
            { "type": "string" },
            object("A variable of the environment.", &[("env", text("Its name."))], &["env"]),
            object("A file of mode 0600.", &[("file", text("Its path."))], &["file"]),
        ],
    });
    let warm_up = object(
        "How the daily cap of a new account rises to `per_day`.",
        &[
            ("since", text("Its first day, such as 2026-12-01.")),
            ("from", number("The cap of that day.")),
            ("over", text("After so many days it is the whole, such as 14d.")),
        ],
        &["since", "from", "over"],
    );
    let pacing = object(
        "How fast it may send; an absent key is no limit.",
        &[
            ("rate", text("At most so many in any such span, such as 20/min.")),
            ("gap", text("From one send to the next, such as 2s..5s.")),
            ("concurrency", number("Chats being typed or sent to at once.")),
            ("per_hour", number("At most so many in any sixty minutes.")),
            ("per_day", number("At most so many on a day of the file's zone.")),
            ("warm_up", warm_up),
            ("reserve", text("What part of the caps is kept for urgent messages and reminders, such as 10%.")),
            ("batch", number("After so many in a row …")),
            ("rest", text("… it rests for this long, such as 2m..4m.")),
        ],
        &[],
    );
    let webhook = object(
        "How webhooks prove themselves.",
        &[
            ("secret", secret.clone()),
            ("header", text("The header of the signature.")),
            ("algorithm", words("How it is made.", &["sha256", "sha512"])),
            ("prefix", text("What stands before the hex digits.")),
            ("path_token", secret.clone()),
            ("unsigned", flag("They prove nothing.")),
        ],
        &[],
    );
    let timeouts = object(
        "How long calls may take.",
        &["connect", "typing", "send", "read"].map(|k| (k, text("A duration."))),
        &[],
    );
    let lifts_manual = ("lifts_manual", flag("It also lifts what a person suppressed."));
    object(
        "A logged-in account.",
        &[
            ("gateway", words("Its gateway.", &Kind::ALL.map(Kind::name))),
            ("base_url", text("Where the gateway is.")),
            ("instance_id", secret.clone()),
            ("access_token", secret),
            ("webhook", webhook),
            ("pacing", pacing),
            ("window", window()),
            ("timeouts", timeouts),
            ("doubt", object("Doubts.", &[("quarantine", text("How long before its history is trusted."))], &[])),
            ("opt_out", keywords("What a recipient writes to hear no more.", &[])),
            ("opt_in", keywords("What a recipient writes to be written to again.", &[lifts_manual])),
        ],
        &["gateway"],
    )
}

fn keywords(what: &str, more: &[(&str, Value)]) -> Value {
    let all: Vec<(&str, Value)> = [
        ("words", one_or_more(&text("A whole message that counts besides the usual ones."))),
        ("ignore", one_or_more(&text("A usual keyword that means something else here."))),
        ("confirm", text("What is answered, once.")),
    ]
    .into_iter()
    .chain(more.iter().cloned())
    .collect();
    object(what, &all, &[])
}
