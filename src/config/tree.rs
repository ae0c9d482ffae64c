//! A YAML file as a tree that remembers where everything stood: so that every error of a file can be told in one run,
//! with its line and column.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};

/// Nodes of one file, aliases counted as often as they are used: a bomb is refused long before memory runs out.
const NODE_BUDGET: usize = 2_000_000;

/// So many bytes of a text count as a value.
const BYTES_A_NODE: usize = 32;

/// Nesting of one file.
const DEPTH_BUDGET: usize = 64;

/// A node with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// 1-based.
    pub line: usize,
    /// 1-based.
    pub column: usize,
    /// What stands there.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar as written; `plain` when without quotes, which is where `${VAR}` is filled in.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stood without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order written, keys not yet checked.
    Map(Vec<(Node, Node)>),
}

/// Why a file is no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeError {
    /// 1-based.
    pub line: usize,
    /// 1-based.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads the one document of a YAML text. `None` for an empty one.
///
/// # Errors
/// [`TreeError`] for what is not YAML, more than one document, or more nodes than any honest file has.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, TreeError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| TreeError {
            line: e.marker().line(),
            column: e.marker().col() + 1,
            message: format!("this is not YAML: {}", e.info()),
        })?;
        builder.take(event, span.start.line(), span.start.col() + 1)?;
    }
    Ok(builder.root)
}

#[derive(Default)]
struct Builder {
    open: Vec<(usize, Open)>,
    anchors: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    kept: usize,
}

/// Levels of lists and maps in a node, its own included.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar { .. } => 0,
        Value::List(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(k, v)| depth(k).max(depth(v))).max().unwrap_or(0),
    }
}

struct Open {
    line: usize,
    column: usize,
    first_node: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map(Vec<(Node, Node)>, Option<Node>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize, column: usize) -> Result<(), TreeError> {
        let refuse = |message: &str| Err(TreeError { line, column, message: message.to_owned() });
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return refuse("a jobs file is one YAML document; this begins a second one");
                }
            }
            Event::Scalar(text, style, anchor, _tag) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let size = 1 + text.len() / BYTES_A_NODE;
                let value = if null { Value::Null } else { Value::Scalar { text: text.into_owned(), plain } };
                self.add(Node { line, column, value }, anchor, size)?;
            }
            Event::SequenceStart(_, anchor, _) => self.begin(anchor, Kind::List(Vec::new()), line, column)?,
            Event::MappingStart(_, anchor, _) => self.begin(anchor, Kind::Map(Vec::new(), None), line, column)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, open)) = self.open.pop() {
                    let value = match open.kind {
                        Kind::List(list) => Value::List(list),
                        Kind::Map(entries, _) => Value::Map(entries),
                    };
                    let size = self.nodes - open.first_node;
                    self.nodes -= size;
                    self.add(Node { line: open.line, column: open.column, value }, anchor, size + 1)?;
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((node, _)) if self.open.len() + depth(&node) > DEPTH_BUDGET => {
                    return refuse(&format!(
                        "this is nested deeper than {DEPTH_BUDGET} levels once its aliases are followed"
                    ));
                }
                Some((node, size)) => self.add(Node { line, column, ..node }, 0, size)?,
                None => return refuse("this alias points into itself"),
            },
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, anchor: usize, kind: Kind, line: usize, column: usize) -> Result<(), TreeError> {
        if self.open.len() >= DEPTH_BUDGET {
            let message = format!("this is nested deeper than {DEPTH_BUDGET} levels");
            return Err(TreeError { line, column, message });
        }
        self.open.push((anchor, Open { line, column, first_node: self.nodes, kind }));
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), TreeError> {
        self.nodes += size;
        // What has an anchor is kept a second time.
        self.kept += if anchor == 0 { 0 } else { size };
        if self.nodes + self.kept > NODE_BUDGET {
            let message = format!("this file holds more than {NODE_BUDGET} values once its aliases are followed");
            return Err(TreeError { line: node.line, column: node.column, message });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|(_, open)| &mut open.kind) {
            None => self.root = Some(node),
            Some(Kind::List(list)) => list.push(node),
            Some(Kind::Map(entries, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(node: &Node) -> &str {
        match &node.value {
            Value::Scalar { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn places_and_quotes_are_remembered() {
        let root = parse("a: 0049\nb:\n  - 'x'\n  - y\n").unwrap().unwrap();
        let Value::Map(entries) = root.value else { panic!() };
        assert_eq!((scalar(&entries[0].1), entries[0].1.line, entries[0].1.column), ("0049", 1, 4));
        let Value::List(list) = &entries[1].1.value else { panic!() };
        assert_eq!((list[1].line, list[1].column), (4, 5));
        assert!(matches!(&list[0].value, Value::Scalar { plain: false, .. }));
    }

    #[test]
    fn aliases_stand_for_what_they_name() {
        let root = parse("a: &x [1, 2]\nb: *x\n").unwrap().unwrap();
        let Value::Map(entries) = root.value else { panic!() };
        assert_eq!(entries[1].1.value, entries[0].1.value);
        assert_eq!(entries[1].1.line, 2);
    }

    #[test]
    fn a_bomb_is_refused_quickly() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..30 {
            let refs = vec![format!("*a{}", i - 1); 9].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(parse(&text).unwrap_err().message.contains("values"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        // A few long texts, used often, are as much.
        let long = "x".repeat(3_000);
        let refs = |name: &str| vec![name; 1_000].join(", ");
        let text = format!("- &t {long}\n- &l [{}]\n- [{}]\n", refs("*t"), refs("*l"));
        assert!(parse(&text).unwrap_err().message.contains("values"));
        // Nested by aliases alone, though no bracket stands in another.
        let mut deep = "- &d0 [x]\n".to_owned();
        for i in 1..200 {
            deep.push_str(&format!("- &d{i} [*d{}]\n", i - 1));
        }
        assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
    }

    #[test]
    fn what_is_not_one_document_is_refused() {
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
        assert!(parse("a: [1\n").is_err());
        assert_eq!(parse("# only a comment\n").unwrap(), None);
    }
}
