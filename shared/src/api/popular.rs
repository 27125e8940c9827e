//! What the origin tells the edge of its most popular captions: `GET /internal/popular`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CaptionRequest, CaptionResponse};
use crate::clock::UnixMillis;

/// Where the edge asks; `?limit=<captions>&epoch=<the cache epoch of the keys>`.
pub const POPULAR_PATH: &str = "/internal/popular";
/// Most captions in one answer.
pub const POPULAR_CAPTIONS_MAX: usize = 500;

/// The captions asked for most, the most popular first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PopularCaptions {
    /// At most as many as were asked for.
    pub captions: Vec<PopularCaption>,
}

/// One of them. It comes with its request instead of its key, so that each side makes its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PopularCaption {
    /// The request in its canonical form.
    pub request: Map<String, Value>,
    /// When the answer was generated.
    pub created_ms: UnixMillis,
    /// The answer.
    pub response: CaptionResponse,
}

impl PopularCaption {
    /// The request, still to be validated.
    #[must_use]
    pub fn request(&self) -> CaptionRequest {
        CaptionRequest(self.request.clone())
    }
}
