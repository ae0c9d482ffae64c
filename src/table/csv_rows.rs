//! CSV, as spreadsheets write it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::table::cells::as_written;
use crate::table::lines::Lines;
use crate::table::{BOM, Flaw, ROW_LIMIT, Row};

/// Most columns of a file.
const COLUMNS_LIMIT: usize = 1_000;

/// Finds out by the header whether cells are parted by commas, semicolons or tabs.
pub(super) fn delimiter(path: &Path) -> std::io::Result<u8> {
    let mut header = Vec::new();
    BufReader::new(File::open(path)?).take(ROW_LIMIT as u64).read_to_end(&mut header)?;
    // What stands in quotes parts nothing, nor does a newline there end the header. Quotes open where a cell begins.
    let (mut quoted, mut opens, mut begun) = (false, true, false);
    let mut counts = [0_usize; 3];
    for byte in header.strip_prefix(&BOM).unwrap_or(&header) {
        if matches!(byte, b'\n' | b'\r') && !quoted {
            match begun {
                true => break,
                false => continue,
            }
        }
        begun = true;
        match byte {
            b'"' if quoted || opens => quoted = !quoted,
            b',' if !quoted => counts[0] += 1,
            b';' if !quoted => counts[1] += 1,
            b'\t' if !quoted => counts[2] += 1,
            _ => {}
        }
        // A quote after a closing one is a quote within the cell: it opens again.
        opens = matches!(byte, b'"' | b',' | b';' | b'\t');
    }
    let best = (0..3).max_by_key(|i| (counts[*i], *i == 0)).unwrap_or(0);
    Ok([b',', b';', b'\t'][best])
}

fn reader(path: &Path, delimiter: u8) -> Result<csv::Reader<Lines<BufReader<File>>>, Flaw> {
    let unreadable = |e: std::io::Error| Flaw::whole(format!("the file {} cannot be read: {e}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    if file.fill_buf().map_err(unreadable)?.starts_with(&BOM) {
        file.consume(BOM.len());
    }
    let file = Lines::new(file, delimiter);
    Ok(csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(file))
}

/// The names of the columns; a column without a name is "".
pub(super) fn columns(path: &Path, windows_1252: bool, delimiter: u8) -> Result<Vec<String>, Flaw> {
    let mut header = csv::ByteRecord::new();
    let mut reader = reader(path, delimiter)?;
    let found = reader.read_byte_record(&mut header).map_err(|e| Flaw::new(1, 0, e.to_string()))?;
    if !found {
        return Err(Flaw::whole("the file is empty"));
    }
    if header.len() > COLUMNS_LIMIT {
        return Err(Flaw::new(1, 0, format!("the file has {} columns; the limit is {COLUMNS_LIMIT}", header.len())));
    }
    let names: Vec<String> = header.iter().map(|h| text(h, windows_1252).trim().to_owned()).collect();
    for (i, name) in names.iter().enumerate() {
        if name.contains('\0') {
            return Err(Flaw::new(1, i + 1, "the name of a column holds a NUL character"));
        }
        if !name.is_empty() && names[..i].contains(name) {
            return Err(Flaw::new(1, i + 1, format!("the column '{name}' stands twice")));
        }
    }
    if names.iter().all(String::is_empty) {
        return Err(Flaw::new(1, 0, "the first row names no columns"));
    }
    Ok(names)
}

pub(super) fn each(
    path: &Path,
    windows_1252: bool,
    delimiter: u8,
    columns: &[String],
    each: &mut dyn FnMut(Result<Row, Flaw>) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let mut reader = reader(path, delimiter)?;
    let mut record = csv::ByteRecord::new();
    let mut header = true;
    loop {
        let read = reader.read_byte_record(&mut record);
        let start = record.position().map_or(0, csv::Position::byte);
        let end = reader.position().byte();
        match read {
            Ok(false) => return Ok(()),
            Ok(true) if std::mem::take(&mut header) => {}
            Ok(true) if record.iter().all(|c| c.iter().all(u8::is_ascii_whitespace)) => {}
            Ok(true) => {
                let lines = reader.get_mut();
                let line = lines.line_from(start);
                // Where the quote was forgotten is anybody's guess; the row whose cell it opens is the first to look at.
                let row = match lines.open_quote().is_some_and(|quote| quote < end) {
                    true if record.as_slice().len() <= ROW_LIMIT => Err(Flaw::new(line, 0, "a quote is not closed")),
                    _ => row(&record, line, windows_1252, columns),
                };
                each(row)?;
            }
            Err(e) => {
                let line = reader.get_mut().line_from(e.position().map_or(0, csv::Position::byte));
                each(Err(Flaw::new(line, 0, e.to_string())))?;
                if e.is_io_error() {
                    return Ok(());
                }
            }
        }
    }
}

/// Hands the rows that begin on these lines to `each`, quoted where they need it.
pub(super) fn as_they_stand(
    path: &Path,
    (windows_1252, delimiter): (bool, u8),
    wanted: &BTreeSet<u64>,
    each: &mut dyn FnMut(u64, String),
) -> Result<(), Flaw> {
    let Some(last) = wanted.last() else { return Ok(()) };
    let mut reader = reader(path, delimiter)?;
    let mut record = csv::ByteRecord::new();
    let unreadable = |e: csv::Error| Flaw::whole(format!("the file {} cannot be read: {e}", path.display()));
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        let start = record.position().map_or(0, csv::Position::byte);
        let line = reader.get_mut().line_from(start);
        if line > *last {
            break;
        }
        if !wanted.contains(&line) {
            continue;
        }
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
        let written = writer.write_byte_record(&record).map_err(unreadable);
        let bytes = written.map(|()| writer.into_inner().unwrap_or_default())?;
        let end = bytes.len().min(ROW_LIMIT);
        each(line, decoded(bytes[..end].trim_ascii_end(), windows_1252).into_owned());
    }
    Ok(())
}

fn row(record: &csv::ByteRecord, line: u64, windows_1252: bool, columns: &[String]) -> Result<Row, Flaw> {
    if record.as_slice().len() > ROW_LIMIT {
        let hint = Some("is a quote missing at the end of a cell?".to_owned());
        return Err(Flaw { hint, ..Flaw::new(line, 0, format!("the row is longer than {ROW_LIMIT} bytes")) });
    }
    if record.len() != columns.len() {
        let message = format!("the row has {} cells; the header has {} columns", record.len(), columns.len());
        return Err(Flaw::new(line, 0, message));
    }
    let mut cells = Vec::with_capacity(columns.len());
    for (i, (cell, name)) in record.iter().zip(columns).enumerate() {
        let value = text(cell, windows_1252);
        if value.trim().is_empty() {
            continue;
        }
        if name.is_empty() {
            return Err(Flaw::new(line, i + 1, "this cell stands in a column without a name"));
        }
        if value.contains('\0') {
            return Err(Flaw::new(line, i + 1, format!("column '{name}' holds a NUL character")));
        }
        cells.push((name.clone(), value));
    }
    Ok(Row { line, cells })
}

fn text(bytes: &[u8], windows_1252: bool) -> String {
    as_written(&decoded(bytes, windows_1252)).to_owned()
}

fn decoded(bytes: &[u8], windows_1252: bool) -> Cow<'_, str> {
    match windows_1252 {
        true => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
        false => String::from_utf8_lossy(bytes),
    }
}
