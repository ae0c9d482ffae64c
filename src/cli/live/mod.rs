//! The live view of `run` on a terminal: how campaigns get on, who is being typed to, what leaves next, what landed.
//!
//! It draws on standard error, in the terminal's second screen, and restores the first one however the run ends: by
//! itself, by a signal, by a panic.

mod draw;
mod model;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio_util::sync::CancellationToken;

use crate::cli::log;
use crate::cli::progress::watch::Watch;
use crate::cli::{ColorWhen, Global};
use crate::clock::{self, Stopwatch};
use crate::domain::time::{Millis, Timestamp};
use crate::feed::News;
use crate::store::{Opening, SqliteStore};
use model::Model;

/// Ten pictures a second: dots move smoothly, and the machine hardly notices.
const FRAME: Millis = Millis(100);

/// The database is looked at this often, and never for more than a hundredth of the time.
const LOOK: Millis = Millis(500);
const LOOK_COST: i64 = 100;

/// Next departures fetched; more never fit.
const COMING: usize = 50;

/// Whether the terminal shows the second screen.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Whether a live view can be shown: a person sits at a terminal that can move its cursor, and asked for nothing else.
pub(super) fn fits(global: &Global) -> bool {
    let plain = global.json || global.quiet || global.verbose > 0 || log::as_json();
    let able = std::env::var("TERM").is_ok_and(|t| !t.is_empty() && t != "dumb");
    !plain && able && std::io::stderr().is_terminal() && std::io::stdin().is_terminal()
}

/// Gives the terminal back as it was. Harmless when it was never taken.
pub(super) fn restore() {
    if ACTIVE.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(std::io::stderr(), LeaveAlternateScreen, Show);
        log::release();
    }
}

/// A live view that is being shown.
pub(super) struct Live {
    stop: CancellationToken,
    drawing: std::thread::JoinHandle<()>,
}

impl Live {
    /// Takes the terminal and begins to show news about a database.
    ///
    /// # Errors
    /// When the terminal cannot be taken; it is then as it was.
    pub(super) fn start(
        global: &Global,
        database: &Path,
        sandbox: bool,
        news: Receiver<News>,
    ) -> std::io::Result<Live> {
        enable_raw_mode()?;
        ACTIVE.store(true, Ordering::SeqCst);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
        if let Err(e) = execute!(std::io::stderr(), EnterAlternateScreen) {
            restore();
            return Err(e);
        }
        let terminal = Terminal::new(CrosstermBackend::new(std::io::stderr())).inspect_err(|_| restore())?;
        log::capture();
        std::thread::spawn(watch_keys);
        let stop = CancellationToken::new();
        let coloured = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        let model = Model::new(sandbox, clock::now());
        let (database, stopped, runtime) = (database.to_owned(), stop.clone(), tokio::runtime::Handle::current());
        // A thread of its own: a terminal that takes its time must not hold up a send.
        let drawing = std::thread::spawn(move || {
            runtime.block_on(show(terminal, model, database, news, coloured, stopped));
        });
        Ok(Live { stop, drawing })
    }

    /// Ends the view and gives the terminal back.
    pub(super) async fn end(self) {
        self.stop.cancel();
        let _ = tokio::task::spawn_blocking(|| self.drawing.join()).await;
        restore();
    }
}

/// In raw mode the terminal sends no signals: q and Ctrl-C become the signal they stand for.
fn watch_keys() {
    while ACTIVE.load(Ordering::SeqCst) {
        if !event::poll(FRAME.to_duration()).unwrap_or(false) {
            continue;
        }
        let Ok(Event::Key(key)) = event::read() else { continue };
        let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        if interrupt || key.code == KeyCode::Char('q') {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
        }
    }
}

async fn show(
    mut terminal: Terminal<CrosstermBackend<std::io::Stderr>>,
    mut model: Model,
    database: PathBuf,
    mut news: Receiver<News>,
    coloured: bool,
    stop: CancellationToken,
) {
    let mut store = None;
    let mut look_at = Timestamp(0);
    let mut watch = None;
    while !stop.is_cancelled() && ACTIVE.load(Ordering::SeqCst) {
        loop {
            match news.try_recv() {
                Ok(n) => model.take(n),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let now = clock::now();
        if now >= look_at && model.ready {
            let took = Stopwatch::start();
            look(&mut store, &mut model, &database, now).await;
            look_at = clock::now() + LOOK.max(Millis(took.elapsed().0 * LOOK_COST));
        }
        if model.ready {
            // Beside the drawing: counting a large campaign takes longer than a picture may.
            let watch = watch.get_or_insert_with(|| Watch::start(&database, stop.clone()));
            model.under_way = watch.seen();
        }
        model.log = log::captured();
        model.now = now;
        if terminal.draw(|frame| draw::draw(frame, &model, coloured)).is_err() {
            // The terminal went away; the daemon goes on without a view.
            restore();
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(FRAME) => {}
        }
    }
}

async fn look(store: &mut Option<SqliteStore>, model: &mut Model, database: &Path, now: Timestamp) {
    if store.is_none() {
        *store = SqliteStore::open(database, Opening::Reading).await.ok();
    }
    let Some(store) = store else { return };
    if let Ok(coming) = store.coming(COMING).await {
        model.coming = coming;
    }
    if let Ok(lanes) = store.lanes(now).await {
        model.lanes = lanes;
    }
    if let Ok(pauses) = store.pauses(now).await {
        model.pauses = pauses;
    }
    if let Ok(n) = store.doubt_count().await {
        model.doubts = n;
    }
}

#[cfg(test)]
#[path = "../../../tests/support/terminal.rs"]
#[allow(dead_code, clippy::allow_attributes, clippy::unwrap_used, reason = "shared: no test uses all of it")]
mod terminal;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Feed;
    use clap::Parser;

    /// The program in miniature: takes the terminal, shows a picture, and panics.
    #[test]
    #[ignore = "started on a terminal by the test below"]
    fn a_view_that_panics() {
        let global = crate::cli::Cli::parse_from(["onthedot", "stats"]).global;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let _live = Live::start(&global, Path::new("/nonexistent/db"), true, Feed::default().watch()).unwrap();
            clock::sleep(Millis(400)).await;
            panic!("on purpose");
        });
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test waits for another process")]
    fn the_screen_is_whole_after_a_panic() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "cli::live::tests::a_view_that_panics"]);
        command.env("RUST_BACKTRACE", "0");
        let mut terminal = terminal::Terminal::start(command, 80, 24);
        let wait = |what: &str, is: &mut dyn FnMut() -> bool| {
            let looks = (0..1_000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                is()
            });
            assert!(looks, "{what}");
        };
        wait("the view is seen", &mut || terminal.is_second_screen());
        wait("the process ends", &mut || terminal.child.try_wait().unwrap().is_some());
        wait("the panic is told", &mut || terminal.text().contains("on purpose"));
        assert!(!terminal.is_second_screen() && !terminal.hides_cursor() && terminal.is_cooked());
    }
}
