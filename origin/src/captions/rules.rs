//! Request → what every caption for it has to keep.

use lede_shared::api::text::{contains_folded_word, fold_case};
use lede_shared::api::{CallToAction, EmojiLevel, ValidRequest};
use lede_shared::policy::{POLICY, utf16_len};

use super::facts;
use crate::engine::constraint::{CaptionRules, EmojiRule, Required};

/// Most facts that are required.
const FACTS_MAX: usize = 8;
/// Most characters of all required facts together.
const FACTS_CHARS_MAX: usize = 160;
/// A required text needs this besides its own length.
const JOINT_UTF16: usize = 2;
/// A hashtag in a post: its name, `#` and a blank.
const HASHTAG_UTF16_MAX: usize = 32;
/// The empty line before the hashtags.
const HASHTAGS_BEFORE_UTF16: usize = 2;
/// Ways to send readers somewhere else; not written unless they are asked for.
const LINKS: [&str; 5] =
    ["link in bio", "link in our bio", "link in my bio", "link in the bio", "link in your bio"];

/// The rules of a request, and what of its facts they leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demands {
    /// Lengths in vocabulary entries are not set.
    pub(super) rules: CaptionRules,
    /// Facts that have to stand in the caption.
    pub(super) facts: Vec<String>,
    /// There were more than can be required.
    pub(super) facts_were_omitted: bool,
}

impl Demands {
    /// What `request` demands.
    pub(super) fn of(request: &ValidRequest) -> Self {
        let description = request.content_description();
        let must_include = request.must_include();
        let banned = banned(request);
        let caption_utf16_max = caption_utf16_max(request);
        let mut required: Vec<Required> = must_include.iter().map(Required::exactly).collect();
        let cues: Vec<String> = cues(request.call_to_action())
            .iter()
            .filter(|cue| !holds_banned(cue, &banned))
            .map(|cue| (*cue).to_owned())
            .collect();
        if !cues.is_empty() {
            required.push(Required { alternatives: cues, any_case: true });
        }
        let longest =
            |required: &Required| required.alternatives.iter().map(|text| utf16_len(text) + JOINT_UTF16).max();
        let taken: usize = required.iter().filter_map(longest).sum();
        // Half of what is left is the model's own.
        let facts_utf16_max = caption_utf16_max.saturating_sub(taken) / 2;
        let (facts, facts_were_omitted) = required_facts(request, &banned, facts_utf16_max.min(FACTS_CHARS_MAX));
        required.extend(facts.iter().map(|fact| Required { alternatives: vec![fact.clone()], any_case: true }));
        let mut sources = vec![description.to_owned()];
        sources.extend(must_include.iter().cloned());
        let mut numbers = facts::numbers(description);
        numbers.extend(must_include.iter().flat_map(|text| facts::numbers(text)));
        numbers.sort_unstable();
        numbers.dedup();
        let rules = CaptionRules {
            sources,
            numbers,
            required,
            banned,
            emoji: emoji(request.emoji()),
            hashtag_count: usize::from(request.hashtag_count()),
            style: request.style().as_str().to_owned(),
            caption_utf16_max,
            caption_pieces_max: usize::MAX,
            completion_pieces_max: usize::MAX,
        };
        Self { rules, facts, facts_were_omitted }
    }
}

/// Facts that can be required, and whether there were others.
fn required_facts(request: &ValidRequest, banned: &[String], chars_max: usize) -> (Vec<String>, bool) {
    let (mut facts, mut chars, mut were_omitted) = (Vec::new(), 0, false);
    for fact in facts::facts(request.content_description()) {
        if request.must_include().iter().any(|text| contains_folded_word(text, &fact)) {
            continue;
        }
        let fact_chars = utf16_len(&fact) + JOINT_UTF16;
        if facts.len() == FACTS_MAX || chars + fact_chars > chars_max || holds_banned(&fact, banned) {
            were_omitted = true;
            continue;
        }
        chars += fact_chars;
        facts.push(fact);
    }
    (facts, were_omitted)
}

fn banned(request: &ValidRequest) -> Vec<String> {
    let mut banned = request.banned_words().to_vec();
    if request.call_to_action() != CallToAction::Link {
        let is_wanted = |link: &str| request.must_include().iter().any(|text| fold_case(text).contains(link));
        banned.extend(LINKS.iter().filter(|link| !is_wanted(link)).map(|link| (*link).to_owned()));
    }
    banned
}

fn holds_banned(text: &str, banned: &[String]) -> bool {
    let folded = fold_case(text);
    banned.iter().any(|word| contains_folded_word(&folded, word))
}

/// Longest caption that leaves the hashtags of a post their room.
fn caption_utf16_max(request: &ValidRequest) -> usize {
    let hashtags = usize::from(request.hashtag_count()).min(POLICY.hashtags_max);
    let hashtags_utf16 = if hashtags == 0 { 0 } else { HASHTAGS_BEFORE_UTF16 + hashtags * HASHTAG_UTF16_MAX };
    let utf16_max = POLICY.post_utf16_max - hashtags_utf16;
    request.max_length().map_or(utf16_max, |max_length| utf16_max.min(usize::from(max_length)))
}

const fn emoji(level: EmojiLevel) -> EmojiRule {
    match level {
        EmojiLevel::None => EmojiRule { min: 0, max: 0 },
        EmojiLevel::Light => EmojiRule { min: 1, max: 2 },
        EmojiLevel::Rich => EmojiRule { min: 3, max: 8 },
    }
}

/// Words by which a call to action is known; one has to stand in the caption.
const fn cues(call: CallToAction) -> &'static [&'static str] {
    match call {
        CallToAction::None => &[],
        CallToAction::Comment => &["tell us", "comment", "tell me", "let us know", "let me know"],
        CallToAction::Save => &["save"],
        CallToAction::Share => &["share", "tag", "send this"],
        CallToAction::Link => &["link in bio", "link in our bio", "link in my bio"],
        CallToAction::Shop => &["shop", "order", "buy"],
    }
}

#[cfg(test)]
mod tests {
    use lede_shared::api::CaptionRequest;
    use serde_json::{Value, json};

    use super::*;

    fn demands(body: Value) -> Demands {
        Demands::of(&CaptionRequest::from_json(body.to_string().as_bytes()).unwrap().validate().unwrap())
    }

    #[test]
    fn facts_are_required_unless_there_are_too_many_or_they_are_banned() {
        let few =
            demands(json!({"content_description": "20% off until 5 May with GLOW40", "banned_words": ["glow40"]}));
        assert_eq!((few.facts, few.facts_were_omitted), (vec!["20%".to_owned(), "5 May".to_owned()], true));
        let many: Vec<String> = (100..200).map(|number| number.to_string()).collect();
        let many = demands(json!({"content_description": many.join(" ")}));
        assert_eq!((many.facts.len(), many.facts_were_omitted), (FACTS_MAX, true));
        assert!(many.rules.numbers.contains(&"163".to_owned()), "may be written all the same");
        let tight = demands(json!({"content_description": "1234567 or 7654321 or 999", "max_length": 40}));
        assert_eq!((tight.facts.len(), tight.facts_were_omitted), (2, true));
    }

    #[test]
    fn a_link_is_banned_unless_it_is_asked_for() {
        let has_link = |body: Value| demands(body).rules.banned.iter().any(|word| word == "link in bio");
        assert!(has_link(json!({"content_description": "tea"})));
        assert!(has_link(json!({"content_description": "tea", "call_to_action": "shop"})));
        assert!(!has_link(json!({"content_description": "tea", "call_to_action": "link"})));
        assert!(!has_link(json!({"content_description": "tea", "must_include": ["Link in bio!"]})));
    }

    #[test]
    fn a_caption_leaves_the_hashtags_their_room() {
        let utf16_max = |body: Value| demands(body).rules.caption_utf16_max;
        assert_eq!(utf16_max(json!({"content_description": "tea", "hashtag_count": 30})), 2_200 - 162);
        assert_eq!(
            utf16_max(json!({"content_description": "tea", "hashtag_count": 0, "max_length": 2_200})),
            2_200
        );
        assert_eq!(utf16_max(json!({"content_description": "tea", "max_length": 80})), 80);
    }

    #[test]
    fn a_cue_that_is_banned_is_not_required() {
        let shop = demands(
            json!({"content_description": "tea", "call_to_action": "shop", "banned_words": ["buy", "order"]}),
        );
        assert_eq!(shop.rules.required, [Required { alternatives: vec!["shop".to_owned()], any_case: true }]);
    }
}
