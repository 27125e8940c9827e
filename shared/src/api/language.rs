//! Which language a caption is asked for in.

use std::fmt;

use serde::{Serialize, Serializer};

use super::LANGUAGE_CHARS_MAX;

/// A well-formed BCP 47 tag (RFC 5646) in canonical case, such as `en` or `pt-BR`, of at most 35 characters.
/// Its subtags are not looked up: whether a model writes that language is the model's to say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanguageTag(String);

impl LanguageTag {
    /// Reads a tag in any case. `None` when it is not well-formed or names no language: no language has more than
    /// three letters, and `x-…` means something to those alone who agreed on it.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        if tag.len() > LANGUAGE_CHARS_MAX {
            return None;
        }
        let tag = Self(oxilangtag::LanguageTag::parse_and_normalize(tag).ok()?.into_inner());
        matches!(tag.primary().len(), 2..=3).then_some(tag)
    }

    /// The whole tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The language without script, region and the rest: `pt` of `pt-BR`.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }
}

/// English, in which a caption is written when the request does not say.
impl Default for LanguageTag {
    fn default() -> Self {
        Self("en".to_owned())
    }
}

impl Serialize for LanguageTag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The subtags after the first may be any words of the caller's.
impl fmt::Debug for LanguageTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LanguageTag({})", self.primary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_gets_its_canonical_case() {
        let cases = [
            ("en", "en"),
            ("PT-br", "pt-BR"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("SR-LATN", "sr-Latn"),
            ("fil", "fil"),
            ("de-CH-1996", "de-CH-1996"),
            ("EN-x-Pirate", "en-x-pirate"),
        ];
        for (sent, canonical) in cases {
            assert_eq!(LanguageTag::parse(sent).unwrap().as_str(), canonical, "{sent}");
        }
        assert_eq!(LanguageTag::parse("PT-br").unwrap().primary(), "pt");
    }

    #[test]
    fn what_names_no_language_is_no_tag() {
        let long = format!("en-{}", "abcdefgh-".repeat(4));
        for sent in [
            "",
            "e",
            "en-",
            "-en",
            "en_US",
            "English",
            "english",
            "x-mine",
            "i-klingon",
            "en-a",
            "e n",
            "français",
            "en-US-US",
            "12",
            "en\n",
            long.as_str(),
        ] {
            assert!(LanguageTag::parse(sent).is_none(), "{sent:?}");
        }
    }

    #[test]
    fn debug_output_shows_the_language_alone() {
        assert_eq!(format!("{:?}", LanguageTag::parse("en-x-wedding").unwrap()), "LanguageTag(en)");
    }

    proptest! {
        #[test]
        fn reading_any_text_never_panics_and_canonical_tags_read_as_themselves(
            tag in "\\PC{0,40}|[a-zA-Z]{2,3}(-[a-zA-Z0-9]{1,8}){0,5}",
        ) {
            if let Some(read) = LanguageTag::parse(&tag) {
                prop_assert!(read.as_str().eq_ignore_ascii_case(&tag) && tag.len() <= LANGUAGE_CHARS_MAX);
                prop_assert_eq!(LanguageTag::parse(read.as_str()), Some(read));
            }
        }
    }
}
