//! A provider of captions that follows a script: a real HTTP server that speaks chat completions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Largest request that is read.
const REQUEST_BYTES_MAX: usize = 1_024 * 1_024;

/// One answer of the script.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A completion whose model wrote this text.
    Wrote(String),
    /// A status and headers, without a body.
    Status(u16, Vec<(&'static str, String)>),
    /// 200 with this body, whatever it is.
    Body(String),
    /// Nothing, for this long, and then a completion.
    Late(Duration, String),
    /// The head of an answer and half of its body; then the connection is cut.
    Cut,
}

impl Reply {
    /// A completion with captions and their hashtags, as the schema wants it.
    #[must_use]
    pub fn captions(captions: &[(&str, &[&str])]) -> Self {
        let variants: Vec<Value> = captions
            .iter()
            .map(|(caption, hashtags)| json!({ "caption": caption, "hashtags": hashtags }))
            .collect();
        Self::Wrote(json!({ "variants": variants }).to_string())
    }
}

/// What has been asked, and how it was announced.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body.
    pub body: Value,
}

/// A running provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The base URL, as `LEDE_REMOTE_URL` takes it.
    pub url: String,
    state: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    replies: VecDeque<Reply>,
    /// What is answered when the script has come to its end.
    last: Reply,
    asked: Vec<Asked>,
}

impl Provider {
    /// Starts one on a free port: it answers with `replies`, in order, and then with `last` for ever.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(replies: Vec<Reply>, last: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(Mutex::new(Script { replies: replies.into(), last, asked: Vec::new() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://{address}/v1"), state }
    }

    /// Everything that has been asked so far.
    ///
    /// # Panics
    /// When the script itself has panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().expect("the script goes on").asked.clone()
    }
}

async fn answer(State(state): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await.unwrap_or_default();
    let asked = Asked {
        path: head.uri.path().to_owned(),
        authorization: head.headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let reply = {
        let mut script = state.lock().expect("the script goes on");
        script.asked.push(asked);
        let last = script.last.clone();
        script.replies.pop_front().unwrap_or(last)
    };
    write(reply).await
}

async fn write(reply: Reply) -> Response {
    match reply {
        Reply::Wrote(content) => respond(200, &[], completion(&content).into()),
        Reply::Status(status, headers) => respond(status, &headers, Body::empty()),
        Reply::Body(body) => respond(200, &[], body.into()),
        Reply::Late(wait, content) => {
            tokio::time::sleep(wait).await;
            respond(200, &[], completion(&content).into())
        }
        Reply::Cut => {
            let half = Ok(Bytes::from_static(b"{\"choices\": ["));
            let pieces = [half, Err(std::io::Error::other("cut"))];
            respond(200, &[], Body::from_stream(futures_util::stream::iter(pieces)))
        }
    }
}

fn respond(status: u16, headers: &[(&'static str, String)], body: Body) -> Response {
    let response = Response::builder().status(status).header("content-type", "application/json");
    let response = headers.iter().fold(response, |response, (name, value)| response.header(*name, value));
    response.body(body).expect("a scripted answer is a valid one")
}

fn completion(content: &str) -> String {
    let message = json!({ "role": "assistant", "content": content, "refusal": null });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 211, "completion_tokens": 34, "total_tokens": 245 });
    json!({ "id": "chatcmpl-1", "object": "chat.completion", "model": "writer-1", "choices": [choice], "usage": usage })
        .to_string()
}
