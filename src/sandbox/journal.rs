//! The append-only record of everything the sandbox was asked: one JSON line a request.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use axum::http::Method;
use serde_json::json;
use sha2::Digest;

use crate::clock;
use crate::domain::time::Timestamp;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub received_at: Timestamp,
    /// The same in microseconds.
    pub received_us: i64,
    /// When it was carried out; absent when it was not.
    pub done_at: Option<Timestamp>,
    pub method: String,
    pub path: String,
    pub instance_id: Option<String>,
    pub chat: Option<String>,
    /// SHA-256 of the body with credentials in it: comparable, not readable.
    pub body_sha256: String,
    /// SHA-256 of the text alone, where there is one.
    pub text_sha256: Option<String>,
    pub status: Option<u16>,
    pub gateway_id: Option<String>,
    pub fault: Option<&'static str>,
}

impl Entry {
    pub(super) fn new(received_at: Timestamp, method: &Method, path: &str, body: &[u8]) -> Entry {
        Entry {
            received_at,
            received_us: clock::now_us(),
            done_at: None,
            method: method.to_string(),
            path: path.to_owned(),
            instance_id: None,
            chat: None,
            body_sha256: sha256(body),
            text_sha256: None,
            status: None,
            gateway_id: None,
            fault: None,
        }
    }
}

/// A hash in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Where entries go.
pub(super) struct Journal(Option<Mutex<File>>);

impl Journal {
    pub(super) fn open(path: &Path) -> std::io::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Journal(Some(Mutex::new(file))))
    }

    pub(super) fn none() -> Journal {
        Journal(None)
    }

    /// Appends one line, in one write, so that a kill never leaves half of one behind others.
    pub(super) fn write(&self, entry: &Entry) {
        let Some(file) = &self.0 else { return };
        let line = json!({
            "received_ms": entry.received_at,
            "received_us": entry.received_us,
            "done_ms": entry.done_at,
            "method": entry.method,
            "path": entry.path,
            "instance_id": entry.instance_id,
            "chat": entry.chat,
            "body_sha256": entry.body_sha256,
            "text_sha256": entry.text_sha256,
            "status": entry.status,
            "gateway_id": entry.gateway_id,
            "fault": entry.fault,
        });
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(e) = file.write_all(format!("{line}\n").as_bytes()) {
            tracing::error!(error = %e, "the sandbox's journal cannot be written");
        }
    }
}
