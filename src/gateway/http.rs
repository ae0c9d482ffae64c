//! The shared HTTP client: everything a send must not do is off (redirects, retries, proxies from the environment),
//! everything has a limit, and an error says whether the request may have left. Answers are not asked for in compressed form:
//! they are short, and the layer that would take them costs every one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use reqwest::IntoUrl;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::clock;
use crate::domain::time::Millis;

/// Most of an answer that is read. More is no answer of a gateway.
const BODY_CAP_BYTES: usize = 1024 * 1024;

/// Idle connections are closed before common servers close theirs (Node: 5 s), or a send would now and then meet a
/// connection that is just going away.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections kept to one host: as many as there may be requests at a time, or each new one costs a connection.
const IDLE_CONNECTIONS: usize = 4_096;

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made: {0}; check that the system's certificates are installed")]
pub struct ClientError(String);

/// A client for one account.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    read: Millis,
}

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

/// Clients by how long their connections may take to stand: each has its certificates and its connections, so accounts
/// share one.
#[derive(Debug, Default)]
pub struct Clients(BTreeMap<Millis, HttpClient>);

impl Clients {
    /// A client as [`HttpClient::new`] makes it, of the connections of one like it where there is one.
    ///
    /// # Errors
    /// [`ClientError`] when TLS cannot be set up.
    pub fn like(&mut self, connect: Millis, read: Millis) -> Result<HttpClient, ClientError> {
        let client = match self.0.entry(connect) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(HttpClient::new(connect, read)?),
        };
        Ok(HttpClient { client: client.client.clone(), read })
    }
}

impl HttpClient {
    /// A client whose connections must stand within `connect`, and whose answers, once begun, must not pause longer than
    /// `read`.
    ///
    /// # Errors
    /// [`ClientError`] when TLS cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes HTTP clients")]
    pub fn new(connect: Millis, read: Millis) -> Result<HttpClient, ClientError> {
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
            .map(|client| HttpClient { client, read })
            .map_err(|e| ClientError(e.to_string()))
    }

    /// Posts a JSON body.
    pub async fn post(&self, url: impl IntoUrl, headers: HeaderMap, body: Vec<u8>, limit: Millis) -> HttpOutcome {
        let json = reqwest::header::HeaderValue::from_static("application/json");
        let request = self.client.post(url).headers(headers).header(reqwest::header::CONTENT_TYPE, json).body(body);
        run(request.timeout(limit.to_duration()), self.read).await
    }

    /// Gets.
    pub async fn get(&self, url: &str, headers: HeaderMap, limit: Millis) -> HttpOutcome {
        run(self.client.get(url).headers(headers).timeout(limit.to_duration()), self.read).await
    }

    /// Asks for a deletion.
    pub async fn delete(&self, url: &str, headers: HeaderMap, limit: Millis) -> HttpOutcome {
        run(self.client.delete(url).headers(headers).timeout(limit.to_duration()), self.read).await
    }
}

async fn run(request: reqwest::RequestBuilder, read: Millis) -> HttpOutcome {
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
        let Ok(chunk) = clock::within(read, response.chunk()).await else {
            return HttpOutcome::Unclear(format!("timed out: the answer ({status}) paused for {read}"));
        };
        match chunk {
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
    let wait = crate::domain::time::Timestamp::from(date.timestamp()).since(clock::now());
    (wait > Millis::ZERO).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_retry_after_is_a_wait_or_none() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("3"), Some(Millis::seconds(3)));
        assert_eq!(read(" 0 "), Some(Millis::ZERO));
        assert_eq!(read("1000000000"), Some(Millis::seconds(1_000_000_000)), "the lane cuts it");
        for nonsense in ["-5", "1.5", "soon", "", "99999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        let ahead = read("Fri, 01 Jan 2100 00:00:00 GMT").unwrap();
        assert!(ahead > Millis::seconds(86_400));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
