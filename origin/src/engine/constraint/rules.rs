//! What one request demands of everything that is written for it. The engine knows no request: it knows these rules.

/// A text that has to stand in the caption; one of several will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// Each would do. The first that fits is written when the room runs out.
    pub alternatives: Vec<String>,
    /// Does any case count, as in a call to action?
    pub any_case: bool,
}

impl Required {
    /// A text that has to stand there as it is.
    #[must_use]
    pub fn exactly(text: impl Into<String>) -> Self {
        Self { alternatives: vec![text.into()], any_case: false }
    }
}

/// Emoji wanted besides those of the required texts; each counts as one however many characters make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmojiRule {
    /// At least.
    pub min: usize,
    /// At most.
    pub max: usize,
}

/// The rules of one caption and its hashtags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptionRules {
    /// Texts whose words and characters may be used besides those that every caption may use.
    pub sources: Vec<String>,
    /// Numbers with what belongs to them, as typed (`$1,299.50`, `20%`, `7:30`, `GLOW40`): the only words with
    /// digits in them that may be written.
    pub numbers: Vec<String>,
    /// Texts that must stand in the caption.
    pub required: Vec<Required>,
    /// Words, or several with blanks between, that may not: folded to lower case.
    pub banned: Vec<String>,
    /// Emoji besides those of the required texts.
    pub emoji: EmojiRule,
    /// Different hashtags wanted.
    pub hashtag_count: usize,
    /// The style, by its name in the lexicon, for hashtags where the sources name little.
    pub style: String,
    /// Longest caption in UTF-16 code units.
    pub caption_utf16_max: usize,
    /// Most vocabulary entries of a caption.
    pub caption_pieces_max: usize,
    /// Most vocabulary entries of everything that is written.
    pub completion_pieces_max: usize,
}

impl CaptionRules {
    /// Is `name`, a hashtag's, free of banned words? A longer banned word may not even be part of a name, since a
    /// hashtag puts words together without blanks.
    #[must_use]
    pub fn permits_hashtag(&self, name: &str) -> bool {
        self.banned_in_names().iter().all(|banned| !banned.stands_in(name))
    }

    /// The banned words as they would stand in hashtags.
    pub(super) fn banned_in_names(&self) -> Vec<BannedInName> {
        let banned = self.banned.iter().map(|word| BannedInName::of(word));
        banned.filter(|banned| !banned.letters.is_empty()).collect()
    }
}

/// A banned word as it would stand in a hashtag's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BannedInName {
    /// Letters and digits only.
    pub(super) letters: String,
    /// May it not even be part of a longer name?
    pub(super) anywhere: bool,
}

impl BannedInName {
    /// Shorter ones are part of too many harmless words (`art` of `party`).
    const ANYWHERE_CHARS_MIN: usize = 4;

    pub(super) fn of(word: &str) -> Self {
        let letters: String = word.chars().filter(|character| character.is_alphanumeric()).collect();
        let is_long = letters.chars().count() >= Self::ANYWHERE_CHARS_MIN;
        let anywhere = is_long || letters.chars().any(super::characters::is_unspaced);
        Self { letters, anywhere }
    }

    pub(super) fn stands_in(&self, name: &str) -> bool {
        !self.letters.is_empty() && (name == self.letters || (self.anywhere && name.contains(&self.letters)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashtag_is_banned_whole_or_if_the_word_is_long_also_in_part() {
        let rules = CaptionRules {
            banned: ["art", "cheap stuff", "t-shirt", "寿司", "!?"].map(str::to_owned).to_vec(),
            ..CaptionRules::default()
        };
        for name in ["art", "cheapstuff", "mycheapstuffs", "tshirt", "寿司好き"] {
            assert!(!rules.permits_hashtag(name), "{name}");
        }
        for name in ["party", "cheap", "shirt", "寿"] {
            assert!(rules.permits_hashtag(name), "{name}");
        }
    }
}
