//! What the daemon answers over HTTP: webhooks of gateways, and whether it lives.

mod webhook;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::receipts::Receipts;

/// Whether the daemon does its work.
#[derive(Clone)]
pub struct Readiness {
    /// The file is applied and the worker runs.
    pub ready: watch::Receiver<bool>,
    /// What is stuck and cannot be mended, in words.
    pub trouble: watch::Receiver<Option<String>>,
}

/// What the handlers share.
#[derive(Clone)]
pub struct HttpState {
    receipts: Arc<Receipts>,
    readiness: Readiness,
    /// When a body over the limit was last told of, in ms.
    told_of_large: Arc<AtomicI64>,
}

/// Serves until told to stop; requests that are open then are answered.
pub async fn serve(
    listener: TcpListener,
    receipts: Receipts,
    readiness: Readiness,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let state = HttpState { receipts: Arc::new(receipts), readiness, told_of_large: Arc::default() };
    axum::serve(listener, router(state)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(state: HttpState) -> Router {
    Router::new()
        .route("/hooks/{instance}", post(webhook::take))
        .route("/hooks/{instance}/{token}", post(webhook::take_by_token))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .with_state(state)
}

/// Ready once the file is applied and the worker runs, as long as nothing is stuck that nobody mends.
async fn readyz(axum::extract::State(state): axum::extract::State<HttpState>) -> (StatusCode, String) {
    let trouble = state.readiness.trouble.borrow().clone();
    match (*state.readiness.ready.borrow(), trouble) {
        (true, None) => (StatusCode::OK, "ready\n".to_owned()),
        (true, Some(stuck)) => (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {stuck}\n")),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
    }
}
