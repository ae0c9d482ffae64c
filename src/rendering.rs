//! What a message says, worked out right before it is sent: undamaged since it was planned, its templates filled in.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use crate::clock;
use crate::domain::occurrence;
use crate::domain::render::{CompiledContent, Rendered};
use crate::domain::state::Reason;
use crate::domain::template::{Moments, TemplateError, Vars, ZONE_VAR};
use crate::domain::time::Timestamp;
use crate::store::{Claimed, StoredContent, guard, vars_json};

/// Contents remembered with their templates parsed. A broadcast has a few for all its messages; a parsed template takes some
/// kilobytes.
const REMEMBERED: usize = 64;

/// A content made ready.
#[derive(Debug)]
struct Ready {
    /// Its text, of which the hash of every message with it is taken.
    text: String,
    compiled: Result<CompiledContent, TemplateError>,
}

impl Ready {
    fn of(content: &StoredContent) -> Ready {
        let text = serde_json::to_string(&content.content).unwrap_or_default();
        Ready { text, compiled: content.content.compile() }
    }
}

/// Renders messages, and remembers the contents of the last ones by their rows: what a row says never changes.
#[derive(Debug, Default)]
pub struct Renderer {
    ready: HashMap<i64, Ready>,
}

impl Renderer {
    /// Fills in a message's templates. Runs under `catch_unwind`: a template must never take the worker with it.
    ///
    /// # Errors
    /// The reason why it cannot be sent, and a word for its timeline: it was damaged since it was planned, or a template
    /// failed.
    pub fn render(&mut self, claimed: &Claimed, slot: Timestamp) -> Result<Rendered, (Reason, String)> {
        let rendering = AssertUnwindSafe(|| self.render_unguarded(claimed, slot));
        std::panic::catch_unwind(rendering)
            .unwrap_or_else(|_| Err((Reason::Template, "the template made the renderer fail".to_owned())))
    }

    fn render_unguarded(&mut self, claimed: &Claimed, slot: Timestamp) -> Result<Rendered, (Reason, String)> {
        let content = &claimed.content;
        if self.ready.len() >= REMEMBERED && !self.ready.contains_key(&content.id) {
            self.ready.clear();
        }
        let ready = self.ready.entry(content.id).or_insert_with(|| Ready::of(content));
        if guard(&claimed.due.chat, &ready.text, vars_json(&claimed.vars).as_deref()) != claimed.guard {
            let note = "the stored content does not match the hash taken when the message was planned";
            return Err((Reason::Damaged, note.to_owned()));
        }
        let failed = |e: String| (Reason::Template, e);
        let compiled = ready.compiled.as_ref().map_err(|e| failed(e.to_string()))?;
        compiled.render(&claimed.vars, &moments(claimed, slot)).map_err(|e| failed(e.to_string()))
    }
}

/// The instants a message's templates may speak of, on the job's clock, or on its recipient's where that one counts.
fn moments(claimed: &Claimed, slot: Timestamp) -> Moments {
    let (due, event) = (claimed.due.due_at, claimed.due.event_at);
    let job_zone = || clock::zone(&claimed.content.zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let own_clock = claimed.content.manner.own_clock;
    let zone = match own_clock || event.is_some() {
        true => recipient_zone(&claimed.vars).unwrap_or_else(job_zone),
        false => job_zone(),
    };
    // What somebody asked for beside the schedule is due at the instant that names it, on every clock.
    let named_by_clock = |n: Timestamp| own_clock && due != n;
    let nominal = claimed.nominal_at.map(|n| if named_by_clock(n) { occurrence::own_clock(n, &zone) } else { n });
    Moments { due, nominal, event, late_by: slot.since(due), zone, pick: claimed.due.draw.with_text("pick") }
}

/// The clock of a recipient, where it is known.
fn recipient_zone(vars: &Vars) -> Option<jiff::tz::TimeZone> {
    vars.get(ZONE_VAR).and_then(|name| clock::zone(name.trim()).ok())
}
