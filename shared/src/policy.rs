//! What Instagram accepts, as a versioned table.
//!
//! The version is part of the cache key, so a changed table can never be answered from an old entry.

/// Limits of one post. Lengths are in UTF-16 code units: the platform's counting unit is not documented, and
/// UTF-16 units are never fewer than characters or graphemes, so this is the safe reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Year and month in which the newest limit took effect.
    pub version: &'static str,
    /// Longest post text, hashtags included.
    pub post_utf16_max: usize,
    /// What is visible before “more”.
    pub hook_utf16_max: usize,
    /// Most hashtags in one post: 5 since December 2025 (it was 30).
    pub hashtags_max: usize,
}

/// The table in force.
pub const POLICY: Policy =
    Policy { version: "2025-12", post_utf16_max: 2_200, hook_utf16_max: 125, hashtags_max: 5 };

impl Policy {
    /// The part of a caption that is visible before “more”: the longest prefix of whole words that fits.
    /// A first word longer than the limit is cut between characters.
    #[must_use]
    pub fn hook<'caption>(&self, caption: &'caption str) -> &'caption str {
        let fitting = prefix_of_utf16(caption, self.hook_utf16_max);
        if fitting.len() == caption.len() {
            return caption;
        }
        let next_is_space = caption[fitting.len()..].starts_with(char::is_whitespace);
        let end = if next_is_space { Some(fitting.len()) } else { fitting.rfind(char::is_whitespace) };
        end.map_or(fitting, |end| fitting[..end].trim_end())
    }

    /// How many of `hashtags` a post may carry.
    #[must_use]
    pub fn hashtags_accepted<'tags>(&self, hashtags: &'tags [String]) -> &'tags [String] {
        &hashtags[..hashtags.len().min(self.hashtags_max)]
    }

    /// Caption and accepted hashtags as they would be pasted into Instagram: a blank line between the two.
    #[must_use]
    pub fn post_text(&self, caption: &str, hashtags: &[String]) -> String {
        let accepted = self.hashtags_accepted(hashtags);
        if accepted.is_empty() {
            return caption.to_owned();
        }
        format!("{caption}\n\n{}", accepted.join(" "))
    }

    /// Would Instagram take this text with this many hashtags? The empty caption is not worth posting.
    #[must_use]
    pub fn is_postable(&self, caption: &str, post_text: &str) -> bool {
        !caption.trim().is_empty()
            && utf16_len(post_text) <= self.post_utf16_max
            && post_text.matches('#').count() <= self.hashtags_max
    }
}

/// Length in UTF-16 code units.
#[must_use]
pub fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn prefix_of_utf16(text: &str, units_max: usize) -> &str {
    let mut units = 0;
    for (index, character) in text.char_indices() {
        units += character.len_utf16();
        if units > units_max {
            return &text[..index];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hook_ends_between_words() {
        let caption = format!("{} tail", "word ".repeat(24) + "abcd");
        let hook = POLICY.hook(&caption);
        assert!(utf16_len(hook) <= 125 && caption.starts_with(hook) && hook.ends_with("abcd"), "{hook:?}");
    }

    #[test]
    fn fifteen_hashtags_are_cut_to_what_instagram_accepts() {
        let hashtags: Vec<String> = (0..15).map(|n| format!("#tag{n}")).collect();
        let post_text = POLICY.post_text("Hello", &hashtags);
        assert_eq!(post_text, "Hello\n\n#tag0 #tag1 #tag2 #tag3 #tag4");
        assert!(POLICY.is_postable("Hello", &post_text));
    }

    #[test]
    fn an_empty_caption_is_not_postable() {
        assert!(!POLICY.is_postable("  ", "  "));
    }

    proptest! {
        #[test]
        fn a_hook_is_a_prefix_that_fits(caption in "\\PC{0,300}") {
            let hook = POLICY.hook(&caption);
            prop_assert!(caption.starts_with(hook));
            prop_assert!(utf16_len(hook) <= POLICY.hook_utf16_max);
        }
    }
}
