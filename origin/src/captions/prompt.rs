//! Request → prompt: in markers for the embedded model (format 2), in messages for any other.

use std::sync::Arc;

use lede_shared::api::ValidRequest;

use super::instructions;
use crate::engine::vocabulary::Vocabulary;
use crate::models::{ChatModel, Dialect, MarkerDialect, Model};

/// How far back a cut looks for a blank, so that no word is cut in two.
const CUT_SEARCH_TOKENS_MAX: usize = 24;
/// Of what a prompt may hold, the share that texts to include may take; the rest is for the description.
const INCLUDE_SHARE: usize = 2;
/// How often a description is halved before a chat model's context is found too small.
const HALVINGS_MAX: usize = 11;

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
/// When the tokenizer or the template is faulty or the context too small; for the log.
pub(super) fn write(model: &Model, request: &ValidRequest, reserved: usize) -> Result<Prompt, String> {
    let room = model.context_tokens_max().saturating_sub(reserved);
    let (ids, description_was_cut) = match model.dialect() {
        Dialect::Markers(dialect) => in_markers(dialect, model.vocabulary(), request, room)?,
        Dialect::Chat(chat) => in_messages(chat, request, room)?,
    };
    let completion_tokens_max = model.context_tokens_max().saturating_sub(ids.len());
    Ok(Prompt { ids: ids.into(), completion_tokens_max, description_was_cut })
}

fn in_markers(
    dialect: &MarkerDialect,
    vocabulary: &Vocabulary,
    request: &ValidRequest,
    room: usize,
) -> Result<(Vec<u32>, bool), String> {
    let markers = &dialect.markers;
    let style = markers.style(request.style()).ok_or("the model has no such style")?;
    let mut ids = vec![markers.begin, style];
    ids.extend(markers.emoji(request.emoji()));
    ids.extend(markers.call_to_action(request.call_to_action()));
    for text in request.must_include() {
        let text = dialect.encode(text)?;
        // What does not fit is required all the same; the model only is not told.
        if ids.len() + text.len() < room / INCLUDE_SHARE {
            ids.push(markers.include);
            ids.extend(text);
        }
    }
    let mut description = dialect.encode(request.content_description())?;
    // The markers before and after it.
    let room = room.saturating_sub(ids.len() + 2);
    let was_cut = description.len() > room;
    if was_cut {
        let is_blank = |id: &u32| vocabulary.text(*id).is_some_and(|piece| piece.bytes.starts_with(b" "));
        description.truncate(room);
        let blank = description.iter().rev().take(CUT_SEARCH_TOKENS_MAX).position(is_blank);
        description.truncate(room - blank.map_or(0, |back| back + 1));
    }
    ids.push(markers.description);
    ids.extend(description);
    ids.push(markers.caption);
    Ok((ids, was_cut))
}

fn in_messages(chat: &ChatModel, request: &ValidRequest, room: usize) -> Result<(Vec<u32>, bool), String> {
    let mut description = request.content_description();
    for halvings in 0..HALVINGS_MAX {
        let ids = chat.prompt_ids(&instructions::messages_about(request, description))?;
        if ids.len() <= room {
            return Ok((ids, halvings > 0));
        }
        let half = description.char_indices().nth(description.chars().count() / 2).map_or(0, |(at, _)| at);
        description = description[..half].trim_end();
    }
    Err("the model's context is too small for the instructions".to_owned())
}
