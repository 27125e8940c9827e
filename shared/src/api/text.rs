//! What a text is, said once: how a caller's text is cleaned, which words stand in it, what an emoji is.
//! Validation and whoever checks a caption against its request must mean the same by them.

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_properties::{EmojiStatus, UnicodeEmoji};

/// Unicode NFC, control and invisible formatting characters out, white space folded to single spaces, trimmed.
#[must_use]
pub fn normalise(text: &str) -> String {
    // Nearly every text is in NFC as it comes, and to see that costs far less than to compose it again.
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => fold_blanks(text.chars(), text.len()),
        IsNormalized::No | IsNormalized::Maybe => fold_blanks(text.nfc(), text.len()),
    }
}

/// A single space for each run of blanks between two words.
fn fold_blanks(characters: impl Iterator<Item = char>, bytes_expected: usize) -> String {
    let mut folded = String::with_capacity(bytes_expected);
    let mut after_blank = false;
    for character in characters {
        if is_blank(character) {
            after_blank = true;
            continue;
        }
        if after_blank && !folded.is_empty() {
            folded.push(' ');
        }
        after_blank = false;
        folded.push(character);
    }
    folded
}

/// White space, controls, and marks that change a text's direction or cannot be seen (but not the joiners that
/// emoji and several scripts need).
fn is_blank(character: char) -> bool {
    if character.is_ascii() {
        return character == ' ' || character.is_ascii_control();
    }
    character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// The text in lower case, for comparison: one sigma, NFC. Folding twice is folding once.
#[must_use]
pub fn fold_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.map(|character| if character == 'ς' { 'σ' } else { character }).nfc().collect()
}

/// Does `word` (which may be several) stand in `text` as a whole word, in any case? `art` stands in “Art, please”
/// and not in “party”. Scripts that put no space between words have no whole words: there any place counts.
#[must_use]
pub fn contains_word(text: &str, word: &str) -> bool {
    contains_folded_word(&fold_case(text), &fold_case(word))
}

/// [`contains_word`] for texts that [`fold_case`] has folded already.
#[must_use]
pub fn contains_folded_word(text: &str, word: &str) -> bool {
    let (Some(first), Some(last)) = (word.chars().next(), word.chars().next_back()) else { return false };
    // Matches may overlap, so each start is looked at: `match_indices` would skip some.
    text.char_indices().any(|(start, _)| {
        text[start..].starts_with(word)
            && !text[..start].chars().next_back().is_some_and(|before| is_one_word(before, first))
            && !text[start + word.len()..].chars().next().is_some_and(|after| is_one_word(last, after))
    })
}

/// Do two neighbouring characters belong to the same word? A mark belongs to the letter before it in any script.
fn is_one_word(left: char, right: char) -> bool {
    let left_is_inside = left.is_alphanumeric() || is_mark(left);
    if is_mark(right) {
        return left_is_inside;
    }
    left_is_inside && right.is_alphanumeric() && !is_unspaced(left) && !is_unspaced(right)
}

/// Is it drawn on the character before it? (Vowel signs, which are drawn there too, are letters.)
fn is_mark(character: char) -> bool {
    canonical_combining_class(character) != 0
        || matches!(character, '\u{fe00}'..='\u{fe0f}' | '\u{20dd}'..='\u{20e4}')
}

/// Letters of the scripts that are written without spaces: Thai, Lao, Burmese, Khmer, kana, Han.
fn is_unspaced(character: char) -> bool {
    matches!(character, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Is it a picture, or what makes one of the character before it? Signs that are text unless they are asked to be
/// pictures (digits, ©, ™, ↔) are not.
#[must_use]
pub fn is_emoji(character: char) -> bool {
    const FIRST_PICTURE: char = '\u{2600}';
    match character {
        '\u{fe0f}' | '\u{20e3}' => true,
        _ => match character.emoji_status() {
            EmojiStatus::NonEmoji | EmojiStatus::NonEmojiButEmojiComponent => false,
            EmojiStatus::EmojiOther | EmojiStatus::EmojiOtherAndEmojiComponent => character >= FIRST_PICTURE,
            _ => true,
        },
    }
}

/// Has `text` an emoji in it?
#[must_use]
pub fn contains_emoji(text: &str) -> bool {
    text.chars().any(is_emoji)
}

/// Can it be seen by itself? A mark or a joiner would change what stands before it instead.
pub(super) fn stands_alone(character: char) -> bool {
    !is_mark(character) && !matches!(character, '\u{200c}' | '\u{200d}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_is_found_whole_and_in_any_case() {
        let found = [
            ("Art, please", "art"),
            ("modern ART", "Art"),
            ("a t-shirt for you", "t-shirt"),
            ("super cheap stuff", "cheap stuff"),
            ("ΟΔΟΣ", "οδος"),
            ("aa aaa", "aaa"),
            ("100% off", "100%"),
            ("美味しい寿司です", "寿司"),
            ("my iPhoneを", "iphone"),
            ("art", "art"),
            ("no #ad here", "#ad"),
        ];
        for (text, word) in found {
            assert!(contains_word(text, word), "{word} in {text}");
        }
        let absent = [
            ("party", "art"),
            ("artful", "art"),
            ("cheaper", "cheap"),
            ("1000", "100"),
            ("cheap  stuff", "cheap stuff"),
            ("\u{915}\u{94d}\u{92f}\u{93e}", "\u{915}"),
            ("art", ""),
            ("", "art"),
        ];
        for (text, word) in absent {
            assert!(!contains_word(text, word), "{word} in {text}");
        }
    }

    #[test]
    fn an_emoji_is_a_picture_and_not_a_sign() {
        for text in ["🌅", "☀", "❤️", "✔", "👩‍🍳", "🏳️‍🌈", "🇯🇵", "3️⃣", "©️", "so ✨ good"]
        {
            assert!(contains_emoji(text), "{text}");
        }
        for text in ["", "plain", "50% off, 3 #1 *", "© 2025 Lede™", "→ ↔ – • ✓ ★ ½ €", "東京の朝", "a\u{200d}b"]
        {
            assert!(!contains_emoji(text), "{text}");
        }
    }

    #[test]
    fn marks_that_turn_the_writing_direction_are_taken_out() {
        assert_eq!(normalise("\u{202e}evil\u{202c} \u{61c}text\u{200f}\u{2067}\u{7}"), "evil text");
    }

    /// What [`normalise`] says, without its shortcuts.
    fn normalised_step_by_step(text: &str) -> String {
        let is_blank = |character: char| {
            character.is_whitespace()
                || character.is_control()
                || matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                    | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        };
        let visible: String =
            text.nfc().map(|character| if is_blank(character) { ' ' } else { character }).collect();
        visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// What [`fold_case`] says, without its shortcut.
    fn folded_step_by_step(text: &str) -> String {
        let lower = text.chars().flat_map(char::to_lowercase);
        lower.map(|character| if character == 'ς' { 'σ' } else { character }).nfc().collect()
    }

    #[test]
    fn every_character_is_normalised_and_folded_as_without_shortcuts() {
        for character in '\0'..=char::MAX {
            let text = format!("a{character}\u{301} {character}");
            assert_eq!(normalise(&text), normalised_step_by_step(&text), "{character:?}");
            assert_eq!(fold_case(&text), folded_step_by_step(&text), "{character:?}");
        }
    }

    proptest! {
        #[test]
        fn shortcuts_change_no_text(text in "\\PC{0,80}|[ \\t\\nA-Za-z0-9\\x00-\\x7f]{0,80}|[ e\u{301}\u{323}é가ᄀ\u{1161}\u{200b}\u{a0}]{0,20}") {
            prop_assert_eq!(normalise(&text), normalised_step_by_step(&text));
            prop_assert_eq!(fold_case(&text), folded_step_by_step(&text));
        }

        #[test]
        fn normalisation_is_idempotent(text in "\\PC{0,200}|[ \\t\\n\\u{200b}é\\u{301}a]{0,40}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once.clone());
            prop_assert!(!once.contains("  ") && once.trim() == once);
        }

        #[test]
        fn folding_is_idempotent_and_keeps_a_text_normalised(text in "\\PC{0,60}|[A-ZÀ-ÞΑ-ΩǅẞİJ\\u{30c}]{0,20}") {
            let folded = fold_case(&normalise(&text));
            prop_assert_eq!(fold_case(&folded), folded.clone());
            prop_assert_eq!(normalise(&folded), folded);
        }

        #[test]
        fn a_word_set_between_spaces_is_found(before in "\\PC{0,20}", word in "[\\w-]{1,12}", after in "\\PC{0,20}") {
            let text = format!("{before} {} {after}", word.to_uppercase());
            prop_assert!(contains_word(&text, &word.to_uppercase()));
        }
    }
}
