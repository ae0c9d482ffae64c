//! JSON lines: one object a line.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::table::{BOM, Cell, Flaw, ROW_LIMIT, Row};

/// The two bytes that may end a line.
const ENDING: usize = 2;

pub(super) fn each(path: &Path, each: &mut dyn FnMut(Result<Row, Flaw>) -> Result<(), Flaw>) -> Result<(), Flaw> {
    let unreadable = |e: std::io::Error| Flaw::whole(format!("the file {} cannot be read: {e}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number += 1;
        let whole = read_line(&mut file, &mut line).map_err(unreadable)?;
        if line.is_empty() && whole {
            return Ok(());
        }
        if !whole {
            each(Err(Flaw::new(number, 0, format!("the row is longer than {ROW_LIMIT} bytes"))))?;
            continue;
        }
        let mut text = line.as_slice();
        if number == 1 {
            text = text.strip_prefix(&BOM).unwrap_or(text);
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        each(row(text, number))?;
    }
}

/// Hands the rows that begin on these lines to `each`.
pub(super) fn as_they_stand(
    path: &Path,
    wanted: &BTreeSet<u64>,
    each: &mut dyn FnMut(u64, String),
) -> Result<(), Flaw> {
    let unreadable = |e: std::io::Error| Flaw::whole(format!("the file {} cannot be read: {e}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut line = Vec::new();
    for number in 1..=wanted.last().copied().unwrap_or(0) {
        line.clear();
        read_line(&mut file, &mut line).map_err(unreadable)?;
        if wanted.contains(&number) {
            each(number, String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
        }
    }
    Ok(())
}

/// Reads up to and including the next newline; of a line over the limit only the beginning, and `false`.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut whole = true;
    loop {
        let piece = file.fill_buf()?;
        if piece.is_empty() {
            return Ok(whole && is_short(line));
        }
        let (length, ends) = match piece.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (piece.len(), false),
        };
        if line.len() + length <= ROW_LIMIT + ENDING {
            line.extend_from_slice(&piece[..length]);
        } else {
            whole = false;
        }
        file.consume(length);
        if ends {
            return Ok(whole && is_short(line));
        }
    }
}

/// Whether a line is short enough without what ends it.
fn is_short(line: &[u8]) -> bool {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    text.strip_suffix(b"\r").unwrap_or(text).len() <= ROW_LIMIT
}

/// The members of an object in their order, each value as it is written.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> serde::Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'t> Visitor<'t> for Each {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Members<'t>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

fn row(text: &[u8], line: u64) -> Result<Row, Flaw> {
    let Ok(text) = std::str::from_utf8(text) else { return Err(Flaw::new(line, 0, "the line is not UTF-8")) };
    let no_json = |e: serde_json::Error| {
        // Read for good, a line is told more clearly what is wrong with it.
        let e = serde_json::from_str::<serde_json::Value>(text.trim_ascii_end()).err().unwrap_or(e);
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or("").to_owned();
        Flaw::new(line, e.column(), format!("the line is no JSON: {message}"))
    };
    let whole: &RawValue = serde_json::from_str(text.trim_ascii_end()).map_err(no_json)?;
    if !whole.get().starts_with('{') {
        let hint = Some("such as {\"to\": \"+49 170 1234567\", \"name\": \"Ada\"}".to_owned());
        return Err(Flaw { hint, ..Flaw::new(line, 0, "the line is no JSON object") });
    }
    let Members(members) = serde_json::from_str(whole.get()).map_err(no_json)?;
    let mut cells: Vec<Cell> = Vec::with_capacity(members.len());
    let mut met = std::collections::HashSet::new();
    for (name, value) in members {
        if !met.insert(name.clone()) {
            return Err(Flaw::new(line, 0, format!("'{name}' stands twice")));
        }
        let written = value.get();
        let text = match written.as_bytes().first() {
            Some(b'n') => continue,
            Some(b'"') => serde_json::from_str(written).map_err(no_json)?,
            Some(b'[' | b'{') => {
                return Err(Flaw::new(
                    line,
                    0,
                    format!("'{name}' must be a text or a number, not a list or an object"),
                ));
            }
            // A number stays as it is written, however long.
            _ => written.to_owned(),
        };
        if text.contains('\0') {
            return Err(Flaw::new(line, 0, format!("'{name}' holds a NUL character")));
        }
        if !text.trim().is_empty() {
            cells.push((name, text));
        }
    }
    Ok(Row { line, cells })
}
