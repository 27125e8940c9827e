//! Ids → text.

/// Text of bytes that came from the vocabulary. Bytes that are no UTF-8 (only possible when a sequence was
/// stopped inside a character, or for overlong forms) become U+FFFD, which the caption's checks refuse.
#[must_use]
pub fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
