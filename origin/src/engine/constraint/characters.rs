//! Sets of characters, as they stand inside a regular expression's brackets.

use std::fmt::Write as _;
use std::sync::LazyLock;

use lede_shared::api::text::is_emoji;

/// Every emoji lies between these two.
const EMOJI_SEARCHED: std::ops::RangeInclusive<char> = '\u{2000}'..='\u{1fbff}';

/// Makes a picture of the sign before it.
pub(super) const VARIATION_SELECTOR: char = '\u{fe0f}';
/// Joins pictures into one.
pub(super) const JOINER: char = '\u{200d}';

/// What no text holds unless as a picture: every emoji and what makes one, and their blocks' other symbols.
pub(super) static EMOJI: LazyLock<String> = LazyLock::new(|| {
    let in_blocks = |character: &char| matches!(character, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1fbff}');
    class_of(EMOJI_SEARCHED.filter(|character| is_emoji(*character) || in_blocks(character)))
});

/// Emoji that can stand alone.
pub(super) static PICTURES: LazyLock<String> = LazyLock::new(|| {
    let stands_alone =
        |character: &char| is_emoji(*character) && !is_modifier(*character) && !is_regional(*character);
    class_of(EMOJI_SEARCHED.filter(|character| stands_alone(character) && !character.is_numeric()))
});

/// Numbers and signs of amounts.
pub(super) static NUMBERS: LazyLock<String> = LazyLock::new(|| {
    let is_number = |character: &char| character.is_numeric() || is_currency(*character);
    class_of(('\0'..'\u{30000}').filter(is_number))
});

/// Signs that make a number an amount; they stand with their number only.
pub(super) const fn is_currency(character: char) -> bool {
    matches!(character, '$' | '%' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}')
}

/// Halves of a flag.
pub(super) const REGIONAL: &str = r"\u{1f1e6}-\u{1f1ff}";
/// Skin tones.
pub(super) const SKIN_TONES: &str = r"\u{1f3fb}-\u{1f3ff}";
/// Controls, characters that turn or hide text, private ones, and those that would join the letter before them.
pub(super) const UNWANTED: &str = r"\x00-\x1f\x7f-\x9f\u{ad}\u{300}-\u{36f}\u{61c}\u{1100}-\u{11ff}\u{180e}\u{200b}\u{200e}\u{200f}\u{2028}-\u{202f}\u{205f}-\u{206f}\u{3099}\u{309a}\u{e000}-\u{f8ff}\u{fe00}-\u{fe0e}\u{fe20}-\u{fe2f}\u{feff}\u{fff0}-\u{ffff}\u{13430}-\u{1345f}\u{1bca0}-\u{1bcaf}\u{1d165}-\u{1d17a}\u{30000}-\u{10ffff}";

/// Is it a letter of a script that is written without spaces?
pub(super) const fn is_unspaced(character: char) -> bool {
    matches!(character, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Is it, as near as blocks tell, a mark that belongs to the letter before it?
pub(super) fn is_mark(character: char) -> bool {
    !character.is_alphanumeric()
        && matches!(character, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{1fff}' | '\u{20d0}'..='\u{20ff}'
            | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}' | '\u{a66f}'..='\u{abff}' | '\u{fb1e}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{fe20}'..='\u{fe2f}' | '\u{10000}'..='\u{1efff}' | '\u{e0100}'..='\u{e01ef}')
}

/// The text with signs of no meaning in place of its pictures, except for those in `kept`, which stay as they are.
pub(super) fn without_pictures(text: &str, kept: &[String]) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let stays = kept.iter().filter(|kept| rest.starts_with(kept.as_str())).map(String::len).max().unwrap_or(0);
        if stays > 0 {
            plain.push_str(&rest[..stays]);
        } else if is_emoji(first) && !is_modifier(first) {
            plain.push('°');
        } else if first != JOINER && !is_modifier(first) {
            plain.push(first);
        }
        rest = &rest[stays.max(first.len_utf8())..];
    }
    plain
}

const fn is_regional(character: char) -> bool {
    matches!(character, '\u{1f1e6}'..='\u{1f1ff}')
}

const fn is_modifier(character: char) -> bool {
    matches!(character, VARIATION_SELECTOR | '\u{20e3}' | '\u{1f3fb}'..='\u{1f3ff}')
}

/// Would a regular expression's class take it as what it is, without doubt?
const fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric()
}

/// Appends one character so that it stands for itself.
pub(super) fn push_escaped(pattern: &mut String, character: char) {
    if is_plain(character) {
        pattern.push(character);
    } else {
        let _ = write!(pattern, r"\u{{{:x}}}", u32::from(character));
    }
}

/// A text that stands for itself.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    text.chars().for_each(|character| push_escaped(&mut pattern, character));
    pattern
}

/// The inside of a class with these characters, runs of neighbours drawn together.
pub(super) fn class_of(characters: impl IntoIterator<Item = char>) -> String {
    let mut sorted: Vec<u32> = characters.into_iter().map(u32::from).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut class = String::new();
    for run in sorted.chunk_by(|left, right| left + 1 == *right) {
        let _ = write!(class, r"\u{{{:x}}}", run[0]);
        if let [_, .., last] = run {
            let _ = write!(class, r"-\u{{{last:x}}}");
        }
    }
    class
}

/// How many emoji stand in `text`: what is drawn as one picture counts as one.
#[must_use]
pub fn emoji_count(text: &str) -> usize {
    let (mut count, mut before, mut half_flag) = (0, '\0', false);
    for character in text.chars() {
        if is_emoji(character) && !is_modifier(character) && before != JOINER {
            let completes_flag = half_flag && is_regional(character);
            count += usize::from(!completes_flag);
            half_flag = is_regional(character) && !completes_flag;
        } else if is_emoji(character) && is_modifier(character) && !is_emoji(before) {
            count += 1;
        }
        before = character;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_as_one_picture_counts_once() {
        for (text, count) in [
            ("", 0),
            ("plain text, 50% © →", 0),
            ("🌅", 1),
            ("✨✨", 2),
            ("❤️ and 👩‍🍳 and 👍🏽", 3),
            ("🇯🇵🇫🇷", 2),
            ("3️⃣", 1),
        ] {
            assert_eq!(emoji_count(text), count, "{text}");
        }
    }

    #[test]
    fn neighbours_become_a_range_and_every_emoji_is_searched_for() {
        assert_eq!(class_of("cabx".chars()), r"\u{61}-\u{63}\u{78}");
        let outside = ('\u{1fc00}'..=char::MAX).chain('\u{b0}'..'\u{2000}').find(|character| is_emoji(*character));
        assert_eq!(outside, None);
    }
}
