//! Places at which a test ends the process, as a power switch would, or makes it stand still: named after what was just
//! done. In a release build they are nothing.

/// Ends the process here at the n-th passing, where `ONTHEDOT_CRASH_AT` says `name` or `name:n`; stands still for ever,
/// where `ONTHEDOT_HANG_AT` does.
#[cfg(debug_assertions)]
pub fn pass(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Wanted {
        name: String,
        at: u32,
        passed: AtomicU32,
    }
    static CRASH: OnceLock<Option<Wanted>> = OnceLock::new();
    static HANG: OnceLock<Option<Wanted>> = OnceLock::new();

    let read = |variable: &str| {
        let text = std::env::var(variable).ok()?;
        let (name, at) = text.split_once(':').unwrap_or((text.as_str(), "1"));
        Some(Wanted { name: name.to_owned(), at: at.parse().unwrap_or(1), passed: AtomicU32::new(0) })
    };
    let is_it = |wanted: &Option<Wanted>| {
        let wanted = wanted.as_ref().filter(|w| w.name == name);
        wanted.is_some_and(|w| w.passed.fetch_add(1, Ordering::SeqCst) + 1 == w.at)
    };
    if is_it(CRASH.get_or_init(|| read("ONTHEDOT_CRASH_AT"))) {
        std::process::abort();
    }
    if is_it(HANG.get_or_init(|| read("ONTHEDOT_HANG_AT"))) {
        loop {
            std::thread::park();
        }
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn pass(_name: &'static str) {}
