//! The two clients of the floor.

use bytes::Bytes;
use common::given;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

enum Kind {
    Reqwest(reqwest::Client),
    Hyper(Pool<HttpConnector, Full<Bytes>>),
    /// Asks nobody: the answer is always this one.
    None(Bytes),
}

pub struct Client {
    kind: Kind,
    server: String,
}

impl Client {
    pub fn new(server: &str) -> Client {
        let kind = match given("CLIENT", String::new()).as_str() {
            "hyper" => Kind::Hyper(Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(4_096).build_http()),
            "none" => Kind::None(Bytes::from(vec![b'a'; given("ANSWER_BYTES", 0)])),
            _ => Kind::Reqwest(common::client()),
        };
        Client { kind, server: server.to_owned() }
    }

    /// The status and the whole answer. The server is ours: what fails ends the run.
    pub async fn post(&self, path: &str, body: String) -> (u16, Bytes) {
        let address = format!("{}{path}", self.server);
        match &self.kind {
            Kind::Reqwest(client) => {
                let request = client.post(address).header("content-type", "application/json").body(body);
                let answer = request.send().await.expect("the server answers");
                (answer.status().as_u16(), answer.bytes().await.expect("the answer is whole"))
            }
            Kind::Hyper(client) => {
                let request = hyper::Request::post(address)
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(body)))
                    .expect("the address is well formed");
                let answer = client.request(request).await.expect("the server answers");
                let status = answer.status().as_u16();
                (status, answer.into_body().collect().await.expect("the answer is whole").to_bytes())
            }
            Kind::None(answer) => (200, answer.clone()),
        }
    }
}
