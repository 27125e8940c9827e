//! Many requests in one: each is answered on its own.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::request::{json_from_body, not_an_object};
use super::{BATCH_REQUESTS_MAX, CaptionRequest, CaptionResponse, ValidRequest};
use crate::problem::{FieldError, FieldErrorCode, Problem};

/// A batch whose frame is sound. Each item is a valid request or the problem that its sender gets back.
#[derive(Clone, Debug)]
pub struct BatchRequest {
    /// In the caller's order, 1 to 100.
    pub items: Vec<Result<ValidRequest, Problem>>,
}

impl BatchRequest {
    /// Reads `{"requests": [...]}`. Pointers of an item's faults start at the batch: `/requests/3/style`.
    ///
    /// # Errors
    /// 400 when the body cannot be read, 422 when the frame is not as above.
    pub fn from_json(body: &[u8]) -> Result<Self, Problem> {
        let frame_fault = |pointer: &str, code, detail: String| {
            Problem::invalid_fields(vec![FieldError { pointer: pointer.to_owned(), code, detail }])
        };
        let Value::Object(mut frame) = json_from_body(body)? else {
            return Err(Problem::invalid_fields(vec![not_an_object("")]));
        };
        let requests = match frame.remove("requests") {
            Some(Value::Array(requests)) => requests,
            Some(_) => {
                return Err(frame_fault("/requests", FieldErrorCode::WrongType, "must be an array".to_owned()));
            }
            None => return Err(frame_fault("/requests", FieldErrorCode::Missing, "is required".to_owned())),
        };
        if !(1..=BATCH_REQUESTS_MAX).contains(&requests.len()) {
            let detail = format!("must have 1 to {BATCH_REQUESTS_MAX} requests");
            return Err(frame_fault("/requests", FieldErrorCode::OutOfRange, detail));
        }
        if !frame.is_empty() {
            let detail = "has fields besides requests".to_owned();
            return Err(frame_fault("", FieldErrorCode::UnknownField, detail));
        }
        let items = requests.into_iter().enumerate().map(|(index, request)| item(index, request)).collect();
        Ok(Self { items })
    }

    /// The canonical body for the given requests.
    #[must_use]
    pub fn to_json<'a>(requests: impl IntoIterator<Item = &'a ValidRequest>) -> String {
        let requests: Vec<_> = requests.into_iter().map(ValidRequest::to_json).collect();
        format!("{{\"requests\":[{}]}}", requests.join(","))
    }
}

fn item(index: usize, request: Value) -> Result<ValidRequest, Problem> {
    let pointer = format!("/requests/{index}");
    let Value::Object(fields) = request else {
        return Err(Problem::invalid_fields(vec![not_an_object(&pointer)]));
    };
    CaptionRequest(fields).validate_at(&pointer).map_err(Problem::invalid_fields)
}

// Read and written by hand: what serde derives for a flattened enum reads everything into a tree first, and weighs 20 KiB
// in the Worker.
/// One item's answer.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "WireItem")]
pub struct BatchItem {
    /// Position in the batch, from 0.
    pub index: usize,
    /// The HTTP status that the item alone would have had.
    pub status: u16,
    /// What became of it.
    #[cfg_attr(feature = "openapi", serde(flatten))]
    pub outcome: BatchOutcome,
}

/// What became of one item; on the wire the member `response` or the member `problem`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(rename_all = "snake_case"))]
#[derive(Clone, Debug, PartialEq)]
pub enum BatchOutcome {
    /// A caption.
    Response(Box<CaptionResponse>),
    /// Why there is none.
    Problem(Problem),
}

impl BatchItem {
    /// The item at `index` with its answer.
    #[must_use]
    pub fn new(index: usize, answer: Result<CaptionResponse, Problem>) -> Self {
        match answer {
            Ok(response) => Self { index, status: 200, outcome: BatchOutcome::Response(Box::new(response)) },
            Err(problem) => Self { index, status: problem.status, outcome: BatchOutcome::Problem(problem) },
        }
    }
}

/// An item as it is read: one of the two members is there.
#[derive(Deserialize)]
struct WireItem {
    index: usize,
    status: u16,
    response: Option<Box<CaptionResponse>>,
    problem: Option<Problem>,
}

impl TryFrom<WireItem> for BatchItem {
    type Error = &'static str;

    fn try_from(item: WireItem) -> Result<Self, Self::Error> {
        let outcome = match (item.response, item.problem) {
            (Some(response), None) => BatchOutcome::Response(response),
            (None, Some(problem)) => BatchOutcome::Problem(problem),
            _ => return Err("an item has either a response or a problem"),
        };
        Ok(Self { index: item.index, status: item.status, outcome })
    }
}

impl Serialize for BatchItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_struct("BatchItem", 3)?;
        item.serialize_field("index", &self.index)?;
        item.serialize_field("status", &self.status)?;
        match &self.outcome {
            BatchOutcome::Response(response) => item.serialize_field("response", response)?,
            BatchOutcome::Problem(problem) => item.serialize_field("problem", problem)?,
        }
        item.end()
    }
}

/// All answers, in the order of the requests.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchResponse {
    /// One for each request.
    pub results: Vec<BatchItem>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        BANNED_WORD_CHARS_MAX, BATCH_BODY_BYTES_MAX, BRAND_VOICE_CHARS_MAX, DESCRIPTION_CHARS_MAX,
        HASHTAG_COUNT_MAX, MUST_INCLUDE_CHARS_MAX, SEED_MAX,
    };
    use crate::problem::ProblemCode;

    #[test]
    fn an_item_has_either_a_response_or_a_problem() {
        let problem = Problem::new(ProblemCode::Overloaded, "later");
        let item = BatchItem::new(3, Err(problem.clone()));
        let text = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<BatchItem>(&text).unwrap(), item);
        let mut both: Value = serde_json::from_str(&text).unwrap();
        both["response"] =
            serde_json::from_str(include_str!("../../../tests/fixtures/wire/response.json")).unwrap();
        let neither = serde_json::json!({ "index": 0, "status": 200 });
        for wrong in [both, neither] {
            assert!(serde_json::from_value::<BatchItem>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_bad_item_does_not_spoil_the_others() {
        let body = r#"{"requests": [{"content_description": "a"}, {"style": 1}, 7]}"#;
        let items = BatchRequest::from_json(body.as_bytes()).unwrap().items;
        assert!(items[0].is_ok());
        let pointers: Vec<_> = items[1].as_ref().unwrap_err().errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/requests/1/content_description", "/requests/1/style"]);
        assert_eq!(items[2].as_ref().unwrap_err().errors[0].pointer, "/requests/2");
    }

    #[test]
    fn a_frame_at_fault_is_refused_whole() {
        let too_many = format!(r#"{{"requests": [{}]}}"#, vec!["{}"; 101].join(","));
        for body in
            ["[]", "{}", r#"{"requests": 1}"#, r#"{"requests": []}"#, r#"{"requests": [{}], "x": 1}"#, &too_many]
        {
            let problem = BatchRequest::from_json(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code, ProblemCode::InvalidFields, "{body}");
        }
    }

    #[test]
    fn an_item_on_the_wire_has_a_response_or_a_problem() {
        let item = BatchItem::new(3, Err(Problem::new(ProblemCode::Overloaded, "full")));
        let wire = serde_json::to_value(&item).unwrap();
        assert_eq!((wire["index"].as_u64(), wire["status"].as_u64()), (Some(3), Some(503)));
        assert_eq!(wire["problem"]["code"], "overloaded");
        assert_eq!(serde_json::from_value::<BatchItem>(wire).unwrap(), item);
    }

    #[test]
    fn a_batch_of_the_largest_requests_fits_a_body_in_canonical_form() {
        let text =
            |chars: usize, first: u32| format!("{}{}", char::from_u32(first).unwrap(), "𝒂".repeat(chars - 1));
        let list = |items: u32, chars: usize| (0..items).map(|n| text(chars, 0x1_F600 + n)).collect::<Vec<_>>();
        let largest = serde_json::json!({
            "content_description": text(DESCRIPTION_CHARS_MAX, 0x1_F600),
            "optimization_level": "ultra_fast", "style": "inspirational", "hashtag_count": HASHTAG_COUNT_MAX,
            "language": "en-abcdefgh-abcdefgh-abcdefgh-abcde", "call_to_action": "comment", "emoji": "light",
            "must_include": list(8, MUST_INCLUDE_CHARS_MAX), "banned_words": list(50, BANNED_WORD_CHARS_MAX),
            "brand_voice": text(BRAND_VOICE_CHARS_MAX, 0x1_F600), "max_length": 2_200, "seed": SEED_MAX,
        });
        let request = CaptionRequest::from_json(largest.to_string().as_bytes()).unwrap().validate().unwrap();
        assert_eq!((request.must_include().len(), request.banned_words().len()), (8, 50));
        let batch = BatchRequest::to_json(vec![&request; BATCH_REQUESTS_MAX]);
        assert!(batch.len() <= BATCH_BODY_BYTES_MAX, "{}", batch.len());
        assert!(batch.len() > BATCH_BODY_BYTES_MAX / 10 * 9, "{}: these are not the largest", batch.len());
    }

    #[test]
    fn the_canonical_batch_reads_back_as_the_same_requests() {
        let body = r#"{"requests": [{"content_description": "a"}, {"content_description": "b", "seed": 4}]}"#;
        let valid = |bytes: &[u8]| {
            let items = BatchRequest::from_json(bytes).unwrap().items;
            items.into_iter().collect::<Result<Vec<_>, _>>().unwrap()
        };
        let requests = valid(body.as_bytes());
        assert_eq!(valid(BatchRequest::to_json(&requests).as_bytes()), requests);
    }
}
