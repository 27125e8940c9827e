//! The real origin binary with the real model.

use std::net::TcpListener;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lede_shared::clock::UnixMillis;
use lede_shared::signature::{Claims, SignatureHeaders, SignedRequest, SigningKey};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::{SIGNING_KEY, api_key_hashes, client, ok_json, path_from_environment};

/// Lines gather for some milliseconds before they are written.
const LOG_WRITTEN_WITHIN: Duration = Duration::from_millis(50);
const READY_WAIT: Duration = Duration::from_secs(60);

/// Environment variables beyond the suite's own.
pub type OriginSettings<'a> = &'a [(&'a str, &'a str)];

/// A running origin.
pub struct Origin {
    process: Process,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    port: u16,
    /// What it keeps beside its answers is nobody else's.
    _folder: TempDir,
}

impl Origin {
    /// Starts an origin on a free port and waits until it can generate.
    ///
    /// # Panics
    /// When it is not ready in time; its log is in the report.
    pub async fn start() -> Self {
        Self::start_with(free_port(), &[]).await
    }

    /// The same on a given port with more settings.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn start_with(port: u16, settings: OriginSettings<'_>) -> Self {
        Self::spawn(port, settings).until_ready().await
    }

    async fn until_ready(mut self) -> Self {
        let until = Instant::now() + READY_WAIT;
        while !self.is_ready().await {
            assert!(!self.process.has_ended(), "the origin ended:\n{}", self.log());
            assert!(Instant::now() < until, "the origin is not ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self
    }

    /// Starts the process without waiting for anything.
    #[must_use]
    pub fn spawn(port: u16, settings: OriginSettings<'_>) -> Self {
        Self::spawn_by(Command::new(path_from_environment("LEDE_ORIGIN_BIN")), port, settings)
    }

    /// Starts an origin in a mount namespace of its own, in which the shell command `prepare` was run before, and waits
    /// until it can generate.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn start_within(prepare: &str, settings: OriginSettings<'_>) -> Self {
        let mut command = Command::new("unshare");
        let script = format!("{prepare} && exec \"$0\"");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
        command.arg(path_from_environment("LEDE_ORIGIN_BIN"));
        Self::spawn_by(command, free_port(), settings).until_ready().await
    }

    fn spawn_by(mut command: Command, port: u16, settings: OriginSettings<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        command
            .env("LEDE_LISTEN", format!("127.0.0.1:{port}"))
            .env_remove("LEDE_MODEL")
            .env("LEDE_MODEL_DIR", path_from_environment("LEDE_MODEL_DIR"))
            .env("LEDE_ORT_LIBRARY", path_from_environment("LEDE_ORT_LIBRARY"))
            .env("LEDE_API_KEY_HASHES", api_key_hashes())
            .env("LEDE_EDGE_SIGNING_KEYS", SIGNING_KEY)
            .env("LEDE_LOG_FORMAT", "json")
            .env("LEDE_COLD", "off")
            .env("LEDE_COLD_DIR", folder.path())
            .env_remove("REDIS_URL")
            .envs(settings.iter().copied());
        // A model of the store takes the place of the suite's folder.
        if settings.iter().any(|(name, _)| *name == "LEDE_MODEL") {
            command.env_remove("LEDE_MODEL_DIR");
        }
        let (process, url) = (Process::start(command, false), format!("http://127.0.0.1:{port}"));
        Self { process, url, port, _folder: folder }
    }

    /// The port it listens on, also for one started later in its place.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Does it say that it can generate?
    pub async fn is_ready(&self) -> bool {
        let answer = client().get(format!("{}/health/ready", self.url)).send().await;
        answer.is_ok_and(|response| response.status().is_success())
    }

    /// What its engine has done since it started, as it tells the edge.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn engine_work(&self) -> Value {
        let path = "/internal/engine";
        let key = SigningKey::parse(SIGNING_KEY).expect("the suite's signing key");
        let request = SignedRequest { method: "GET", path_and_query: path, body: b"" };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let now_ms = UnixMillis(u64::try_from(now.as_millis()).expect("a clock before the end of time"));
        // Used once each, and told apart by their time.
        let nonce = now.as_nanos().to_be_bytes();
        let signed = SignatureHeaders::sign(&key, &request, &Claims::of_the_edge(), now_ms, nonce);
        let mut request = client().get(format!("{}{path}", self.url));
        for (name, value) in signed.pairs() {
            request = request.header(name, value);
        }
        ok_json(request).await.1
    }

    /// What it has logged, the line about the last answer included.
    #[must_use]
    pub fn log(&self) -> String {
        std::thread::sleep(LOG_WRITTEN_WITHIN);
        self.process.log()
    }

    /// Resident memory in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> Option<u64> {
        self.process.resident_kib()
    }

    /// CPU time that it has used so far, all its threads together, in hundredths of a second.
    ///
    /// # Panics
    /// When it is not there any more.
    #[must_use]
    pub fn cpu_centiseconds(&self) -> u64 {
        self.process.cpu_centiseconds().expect("the origin runs")
    }

    /// Has the process ended?
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Asks it to drain, as a service manager does.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits for its end.
    pub fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        self.process.wait(at_most)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// A port that nobody listens on at this moment.
///
/// # Panics
/// When the machine has none left.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a bound listener has an address").port()
}
