//! Fields that are sound by themselves and cannot be had together. The later of the two, in the order of the
//! documentation, is pointed at.

use std::collections::BTreeMap;

use super::ValidRequest;
use super::reader::{FieldReader, Listed};
use crate::api::text::{contains_emoji, contains_folded_word, fold_case};
use crate::api::{
    CALL_TO_ACTION_UTF16_MAX, CallToAction, EmojiLevel, MAX_LENGTH_MAX, MUST_INCLUDE_CHARS_MAX,
    MUST_INCLUDE_ITEMS_MAX, MUST_INCLUDE_JOINT_UTF16,
};
use crate::policy::{POLICY, utf16_len};
use crate::problem::FieldErrorCode::Conflict;

/// The most that a request can want to have in a caption. It is less than half a post, which leaves the hashtags
/// their room, so no request without a `max_length` wants too much.
const WANTED_UTF16_MAX: usize =
    MUST_INCLUDE_ITEMS_MAX * (2 * MUST_INCLUDE_CHARS_MAX + MUST_INCLUDE_JOINT_UTF16) + CALL_TO_ACTION_UTF16_MAX;
const _: () = assert!(WANTED_UTF16_MAX <= POLICY.post_utf16_max / 2);
const _: () = assert!(MAX_LENGTH_MAX as usize == POLICY.post_utf16_max);

impl FieldReader<'_> {
    /// Refuses what no caption can satisfy. The two lists are those of the request, with their places.
    pub(super) fn refuse_conflicts(
        &mut self,
        request: &ValidRequest,
        must_include: &[Listed],
        banned_words: &[Listed],
    ) {
        self.refuse_unwanted_emoji(request.emoji, must_include);
        self.refuse_banned_must_include(must_include, banned_words);
        self.refuse_too_short_a_caption(request);
    }

    fn refuse_unwanted_emoji(&mut self, emoji: EmojiLevel, must_include: &[Listed]) {
        if emoji != EmojiLevel::None {
            return;
        }
        for item in must_include.iter().filter(|item| contains_emoji(&item.text)) {
            let detail = "holds an emoji while emoji is none; ask for light or rich, or leave it out";
            self.item_fault("must_include", item.place, Conflict, detail);
        }
    }

    fn refuse_banned_must_include(&mut self, must_include: &[Listed], banned_words: &[Listed]) {
        let folded: Vec<_> = must_include.iter().map(|item| (item.place, fold_case(&item.text))).collect();
        // Faults are named in the order of what was sent; the words come sorted.
        let mut conflicts = BTreeMap::new();
        for banned in banned_words {
            if let Some((wanted, _)) = folded.iter().find(|(_, text)| contains_folded_word(text, &banned.text)) {
                conflicts.insert(banned.place, *wanted);
            }
        }
        for (place, wanted) in conflicts {
            let detail = format!("stands in must_include/{wanted}; take it out of one of the two");
            self.item_fault("banned_words", place, Conflict, detail);
        }
    }

    fn refuse_too_short_a_caption(&mut self, request: &ValidRequest) {
        let Some(max_length) = request.max_length.map(usize::from) else { return };
        let texts = request.must_include.iter().map(|text| utf16_len(text) + MUST_INCLUDE_JOINT_UTF16);
        let call_to_action =
            if request.call_to_action == CallToAction::None { 0 } else { CALL_TO_ACTION_UTF16_MAX };
        let wanted = texts.sum::<usize>() + call_to_action;
        if wanted > max_length {
            let detail = format!("must be at least {wanted}, so that must_include and call_to_action have room");
            self.fault("max_length", Conflict, detail);
        }
    }
}
