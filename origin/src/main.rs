//! The origin's process: arguments → settings → log → app → serve → drain.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lede_origin::app::{App, AppState};
use lede_origin::cli::{Arguments, Command};
use lede_origin::config::Config;
use lede_origin::engine::EngineStatus;
use lede_origin::{observe, router, server};
use tokio::net::TcpListener;

/// A hit asks for memory some forty times, mostly for a few bytes on one thread that another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        None | Some(Command::Serve) => serve(),
        Some(Command::Model { action }) => action.run().map_err(Into::into),
        Some(Command::Keys { action }) => action.run().map_err(Into::into),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // The log may not be set up; the operator needs the reason.
    let _ = writeln!(std::io::stderr(), "lede-origin: {error}");
    ExitCode::FAILURE
}

#[tokio::main]
async fn serve() -> Result<(), Box<dyn Error>> {
    let config = Config::from_environment()?;
    let _log = observe::tracing::init(&config.telemetry)?;
    let app = App::build(config)?;
    let listen = app.config.server.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("LEDE_LISTEN: {listen}: {error}"))?;
    tracing::info!(address = %listener.local_addr()?, model = app.captions.model_id(), "listening; the model is being loaded");
    let drain = async {
        server::told_to_stop().await;
        app.start_draining();
    };
    let serving = server::serve(listener, router::router(app.clone()), &app.config.server, drain);
    let drained = tokio::select! {
        drained = serving => drained,
        reason = loading_failed(&app) => return Err(reason.into()),
    };
    tracing::info!(drained, "stopped");
    Ok(())
}

/// Resolves, with the reason, only if the model cannot be loaded and is needed.
async fn loading_failed(app: &AppState) -> String {
    match app.engine.loaded().await {
        EngineStatus::Failed(reason) if app.can_do_without_local_model() => {
            tracing::error!(reason, "the local model cannot be loaded; the provider writes alone");
        }
        EngineStatus::Failed(reason) => return reason,
        status => tracing::info!(?status, "the model is loaded"),
    }
    std::future::pending().await
}
