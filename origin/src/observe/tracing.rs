//! The log. Neither captions, descriptions nor keys are ever written to it.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::json_line::JsonLine;
use super::log_buffer::{LogBuffer, LogGuard};
use crate::config::{LogFormat, TelemetryConfig};

/// There is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("LEDE_LOG: {0}")]
    Filter(#[from] ParseError),
    /// The thread that writes it cannot be started.
    #[error("the log cannot be written: {0}")]
    Thread(#[from] io::Error),
}

/// Sets up the process's log on standard error, for as long as the guard is held. Later calls change nothing.
///
/// # Errors
/// See [`LogError`].
pub fn init(config: &TelemetryConfig) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::builder().parse(&config.log)?;
    let is_terminal = io::stderr().is_terminal();
    let buffer = LogBuffer::default();
    let guard = buffer.start(io::stderr())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(buffer);
    // An error here means that a log is already set up, as in tests.
    let _ = match config.log_format {
        LogFormat::Human => builder.with_target(false).try_init(),
        LogFormat::Json => builder.event_format(JsonLine).try_init(),
    };
    Ok(guard)
}
