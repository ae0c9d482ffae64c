//! Log lines: text for people, JSON for machines, always on standard error, never with a secret.

use std::io::IsTerminal;

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

/// Starts logging. Commands that end at once only say what went wrong unless asked for more.
pub(super) fn start(global: &Global, long_running: bool) {
    let level = match (global.quiet, global.verbose, long_running) {
        (true, ..) => "error",
        (_, 0, true) => "warn,onthedot=info",
        (_, 0, false) => "error",
        (_, 1, _) => "warn,onthedot=debug",
        (_, _, _) => "debug,onthedot=trace",
    };
    let own = std::env::var("ONTHEDOT_LOG").or_else(|_| std::env::var("RUST_LOG")).ok();
    let filter = own.and_then(|f| EnvFilter::try_new(f).ok()).unwrap_or_else(|| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    let colour = match global.color {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    // A reader of standard error that went away must not take the daemon with it.
    let builder = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour);
    let json = std::env::var("ONTHEDOT_LOG_FORMAT").is_ok_and(|f| f == "json");
    let set = if json {
        builder.json().flatten_event(true).with_target(false).try_init()
    } else {
        builder.with_timer(WallTime).with_target(false).try_init()
    };
    if let Err(e) = set {
        eprintln!("logging cannot be started: {e}");
    }
}
