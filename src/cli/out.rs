//! Where output goes: data to standard output, everything else to standard error.

use std::io::Write;

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

/// A table without borders that fits the terminal.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().map(|h| comfy_table::Cell::new(h.to_uppercase())));
    table.add_rows(rows);
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().trim_start_matches(' ').to_owned()).collect();
    lines.join("\n")
}
