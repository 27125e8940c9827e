//! A body read line by line (NDJSON), and one that is written so.

use futures_util::future::LocalBoxFuture;
use futures_util::stream::LocalBoxStream;
use futures_util::{FutureExt, StreamExt};
use serde::Serialize;

use crate::bindings::{BindingError, ByteSource};
use crate::body::BodyError;
use crate::http::to_json;

/// The lines of a body, each at most `line_bytes_max`.
pub(crate) struct LineReader {
    source: Box<dyn ByteSource>,
    line_bytes_max: usize,
    /// What has come and is not handed out yet.
    buffered: Vec<u8>,
    /// How much of it is known to hold no end of a line.
    searched: usize,
}

impl LineReader {
    pub(crate) fn new(source: Box<dyn ByteSource>, line_bytes_max: usize) -> Self {
        Self { source, line_bytes_max, buffered: Vec::new(), searched: 0 }
    }

    /// The next line without its end; `None` after the last one. What follows the last end of a line is a line, too.
    ///
    /// # Errors
    /// When a line is too long or the body breaks off.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        loop {
            if let Some(found) = self.buffered[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffered.split_off(self.searched + found + 1);
                let mut line = std::mem::replace(&mut self.buffered, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffered.len();
            if self.searched > self.line_bytes_max {
                return Err(BodyError::TooLarge(self.line_bytes_max));
            }
            match self.source.next_chunk().await? {
                Some(chunk) => self.buffered.extend_from_slice(&chunk),
                None if self.buffered.is_empty() => return Ok(None),
                None => {
                    self.searched = 0;
                    return Ok(Some(std::mem::take(&mut self.buffered)));
                }
            }
        }
    }
}

/// Adds `content` to `body` as one line of JSON.
pub(crate) fn push_line(body: &mut Vec<u8>, content: &impl Serialize) {
    body.extend(to_json(content));
    body.push(b'\n');
}

/// A body whose pieces are made while it is read. When its reader leaves, what makes them is dropped.
pub(crate) struct Pieces(pub(crate) LocalBoxStream<'static, Vec<u8>>);

impl ByteSource for Pieces {
    fn whole(&mut self) -> LocalBoxFuture<'_, Result<Vec<u8>, BindingError>> {
        let pieces = &mut self.0;
        async move {
            let mut whole = Vec::new();
            while let Some(piece) = pieces.next().await {
                whole.extend(piece);
            }
            Ok(whole)
        }
        .boxed_local()
    }

    fn next_chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, BindingError>> {
        let pieces = &mut self.0;
        async move { Ok(pieces.next().await) }.boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bindings::in_memory::ChunksInMemory;

    fn lines(source: ChunksInMemory, line_bytes_max: usize) -> (Vec<Vec<u8>>, Option<BodyError>) {
        let mut reader = LineReader::new(Box::new(source), line_bytes_max);
        let mut lines = Vec::new();
        loop {
            match reader.next().now_or_never().unwrap() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => return (lines, None),
                Err(error) => return (lines, Some(error)),
            }
        }
    }

    #[test]
    fn a_last_line_without_an_end_is_a_line() {
        let (lines, error) = lines(ChunksInMemory::new(&[b"a\nb", b"c\n", b"\nd"]), 10);
        assert_eq!(lines, [b"a".to_vec(), b"bc".to_vec(), b"".to_vec(), b"d".to_vec()]);
        assert!(error.is_none());
    }

    #[test]
    fn a_body_that_breaks_off_gives_its_whole_lines_first() {
        let (lines, error) = lines(ChunksInMemory::broken_after(&[b"a\nb"]), 10);
        assert_eq!(lines, [b"a".to_vec()]);
        assert!(matches!(error, Some(BodyError::Broken(_))));
    }

    #[test]
    fn a_line_that_does_not_end_is_read_no_further_than_its_limit() {
        let (lines, error) = lines(ChunksInMemory::new(&[b"ab\n", b"cdef", b"ghij"]), 3);
        assert_eq!(lines, [b"ab".to_vec()]);
        assert!(matches!(error, Some(BodyError::TooLarge(3))));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            expected in prop::collection::vec("[a-c]{0,4}", 0..6), cuts in prop::collection::vec(1usize..5, 40),
        ) {
            let body: String = expected.iter().map(|line| format!("{line}\n")).collect();
            let (mut chunks, mut rest) = (Vec::new(), body.as_bytes());
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            let (found, error) = lines(ChunksInMemory::new(&chunks), 10);
            prop_assert!(error.is_none());
            let expected: Vec<Vec<u8>> = expected.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
