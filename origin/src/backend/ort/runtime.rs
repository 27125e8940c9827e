//! Loading ONNX Runtime itself. There is one library and one environment in a process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::backend::BackendError;

static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The process's environment; the first call loads `library`, later calls ignore their argument.
pub(super) fn environment(library: &Path) -> Result<Environment, BackendError> {
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = environment.as_ref() {
        return Ok(loaded.clone());
    }
    if !library.is_file() {
        let path = library.display();
        return Err(BackendError::new("ONNX Runtime's library", format!("there is no file {path}")));
    }
    let builder = ort::init_from(library).map_err(|error| BackendError::new("ONNX Runtime's library", error))?;
    let loaded = builder
        .with_name("lede")
        .with_telemetry(false)
        // Whatever fails also comes back as an error, and is told there.
        .with_logger(Arc::new(|level, _, _, _, message| tracing::debug!(?level, "ONNX Runtime: {message}")))
        .build()
        .map_err(|error| BackendError::new("ONNX Runtime's environment", error))?;
    loaded.set_log_level(LogLevel::Warning);
    *environment = Some(loaded.clone());
    Ok(loaded)
}
