//! A condition as it was read: a tree of comparisons over the attributes of a recipient.

use std::collections::BTreeSet;

use minijinja::machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr, UnaryOpKind};
use minijinja::machinery::parse_expr;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};

use crate::domain::selection::compare::{Operator, Unlike, holds};
use crate::domain::template::Vars;

/// The attribute in which tags are kept, parted by commas.
pub(super) const TAGS_VAR: &str = "tags";

/// Filters that a condition knows: each is short work, and answers something that can be compared.
const FILTERS: [&str; 14] = [
    "abs",
    "capitalize",
    "count",
    "default",
    "first",
    "float",
    "int",
    "last",
    "length",
    "lower",
    "round",
    "title",
    "trim",
    "upper",
];

/// Tests that a condition knows (`is defined`).
const TESTS: [&str; 6] = ["defined", "undefined", "none", "odd", "even", "divisibleby"];

/// What a condition is made of, for whom it is read aloud.
const KNOWN: &str = "a condition knows attributes, texts, numbers, lists, comparisons, in, and, or, not, parentheses, filters, \
                     tag('NAME') and attribute('NAME')";

/// A part of a condition.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Attribute(String),
    Value(Value),
    List(Vec<Condition>),
    Not(Box<Condition>),
    And(Box<(Condition, Condition)>),
    Or(Box<(Condition, Condition)>),
    Compare(Box<Condition>, Vec<(Operator, Condition)>),
    Filter(String, Vec<Condition>),
    Test(String, Vec<Condition>),
    Tag(Box<Condition>),
}

/// Reads a condition, and the attributes that it names.
///
/// # Errors
/// In words, where it is none, or knows more than a condition does.
pub(super) fn read(text: &str) -> Result<(Condition, BTreeSet<String>), String> {
    let tree = parse_expr(text).map_err(|e| format!("cannot be read: {}", said(&e)))?;
    let mut reader = Reader::default();
    let condition = reader.part(&tree).map_err(|what| format!("cannot be read: {what}"))?;
    Ok((condition, reader.names))
}

/// What the engine says of an error, without the place in a template.
pub(super) fn said(e: &Error) -> String {
    e.detail().map_or_else(|| e.kind().to_string(), str::to_owned)
}

#[derive(Default)]
struct Reader {
    names: BTreeSet<String>,
}

impl Reader {
    fn part(&mut self, tree: &Expr<'_>) -> Result<Condition, String> {
        Ok(match tree {
            Expr::Var(var) => self.attribute(var.id),
            Expr::Const(value) => Condition::Value(value.value.clone()),
            Expr::List(list) => Condition::List(self.all(list.items.iter())?),
            Expr::Tuple(tuple) => Condition::List(self.all(tuple.items.iter())?),
            Expr::UnaryOp(op) => match op.op {
                UnaryOpKind::Not => Condition::Not(Box::new(self.part(&op.expr)?)),
                UnaryOpKind::Neg => match (&op.expr, tree.as_const()) {
                    (Expr::Const(_), Some(value)) => Condition::Value(value),
                    _ => return Err(format!("`-` stands before something that is no number; {KNOWN}")),
                },
            },
            Expr::BinOp(op) => {
                let operator = match op.op {
                    BinOpKind::ScAnd => return Ok(Condition::And(self.pair(&op.left, &op.right)?)),
                    BinOpKind::ScOr => return Ok(Condition::Or(self.pair(&op.left, &op.right)?)),
                    BinOpKind::Eq => Operator::Equal,
                    BinOpKind::Ne => Operator::Unequal,
                    BinOpKind::Lt => Operator::Less,
                    BinOpKind::Lte => Operator::AtMost,
                    BinOpKind::Gt => Operator::More,
                    BinOpKind::Gte => Operator::AtLeast,
                    BinOpKind::In => Operator::Within,
                    _ => return Err(format!("it calculates; {KNOWN}")),
                };
                Condition::Compare(Box::new(self.part(&op.left)?), vec![(operator, self.part(&op.right)?)])
            }
            Expr::Compare(chain) => {
                let first = Box::new(self.part(&chain.expr)?);
                let then = chain.ops.iter().map(|op| Ok((operator(op.op), self.part(&op.expr)?)));
                Condition::Compare(first, then.collect::<Result<_, String>>()?)
            }
            Expr::Filter(filter) => {
                let of = filter.expr.as_ref().ok_or(KNOWN)?;
                let name = known("filter", filter.name, &FILTERS)?;
                Condition::Filter(name, self.with(of, &filter.args)?)
            }
            Expr::Test(test) => {
                let name = known("test", test.name, &TESTS)?;
                Condition::Test(name, self.with(&test.expr, &test.args)?)
            }
            Expr::Call(call) => match (&call.expr, call.args.as_slice()) {
                (Expr::Var(var), [CallArg::Pos(tag)]) if var.id == "tag" => Condition::Tag(Box::new(self.part(tag)?)),
                (Expr::Var(var), [CallArg::Pos(Expr::Const(name))]) if var.id == "attribute" => {
                    let name = name.value.as_str().ok_or("attribute('NAME') takes a name in quotes")?;
                    self.attribute(name)
                }
                _ => return Err(format!("it calls what there is not; {KNOWN}")),
            },
            Expr::Slice(_) | Expr::IfExpr(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Map(_) => {
                return Err(KNOWN.to_owned());
            }
        })
    }

    fn attribute(&mut self, name: &str) -> Condition {
        self.names.insert(name.to_owned());
        Condition::Attribute(name.to_owned())
    }

    fn pair(&mut self, left: &Expr<'_>, right: &Expr<'_>) -> Result<Box<(Condition, Condition)>, String> {
        Ok(Box::new((self.part(left)?, self.part(right)?)))
    }

    fn all<'t, 's: 't>(&mut self, trees: impl Iterator<Item = &'t Expr<'s>>) -> Result<Vec<Condition>, String> {
        trees.map(|tree| self.part(tree)).collect()
    }

    /// What a filter or a test is of, and what stands in its parentheses.
    fn with(&mut self, of: &Expr<'_>, args: &[CallArg<'_>]) -> Result<Vec<Condition>, String> {
        let mut parts = vec![self.part(of)?];
        for arg in args {
            match arg {
                CallArg::Pos(tree) => parts.push(self.part(tree)?),
                CallArg::Kwarg(name, _) => return Err(format!("'{name}=' stands where a value belongs")),
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => return Err(KNOWN.to_owned()),
            }
        }
        Ok(parts)
    }
}

fn operator(op: CompareOpKind) -> Operator {
    match op {
        CompareOpKind::Eq => Operator::Equal,
        CompareOpKind::Ne => Operator::Unequal,
        CompareOpKind::Lt => Operator::Less,
        CompareOpKind::Lte => Operator::AtMost,
        CompareOpKind::Gt => Operator::More,
        CompareOpKind::Gte => Operator::AtLeast,
        CompareOpKind::In => Operator::Within,
        CompareOpKind::NotIn => Operator::NotWithin,
    }
}

fn known(what: &str, name: &str, all: &[&str]) -> Result<String, String> {
    let met = all.contains(&name).then(|| name.to_owned());
    met.ok_or_else(|| format!("there is no {what} '{name}'; known: {}", all.join(", ")))
}

impl Condition {
    /// What it comes to for a recipient.
    ///
    /// # Errors
    /// In words, where it compares unlike values, or a filter cannot be applied.
    pub(super) fn value(&self, vars: &Vars, environment: &Environment<'_>) -> Result<Value, String> {
        let of = |part: &Condition| part.value(vars, environment);
        Ok(match self {
            Condition::Attribute(name) => vars.get(name).map_or(Value::UNDEFINED, |text| Value::from(text.as_str())),
            Condition::Value(value) => value.clone(),
            Condition::List(parts) => Value::from(parts.iter().map(of).collect::<Result<Vec<_>, _>>()?),
            Condition::Not(part) => Value::from(!of(part)?.is_true()),
            Condition::And(parts) => Value::from(of(&parts.0)?.is_true() && of(&parts.1)?.is_true()),
            Condition::Or(parts) => Value::from(of(&parts.0)?.is_true() || of(&parts.1)?.is_true()),
            Condition::Compare(first, then) => {
                let (mut left, mut left_part) = (of(first)?, first.as_ref());
                for (operator, part) in then {
                    let right = of(part)?;
                    let held = holds(*operator, &left, &right)
                        .map_err(|Unlike(a, b)| format!("compares {} with {}", left_part.named(&a), part.named(&b)))?;
                    if !held {
                        return Ok(Value::from(false));
                    }
                    (left, left_part) = (right, part);
                }
                Value::from(true)
            }
            Condition::Filter(name, parts) => {
                let values = parts.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                if name != "default" && values.first().is_none_or(is_nothing) {
                    return Ok(Value::UNDEFINED);
                }
                let applied = environment.empty_state().apply_filter(name, &values);
                let on = parts.first().map(|part| part.named(&shown(&values))).unwrap_or_default();
                applied.map_err(|e| format!("cannot apply {name} to {on}: {}", said(&e)))?
            }
            Condition::Test(name, parts) => {
                let values = parts.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                let tried = environment.empty_state().perform_test(name, &values);
                Value::from(
                    tried.map_err(|e| format!("cannot tell whether {} is {name}: {}", shown(&values), said(&e)))?,
                )
            }
            Condition::Tag(part) => {
                let name = of(part)?;
                let tags = vars.get(TAGS_VAR).map_or("", String::as_str);
                Value::from(name.as_str().is_some_and(|name| has_tag(tags, name)))
            }
        })
    }

    /// A value of it in words, behind its name where it is an attribute.
    fn named(&self, value: &str) -> String {
        match self {
            Condition::Attribute(name) => format!("{name} ({value})"),
            _ => value.to_owned(),
        }
    }
}

/// What says nothing: an attribute that is absent, or an empty cell of a table.
fn is_nothing(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Undefined | ValueKind::None)
        || value.as_str().is_some_and(|t| t.trim().is_empty())
}

fn shown(values: &[Value]) -> String {
    values.first().map_or_else(String::new, |v| format!("'{}'", v.to_string().chars().take(40).collect::<String>()))
}

/// Whether a list of tags, parted by commas, holds one; the case of letters does not count.
fn has_tag(tags: &str, name: &str) -> bool {
    tags.split(',').any(|tag| tag.trim().to_lowercase() == name.trim().to_lowercase())
}
