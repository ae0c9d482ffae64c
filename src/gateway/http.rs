//! The shared HTTP client: everything a send must not do is off (redirects, retries, proxies from the environment),
//! everything has a limit, and an error says whether the request may have left.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::domain::time::Millis;

/// Most of an answer that is read, after decompression. More is no answer of a gateway.
const BODY_CAP_BYTES: usize = 1024 * 1024;

/// Idle connections are closed before common servers close theirs (Node: 5 s), or a send would now and then meet a
/// connection that is just going away.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections kept to one host.
const IDLE_CONNECTIONS: usize = 256;

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made: {0}; check that the system's certificates are installed")]
pub struct ClientError(String);

/// A client for one account.
#[derive(Clone, Debug)]
pub struct HttpClient(reqwest::Client);

/// What came of a request.
#[derive(Clone, Debug)]
pub enum HttpOutcome {
    /// An answer, whatever its status.
    Answer {
        /// The status code.
        status: u16,
        /// How long the server asked us to wait.
        retry_after: Option<Millis>,
        /// The body.
        body: Vec<u8>,
    },
    /// The request provably never left.
    NotSent(String),
    /// It may have been carried out.
    Unclear(String),
}

impl HttpClient {
    /// A client whose connections must stand within `connect`.
    ///
    /// # Errors
    /// [`ClientError`] when TLS cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes HTTP clients")]
    pub fn new(connect: Millis) -> Result<HttpClient, ClientError> {
        reqwest::Client::builder()
            .connect_timeout(connect.to_duration())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .no_proxy()
            .tcp_nodelay(true)
            .user_agent(concat!("onthedot/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(HttpClient)
            .map_err(|e| ClientError(e.to_string()))
    }

    /// Posts a JSON body.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Vec<u8>, limit: Millis) -> HttpOutcome {
        let json = reqwest::header::HeaderValue::from_static("application/json");
        let request = self.0.post(url).headers(headers).header(reqwest::header::CONTENT_TYPE, json).body(body);
        run(request.timeout(limit.to_duration())).await
    }

    /// Gets.
    pub async fn get(&self, url: &str, headers: HeaderMap, limit: Millis) -> HttpOutcome {
        run(self.0.get(url).headers(headers).timeout(limit.to_duration())).await
    }
}

async fn run(request: reqwest::RequestBuilder) -> HttpOutcome {
    let mut response = match request.send().await {
        Ok(response) => response,
        // A connection that never stood carried nothing; anything later may have.
        Err(e) if e.is_connect() || e.is_builder() => return HttpOutcome::NotSent(told(e)),
        Err(e) => return HttpOutcome::Unclear(told(e)),
    };
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_CAP_BYTES => {
                return HttpOutcome::Unclear(format!("the answer ({status}) is longer than {BODY_CAP_BYTES} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return HttpOutcome::Answer { status, retry_after, body },
            Err(e) => return HttpOutcome::Unclear(format!("the answer ({status}) broke off: {}", told(e))),
        }
    }
}

/// The error with its causes and without its URL.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = if error.is_timeout() { "timed out: ".to_owned() } else { String::new() };
    text.push_str(&error.to_string());
    let mut cause = std::error::Error::source(&error);
    while let Some(c) = cause {
        let words = c.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = c.source();
    }
    text
}

/// `Retry-After` in seconds or as a date; nonsense counts as absent.
fn retry_after(headers: &HeaderMap) -> Option<Millis> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Millis::seconds(i64::from(seconds)));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    let wait = crate::domain::time::Timestamp::from(date.timestamp()).since(crate::clock::now());
    (wait > Millis::ZERO).then_some(wait)
}
