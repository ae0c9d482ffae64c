//! The server all peers post to, on one core: `server PORT`.
//!
//! A message is `POST /m` with `id` and `due_us` in its body, typing is `POST /t`; the same as Wawp would have them
//! (`/v2/send/text`, `/v2/send/start-typing`) has its id in the chat's number, and due instants that `POST /due` told
//! (`FIRST SPAN_US COUNT`). Every answer has 1,402 bytes. `/count`, `/stats` and `/reset` are for who measures.

use std::cell::RefCell;

use bytes::Bytes;
use common::now_us;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The first number that messages in the manner of Wawp go to.
const FIRST_NUMBER: u64 = 491_510_000_000;

/// Bytes of an answer.
const ANSWER: usize = 1_402;

#[derive(Default)]
struct Seen {
    messages: u64,
    typing: u64,
    typing_after_message: u64,
    /// How often each message came.
    times: Vec<u8>,
    late_us: Vec<i64>,
    first_us: u64,
    last_us: u64,
    /// Due instants told apart from the messages: the first, the span, how many.
    due: Option<(u64, u64, u64)>,
}

thread_local!(static SEEN: RefCell<Seen> = RefCell::default());

impl Seen {
    fn message(&mut self, id: u64, due_us: u64) {
        let now = now_us();
        let due = self.due.map_or(due_us, |(first, span, count)| first + id * span / count.max(1));
        if self.messages == 0 {
            self.first_us = now;
        }
        self.last_us = now;
        self.messages += 1;
        let at = id as usize;
        if self.times.len() <= at {
            self.times.resize(at + 1 + at / 2, 0);
        }
        self.times[at] = self.times[at].saturating_add(1);
        if due > 0 {
            self.late_us.push(now as i64 - due as i64);
        }
    }

    fn typing(&mut self, id: u64) {
        self.typing += 1;
        self.typing_after_message += u64::from(self.times.get(id as usize).is_some_and(|n| *n > 0));
    }

    fn stats(&self) -> String {
        let mut late = self.late_us.clone();
        late.sort_unstable();
        let at = |percent: usize| late.get((late.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let late = late
            .first()
            .map(|least| serde_json::json!({ "min": least, "p50": at(50), "p99": at(99), "max": late.last() }));
        serde_json::json!({
            "messages": self.messages,
            "distinct": self.times.iter().filter(|n| **n > 0).count(),
            "doubles": self.times.iter().filter(|n| **n > 1).count(),
            "typing": self.typing,
            "typing_after_message": self.typing_after_message,
            "span_us": self.last_us - self.first_us,
            "late_us": late,
        })
        .to_string()
    }
}

/// The number behind a key of a body.
fn number(body: &[u8], key: &str) -> Option<u64> {
    let at = body.windows(key.len()).position(|w| w == key.as_bytes())? + key.len();
    let rest = &body[at..];
    let begin = rest.iter().position(u8::is_ascii_digit)?;
    let digits = rest[begin..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

fn wawp(body: &[u8]) -> u64 {
    number(body, "\"chatId\":").unwrap_or(0).saturating_sub(FIRST_NUMBER)
}

fn padded(mut text: String) -> Bytes {
    text.truncate(text.len() - 1);
    text.push_str(",\"rest\":\"");
    while text.len() < ANSWER - 2 {
        text.push('x');
    }
    text.push_str("\"}");
    text.into()
}

async fn answer(
    request: Request<Incoming>,
    plain: Bytes,
    working: Bytes,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let told = SEEN.with_borrow_mut(|seen| match (head.method == Method::POST, head.uri.path()) {
        (true, "/m") => {
            seen.message(number(&body, "\"id\":").unwrap_or(0), number(&body, "\"due_us\":").unwrap_or(0));
            plain
        }
        (true, "/t") => {
            seen.typing(number(&body, "\"id\":").unwrap_or(0));
            plain
        }
        (true, "/v2/send/text") => {
            let id = wawp(&body);
            seen.message(id, 0);
            padded(format!("{{\"id\":\"true_{}@c.us_3EB0{id:016X}\",\"ack\":0}}", FIRST_NUMBER + id))
        }
        (true, "/v2/send/start-typing") => {
            seen.typing(wawp(&body));
            plain
        }
        (true, "/v2/send/stop-typing") => plain,
        (_, "/v2/session/info") => working,
        (true, "/due") => {
            let text = String::from_utf8_lossy(&body);
            let told: Vec<u64> = text.split_whitespace().filter_map(|t| t.parse().ok()).collect();
            seen.due = <[u64; 3]>::try_from(told).ok().map(|[first, span, count]| (first, span, count));
            "ok".into()
        }
        (_, "/count") => seen.messages.to_string().into(),
        (_, "/stats") => seen.stats().into(),
        (_, "/reset") => {
            *seen = Seen::default();
            "ok".into()
        }
        _ => "{\"error\":true,\"code\":\"not_found\",\"message\":\"no such path here\"}".into(),
    });
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(told))
        .expect("the one header is well formed"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "9700".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let plain = padded("{\"ok\":true,\"result\":true}".to_owned());
    let working: Bytes = "{\"instance_id\":\"bench\",\"name\":\"bench\",\"status\":\"WORKING\"}".into();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let (plain, working) = (plain.clone(), working.clone());
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| answer(request, plain.clone(), working.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
        .await
}
