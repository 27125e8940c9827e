//! The name under which one request can be found in every log and answer.

use std::fmt;

/// Longest request id taken over from a caller.
pub const REQUEST_ID_CHARS_MAX: usize = 64;
const REQUEST_ID_CHARS_MIN: usize = 8;

/// A request id: 8 to 64 characters of `A-Z a-z 0-9 - _`, safe in a header and in a log line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// Takes over a caller's id when it is well formed; anything else is `None` and a new one is made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let length_fits = (REQUEST_ID_CHARS_MIN..=REQUEST_ID_CHARS_MAX).contains(&text.len());
        let safe = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (length_fits && safe).then(|| Self(text.to_owned()))
    }

    /// A new id from 16 random bytes: 32 lower-case hex digits.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 16]) -> Self {
        Self(hex::encode(entropy))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_header_or_a_log_line_is_not_taken_over() {
        for hostile in ["", "short", "has space in it", "line\nbreak-here", "ünïcödé-id", &"x".repeat(65)] {
            assert_eq!(RequestId::parse(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn a_new_id_is_itself_well_formed() {
        let id = RequestId::from_entropy([0xab; 16]);
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
    }
}
