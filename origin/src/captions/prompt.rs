//! Description and style → prompt (format 1).

use std::sync::Arc;

use lede_shared::api::ValidRequest;

use crate::models::Model;

/// begin, style, description and caption markers.
const MARKERS: usize = 4;
/// How far back a cut looks for a blank, so that no word is cut in two.
const CUT_SEARCH_TOKENS_MAX: usize = 24;

/// A prompt, ready for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) ids: Arc<[u32]>,
    /// What is left of the model's context.
    pub(super) completion_tokens_max: usize,
    /// The model reads only the beginning of the description.
    pub(super) description_was_cut: bool,
}

/// Writes the prompt for `request`, leaving room for at least `reserved` entries in the model's context.
///
/// # Errors
/// When the tokenizer is faulty; for the log.
pub(super) fn write(model: &Model, request: &ValidRequest, reserved: usize) -> Result<Prompt, String> {
    let vocabulary = model.vocabulary();
    let special = vocabulary.special();
    let style = model.style_id(request.style()).ok_or("the model has no such style")?;
    let mut description = model.encode(request.content_description())?;
    let room = model.context_tokens_max().saturating_sub(reserved + MARKERS);
    let description_was_cut = description.len() > room;
    if description_was_cut {
        let is_blank = |id: &u32| vocabulary.text(*id).is_some_and(|piece| piece.is_blank);
        description.truncate(room);
        let blank = description.iter().rev().take(CUT_SEARCH_TOKENS_MAX).position(is_blank);
        description.truncate(room - blank.map_or(0, |back| back + 1));
    }
    let markers_before = [special.begin, style, special.description];
    let ids: Arc<[u32]> = markers_before.into_iter().chain(description).chain([special.caption]).collect();
    let completion_tokens_max = model.context_tokens_max().saturating_sub(ids.len());
    Ok(Prompt { ids, completion_tokens_max, description_was_cut })
}
