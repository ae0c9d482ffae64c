//! Log lines: text for people, JSON for machines, always on standard error, never with a secret.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::time::FormatTime;

use crate::cli::{ColorWhen, Global};
use crate::clock;

/// Time of day with milliseconds in the system's zone: what one compares with a clock on the wall.
struct WallTime;

impl FormatTime for WallTime {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let zone = clock::zone(&clock::system_zone_name()).unwrap_or(jiff::tz::TimeZone::UTC);
        write!(w, "{}", clock::now().in_zone(&zone).strftime("%H:%M:%S%.3f"))
    }
}

/// Lines kept while the live view holds the terminal: they are shown in it, and printed when it ends.
const CAPTURED: usize = 500;

static CAPTURE: Mutex<Option<VecDeque<String>>> = Mutex::new(None);

/// From now on log lines are kept for the live view.
pub(super) fn capture() {
    *CAPTURE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(VecDeque::new());
}

/// The lines kept so far, without colours.
pub(super) fn captured() -> Vec<String> {
    let capture = CAPTURE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    capture.iter().flatten().cloned().collect()
}

/// Prints what was kept, and goes on printing.
pub(super) fn release() {
    let kept = CAPTURE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let mut stderr = std::io::stderr().lock();
    for line in kept.into_iter().flatten() {
        let _ = writeln!(stderr, "{line}");
    }
}

/// Whether log lines are JSON documents.
pub(super) fn as_json() -> bool {
    std::env::var("ONTHEDOT_LOG_FORMAT").is_ok_and(|f| f == "json")
}

/// Standard error, or the live view while it holds the terminal.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut capture = CAPTURE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match capture.as_mut() {
            Some(lines) => {
                lines.push_back(String::from_utf8_lossy(bytes).trim_end().to_owned());
                if lines.len() > CAPTURED {
                    lines.pop_front();
                }
            }
            None => {
                drop(capture);
                std::io::stderr().lock().write_all(bytes)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().lock().flush()
    }
}

/// Starts logging. Commands that end at once only say what went wrong unless asked for more.
/// With `live`, what the live view tells message by message is not told again.
pub(super) fn start(global: &Global, long_running: bool, live: bool) {
    let level = match (global.quiet, global.verbose, long_running) {
        (true, ..) => "error",
        (_, 0, true) if live => "warn,onthedot=info,onthedot::worker=warn,onthedot::receipts=warn",
        (_, 0, true) => "warn,onthedot=info",
        (_, 0, false) => "error",
        (_, 1, _) => "warn,onthedot=debug",
        (_, _, _) => "debug,onthedot=trace",
    };
    let own = std::env::var("ONTHEDOT_LOG").or_else(|_| std::env::var("RUST_LOG")).ok();
    let filter = own.and_then(|f| EnvFilter::try_new(f).ok()).unwrap_or_else(|| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    let colour = match global.color {
        _ if live => false,
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    // A reader of standard error that went away must not take the daemon with it.
    let builder = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .with_ansi(colour);
    let set = if as_json() {
        builder.json().flatten_event(true).with_target(false).try_init()
    } else {
        builder.with_timer(WallTime).with_target(false).try_init()
    };
    if let Err(e) = set {
        eprintln!("logging cannot be started: {e}");
    }
}
