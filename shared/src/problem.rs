//! The one shape of an error on the wire: RFC 9457 problem details with a closed set of codes.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// Everything that can go wrong, as a caller can act on it. The wire name is the variant in snake case.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ProblemCode {
    /// The request could not be read at all: no body, not UTF-8, not JSON, a broken query string.
    MalformedRequest,
    /// No API key was sent.
    MissingApiKey,
    /// The API key is not known.
    InvalidApiKey,
    /// The edge's signature is missing a part, does not match or is too old.
    InvalidSignature,
    /// The edge's nonce has been seen before.
    ReplayedSignature,
    /// The key is known but not allowed to do this.
    Forbidden,
    /// No such route.
    NotFound,
    /// The route exists, with other methods (see `Allow`).
    MethodNotAllowed,
    /// The body is larger than the route's limit.
    BodyTooLarge,
    /// The body is not announced as `application/json`.
    UnsupportedMediaType,
    /// One or more fields are at fault; `errors` has a JSON pointer for each.
    InvalidFields,
    /// This caller is over its quota.
    RateLimited,
    /// A fault on our side.
    InternalError,
    /// The model did not produce a postable caption.
    GenerationFailed,
    /// Lede is full; `Retry-After` says when a place is expected.
    Overloaded,
    /// The process runs but cannot generate yet, or is shutting down.
    NotReady,
    /// The edge cannot reach any origin.
    OriginUnavailable,
    /// The deadline passed before the answer was ready.
    DeadlineExceeded,
    /// `only-if-cached` was asked and nothing is cached.
    NotCached,
}

impl ProblemCode {
    /// The HTTP status that carries this code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedRequest => 400,
            Self::MissingApiKey | Self::InvalidApiKey | Self::InvalidSignature | Self::ReplayedSignature => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::BodyTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::InvalidFields => 422,
            Self::RateLimited => 429,
            Self::InternalError | Self::GenerationFailed => 500,
            Self::Overloaded | Self::NotReady | Self::OriginUnavailable => 503,
            Self::DeadlineExceeded | Self::NotCached => 504,
        }
    }

    /// The short, unchanging summary.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::MalformedRequest => "The request could not be read",
            Self::MissingApiKey => "An API key is needed",
            Self::InvalidApiKey => "The API key is not known",
            Self::InvalidSignature => "The edge's signature is not valid",
            Self::ReplayedSignature => "The edge's signature was used before",
            Self::Forbidden => "This key may not do that",
            Self::NotFound => "There is no such route",
            Self::MethodNotAllowed => "The route does not take this method",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::InvalidFields => "Some fields are not valid",
            Self::RateLimited => "The quota is used up",
            Self::InternalError => "Something failed on our side",
            Self::GenerationFailed => "No postable caption came out",
            Self::Overloaded => "All places are taken",
            Self::NotReady => "Not ready to generate",
            Self::OriginUnavailable => "The origin cannot be reached",
            Self::DeadlineExceeded => "The deadline has passed",
            Self::NotCached => "Nothing is cached for this request",
        }
    }

    /// May the very same request succeed later?
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::InternalError
                | Self::GenerationFailed
                | Self::Overloaded
                | Self::NotReady
                | Self::OriginUnavailable
                | Self::DeadlineExceeded
        )
    }

    /// The wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What is wrong with one field.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldErrorCode {
    /// The field is required.
    Missing,
    /// The field has another JSON type.
    WrongType,
    /// The number or length is outside its limits.
    OutOfRange,
    /// The text is not one of the allowed values.
    UnknownValue,
    /// The text has not the form that the field needs.
    InvalidFormat,
    /// The field contradicts another one.
    Conflict,
    /// There is no such field.
    UnknownField,
}

/// One field at fault.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// RFC 6901 JSON pointer into the request body; a query parameter `style` is `/style`.
    pub pointer: String,
    /// What kind of fault it is.
    pub code: FieldErrorCode,
    /// What to change, for a person. Never repeats the caller's text.
    pub detail: String,
}

/// A problem document. `detail` is for the caller: what to change, never a cause chain.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:lede:problem:<code>`.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The code's summary.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The machine-readable code.
    pub code: ProblemCode,
    /// What to change, for a person.
    pub detail: String,
    /// May the same request succeed later?
    pub retryable: bool,
    /// Seconds to wait before trying again; equal to the `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
    /// The id of the request that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Every field at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem with a detail for the caller.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            type_uri: format!("urn:lede:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            retryable: code.is_retryable(),
            retry_after_s: None,
            request_id: None,
            errors: Vec::new(),
        }
    }

    /// The 422 for a request whose fields are at fault.
    #[must_use]
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{} {}", only.pointer, only.detail),
            several => format!("{} fields are at fault; see errors", several.len()),
        };
        Self { errors, ..Self::new(ProblemCode::InvalidFields, detail) }
    }

    /// The same problem with a wait.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same problem with the id of the request that failed.
    #[must_use]
    pub fn for_request(mut self, request_id: &str) -> Self {
        self.request_id = Some(request_id.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_survives_the_wire() {
        for code in ProblemCode::VARIANTS {
            assert!((400..=599).contains(&code.status()), "{code:?}");
            let problem = Problem::new(*code, "why").retry_after(3).for_request("0123456789abcdef");
            let wire = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&wire).unwrap(), problem);
            assert!(wire.contains(&format!("\"code\":\"{}\"", code.as_str())));
        }
    }

    #[test]
    fn a_caller_s_own_mistake_is_never_called_retryable() {
        for code in ProblemCode::VARIANTS {
            if (400..=428).contains(&code.status()) {
                assert!(!code.is_retryable(), "{code:?}");
            }
        }
    }
}
