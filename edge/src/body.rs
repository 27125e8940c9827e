//! Reading a body without ever holding more than its limit.

use lede_shared::headers::content_type_is_json;
use lede_shared::problem::{Problem, ProblemCode};

use crate::bindings::{BindingError, ByteSource, Clock, within};
use crate::http::{CONTENT_TYPE, Request};

/// How long a caller may take to send a body.
const RECEIVE_TIMEOUT_MS: u64 = 30_000;
/// How much of a body that is too large is taken off the connection unseen. A caller that is still sending when the
/// connection closes may never read the answer.
const DISCARD_BYTES_MAX: usize = 16 * 1_024 * 1_024;
const DISCARD_TIMEOUT_MS: u64 = 5_000;

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is longer than the limit; what lies beyond was not read.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The sender left or the connection broke.
    #[error("the body could not be read to its end")]
    Broken(#[from] BindingError),
}

impl BodyError {
    /// For the log: what happened, and what the platform said.
    pub(crate) fn cause_chain(&self) -> String {
        match self {
            Self::TooLarge(_) => self.to_string(),
            Self::Broken(cause) => format!("{self}: {cause}"),
        }
    }

    /// As the one who sent the body is told.
    pub(crate) fn problem(&self) -> Problem {
        let code = match self {
            Self::TooLarge(_) => ProblemCode::BodyTooLarge,
            Self::Broken(_) => ProblemCode::MalformedRequest,
        };
        Problem::new(code, self.to_string())
    }
}

/// The whole body, at most `bytes_max`. `declared` is `Content-Length`: above the limit nothing is read, within
/// it the body comes in one piece, and without it chunk by chunk until the limit is passed.
///
/// # Errors
/// When it is too large or cannot be read.
pub(crate) async fn read_bounded(
    source: &mut dyn ByteSource,
    declared: Option<u64>,
    bytes_max: usize,
) -> Result<Vec<u8>, BodyError> {
    let too_large = |bytes: u64| bytes > bytes_max as u64;
    let body = match declared {
        Some(bytes) if too_large(bytes) => return Err(BodyError::TooLarge(bytes_max)),
        Some(_) => source.whole().await?,
        None => read_chunks(source, bytes_max).await?,
    };
    // A length that was declared too small does not get around the limit.
    if too_large(body.len() as u64) { Err(BodyError::TooLarge(bytes_max)) } else { Ok(body) }
}

async fn read_chunks(source: &mut dyn ByteSource, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = source.next_chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The body of a request to a route that takes JSON. No body at all is left for the decoder to name.
///
/// # Errors
/// 415 when it is announced as something else, 413 when it is too large, 400 when it cannot be read, 504 when it
/// takes longer than [`RECEIVE_TIMEOUT_MS`].
pub(crate) async fn receive_json(
    clock: &dyn Clock,
    request: Request,
    bytes_max: usize,
) -> Result<Vec<u8>, Problem> {
    let declared = request.headers.content_length();
    let Some(mut source) = request.body.filter(|_| declared != Some(0)) else {
        return Ok(Vec::new());
    };
    if !request.headers.get(CONTENT_TYPE).is_some_and(content_type_is_json) {
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, "send content-type: application/json"));
    }
    match within(clock, RECEIVE_TIMEOUT_MS, read_bounded(source.as_mut(), declared, bytes_max)).await {
        Some(Ok(body)) => Ok(body),
        Some(Err(error)) => {
            if matches!(error, BodyError::TooLarge(_)) {
                within(clock, DISCARD_TIMEOUT_MS, discard(source.as_mut())).await;
            }
            Err(error.problem())
        }
        None => Err(Problem::new(ProblemCode::DeadlineExceeded, "the body did not arrive in time")),
    }
}

/// Holds one piece at a time, at most [`DISCARD_BYTES_MAX`] in all.
async fn discard(source: &mut dyn ByteSource) {
    let mut discarded = 0;
    while discarded < DISCARD_BYTES_MAX
        && let Ok(Some(chunk)) = source.next_chunk().await
    {
        discarded += chunk.len();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::bindings::in_memory::ChunksInMemory;

    fn read(chunks: &[&[u8]], declared: Option<u64>, bytes_max: usize) -> (Result<Vec<u8>, BodyError>, usize) {
        let mut source = ChunksInMemory::new(chunks);
        let body = read_bounded(&mut source, declared, bytes_max).now_or_never().unwrap();
        (body, source.bytes_read())
    }

    #[test]
    fn a_body_within_the_limit_is_read_whole_or_in_chunks() {
        for declared in [Some(4), None] {
            assert_eq!(read(&[b"ab", b"cd"], declared, 4).0.unwrap(), b"abcd");
        }
    }

    #[test]
    fn a_body_declared_too_large_is_not_touched() {
        let (body, bytes_read) = read(&[b"abc", b"def"], Some(6), 4);
        assert!(matches!(body, Err(BodyError::TooLarge(4))));
        assert_eq!(bytes_read, 0);
    }

    #[test]
    fn an_undeclared_body_is_read_no_further_than_the_chunk_that_passes_the_limit() {
        let (body, bytes_read) = read(&[b"abc", b"def", b"ghi"], None, 4);
        assert!(matches!(body, Err(BodyError::TooLarge(4))));
        assert_eq!(bytes_read, 6);
    }

    #[test]
    fn a_body_declared_too_small_is_still_refused() {
        assert!(matches!(read(&[b"abcdef"], Some(2), 4).0, Err(BodyError::TooLarge(4))));
    }

    #[test]
    fn what_is_too_large_is_discarded_up_to_a_limit() {
        let chunk = vec![0; DISCARD_BYTES_MAX / 2];
        let mut source = ChunksInMemory::new(&[&chunk, &chunk, &chunk]);
        discard(&mut source).now_or_never().unwrap();
        assert_eq!(source.bytes_read(), DISCARD_BYTES_MAX);
    }
}
