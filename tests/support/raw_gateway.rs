//! A gateway of a few lines that breaks off wherever a test wants it to: it speaks just enough of Wawp's contract, by plain
//! sockets, and remembers what it was asked and what it did.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What becomes of the first message it is sent; all later ones are carried out at once and answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum First {
    /// The connection breaks before anything of use was read.
    GotNothing,
    /// It breaks in the middle of the body.
    GotHalf,
    /// It is carried out and answered.
    GotAll,
    /// It is carried out some time after it was read, and answered then.
    DoesItLate,
}

/// How late that is.
const LATE: Duration = Duration::from_millis(400);

#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) chat: String,
    pub(crate) text: String,
    pub(crate) at_ms: i64,
}

pub(crate) struct RawGateway {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    first: First,
    asked: AtomicUsize,
    delivered: Mutex<Vec<Delivery>>,
}

impl RawGateway {
    pub(crate) fn start(first: First) -> RawGateway {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { first, asked: AtomicUsize::new(0), delivered: Mutex::default() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || while shared.serve(&stream).is_some() {});
            }
        });
        RawGateway { url, shared }
    }

    pub(crate) fn delivered(&self) -> Vec<Delivery> {
        self.shared.delivered.lock().unwrap().clone()
    }

    /// How many messages it was asked to send, carried out or not.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// One request; `None` where the connection ends.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let path = line.split_whitespace().nth(1)?.to_owned();
        let is_send = path == "/v2/send/text";
        let first = is_send && self.asked.fetch_add(1, Ordering::SeqCst) == 0;
        if first && self.first == First::GotNothing {
            return None;
        }
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let half = first && self.first == First::GotHalf;
        let mut body = vec![0; if half { length / 2 } else { length }];
        reader.read_exact(&mut body).ok()?;
        if half {
            return None;
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if first && self.first == First::DoesItLate {
            wait(LATE);
        }
        let answer = self.answer(&path, &body).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        let mut stream = stream;
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).ok()
    }

    fn answer(&self, path: &str, body: &Value) -> Value {
        let word = |key: &str| body[key].as_str().unwrap_or("").to_owned();
        if path == "/v2/send/text" {
            let (chat, text, at_ms) = (word("chatId"), word("message"), onthedot::clock::now().0);
            let mut delivered = self.delivered.lock().unwrap();
            delivered.push(Delivery { chat: chat.clone(), text, at_ms });
            return json!({ "id": format!("true_{chat}_RAW{:06}", delivered.len()) });
        }
        if path.starts_with("/v2/chats/messages") {
            let delivered = self.delivered.lock().unwrap();
            let ours = delivered.iter().enumerate().map(|(n, d)| {
                json!({ "id": format!("true_{}_RAW{:06}", d.chat, n + 1), "fromMe": true, "body": d.text,
                        "timestamp": d.at_ms / 1_000 })
            });
            let theirs = json!({ "id": "false_1@c.us_OLD", "fromMe": false, "body": "hello", "timestamp": 1_000_000 });
            return ours.chain([theirs]).collect();
        }
        json!({ "result": true, "status": "WORKING" })
    }
}

#[expect(clippy::disallowed_methods, reason = "a gateway that takes its time")]
fn wait(length: Duration) {
    std::thread::sleep(length);
}
