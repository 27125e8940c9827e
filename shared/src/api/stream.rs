//! An answer as it is written: `text/event-stream`, one event for each thing that has become known.
//!
//! Drafts are provisional: which candidate becomes a variant is known only when all of them are there. `done` is the
//! answer, whole, and stands alone; everything before it only shortens the wait.

mod sse;

use serde::{Deserialize, Serialize};

use super::{CaptionResponse, Variant};
use crate::problem::Problem;

pub use sse::{SseError, SseEvent, SseReader, sse_event};

/// Longest event, in bytes: eight variants of the longest post text with room around them.
pub const STREAM_EVENT_BYTES_MAX: usize = 256 * 1_024;
/// Sent now and then while there is nothing to say, so that nobody on the way takes the stream for a dead one.
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// What is told of an answer while it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamEvent {
    /// Somebody writes. Comes first, with the first of the others.
    Start(StreamStart),
    /// More of a variant's text, to be put behind what came before. Provisional.
    Draft(Draft),
    /// What was drafted of a variant is void: another candidate has won, or it is written anew.
    DraftReset(DraftReset),
    /// A variant as it will stand in the answer.
    Variant(FinalVariant),
    /// The answer, as a caller without a stream would have got it. The last event.
    Done(Box<CaptionResponse>),
    /// There will be no answer. The last event.
    Error(Problem),
}

/// What is known of an answer before it is written.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStart {
    /// As in the answer.
    pub id: String,
    /// Who writes; `done` names the model whose text it has, should another have stood in.
    pub model: String,
    /// How many variants there will be.
    pub variants: u8,
}

/// More of a variant's text.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Which variant, from 0.
    pub variant: usize,
    /// Whole characters.
    pub text: String,
}

/// A variant's draft is void.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftReset {
    /// Which variant, from 0.
    pub variant: usize,
}

/// A variant of the answer.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinalVariant {
    /// Which variant, from 0.
    pub index: usize,
    /// As in the answer.
    pub variant: Variant,
}

impl StreamEvent {
    /// The event on the wire.
    #[must_use]
    pub fn to_sse(&self) -> String {
        match self {
            Self::Start(start) => written("start", start),
            Self::Draft(draft) => written("draft", draft),
            Self::DraftReset(reset) => written("draft_reset", reset),
            Self::Variant(variant) => written("variant", variant),
            Self::Done(response) => written("done", response),
            Self::Error(problem) => written("error", problem),
        }
    }

    /// What an event of the wire says; `None` for one of a name that is not known here, which is to be ignored.
    ///
    /// # Errors
    /// When its data are not what its name promises.
    pub fn read(event: &SseEvent) -> Result<Option<Self>, serde_json::Error> {
        let data = event.data.as_str();
        Ok(Some(match event.name.as_str() {
            "start" => Self::Start(serde_json::from_str(data)?),
            "draft" => Self::Draft(serde_json::from_str(data)?),
            "draft_reset" => Self::DraftReset(serde_json::from_str(data)?),
            "variant" => Self::Variant(serde_json::from_str(data)?),
            "done" => Self::Done(serde_json::from_str(data)?),
            "error" => Self::Error(serde_json::from_str(data)?),
            _ => return Ok(None),
        }))
    }

    /// The events of an answer that is there already, each variant's draft in one piece.
    #[must_use]
    pub fn of_answer(response: &CaptionResponse) -> Vec<Self> {
        let (id, model) = (response.id.clone(), response.model.clone());
        let variants = u8::try_from(response.variants.len()).unwrap_or(u8::MAX);
        let mut events = vec![Self::Start(StreamStart { id, model, variants })];
        for (index, variant) in response.variants.iter().enumerate() {
            events.push(Self::Draft(Draft { variant: index, text: variant.caption.clone() }));
            events.push(Self::Variant(FinalVariant { index, variant: variant.clone() }));
        }
        events.push(Self::Done(Box::new(response.clone())));
        events
    }
}

/// The whole stream of an answer that is there already.
#[must_use]
pub fn replayed(response: &CaptionResponse) -> String {
    StreamEvent::of_answer(response).iter().map(StreamEvent::to_sse).collect()
}

/// Types of the contract have string keys and nothing that refuses to be written, so this cannot fail; if it did, an
/// empty object would be easier to bear than a panic. Their JSON has no line ends.
fn written(name: &str, content: &impl Serialize) -> String {
    sse_event(name, &serde_json::to_string(content).unwrap_or_else(|_| "{}".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> CaptionResponse {
        serde_json::from_str(include_str!("../../../tests/fixtures/wire/response.json")).unwrap()
    }

    fn read_all(wire: &str) -> Vec<StreamEvent> {
        let events = SseReader::new(STREAM_EVENT_BYTES_MAX).push(wire.as_bytes()).unwrap();
        events.iter().map(|event| StreamEvent::read(event).unwrap().unwrap()).collect()
    }

    #[test]
    fn an_event_is_a_name_and_one_line_of_json_whatever_stands_in_the_text() {
        let event = StreamEvent::Draft(Draft { variant: 1, text: "two\nlines\r🌅\u{2028}".to_owned() });
        let wire = event.to_sse();
        assert_eq!(wire, "event: draft\ndata: {\"variant\":1,\"text\":\"two\\nlines\\r🌅\u{2028}\"}\n\n");
        assert_eq!(read_all(&wire), [event]);
    }

    #[test]
    fn an_answer_that_is_there_is_told_from_start_to_done_and_survives_the_wire() {
        let response = response();
        let events = StreamEvent::of_answer(&response);
        assert_eq!(read_all(&replayed(&response)), events);
        let drafted: Vec<_> = events
            .iter()
            .filter_map(
                |event| if let StreamEvent::Draft(draft) = event { Some(draft.text.as_str()) } else { None },
            )
            .collect();
        let captions: Vec<_> = response.variants.iter().map(|variant| variant.caption.as_str()).collect();
        assert_eq!(drafted, captions);
        assert_eq!(events.last(), Some(&StreamEvent::Done(Box::new(response))));
    }

    #[test]
    fn an_unknown_event_is_ignored_and_a_known_one_with_other_data_is_not() {
        let event = |name: &str, data: &str| SseEvent { name: name.to_owned(), data: data.to_owned() };
        assert_eq!(StreamEvent::read(&event("message", "hello")).unwrap(), None);
        for name in ["start", "draft", "draft_reset", "variant", "done", "error"] {
            assert!(StreamEvent::read(&event(name, "[]")).is_err(), "{name}");
        }
    }

    #[test]
    fn a_sign_of_life_is_no_event() {
        assert_eq!(SseReader::new(100).push(KEEP_ALIVE.as_bytes()), Ok(Vec::new()));
    }
}
