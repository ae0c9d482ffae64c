//! Texts with places to fill in. Users' templates see their recipient's variables, the instants of their message
//! and a short list of filters: no files, no environment, no includes, and a bound on the work.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::machinery::{Token, tokenize};
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use crate::domain::draw::Draw;
use crate::domain::time::{Millis, Timestamp};

/// A recipient's variables: column name → cell. Empty cells are absent.
pub type Vars = BTreeMap<String, String>;

/// The instants a template may speak of.
#[derive(Clone, Debug)]
pub struct Moments {
    /// When the message should leave.
    pub due: Timestamp,
    /// The occurrence's name, where there is one.
    pub nominal: Option<Timestamp>,
    /// When the event begins that it reminds of, where there is one.
    pub event: Option<Timestamp>,
    /// How late the message is.
    pub late_by: Millis,
    /// The zone in which instants are written out.
    pub zone: jiff::tz::TimeZone,
    /// What `pick` draws from: the message's own, so that however often it is filled in it says the same.
    pub pick: Draw,
}

impl Moments {
    /// For trying a text that is due, and named, at an instant.
    pub fn trial(at: Timestamp, zone: jiff::tz::TimeZone) -> Moments {
        let pick = Draw::new(0, "trial");
        Moments { due: at, nominal: Some(at), event: None, late_by: Millis::ZERO, zone, pick }
    }
}

/// The variable in which a recipient's time zone is kept, by its IANA name.
pub const ZONE_VAR: &str = "zone";

/// The names a template knows besides the recipient's variables.
pub const BUILT_IN_NAMES: [&str; 3] = ["due", "nominal", "late_by"];

/// Work one rendering may do, in minijinja's units (one instruction, about 64 bytes). A page of text takes some
/// hundred; this stops a loop without end within a millisecond or so.
const FUEL: u64 = 20_000;

/// Why a template failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be parsed.
    #[error("the template is wrong at its line {line}: {what}")]
    Syntax {
        /// 1-based line inside the template.
        line: usize,
        /// What the parser expected.
        what: String,
    },
    /// It uses a variable this recipient does not have.
    #[error(
        "the template needs '{name}', which this recipient does not have (use {{{{ {name} | default(\"…\") }}}} where it may be absent)"
    )]
    Missing {
        /// The variable.
        name: String,
    },
    /// It failed while being filled in.
    #[error("the template failed: {what}")]
    Failed {
        /// What happened.
        what: String,
    },
}

/// A parsed template.
#[derive(Debug)]
pub struct Template(Inner);

#[derive(Debug)]
enum Inner {
    /// No markers at all: the text is its own result.
    Plain(String),
    Compiled {
        environment: Box<Environment<'static>>,
        names: Vec<String>,
        /// A name stands where a recipient's variable can.
        names_vars: bool,
    },
}

/// Longest expression between markers, in characters: the parser needs stack in proportion to it.
const MARKER_LIMIT_CHARS: usize = 2_000;

const NAME: &str = "text";

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`] with the line inside the text.
    pub fn compile(text: &str) -> Result<Template, TemplateError> {
        if !text.contains('{') {
            return Ok(Template(Inner::Plain(text.to_owned())));
        }
        let names_vars = check_markers(text)?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_fuel(Some(FUEL));
        // Its padding can be asked for beyond what the engine's own formatting bears.
        environment.remove_filter("format");
        environment.set_formatter(|out, state, value| match value.kind() {
            // Also what a slice of an absent variable is.
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => Err(minijinja::Error::new(
                ErrorKind::InvalidOperation,
                "a list cannot be said; use first, last or join, or a variable that every recipient has",
            )),
            _ => minijinja::escape_formatter(out, state, value),
        });
        environment.set_recursion_limit(32);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("date", |v: &Value| moment(v, "date", |z| z.strftime("%Y-%m-%d").to_string()));
        environment.add_filter("time", |v: &Value| moment(v, "time", |z| z.strftime("%H:%M").to_string()));
        environment.add_filter("pick", pick);
        environment.add_filter("iso", |v: &Value| moment(v, "iso", |z| z.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()));
        // The engine drops one newline at the end of a template; a text keeps what was written.
        let source = if text.ends_with('\n') { format!("{text}\n") } else { text.to_owned() };
        environment.add_template_owned(NAME, source).map_err(|e| syntax(&e))?;
        let mut names: Vec<String> = environment
            .get_template(NAME)
            .map(|t| t.undeclared_variables(false).into_iter().collect())
            .unwrap_or_default();
        names.sort();
        Ok(Template(Inner::Compiled { environment: Box::new(environment), names, names_vars }))
    }

    /// Whether its result may depend on the recipient's variables.
    pub fn needs_vars(&self) -> bool {
        match &self.0 {
            Inner::Plain(_) => false,
            Inner::Compiled { names_vars, .. } => *names_vars,
        }
    }

    /// Fills in the template.
    ///
    /// # Errors
    /// [`TemplateError::Missing`] names the variable; [`TemplateError::Failed`] covers the rest, such as a loop that
    /// would not end.
    pub fn render(&self, vars: &Vars, moments: &Moments) -> Result<String, TemplateError> {
        let (environment, names) = match &self.0 {
            Inner::Plain(text) => return Ok(text.clone()),
            Inner::Compiled { environment, names, .. } => (environment, names),
        };
        let template = environment.get_template(NAME).map_err(|e| TemplateError::Failed { what: e.to_string() })?;
        template.render(context(vars, moments)).map_err(|e| {
            if e.kind() == ErrorKind::UndefinedError {
                let absent = |n: &&String| !vars.contains_key(*n) && !BUILT_IN_NAMES.contains(&n.as_str());
                if let Some(name) = names.iter().find(absent) {
                    return TemplateError::Missing { name: name.clone() };
                }
            }
            let filters = if e.kind() == ErrorKind::UnknownFilter {
                "; date, time and iso show an instant, pick takes one of several words, upper, lower, trim, default and the like change a text"
            } else {
                ""
            };
            let what = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
            TemplateError::Failed { what: format!("{what}{filters}") }
        })
    }
}

/// Refuses what the engine's bounds do not cover: its parser's stack grows with an expression, and a list that is repeated
/// (`[1] * 9999999999`) is walked through without fuel. Variables are texts, so nothing is lost by doing without `*`.
///
/// Says whether a recipient's variable may be read: whether any name stands where a variable can, even one that an
/// earlier statement sets. That statement may not have run.
fn check_markers(text: &str) -> Result<bool, TemplateError> {
    let (mut names_vars, mut length_chars, mut measured) = (false, 0, 0);
    let mut before = Token::VariableEnd;
    for token in tokenize(text, false, Default::default()) {
        let (token, span) = token.map_err(|e| syntax(&e))?;
        let (begin, end) = (span.start_offset as usize, span.end_offset as usize);
        let wrong = |what: String| Err(TemplateError::Syntax { line: text[..begin].matches('\n').count() + 1, what });
        if matches!(token, Token::TemplateData(_) | Token::VariableStart | Token::BlockStart) {
            (length_chars, measured) = (0, begin);
        } else {
            length_chars += text[measured..end].chars().count();
            measured = end;
        }
        match token {
            Token::TemplateData(_) => {}
            _ if length_chars > MARKER_LIMIT_CHARS => {
                return wrong(format!("an expression is longer than {MARKER_LIMIT_CHARS} characters"));
            }
            Token::Mul | Token::Pow => return wrong("`*` cannot be used here".to_owned()),
            Token::Ident(name) => {
                let keyword_filter_or_field = matches!(before, Token::BlockStart | Token::Pipe | Token::Dot);
                names_vars |= !keyword_filter_or_field && !BUILT_IN_NAMES.contains(&name);
            }
            _ => {}
        }
        before = token;
    }
    Ok(names_vars)
}

fn syntax(e: &minijinja::Error) -> TemplateError {
    TemplateError::Syntax { line: e.line().unwrap_or(1), what: e.detail().unwrap_or("it cannot be parsed").to_owned() }
}

fn context(vars: &Vars, moments: &Moments) -> Value {
    let mut all: BTreeMap<&str, Value> = vars.iter().map(|(k, v)| (k.as_str(), Value::from(v.as_str()))).collect();
    let instant = |t: Timestamp| Value::from_object(Moment(t.in_zone(&moments.zone)));
    all.insert("due", instant(moments.due));
    if let Some(nominal) = moments.nominal {
        all.insert("nominal", instant(nominal));
    }
    if let Some(event) = moments.event {
        all.insert("event", instant(event));
    }
    all.insert(PICK_NAME, Value::from_object(Picks(moments.pick)));
    all.insert("late_by", Value::from(moments.late_by.at_least_zero().to_string()));
    Value::from(all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<BTreeMap<String, Value>>())
}

/// Under which name a template knows its draw: none that can be written in one.
const PICK_NAME: &str = "what pick draws from";

#[derive(Debug)]
struct Picks(Draw);

impl Object for Picks {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// One of several wordings parted by `|`, the same one for the same message.
fn pick(state: &minijinja::State<'_, '_>, wordings: &str) -> String {
    let all: Vec<&str> = wordings.split('|').collect();
    let drawn = state
        .lookup(PICK_NAME)
        .and_then(|v| v.downcast_object_ref::<Picks>().map(|p| p.0))
        .map_or(0, |draw| draw.with_text(wordings).between(0, i64::try_from(all.len()).unwrap_or(1) - 1));
    usize::try_from(drawn).ok().and_then(|i| all.get(i)).map_or_else(String::new, |w| (*w).to_owned())
}

/// An instant inside a template: prints as `2026-12-01 10:00`, and the filters choose a part.
#[derive(Debug)]
struct Moment(jiff::Zoned);

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%d %H:%M"))
    }
}

fn moment(value: &Value, filter: &str, format: impl Fn(&jiff::Zoned) -> String) -> Result<String, minijinja::Error> {
    match value.downcast_object_ref::<Moment>() {
        Some(m) => Ok(format(&m.0)),
        None => Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            format!("the filter '{filter}' works on instants such as due and nominal"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments() -> Moments {
        let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        Moments {
            due: Timestamp(1_796_115_600_000),
            nominal: Some(Timestamp(1_796_115_600_000)),
            event: Some(Timestamp(1_796_119_200_000)),
            late_by: Millis(1_500),
            zone,
            pick: Draw::new(1, "test"),
        }
    }

    #[test]
    fn a_text_speaks_the_language_of_its_recipient() {
        let text = "{% if language | default(\"en\") == \"it\" %}Ciao{% else %}Hi{% endif %} {{ name }}";
        let template = Template::compile(text).unwrap();
        let said = |pairs: &[(&str, &str)]| template.render(&vars(pairs), &moments()).unwrap();
        assert_eq!(said(&[("name", "Ada"), ("language", "it")]), "Ciao Ada");
        assert_eq!(said(&[("name", "Ada"), ("language", "en")]), "Hi Ada");
        assert_eq!(said(&[("name", "Ada")]), "Hi Ada", "who says none is spoken to in the file's");
    }

    #[test]
    fn pick_takes_one_of_several_wordings_and_the_same_one_for_the_same_message() {
        let template =
            Template::compile("{{ \"Hi|Hello|Hey\" | pick }} {{ name }}, {{ 'bye|see you' | pick }}").unwrap();
        let said = |n: i64| {
            let moments = Moments { pick: Draw::new(1, "test").with_number(n), ..moments() };
            template.render(&vars(&[("name", "Ada|Bob")]), &moments).unwrap()
        };
        assert_eq!(said(7), said(7));
        let all: std::collections::BTreeSet<String> = (0..200).map(said).collect();
        assert_eq!(all.len(), 6, "{all:?}");
        assert!(all.contains("Hello Ada|Bob, see you"), "what a recipient's variable says is no choice");
        assert!(!Template::compile("{{ 'a|b' | pick }}").unwrap().needs_vars());
    }

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_a_slice_is_cut_from_is_a_variable_too() {
        let t = Template::compile("Dear {{ name[:1] }}.").unwrap();
        assert!(t.needs_vars());
        assert_eq!(t.render(&vars(&[("name", "Ann")]), &moments()).unwrap(), "Dear A.");
        assert!(!Template::compile("[Clinic] {{ due | date }} {{ '[' }}").unwrap().needs_vars());
    }

    #[test]
    fn a_variable_is_seen_wherever_it_can_be_read() {
        for reads in [
            "{% if 0 %}{% set a = 1 %}{% endif %}{{ a }}",
            "{% for a in [] %}{% set b = 1 %}{% endfor %}{{ b }}",
            "{# {{ ' #}{{ a }}{# ' }} #}",
            "{% raw %}{{ ' {% endraw %}{{ a[:1] }}{# ' #}",
            "{{ {'x': {}}.x or a }}",
            "{{ due | default(a) }}",
        ] {
            assert!(Template::compile(reads).unwrap().needs_vars(), "{reads}");
        }
        for does_not in ["{% raw %}{{ a }}{% endraw %}{{ due }}", "{# {{ a }} #}", "{{ nominal | time | upper }}"] {
            assert!(!Template::compile(does_not).unwrap().needs_vars(), "{does_not}");
        }
    }

    #[test]
    fn variables_and_instants_are_filled_in() {
        let t = Template::compile("Hi {{ name }}, {{ due | date }} at {{ nominal | time }} ({{ due | iso }})").unwrap();
        assert_eq!(
            t.render(&vars(&[("name", "Ada")]), &moments()).unwrap(),
            "Hi Ada, 2026-12-01 at 10:00 (2026-12-01T10:00:00+01:00)"
        );
        let t = Template::compile("Dentist at {{ event | time }}, {{ late_by }} late").unwrap();
        assert_eq!(t.render(&vars(&[]), &moments()).unwrap(), "Dentist at 11:00, 1.5s late");
    }

    #[test]
    fn a_missing_variable_is_named_and_a_default_helps() {
        let t = Template::compile("Hi {{ first }} {{ name }}").unwrap();
        let missing = t.render(&vars(&[("first", "Ada")]), &moments()).unwrap_err();
        assert_eq!(missing, TemplateError::Missing { name: "name".into() });
        let t = Template::compile("Hi {{ name | default('you') }}{% if city %}!{% endif %}").unwrap();
        assert_eq!(t.render(&vars(&[]), &moments()).unwrap(), "Hi you");
    }

    #[test]
    fn data_is_never_read_as_a_template() {
        let t = Template::compile("{{ name }}").unwrap();
        assert_eq!(t.render(&vars(&[("name", "{{ 7*7 }}")]), &moments()).unwrap(), "{{ 7*7 }}");
    }

    #[test]
    fn a_loop_that_would_not_end_runs_out_of_fuel() {
        let t =
            Template::compile("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}").unwrap();
        assert!(matches!(t.render(&vars(&[]), &moments()), Err(TemplateError::Failed { .. })));
    }

    #[test]
    fn what_would_break_the_engine_is_refused_when_it_is_parsed() {
        let many = format!("a\n{{{{ 1{} }}}}", "+1".repeat(30_000));
        for (bad, at) in [
            ("{{ 2 in [1] * 1000000000000 }}", 1),
            ("ok\n{% if 'x' * 9 %}{% endif %}", 2),
            (many.as_str(), 2),
            ("{{ 'a\\'' * 2 }}", 1),
        ] {
            let e = Template::compile(bad).unwrap_err();
            assert!(matches!(e, TemplateError::Syntax { line, .. } if line == at), "{bad:.40}: {e:?}");
        }
        let t = Template::compile("2 * 3 {{ '*' }}{{ \"*\" }} * {{ name }} *").unwrap();
        assert_eq!(t.render(&vars(&[("name", "x")]), &moments()).unwrap(), "2 * 3 ** * x *");
        let formatted = Template::compile("{{ '%(é' | format }}").map(|t| t.render(&vars(&[]), &moments()));
        assert!(matches!(formatted, Err(_) | Ok(Err(_))));
        let sliced = Template::compile("{{ name[1:3] }}").unwrap();
        assert!(matches!(sliced.render(&vars(&[]), &moments()), Err(TemplateError::Failed { .. })));
        assert_eq!(sliced.render(&vars(&[("name", "abcd")]), &moments()).unwrap(), "bc");
    }

    #[test]
    fn a_broken_template_names_its_line() {
        let e = Template::compile("one\n{{ name").unwrap_err();
        assert!(matches!(e, TemplateError::Syntax { line: 2, .. }), "{e:?}");
        assert!(
            Template::compile("{% include 'x' %}").is_err()
                || Template::compile("{% include 'x' %}").unwrap().render(&vars(&[]), &moments()).is_err()
        );
    }
}
