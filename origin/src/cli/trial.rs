//! A model is taken in only after it has written a caption, as it would be served.

use std::path::Path;
use std::time::{Duration, Instant};

use lede_shared::api::CaptionRequest;
use lede_shared::api_key::TenantId;
use lede_shared::request_cache_control::RequestCacheControl;
use lede_shared::signature::Claims;

use crate::app::App;
use crate::cache::ColdChoice;
use crate::captions::{Asking, CaptionError};
use crate::config::Config;
use crate::engine::EngineStatus;
use crate::models::{Architecture, ModelFacts, PrecisionChoice, WeightFiles};

/// A slow machine may take a while over a large model; one that takes longer could not serve it.
const CAPTION_TIMEOUT: Duration = Duration::from_secs(600);
/// Short, since only whether it works is of interest.
const REQUEST: &str = r#"{"content_description": "a lighthouse at dusk", "hashtag_count": 1, "max_length": 60,
    "optimization_level": "ultra_fast"}"#;

/// Opens the folder, loads the weights, runs them and has them write one caption under all constraints.
///
/// # Errors
/// One line that names what is wrong.
pub(super) fn check(folder: &Path, config: &Config) -> Result<ModelFacts, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(write_caption(folder, config))?;
    let architecture = Architecture::open(&folder.join("config.json")).map_err(|error| error.to_string())?;
    let weights = WeightFiles::in_folder(folder, PrecisionChoice::Auto);
    Ok(ModelFacts {
        architecture: architecture.model_type.clone(),
        parameters: architecture.parameters(),
        graph: weights.principal().unwrap_or_default().to_owned(),
    })
}

async fn write_caption(folder: &Path, config: &Config) -> Result<(), String> {
    let mut config = config.clone();
    config.model.model_dir = folder.to_owned();
    // The folder holds one graph at most, whatever its precision.
    config.model.model_precision = Default::default();
    // Nobody else may answer for it.
    config.remote.provider = None;
    // Nothing is looked up, kept or learnt.
    config.cache.cold = ColdChoice::Off;
    let app = App::build(config).map_err(|error| error.to_string())?;
    if let EngineStatus::Failed(reason) = app.engine.loaded().await {
        return Err(reason);
    }
    let request = CaptionRequest::from_json(REQUEST.as_bytes()).and_then(|request| request.validate());
    let request = request.map_err(|problem| problem.code.title().to_owned())?;
    let started_at = Instant::now();
    let asking = Asking {
        cache_control: RequestCacheControl::default(),
        started_at,
        deadline: started_at + CAPTION_TIMEOUT,
        near_in: None,
        priority: Default::default(),
        endpoint: Default::default(),
        is_behind: false,
    };
    let nobody = Claims::of(TenantId::parse("trial").ok_or("no tenant")?);
    match app.captions.answer(&request, app.captions.key_of(&request, &nobody), asking).await {
        Ok(_) => Ok(()),
        Err(CaptionError::DeadlineExceeded) => {
            Err(format!("the model wrote no caption in {} s", CAPTION_TIMEOUT.as_secs()))
        }
        Err(error) => Err(format!("the model wrote no caption: {error}")),
    }
}
