//! Runs both sides on this machine: the origin's binary, and the edge in workerd, until Ctrl-C.

mod child;
mod ports;
pub(crate) mod running;
pub(crate) mod secrets;
pub(crate) mod signals;

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::build::{edge, origin};
use crate::cli::UpOptions;
use crate::up::running::{Running, Waited};
use crate::up::secrets::DevelopmentSecrets;
use crate::up::signals::Signals;
use crate::workspace::Workspace;
use crate::{command, progress, setup};

/// Longest wait for the origin to load its model.
pub(crate) const ORIGIN_READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait for workerd; wrangler first checks that the Worker is built.
const EDGE_READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Sets up, builds, starts and waits. Returns after Ctrl-C or SIGTERM.
///
/// # Errors
/// When something cannot be brought up, and when a side ends by itself; whatever was started is stopped first.
pub(crate) fn up(workspace: &Workspace, options: &UpOptions) -> Result<()> {
    let begun = Instant::now();
    ports::must_be_free(options)?;
    let library = setup::onnx_runtime(workspace)?;
    edge::build(workspace, false, None)?;
    let binary = origin::build(workspace, options.release)?;
    let secrets = DevelopmentSecrets::load_or_make(workspace)?;

    let signals = Signals::listen()?;
    let mut running = Running::default();
    running.start("origin", &mut origin_command(workspace, options.port_origin, (&binary, &library), &secrets))?;
    let origin_health = format!("http://127.0.0.1:{}/health/ready", options.port_origin);
    if running.wait_until_ready(&origin_health, ORIGIN_READY_TIMEOUT, &signals)? == Waited::Signalled {
        return Ok(());
    }
    running.start("edge", &mut edge_command(workspace, options))?;
    let edge_health = format!("http://127.0.0.1:{}/health", options.port_edge);
    if running.wait_until_ready(&edge_health, EDGE_READY_TIMEOUT, &signals)? == Waited::Signalled {
        return Ok(());
    }
    progress::line(&invitation(options, &secrets, begun.elapsed()));
    running.wait_until_signalled(&signals)
}

/// The origin with the development secrets, listening on `port` of this machine.
pub(crate) fn origin_command(
    workspace: &Workspace,
    port: u16,
    (binary, library): (&Path, &Path),
    secrets: &DevelopmentSecrets,
) -> Command {
    let mut origin = Command::new(binary);
    origin
        .current_dir(&workspace.root)
        .env("LEDE_LISTEN", format!("127.0.0.1:{port}"))
        .env("LEDE_ORT_LIBRARY", library)
        .env("LEDE_KEYS_FILE", DevelopmentSecrets::keys_file(workspace))
        .env("LEDE_EDGE_SIGNING_KEYS", secrets.signing_key());
    // Each clone has its own, so that two of them can be up at once.
    if std::env::var_os("LEDE_COLD_DIR").is_none() {
        origin.env("LEDE_COLD_DIR", workspace.target.join("up/responses"));
    }
    // Whoever names a model of the store wants that one.
    if env::var_os("LEDE_MODEL").is_none() {
        origin.env("LEDE_MODEL_DIR", workspace.model());
    }
    origin
}

/// `wrangler dev` with everything local; the secrets come from `.dev.vars`.
fn edge_command(workspace: &Workspace, options: &UpOptions) -> Command {
    let mut wrangler = command::that_calls_cargo(workspace.node_program("wrangler"));
    wrangler
        .current_dir(&workspace.root)
        .args(["dev", "--config", "wrangler.toml", "--local", "--ip", "127.0.0.1"])
        .args(["--port", &options.port_edge.to_string(), "--inspector-port", "0"])
        .args(["--show-interactive-dev-session=false", "--persist-to"])
        .arg(workspace.state().join("workers"))
        .args(["--var", &format!("ORIGINS:http://127.0.0.1:{}", options.port_origin)])
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
        .env("FORCE_COLOR", "0")
        .env("CI", "true");
    wrangler
}

fn invitation(options: &UpOptions, secrets: &DevelopmentSecrets, took: Duration) -> String {
    format!(
        "\nLede is up after {took}. Ask for a caption:\n\n  \
         curl -i http://127.0.0.1:{port}/api/v14/generate -H 'authorization: Bearer {api_key}' \
         -H 'content-type: application/json' -d '{{\"content_description\": \"Beautiful sunset over the ocean\", \
         \"style\": \"inspirational\", \"hashtag_count\": 5}}'\n\n\
         Or in a browser: http://127.0.0.1:{port}/#key={api_key}\n\n\
         Ctrl-C stops both sides.\n",
        took = progress::seconds(took),
        port = options.port_edge,
        api_key = secrets.api_key,
    )
}
