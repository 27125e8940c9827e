//! Judging what somebody else's model wrote. A local model cannot break a request's rules; this one can, by mistake
//! or because a description told it to, so every rule is looked at here. Nothing is added to what it wrote.

use lede_shared::api::text::{contains_folded_word, fold_case, normalise};
use lede_shared::policy::{POLICY, utf16_len};

use super::candidate;
use crate::engine::constraint::{CaptionRules, Required, emoji_count};
use crate::remote::Proposal;

/// Shortest and longest name of a hashtag, in characters.
const HASHTAG_CHARS: std::ops::RangeInclusive<usize> = 2..=30;
/// Most empty lines in a row.
const EMPTY_LINES_MAX: usize = 1;
/// Marks inside of a number: `20.5` is neither 20 nor 5.
const NUMBER_JOINTS: [char; 7] = ['.', ',', ':', '/', '\'', '-', '–'];

/// Which rule a caption breaks. Its text is fixed and may be told to the model that wrote the caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Broken {
    #[error("the caption is empty")]
    Empty,
    #[error("the caption is too long")]
    TooLong,
    #[error("the caption holds a character that may not stand in it, such as #")]
    Character,
    #[error("the caption holds a banned word")]
    BannedWord,
    #[error("the caption lacks a text that it must include as written, or the call to action")]
    Lacking,
    #[error("the caption holds a number that the description does not have")]
    InventedNumber,
    #[error("the caption holds too few or too many emoji")]
    Emoji,
    #[error("the caption repeats itself")]
    Repeating,
    #[error("there are too few usable hashtags")]
    Hashtags,
}

/// The proposal's caption with its white space put in order, if it keeps every rule.
pub(super) fn caption(proposal: &Proposal, rules: &CaptionRules) -> Result<String, Broken> {
    let caption = tidied(&proposal.caption);
    let folded = fold_case(&caption);
    if caption.is_empty() {
        return Err(Broken::Empty);
    }
    if utf16_len(&caption) > rules.caption_utf16_max || !POLICY.is_postable(&caption, &caption) {
        return Err(Broken::TooLong);
    }
    let may_mention = rules.sources.iter().any(|text| text.contains('@'));
    let is_unwanted = |line: &str| normalise(line) != line || line.contains(is_unwanted);
    if caption.contains('#') || (caption.contains('@') && !may_mention) || caption.lines().any(is_unwanted) {
        return Err(Broken::Character);
    }
    if rules.banned.iter().any(|word| contains_folded_word(&folded, word)) {
        return Err(Broken::BannedWord);
    }
    let stands = |required: &&Required| stands_in(required, &caption, &folded);
    if !rules.required.iter().all(|required| stands(&required)) {
        return Err(Broken::Lacking);
    }
    let required = || rules.required.iter().flat_map(|required| &required.alternatives);
    let known: Vec<String> = rules.numbers.iter().chain(required()).flat_map(|text| numbers(text)).collect();
    if numbers(&caption).iter().any(|number| !known.contains(number)) {
        return Err(Broken::InventedNumber);
    }
    let theirs: usize = rules
        .required
        .iter()
        .filter_map(|required| required.alternatives.first())
        .map(|text| emoji_count(text))
        .sum();
    let own = emoji_count(&caption).saturating_sub(theirs);
    if !(rules.emoji.min..=rules.emoji.max).contains(&own) {
        return Err(Broken::Emoji);
    }
    if candidate::repeats_itself(&caption) {
        return Err(Broken::Repeating);
    }
    Ok(caption)
}

/// Exactly as many different names as the rules ask for: first the proposal's own, then those of `spare`, which the
/// same model wrote for the same request. Each is folded and freed of its `#` and its blanks; unusable ones are left
/// out.
pub(super) fn hashtags(
    proposal: &Proposal,
    spare: &[String],
    rules: &CaptionRules,
) -> Result<Vec<String>, Broken> {
    let mut names: Vec<String> = Vec::with_capacity(rules.hashtag_count);
    for hashtag in proposal.hashtags.iter().chain(spare) {
        if names.len() == rules.hashtag_count {
            break;
        }
        let name: String = fold_case(hashtag)
            .chars()
            .filter(|character| *character != '#' && !character.is_whitespace())
            .collect();
        if is_usable_name(&name, rules) && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() == rules.hashtag_count { Ok(names) } else { Err(Broken::Hashtags) }
}

/// Line ends of one kind, single blanks, no blanks around lines, few empty lines. Only white space changes.
fn tidied(caption: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut empty_lines = 0;
    for line in caption.trim().lines() {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        empty_lines = if line.is_empty() { empty_lines + 1 } else { 0 };
        if empty_lines <= EMPTY_LINES_MAX {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// Not to be seen, or not the same to everybody: private, unassigned for ever, hidden or a decoder's confession.
const fn is_unwanted(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fdd0}'..='\u{fdef}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{f0000}'..)
}

/// Does one of the alternatives stand in the caption, not as part of a longer word?
fn stands_in(required: &Required, caption: &str, folded: &str) -> bool {
    required.alternatives.iter().any(|wanted| {
        // The search compares as it is told: folding both sides is what makes it blind to case.
        if required.any_case {
            contains_folded_word(folded, &fold_case(wanted))
        } else {
            contains_folded_word(caption, wanted)
        }
    })
}

/// Every number in `text` with what belongs to it: `$1,299.50`, `20%`, `7:30pm`, `GLOW40`. A part without a digit is
/// none of it: of `5-star` it is `5`.
fn numbers(text: &str) -> Vec<String> {
    let is_part = |character: char| character.is_alphanumeric() || is_sign(character);
    let is_inside = |character: char| is_part(character) || NUMBER_JOINTS.contains(&character);
    let mut numbers = Vec::new();
    for run in text.split(|character: char| !is_inside(character)) {
        let mut number = String::new();
        let mut joints = "";
        let mut rest = run;
        while !rest.is_empty() {
            let part_end = rest.find(NUMBER_JOINTS).unwrap_or(rest.len());
            let (part, after) = rest.split_at(part_end);
            if part.contains(char::is_numeric) {
                if !number.is_empty() {
                    number.push_str(joints);
                }
                number.push_str(part);
            } else if !number.is_empty() {
                numbers.push(std::mem::take(&mut number));
            }
            let joints_end = after.find(|character| !NUMBER_JOINTS.contains(&character)).unwrap_or(after.len());
            (joints, rest) = after.split_at(joints_end);
            // Two marks in a row part what they stand between, as “…” does.
            if joints.chars().count() > 1 && !number.is_empty() {
                numbers.push(std::mem::take(&mut number));
            }
        }
        if !number.is_empty() {
            numbers.push(number);
        }
    }
    numbers
}

/// Signs that make a number an amount.
const fn is_sign(character: char) -> bool {
    matches!(character, '%' | '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}')
}

fn is_usable_name(name: &str, rules: &CaptionRules) -> bool {
    let is_in_name =
        |character: char| (character.is_alphanumeric() || character == '_') && !is_unwanted(character);
    HASHTAG_CHARS.contains(&name.chars().count())
        && name.chars().all(is_in_name)
        && name.contains(char::is_alphabetic)
        && rules.permits_hashtag(name)
        && has_only_known_numbers(name, &rules.numbers)
}

/// Is every run of digits in `name` part of one of `numbers`, no digit going on beside it?
fn has_only_known_numbers(name: &str, numbers: &[String]) -> bool {
    let known: Vec<String> = numbers
        .iter()
        .map(|number| fold_case(number).chars().filter(|character| character.is_alphanumeric()).collect())
        .filter(|number: &String| !number.is_empty())
        .collect();
    let is_digit = |character: Option<char>| character.is_some_and(char::is_numeric);
    let covers = |at: usize, number: &String| {
        name.match_indices(number.as_str()).any(|(start, _)| {
            let end = start + number.len();
            (start..end).contains(&at)
                && !is_digit(name[..start].chars().next_back())
                && !is_digit(name[end..].chars().next())
        })
    };
    let digits = name.char_indices().filter(|(_, character)| character.is_numeric());
    digits.into_iter().all(|(at, _)| known.iter().any(|number| covers(at, number)))
}

#[cfg(test)]
mod tests {
    use lede_shared::api::arbitrary::valid_request;
    use lede_shared::api::text::{contains_emoji, contains_word};
    use lede_shared::api::{EmojiLevel, ValidRequest};
    use proptest::prelude::*;

    use super::super::rules::Demands;
    use super::*;
    use crate::engine::constraint::EmojiRule;

    fn rules() -> CaptionRules {
        CaptionRules {
            sources: vec!["Zoë's tea, 20% off, code GLOW40, $1,299.50 at 7:30".to_owned()],
            numbers: ["20%", "GLOW40", "$1,299.50", "7:30"].map(str::to_owned).to_vec(),
            required: vec![
                Required::exactly("Zoë's"),
                Required { alternatives: vec!["save this".to_owned(), "save it".to_owned()], any_case: true },
            ],
            banned: vec!["cheap".to_owned(), "art".to_owned()],
            hashtag_count: 2,
            caption_utf16_max: 80,
            ..CaptionRules::default()
        }
    }

    fn proposal(caption: &str, hashtags: &[&str]) -> Proposal {
        Proposal { caption: caption.to_owned(), hashtags: hashtags.iter().map(ToString::to_string).collect() }
    }

    fn judged(text: &str) -> Result<String, Broken> {
        caption(&proposal(text, &[]), &rules())
    }

    #[test]
    fn a_caption_that_keeps_every_rule_only_has_its_white_space_put_in_order() {
        let text = " Zoë's  tea.\r\n\r\n\r\nSave it  for a party.\t";
        assert_eq!(judged(text).unwrap(), "Zoë's tea.\n\nSave it for a party.");
        assert!(judged("Zoë's tea, 20% off with GLOW40: $1,299.50, at 7:30. Save this!").is_ok());
    }

    #[test]
    fn each_broken_rule_is_named() {
        for (text, broken) in [
            ("", Broken::Empty),
            (" \n ", Broken::Empty),
            (&format!("Zoë's tea. Save it. {}", "long ".repeat(20)), Broken::TooLong),
            ("Zoë's tea. Save it. #tea", Broken::Character),
            ("Zoë's tea. Save it. @someone", Broken::Character),
            ("Zoë's tea. Save it.\u{7}", Broken::Character),
            ("Zoë's tea. Save it. \u{202e}txet", Broken::Character),
            ("Zoë's tea. Save it. \u{fffd}", Broken::Character),
            ("Zoë's tea. Save it. \u{e001}", Broken::Character),
            ("Zoë's CHEAP tea. Save it.", Broken::BannedWord),
            ("Zoë's tea is Art. Save it.", Broken::BannedWord),
            ("zoë's tea. Save it.", Broken::Lacking),
            ("Zoë's tea.", Broken::Lacking),
            ("Zoë's tea, 30% off. Save it.", Broken::InventedNumber),
            ("Zoë's tea, 20 off. Save it.", Broken::InventedNumber),
            ("Zoë's tea, 20.5% off. Save it.", Broken::InventedNumber),
            ("Zoë's tea, GLOW41. Save it.", Broken::InventedNumber),
            ("Zoë's tea, €1,299.50. Save it.", Broken::InventedNumber),
            ("Zoë's tea ☕ Save it.", Broken::Emoji),
            ("Zoë's tea. Save it. go go go go go go", Broken::Repeating),
        ] {
            assert_eq!(judged(text), Err(broken), "{text}");
        }
    }

    #[test]
    fn emoji_are_counted_besides_those_that_had_to_be_there() {
        let light = CaptionRules {
            required: vec![Required::exactly("tea ☕")],
            emoji: EmojiRule { min: 1, max: 2 },
            caption_utf16_max: 80,
            ..CaptionRules::default()
        };
        let judged = |text: &str| caption(&proposal(text, &[]), &light).is_ok();
        assert!(judged("tea ☕ now ✨") && judged("✨ tea ☕ now 👩‍🍳"));
        assert!(!judged("tea ☕ now") && !judged("✨✨✨ tea ☕"));
    }

    #[test]
    fn hashtags_are_folded_freed_of_what_cannot_stand_and_brought_to_their_number() {
        let names = |own: &[&str], spare: &[&str]| {
            let spare: Vec<String> = spare.iter().map(ToString::to_string).collect();
            hashtags(&proposal("", own), &spare, &rules())
        };
        let two = |one: &str, other: &str| Ok(vec![one.to_owned(), other.to_owned()]);
        assert_eq!(names(&["#Tea Time", "TEATIME", "slow", "more"], &[]), two("teatime", "slow"));
        assert_eq!(
            names(&["#tea!", "cheaptea", "art", "x", "2026", "tea2026", "glow40"], &["Zoë"]),
            two("glow40", "zoë")
        );
        assert_eq!(names(&["tea"], &["tea", "#tea"]), Err(Broken::Hashtags));
        assert_eq!(names(&["a_b", &"x".repeat(31)], &["東京"]), two("a_b", "東京"));
    }

    #[test]
    fn a_number_in_a_name_is_one_of_the_requests_whole() {
        let known = ["20%", "GLOW40"].map(str::to_owned);
        for (name, is_known) in [
            ("glow40", true),
            ("tea20", true),
            ("20off", true),
            ("tea2020", false),
            ("tea120", false),
            ("tea", true),
        ] {
            assert_eq!(has_only_known_numbers(name, &known), is_known, "{name}");
        }
    }

    #[test]
    fn numbers_are_found_with_what_belongs_to_them() {
        for (text, found) in [
            ("5-star tea", &["5"][..]),
            ("from 9-5, at 7:30pm.", &["9-5", "7:30pm"]),
            ("$1,299.50... 20%!", &["$1,299.50", "20%"]),
            ("Zoë's tea – no number, e.g. none", &[]),
            ("2026.", &["2026"]),
            ("1...2", &["1", "2"]),
        ] {
            assert_eq!(numbers(text), found, "{text}");
        }
    }

    /// What a model could make of a request: what it has to write, what it may not, and what else comes to its mind.
    fn any_text(demands: &Demands, request: &ValidRequest) -> impl Strategy<Value = String> + use<> {
        let required = demands.rules.required.iter().filter_map(|required| required.alternatives.first().cloned());
        let required: Vec<String> = required.collect();
        let mut tempting: Vec<String> = request.banned_words().to_vec();
        tempting.extend(["✨", "#tag", "42", "@someone", "\u{202e}", "\n\n"].map(str::to_owned));
        let words = prop::collection::vec("[a-z]{1,7}[.,]?", 1..12);
        let tempted = prop::option::weighted(0.2, prop::sample::select(tempting));
        (words, tempted, prop::bool::weighted(0.9)).prop_map(move |(words, tempted, is_obedient)| {
            let obeyed = if is_obedient { required.as_slice() } else { &[] };
            let parts = words.iter().chain(obeyed).chain(&tempted).cloned();
            parts.collect::<Vec<_>>().join(" ")
        })
    }

    fn any_proposal() -> impl Strategy<Value = (ValidRequest, String, Vec<String>)> {
        let names = prop::collection::vec("#?[a-zé]{1,9}( [a-z]{1,5})?|[a-z0-9_#]{0,6}|\\PC{1,4}", 0..40);
        valid_request().prop_flat_map(move |request| {
            let text = any_text(&Demands::of(&request), &request);
            (Just(request), text, names.clone())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_taken_is_what_the_request_asked_for((request, text, names) in any_proposal()) {
            let demands = Demands::of(&request);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let proposal = proposal(&text, &names);
            if let Ok(caption) = caption(&proposal, &demands.rules) {
                for text in request.must_include() {
                    prop_assert!(caption.contains(text.as_str()), "{text:?} is not in {caption:?}");
                }
                for word in request.banned_words() {
                    prop_assert!(!contains_word(&caption, word), "{word:?} is in {caption:?}");
                }
                let utf16_max = request.max_length().map_or(POLICY.post_utf16_max, usize::from);
                prop_assert!(utf16_len(&caption) <= utf16_max && !caption.contains('#'));
                prop_assert!(request.emoji() != EmojiLevel::None || !contains_emoji(&caption), "{caption:?}");
                prop_assert!(!caption.chars().any(|character| character.is_control() && character != '\n'));
            }
            if let Ok(names) = hashtags(&proposal, &[], &demands.rules) {
                let mut different = names.clone();
                different.sort();
                different.dedup();
                prop_assert_eq!(different.len(), usize::from(request.hashtag_count()));
                for name in &names {
                    prop_assert!(name.chars().all(|character| character.is_alphanumeric() || character == '_'));
                    prop_assert!(!request.banned_words().contains(name), "{name:?}");
                }
            }
        }

        #[test]
        fn whatever_comes_back_what_is_taken_keeps_the_rules(
            text in "(Zoë's tea\\. Save it\\.)?\\PC{0,60}|[ \\n#@0-9a-z%☕]{0,60}", names in prop::collection::vec("\\PC{0,12}|#?[a-z0-9 ]{0,12}", 0..6),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let proposal = proposal(&text, &names);
            if let Ok(caption) = caption(&proposal, &rules()) {
                prop_assert!(!caption.contains('#') && !caption.contains(|c: char| c.is_control() && c != '\n'));
                prop_assert!(caption.contains("Zoë's") && utf16_len(&caption) <= 80 && emoji_count(&caption) == 0);
            }
            if let Ok(names) = hashtags(&proposal, &[], &rules()) {
                prop_assert_eq!(names.len(), 2);
                prop_assert!(names[0] != names[1]);
                prop_assert!(names.iter().all(|name| fold_case(name) == *name && (2..=30).contains(&name.chars().count())));
            }
        }
    }
}
