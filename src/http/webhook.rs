//! `POST /hooks/{instance}`: what gateways post back.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::HttpState;
use crate::receipts::Taken;

/// Largest webhook body, in bytes.
const BODY_LIMIT: usize = 256 * 1024;

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
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 256 KiB\n").into_response();
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
