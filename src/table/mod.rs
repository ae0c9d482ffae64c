//! Rows of data files: CSV as spreadsheets write it, and JSON lines. One row at a time, however long the file is.
//!
//! CSV may begin with a byte order mark, end its lines with CRLF, part its cells by commas, semicolons or tabs, quote
//! cells with newlines in them, and be UTF-8 or Windows-1252: what is not valid UTF-8 anywhere is read as the latter,
//! which is how older spreadsheets save. JSON lines are UTF-8.

mod cells;
mod csv_rows;
mod json_rows;
mod lines;

pub use cells::harmless;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest row, in bytes.
pub const ROW_LIMIT: usize = 64 * 1024;

/// What begins a file that says it is UTF-8.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// So much of a file is looked at to tell its encoding, in bytes.
const LOOKED_AT: u64 = 4_096;

/// A cell: the column's name and what stands there. Empty ones are left out.
pub type Cell = (String, String);

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its first line, 1-based.
    pub line: u64,
    /// Its cells in the order of the columns.
    pub cells: Vec<Cell>,
}

impl Row {
    /// The cell of a column.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.cells.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_str())
    }
}

/// What is wrong with a file or one of its rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Flaw {
    /// 1-based; 0 = the whole file.
    pub line: u64,
    /// The 1-based cell; 0 = the whole row.
    pub column: usize,
    /// What is wrong, and what is expected.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Flaw {
    /// A flaw of a row.
    pub fn new(line: u64, column: usize, message: impl Into<String>) -> Flaw {
        Flaw { line, column, message: message.into(), hint: None }
    }

    /// A flaw of the whole file.
    pub fn whole(message: impl Into<String>) -> Flaw {
        Flaw::new(0, 0, message)
    }
}

/// How a file's rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Csv { windows_1252: bool, delimiter: u8 },
    JsonLines,
}

/// A data file whose shape is known.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    shape: Shape,
    /// The columns of a CSV file; JSON lines name theirs in every row.
    pub columns: Option<Vec<String>>,
}

impl Table {
    /// Looks at a file: its shape by its name (`.jsonl`, `.ndjson`, else CSV), its encoding and its columns.
    ///
    /// # Errors
    /// A [`Flaw`] of the whole file or its header.
    pub fn open(path: &Path) -> Result<Table, Flaw> {
        let unreadable = |e: std::io::Error| Flaw::whole(format!("the file {} cannot be read: {e}", path.display()));
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if !meta.is_file() {
            return Err(Flaw::whole(format!("{} is not a file", path.display())));
        }
        if meta.len() == 0 {
            return Err(Flaw::whole("the file is empty"));
        }
        let mut begins = Vec::new();
        File::open(path).and_then(|f| f.take(LOOKED_AT).read_to_end(&mut begins)).map_err(unreadable)?;
        if is_utf16(&begins) {
            let hint = Some("save it as \"CSV UTF-8\", or convert it with iconv -f UTF-16 -t UTF-8".to_owned());
            return Err(Flaw { hint, ..Flaw::whole("the file is UTF-16, which is not read") });
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        if matches!(extension.as_str(), "jsonl" | "ndjson") {
            return Ok(Table { path: path.to_owned(), shape: Shape::JsonLines, columns: None });
        }
        let windows_1252 = !is_utf8(path).map_err(unreadable)?;
        if windows_1252 && begins.starts_with(&BOM) {
            let hint = Some("save it again as UTF-8, or take away the three bytes at its beginning".to_owned());
            return Err(Flaw { hint, ..Flaw::whole("the file begins as UTF-8 does, but is not UTF-8 throughout") });
        }
        let delimiter = csv_rows::delimiter(path).map_err(unreadable)?;
        let columns = csv_rows::columns(path, windows_1252, delimiter)?;
        Ok(Table { path: path.to_owned(), shape: Shape::Csv { windows_1252, delimiter }, columns: Some(columns) })
    }

    /// The number of a column, 1-based; 0 where columns have none, or there is no such.
    pub fn place(&self, column: &str) -> usize {
        let columns = self.columns.as_deref().unwrap_or_default();
        columns.iter().position(|name| name == column).map_or(0, |i| i + 1)
    }

    /// The columns there are, where the file names its columns and this is none of them.
    pub fn without(&self, column: &str) -> Option<Vec<&str>> {
        let columns = self.columns.as_ref().filter(|c| !c.iter().any(|name| name == column))?;
        Some(columns.iter().map(String::as_str).filter(|c| !c.is_empty()).collect())
    }

    /// Whether the file is read as Windows-1252.
    pub fn is_windows_1252(&self) -> bool {
        matches!(self.shape, Shape::Csv { windows_1252: true, .. })
    }

    /// Hands every row, or what is wrong with it, to `each`, until `each` answers an error.
    ///
    /// # Errors
    /// The first of `each`, or a [`Flaw`] when the file can no longer be read.
    pub fn rows(&self, mut each: impl FnMut(Result<Row, Flaw>) -> Result<(), Flaw>) -> Result<(), Flaw> {
        match (self.shape, &self.columns) {
            (Shape::Csv { windows_1252, delimiter }, Some(columns)) => {
                csv_rows::each(&self.path, windows_1252, delimiter, columns, &mut each)
            }
            _ => json_rows::each(&self.path, &mut each),
        }
    }
}

impl Table {
    /// Hands the rows that begin on these lines to `each` as they stand in the file, decoded: those that cannot be read, too.
    /// What is longer than a row may be is cut.
    ///
    /// # Errors
    /// A [`Flaw`] when the file can no longer be read.
    pub fn as_they_stand(&self, lines: &BTreeSet<u64>, mut each: impl FnMut(u64, String)) -> Result<(), Flaw> {
        match self.shape {
            Shape::Csv { windows_1252, delimiter } => {
                csv_rows::as_they_stand(&self.path, (windows_1252, delimiter), lines, &mut each)
            }
            Shape::JsonLines => json_rows::as_they_stand(&self.path, lines, &mut each),
        }
    }
}

/// Whether the beginning of a file is that of UTF-16: with its mark, or every other byte of ordinary letters being zero.
fn is_utf16(begins: &[u8]) -> bool {
    let zeros = |from: usize| begins.iter().skip(from).step_by(2).filter(|b| **b == 0).count();
    let marked = begins.starts_with(&[0xff, 0xfe]) || begins.starts_with(&[0xfe, 0xff]);
    // A NUL here and there is a flaw of its row.
    marked || (begins.len() >= 4 && zeros(0).max(zeros(1)) * 4 > begins.len())
}

/// Whether a file is UTF-8 from beginning to end, read in pieces.
fn is_utf8(path: &Path) -> std::io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    let mut buffer = vec![0; 256 * 1024];
    let mut kept = 0;
    loop {
        let n = file.read(&mut buffer[kept..])?;
        let end = kept + n;
        match std::str::from_utf8(&buffer[..end]) {
            Ok(_) => kept = 0,
            // A character cut at the end of the piece goes on in the next.
            Err(e) if e.error_len().is_none() && n > 0 => {
                let rest = e.valid_up_to();
                buffer.copy_within(rest..end, 0);
                kept = end - rest;
            }
            Err(_) => return Ok(false),
        }
        if n == 0 {
            return Ok(kept == 0);
        }
    }
}
