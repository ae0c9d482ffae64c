//! What the daemon answers over HTTP: webhooks of gateways, and whether it lives.

mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::receipts::Receipts;

/// What the handlers share.
#[derive(Clone)]
pub struct HttpState {
    receipts: Arc<Receipts>,
    ready: watch::Receiver<bool>,
}

/// Serves until told to stop; requests that are open then are answered.
pub async fn serve(
    listener: TcpListener,
    receipts: Receipts,
    ready: watch::Receiver<bool>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let state = HttpState { receipts: Arc::new(receipts), ready };
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

/// Ready once the file is applied and the worker runs.
async fn readyz(axum::extract::State(state): axum::extract::State<HttpState>) -> (StatusCode, &'static str) {
    if *state.ready.borrow() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
