//! An app in this process: real routes, real domain and real engine over a scripted backend.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use figment::Figment;
use figment::providers::Serialized;
use lede_origin::app::{App, AppState};
use lede_origin::backend::faulty::{Faults, FaultyBackend};
use lede_origin::backend::scripted::{Script, ScriptedBackend};
use lede_origin::backend::{Backend, BackendShape};
use lede_origin::config::Config;
use lede_origin::engine::{BackendSource, EngineHandle, EngineStatus, SurvivalLimits};
use lede_origin::models::Model;
use lede_origin::router::router;
use lede_shared::api::Style;
use lede_shared::api_key::{ApiKeyHash, TenantId};
use lede_shared::clock::UnixMillis;
use lede_shared::signature::{Claims, SignatureHeaders, SignedRequest, SigningKey};
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const API_KEY: &str = "a-key-for-tests";
pub(crate) const GENERATE: &str = "/api/v14/generate";
pub(crate) const SPECIALS: [&str; 6] =
    ["<|begin|>", "<|include|>", "<|description|>", "<|caption|>", "<|tag|>", "<|end|>"];
pub(crate) const CAPTION: u32 = 3;
pub(crate) const TAG: u32 = 4;
pub(crate) const END: u32 = 5;
pub(crate) const SIGNING_KEY: &str = "k1=0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
/// Markers, and one entry for each byte.
const ENTRIES: usize = MARKERS + 256;
/// Specials, styles, emoji levels and calls to action.
const MARKERS: usize = 6 + 11 + 2 + 5;
/// Words of eight letters, and hashtags of four, that the byte model knows.
const WORDS_KNOWN: usize = 2_000;
const HASHTAGS_KNOWN: usize = 600;

/// Shared by all apps of this process, which only read it.
static MODEL_FOLDER: LazyLock<PathBuf> = LazyLock::new(model_folder);

/// An app and what it may be asked for.
pub(crate) struct TestApp {
    pub(crate) state: AppState,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl TestApp {
    /// The usual app: ready, quick, writing random letters.
    pub(crate) async fn start() -> Self {
        Self::with(&[], Duration::ZERO, letters()).await
    }

    /// An app with settings, a time for each step of the device and a script.
    pub(crate) async fn with(settings: &[(&str, Value)], step_time: Duration, script: Script) -> Self {
        let app =
            Self::loading(settings, move |shape| Ok(Box::new(ScriptedBackend::new(shape, step_time, script))));
        assert!(matches!(app.state.engine.loaded().await, EngineStatus::Ready(_)));
        app
    }

    /// An app whose model is still being loaded by `load`.
    pub(crate) fn loading(
        settings: &[(&str, Value)],
        load: impl FnOnce(BackendShape) -> Result<Box<dyn Backend>, String> + Send + 'static,
    ) -> Self {
        Self::on(settings, |config, shape| {
            EngineHandle::start(config.engine.limits(), move || load(shape)).unwrap()
        })
    }

    /// An app whose device may fail: each backend of the chain opens with its own faults, and `survival` says how patient
    /// the supervision is.
    pub(crate) fn surviving(
        settings: &[(&str, Value)],
        survival: SurvivalLimits,
        chain: &[(&'static str, Faults)],
    ) -> Self {
        Self::on(settings, |config, shape| {
            let source = |(name, faults): &(&'static str, Faults)| {
                let faults = faults.clone();
                BackendSource::new(*name, move || {
                    let scripted = ScriptedBackend::new(shape, Duration::ZERO, letters());
                    Ok(Box::new(FaultyBackend::new(Box::new(scripted), faults.clone())))
                })
            };
            EngineHandle::supervised((config.engine.limits(), survival), chain.iter().map(source).collect())
                .unwrap()
        })
    }

    fn on(settings: &[(&str, Value)], start: impl FnOnce(&Config, BackendShape) -> EngineHandle) -> Self {
        let keys = format!("acme={}", ApiKeyHash::of(API_KEY));
        let mut source = Figment::new()
            .merge(Serialized::default("api_key_hashes", keys))
            .merge(Serialized::default("edge_signing_keys", SIGNING_KEY))
            .merge(Serialized::default("cold", "off"));
        for (name, value) in settings {
            source = source.merge(Serialized::default(name, value));
        }
        let config = Config::read(&source).unwrap();
        let model = Model::open(&MODEL_FOLDER).unwrap();
        let shape = BackendShape {
            vocabulary_entries: ENTRIES,
            context_tokens_max: model.context_tokens_max(),
            rows_max: config.engine.sequences_max,
        };
        let engine = start(&config, shape);
        Self { state: App::assemble(config, Some(model.into()), engine, None).unwrap() }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = router(self.state.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// `POST generate` with the key.
    pub(crate) async fn post(&self, body: Value) -> Answer {
        self.post_with(body, &[]).await
    }

    pub(crate) async fn post_with(&self, body: Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = json_request("POST", GENERATE, body.to_string());
        for (name, value) in headers {
            request.headers_mut().insert(axum::http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path).header("authorization", format!("Bearer {API_KEY}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("there is no {name}")).to_str().unwrap()
    }

    pub(crate) fn caption(&self) -> String {
        assert_eq!(self.status, 200, "{:?}", String::from_utf8_lossy(&self.body));
        self.json()["caption"].as_str().unwrap().to_owned()
    }

    /// Everything that every problem must have; returns its pointers.
    pub(crate) fn assert_problem(&self, status: u16, code: &str, what: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{what}: {text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{what}: {text}");
        assert_eq!(problem["status"], status, "{what}");
        assert_eq!(problem["type"], format!("urn:lede:problem:{code}"), "{what}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{what}");
        assert!(self.headers.contains_key("server-timing"), "{what}");
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// Waits until `is_so`, but not for ever.
pub(crate) async fn eventually(is_so: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    is_so()
}

/// A request with the key and a JSON body.
pub(crate) fn json_request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {API_KEY}"))
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

/// A request as the edge would sign it.
pub(crate) fn signed_request(
    method: &str,
    path: &str,
    body: &str,
    nonce: u8,
    signed_at: UnixMillis,
) -> Request<Body> {
    let claims = Claims::of(TenantId::parse("acme").unwrap());
    signed_for(&claims, (method, path, body), nonce, signed_at)
}

/// The same for another caller.
pub(crate) fn signed_for(
    claims: &Claims,
    (method, path, body): (&str, &str, &str),
    nonce: u8,
    signed_at: UnixMillis,
) -> Request<Body> {
    let key = SigningKey::parse(SIGNING_KEY).unwrap();
    let signed = SignedRequest { method, path_and_query: path, body: body.as_bytes() };
    let headers = SignatureHeaders::sign(&key, &signed, claims, signed_at, [nonce; 16]);
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers.pairs() {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// How many entries a row has read since its last structuring marker, and which marker that is.
pub(crate) fn since_marker(history: &[u32]) -> (u32, usize) {
    let markers = [CAPTION, TAG];
    let at = history.iter().rposition(|id| markers.contains(id)).unwrap_or(0);
    (history[at], history.len() - at - 1)
}

/// Writes a random word of eight letters, then hashtags of four random letters each, as many as the constraint asks
/// for.
pub(crate) fn letters() -> Script {
    Box::new(|history, logits| {
        logits.fill(-20.0);
        let (marker, written) = since_marker(history);
        let length = if marker == TAG { 4 } else { 8 };
        if written < length {
            (b'a'..=b'z').for_each(|byte| logits[byte_id(byte) as usize] = 1.0);
        } else {
            logits[TAG as usize] = 10.0;
            logits[END as usize] = 10.0;
        }
    })
}

/// The same, but for a device that stands still at the fourth letter of a caption for as long as it is held.
pub(crate) fn letters_while_not(held: &Arc<AtomicBool>) -> Script {
    let (held, mut write) = (Arc::clone(held), letters());
    Box::new(move |history, logits| {
        while since_marker(history) == (CAPTION, 3) && held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        write(history, logits);
    })
}

/// The entry of a byte.
pub(crate) fn byte_id(byte: u8) -> u32 {
    MARKERS as u32 + u32::from(byte)
}

/// A model folder whose tokenizer has one entry for each byte, made once for each call.
pub(crate) fn model_folder() -> PathBuf {
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("byte-model-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(folder.join("onnx")).unwrap();
    std::fs::write(folder.join("onnx/model.onnx"), b"never read").unwrap();
    let config = json!({ "vocab_size": ENTRIES, "max_position_embeddings": 512 });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let styles: serde_json::Map<String, Value> =
        Style::ALL.iter().map(|style| (style.as_str().to_owned(), style_marker(*style).into())).collect();
    let marked = |kind: &str, names: &[&str]| -> serde_json::Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), format!("<|{kind}:{name}|>").into())).collect()
    };
    let manifest = json!({
        "id": "lede-nano-1", "prompt_format": 2, "context_tokens_max": 512, "styles": styles,
        "special": {"begin": SPECIALS[0], "include": SPECIALS[1], "description": SPECIALS[2],
            "caption": SPECIALS[3], "tag": SPECIALS[4], "end": SPECIALS[5]},
        "emoji": marked("emoji", &EMOJI), "calls_to_action": marked("call", &CALLS),
    });
    std::fs::write(folder.join("lexicon.json"), lexicon().to_string()).unwrap();
    std::fs::write(folder.join("lede.json"), manifest.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    folder
}

/// Random words and names, and a few that tests know: of the words the first one by the alphabet, of the names those
/// that begin alike.
fn lexicon() -> Value {
    let mut state = 1u64;
    let mut word = |letters: usize| -> String {
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + (state >> 33) as u8 % 26)
        };
        (0..letters).map(|_| letter()).collect()
    };
    let words: Vec<String> = (0..WORDS_KNOWN).map(|_| word(8)).chain(["aaaaaaaa".to_owned()]).collect();
    let names = ["same", "samely", "samebay"].map(str::to_owned);
    let hashtags: Vec<String> = (0..HASHTAGS_KNOWN).map(|_| word(4)).chain(names).collect();
    json!({"caption_words": words, "hashtags": hashtags})
}

const EMOJI: [&str; 2] = ["light", "rich"];
const CALLS: [&str; 5] = ["comment", "save", "share", "link", "shop"];

fn style_marker(style: Style) -> String {
    format!("<|style:{}|>", style.as_str())
}

/// A byte-level BPE without merges.
fn tokenizer() -> Value {
    let markers: Vec<String> = SPECIALS
        .iter()
        .map(|special| (*special).to_owned())
        .chain(Style::ALL.iter().map(|style| style_marker(*style)))
        .chain(EMOJI.iter().map(|level| format!("<|emoji:{level}|>")))
        .chain(CALLS.iter().map(|call| format!("<|call:{call}|>")))
        .collect();
    let mut vocabulary: serde_json::Map<String, Value> =
        markers.iter().enumerate().map(|(id, marker)| (marker.clone(), id.into())).collect();
    let mut next_other = 0x100;
    for byte in 0..=255u8 {
        let own = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let character = if own { char::from(byte) } else { char::from_u32(next_other).unwrap() };
        next_other += u32::from(!own);
        vocabulary.insert(character.to_string(), byte_id(byte).into());
    }
    let added: Vec<Value> = markers
        .iter()
        .enumerate()
        .map(|(id, marker)| {
            json!({"id": id, "content": marker, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []},
    })
}
