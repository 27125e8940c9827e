//! The name under which one request can be found in every log and answer.

use std::fmt;

/// Longest request id taken over from a caller.
pub const REQUEST_ID_CHARS_MAX: usize = 64;
const REQUEST_ID_CHARS_MIN: usize = 8;

/// A request id: 8 to 64 characters of `A-Z a-z 0-9 - _`, safe in a header and in a log line. Every request has one, on
/// each side and in several places, so it needs no memory of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The characters, then zeros.
    characters: [u8; REQUEST_ID_CHARS_MAX],
    length: u8,
}

impl RequestId {
    /// Takes over a caller's id when it is well formed; anything else is `None` and a new one is made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let length_fits = (REQUEST_ID_CHARS_MIN..=REQUEST_ID_CHARS_MAX).contains(&text.len());
        let safe = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (length_fits && safe).then(|| Self::of(text.as_bytes()))
    }

    /// A new id from 16 random bytes: 32 lower-case hex digits.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 16]) -> Self {
        let mut digits = [0; 32];
        // Cannot fail: there are two digits for each byte.
        let _ = hex::encode_to_slice(entropy, &mut digits);
        Self::of(&digits)
    }

    /// Of characters that are known to fit.
    fn of(characters: &[u8]) -> Self {
        let mut id = Self { characters: [0; REQUEST_ID_CHARS_MAX], length: 0 };
        for (place, character) in id.characters.iter_mut().zip(characters) {
            *place = *character;
            id.length += 1;
        }
        id
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // They are all ASCII.
        std::str::from_utf8(&self.characters[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RequestId({self})")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
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
    fn an_id_that_is_taken_over_is_the_caller_s_own() {
        for text in ["8-chars_", &"x".repeat(REQUEST_ID_CHARS_MAX)] {
            assert_eq!(RequestId::parse(text).unwrap().as_str(), text);
        }
        assert_ne!(RequestId::parse("abcdefgh"), RequestId::parse("abcdefghi"));
    }

    #[test]
    fn a_new_id_is_itself_well_formed() {
        let id = RequestId::from_entropy([0xab; 16]);
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
    }
}
