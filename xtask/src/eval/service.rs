//! The service under evaluation: an origin started here with the embedded model, or one that runs already.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lede_shared::api::{CaptionResponse, GENERATE_PATH, OptimizationLevel};
use serde_json::json;

use super::fixture::Description;
use crate::build::origin;
use crate::cli::EvalOptions;
use crate::setup;
use crate::up::running::{Running, Waited};
use crate::up::secrets::DevelopmentSecrets;
use crate::up::signals::Signals;
use crate::up::{self, ORIGIN_READY_TIMEOUT};
use crate::workspace::Workspace;

/// Captions of every description.
pub(super) const VARIANTS: usize = 4;
/// Hashtags of every caption.
pub(super) const HASHTAGS: usize = 5;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Something that answers caption requests; an origin started for it is stopped when this is dropped.
pub(super) struct Service {
    agent: ureq::Agent,
    url: String,
    authorization: String,
    signals: Signals,
    _running: Running,
}

impl Service {
    /// Starts an optimised origin on a free port, or takes the one that the options name.
    pub(super) fn start(workspace: &Workspace, options: &EvalOptions) -> Result<Self> {
        let signals = Signals::listen()?;
        let mut running = Running::default();
        let (url, api_key) = match &options.origin {
            Some(url) => (url.trim_end_matches('/').to_owned(), api_key(workspace)?),
            None => start_origin(workspace, &mut running, &signals)?,
        };
        let timeout = Some(REQUEST_TIMEOUT);
        let agent = ureq::Agent::config_builder().timeout_global(timeout).http_status_as_error(false).build();
        Ok(Self {
            agent: agent.into(),
            url,
            authorization: format!("Bearer {api_key}"),
            signals,
            _running: running,
        })
    }

    /// Asks past every cache; the seed is the description's line.
    ///
    /// # Errors
    /// When the service refuses, cannot be reached, or answers with something else than was asked for; and when
    /// this process has been told to end.
    pub(super) fn ask(&self, description: &Description, level: OptimizationLevel) -> Result<CaptionResponse> {
        if self.signals.arrived() {
            bail!("interrupted");
        }
        let body = json!({
            "content_description": description.text,
            "style": description.style,
            "hashtag_count": HASHTAGS,
            "optimization_level": level,
            "variants": VARIANTS,
            "seed": description.line,
        });
        let mut answer = self
            .agent
            .post(format!("{}{GENERATE_PATH}", self.url))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .header("cache-control", "no-cache, no-store")
            .send(body.to_string())
            .context("the service does not answer")?;
        let text = answer.body_mut().read_to_string().context("the answer cannot be read")?;
        if answer.status() != 200 {
            bail!("status {}: {text}", answer.status());
        }
        let answer: CaptionResponse = serde_json::from_str(&text).context("the answer is no caption answer")?;
        if answer.variants.len() != VARIANTS {
            bail!("{} captions instead of {VARIANTS}", answer.variants.len());
        }
        Ok(answer)
    }

    pub(super) fn interrupted(&self) -> bool {
        self.signals.arrived()
    }
}

/// For a service that runs already.
fn api_key(workspace: &Workspace) -> Result<String> {
    env::var("LEDE_API_KEY").or_else(|_| Ok(DevelopmentSecrets::load_or_make(workspace)?.api_key))
}

/// Returns where it listens and a key that it takes.
fn start_origin(workspace: &Workspace, running: &mut Running, signals: &Signals) -> Result<(String, String)> {
    let secrets = DevelopmentSecrets::load_or_make(workspace)?;
    let library = setup::onnx_runtime(workspace)?;
    let binary = origin::build(workspace, true)?;
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}");
    running.start("origin", &mut command(workspace, port, (&binary, &library), &secrets))?;
    if running.wait_until_ready(&format!("{url}/health/ready"), ORIGIN_READY_TIMEOUT, signals)?
        == Waited::Signalled
    {
        bail!("interrupted");
    }
    Ok((url, secrets.api_key))
}

fn command(workspace: &Workspace, port: u16, programs: (&Path, &Path), secrets: &DevelopmentSecrets) -> Command {
    let mut origin = up::origin_command(workspace, port, programs, secrets);
    origin
        // A busy machine is measured, not cut off.
        .env("LEDE_REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT.as_millis().to_string())
        // What is judged is what the model writes now, not what it wrote the last time.
        .env("LEDE_COLD", "off")
        // A line per answer would drown the progress.
        .env("LEDE_LOG", "warn");
    origin
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr().context("no port is free")?.port())
}
