//! Where output goes: data to standard output, everything else to standard error.

use std::io::{IsTerminal, Write};

use serde_json::Value;

/// The two streams of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    /// Whether one JSON document is wanted.
    pub json: bool,
}

impl Out {
    pub(super) fn new(json: bool) -> Out {
        Out { json }
    }

    /// Prints data. A reader who has enough (`| head`) ends the command quietly.
    pub(super) fn data(self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        stdout.write_all(format!("{text}{end}").as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Prints a JSON document.
    pub(super) fn document(self, value: &Value) -> anyhow::Result<()> {
        self.data(&serde_json::to_string_pretty(value)?)
    }

    /// Prints a remark for the person at the terminal.
    pub(super) fn note(self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Prints what went wrong.
    pub(super) fn error(self, error: &anyhow::Error) {
        let mut text = String::new();
        for line in format!("{error:#}").lines() {
            text.push_str("error: ");
            text.push_str(line);
            text.push('\n');
        }
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// A number with the word for one such thing: `1 job`, `2 jobs`.
pub(super) fn counted(n: impl TryInto<u64>, one: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// A text of unknown origin made safe for a terminal: control characters and changes of writing direction are shown
/// as what they are.
pub(super) fn safe(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => "⏎".to_owned(),
        c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
            c.escape_unicode().to_string()
        }
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// Narrower than this no column is cut.
const NARROWEST: usize = 7;

/// A table without borders, one line a row. On a terminal that is too narrow for it the widest columns are cut; the
/// first one, by which people copy ids and names, never is.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = if std::io::stdout().is_terminal() {
        ratatui::crossterm::terminal::size().map_or(usize::MAX, |(columns, _)| usize::from(columns))
    } else {
        usize::MAX
    };
    table_within(header, rows, width)
}

fn table_within(header: &[&str], mut rows: Vec<Vec<String>>, width: usize) -> String {
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in &rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    // Two spaces between columns.
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len();
    while total(&widths) > width {
        let Some(widest) = widths.iter_mut().skip(1).filter(|w| **w > NARROWEST).max() else { break };
        *widest -= 1;
    }
    for row in &mut rows {
        for (cell, w) in row.iter_mut().zip(&widths) {
            if cell.chars().count() > *w {
                *cell = cell.chars().take(w.saturating_sub(1)).chain(['…']).collect();
            }
        }
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().map(|h| comfy_table::Cell::new(h.to_uppercase())));
    table.add_rows(rows);
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().trim_start_matches(' ').to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_a_narrow_terminal_and_keeps_its_first_column() {
        let id = "01997a3c-5c1e-7d1a-8f2e-3b1f0c9d8e7f";
        let rows = || vec![vec![id.to_owned(), "a-long-name-of-a-job-that-goes-on".to_owned(), "scheduled".to_owned()]];
        let narrow = table_within(&["id", "job", "state"], rows(), 70);
        assert!(narrow.lines().all(|l| l.chars().count() <= 70), "{narrow}");
        assert!(narrow.contains(id) && narrow.contains('…'));
        assert_eq!(narrow.lines().count(), 2, "one line a row");
        assert!(table_within(&["id", "job", "state"], rows(), usize::MAX).contains("that-goes-on"));
    }
}
