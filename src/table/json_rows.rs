//! JSON lines: one object a line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::table::{Cell, Flaw, ROW_LIMIT, Row};

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
            text = text.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(text);
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        each(row(text, number))?;
    }
}

/// Reads up to and including the next newline; of a line over the limit only the beginning, and `false`.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut whole = true;
    loop {
        let piece = file.fill_buf()?;
        if piece.is_empty() {
            return Ok(whole);
        }
        let (length, ends) = match piece.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (piece.len(), false),
        };
        if line.len() + length <= ROW_LIMIT {
            line.extend_from_slice(&piece[..length]);
        } else {
            whole = false;
        }
        file.consume(length);
        if ends {
            return Ok(whole);
        }
    }
}

fn row(text: &[u8], line: u64) -> Result<Row, Flaw> {
    if std::str::from_utf8(text).is_err() {
        return Err(Flaw::new(line, 0, "the line is not UTF-8"));
    }
    let value: Value = serde_json::from_slice(text.trim_ascii_end()).map_err(|e| {
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or("").to_owned();
        Flaw::new(line, e.column(), format!("the line is no JSON: {message}"))
    })?;
    let Value::Object(map) = value else {
        let hint = Some("such as {\"to\": \"+49 170 1234567\", \"name\": \"Ada\"}".to_owned());
        return Err(Flaw { hint, ..Flaw::new(line, 0, "the line is no JSON object") });
    };
    let mut cells: Vec<Cell> = Vec::with_capacity(map.len());
    for (name, value) in map {
        let text = match value {
            Value::Null => continue,
            Value::String(s) => s,
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(Flaw::new(
                    line,
                    0,
                    format!("'{name}' must be a text or a number, not a list or an object"),
                ));
            }
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
