//! `POST /hooks/{instance}`: what gateways post back.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::clock;
use crate::domain::time::Millis;
use crate::http::HttpState;
use crate::receipts::Taken;

/// Largest webhook body, in bytes. A gateway that tells a thousand messages at once, or a small picture within one, needs
/// more than 256 KiB, and an opt-out may be among them.
const BODY_LIMIT: usize = 1024 * 1024;

/// How often bodies over the limit are told of at most: nobody proved yet where they come from.
const TELL_EVERY: Millis = Millis::seconds(60);

pub(super) async fn take(
    State(state): State<HttpState>,
    Path(instance): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&state, &instance, None, &headers, body).await
}

pub(super) async fn take_by_token(
    State(state): State<HttpState>,
    Path((instance, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&state, &instance, Some(&token), &headers, body).await
}

async fn answer(state: &HttpState, instance: &str, token: Option<&str>, headers: &HeaderMap, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        tell_of_large(state, instance, headers);
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB\n").into_response();
    };
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match state.receipts.take(instance, header, token, &body).await {
        Taken::Recorded => (StatusCode::OK, "recorded\n").into_response(),
        Taken::Ignored => (StatusCode::OK, "ignored\n").into_response(),
        Taken::Unknown => (StatusCode::NOT_FOUND, "no such instance\n").into_response(),
        Taken::Forbidden => (StatusCode::UNAUTHORIZED, "the signature is missing or wrong\n").into_response(),
        Taken::Unavailable => {
            let headers = [(RETRY_AFTER, "5")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, "it could not be stored; try again\n").into_response()
        }
    }
}

/// Warns of a body over the limit, once a while: an opt-out in it would be lost in silence.
fn tell_of_large(state: &HttpState, instance: &str, headers: &HeaderMap) {
    let now = clock::now();
    let may = |told: i64| (now.0 < told || now.0 - told >= TELL_EVERY.0).then_some(now.0);
    if !state.receipts.knows(instance)
        || state.told_of_large.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may).is_err()
    {
        return;
    }
    let bytes = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).unwrap_or("unknown");
    tracing::warn!(
        instance,
        bytes,
        limit = BODY_LIMIT,
        "a webhook was refused: its body is too large, or broke off. What it tells is lost; let the gateway tell fewer \
         messages at once, and without their files"
    );
}
