//! What goes over the wire. The envelope is the provider's and read leniently; what its model wrote is read strictly.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Ask;

/// Most hashtags of one proposal that are looked at: twice what can be asked for.
const PROPOSED_HASHTAGS_MAX: usize = 60;
/// The schema's name, which the API asks for.
const SCHEMA_NAME: &str = "captions";

/// One message of a conversation.
#[derive(Clone, Debug, Serialize)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    /// The text.
    pub content: &'a str,
}

/// One caption as the provider's model wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The text.
    pub caption: String,
    /// At most 60, with or without `#`.
    pub hashtags: Vec<String>,
}

/// Why nothing of a completion can be used. Its texts are fixed: they repeat nothing of what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentFault {
    /// No message, or none with text.
    #[error("the completion is empty")]
    Empty,
    /// The provider's model or its filter will not write this.
    #[error("the provider refused to write")]
    Refused,
    /// It ended at the provider's limit.
    #[error("the completion was cut")]
    Cut,
    /// Not the JSON that was asked for.
    #[error("the completion does not follow the schema")]
    OffSchema,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Message<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    response_format: Value,
}

/// The body of a call. Neither temperature nor a limit of tokens stands in it: for each there are providers that
/// refuse it.
pub(super) fn request_body(model: &str, ask: &Ask<'_>) -> Result<Bytes, serde_json::Error> {
    let body = Body { model, messages: ask.messages, seed: ask.seed, response_format: response_format() };
    serde_json::to_vec(&body).map(Bytes::from)
}

/// The part of JSON Schema that strict providers take: no lengths and no counts, which the messages ask for instead.
fn response_format() -> Value {
    let variant = json!({
        "type": "object",
        "properties": {
            "caption": { "type": "string", "description": "the caption, without hashtags" },
            "hashtags": { "type": "array", "items": { "type": "string" }, "description": "without #" },
        },
        "required": ["caption", "hashtags"],
        "additionalProperties": false,
    });
    let schema = json!({
        "type": "object",
        "properties": { "variants": { "type": "array", "items": variant } },
        "required": ["variants"],
        "additionalProperties": false,
    });
    json!({ "type": "json_schema", "json_schema": { "name": SCHEMA_NAME, "strict": true, "schema": schema } })
}

#[derive(Deserialize)]
struct Envelope {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: Answer,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    variants: Vec<Proposal>,
}

/// A chat completion whose content has not been looked at.
pub(super) struct Completion {
    /// Read by the model.
    pub(super) prompt_tokens: u32,
    /// Written by the model.
    pub(super) completion_tokens: u32,
    content: Result<String, ContentFault>,
}

impl Completion {
    /// `None` when `body` is no chat completion.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let Envelope { choices, usage } = serde_json::from_slice(body).ok()?;
        let count = |name: &str| usage[name].as_u64().map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX));
        Some(Self {
            prompt_tokens: count("prompt_tokens"),
            completion_tokens: count("completion_tokens"),
            content: content(choices),
        })
    }

    /// The proposals in it, 1 to `variants` of them.
    pub(super) fn proposals(self, variants: usize) -> Result<Vec<Proposal>, ContentFault> {
        let Content { variants: mut proposals } =
            serde_json::from_str(&self.content?).map_err(|_| ContentFault::OffSchema)?;
        let is_excessive = |proposal: &Proposal| proposal.hashtags.len() > PROPOSED_HASHTAGS_MAX;
        if proposals.is_empty() || proposals.iter().any(is_excessive) {
            return Err(ContentFault::OffSchema);
        }
        proposals.truncate(variants);
        Ok(proposals)
    }
}

fn content(choices: Vec<Choice>) -> Result<String, ContentFault> {
    let choice = choices.into_iter().next().ok_or(ContentFault::Empty)?;
    match (choice.finish_reason.as_deref(), choice.message.content) {
        (Some("content_filter"), _) => Err(ContentFault::Refused),
        _ if choice.message.refusal.is_some() => Err(ContentFault::Refused),
        (Some("length"), _) => Err(ContentFault::Cut),
        (_, Some(content)) if !content.trim().is_empty() => Ok(content),
        _ => Err(ContentFault::Empty),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn envelope(content: &str) -> Vec<u8> {
        let message = json!({ "role": "assistant", "content": content });
        let usage = json!({ "prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12 });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop", "logprobs": null });
        json!({ "id": "x", "object": "chat.completion", "choices": [choice], "usage": usage }).to_string().into()
    }

    fn proposals(content: &str) -> Result<Vec<Proposal>, ContentFault> {
        Completion::read(&envelope(content)).unwrap().proposals(2)
    }

    #[test]
    fn what_follows_the_schema_is_read_with_the_providers_count() {
        let good = r##"{"variants": [{"caption": "Slow light.", "hashtags": ["#sun", "sea"]}]}"##;
        let completion = Completion::read(&envelope(good)).unwrap();
        assert_eq!((completion.prompt_tokens, completion.completion_tokens), (7, 5));
        let hashtags = vec!["#sun".to_owned(), "sea".to_owned()];
        assert_eq!(completion.proposals(2), Ok(vec![Proposal { caption: "Slow light.".to_owned(), hashtags }]));
    }

    #[test]
    fn more_than_was_asked_for_is_left_out() {
        let three = json!({ "variants": vec![json!({ "caption": "a", "hashtags": [] }); 3] }).to_string();
        assert_eq!(proposals(&three).unwrap().len(), 2);
    }

    #[test]
    fn content_that_strays_from_the_schema_is_refused_whole() {
        let many = json!({ "variants": [{ "caption": "a", "hashtags": vec!["a"; 61] }] }).to_string();
        for content in [
            "Here is your caption: Slow light.",
            "```json\n{\"variants\": []}\n```",
            "{\"variants\": []}",
            "{\"variants\": [{\"caption\": \"a\"}]}",
            "{\"variants\": [{\"caption\": \"a\", \"hashtags\": [1]}]}",
            "{\"variants\": [{\"caption\": \"a\", \"hashtags\": [], \"note\": \"b\"}]}",
            "{\"variants\": [{\"caption\": \"a\", \"hashtags\": []}], \"system\": \"b\"}",
            "{\"variants\": [{\"caption\": \"a\", \"caption\": \"b\", \"hashtags\": []}]}",
            "[{\"caption\": \"a\", \"hashtags\": []}]",
            "{\"variants\": [{\"caption\": \"a\", \"hashtags\": []}]} and more",
            &many,
            &"[".repeat(100_000),
        ] {
            assert_eq!(proposals(content), Err(ContentFault::OffSchema), "{content:.60}");
        }
    }

    #[test]
    fn refusals_cuts_and_silence_are_told_apart() {
        let of = |choices: Value| {
            let body = json!({ "choices": choices }).to_string();
            Completion::read(body.as_bytes()).unwrap().proposals(1).unwrap_err()
        };
        assert_eq!(of(json!([])), ContentFault::Empty);
        assert_eq!(of(json!([{ "message": { "content": null } }])), ContentFault::Empty);
        assert_eq!(of(json!([{ "message": { "content": " " } }])), ContentFault::Empty);
        assert_eq!(of(json!([{ "message": { "refusal": "no" } }])), ContentFault::Refused);
        let filtered = json!([{ "message": { "content": "{}" }, "finish_reason": "content_filter" }]);
        assert_eq!(of(filtered), ContentFault::Refused);
        assert_eq!(of(json!([{ "message": { "content": "{" }, "finish_reason": "length" }])), ContentFault::Cut);
    }

    #[test]
    fn a_count_that_is_no_count_is_none() {
        for usage in [json!(null), json!({}), json!([1]), json!({ "prompt_tokens": -3, "completion_tokens": "x" })]
        {
            let body = json!({ "choices": [], "usage": usage }).to_string();
            let completion = Completion::read(body.as_bytes()).unwrap();
            assert_eq!((completion.prompt_tokens, completion.completion_tokens), (0, 0), "{usage}");
        }
    }

    #[test]
    fn a_request_asks_for_exactly_the_schema_that_is_read() {
        let messages = [Message { role: "user", content: "a \"quoted\" line" }];
        let ask =
            Ask { messages: &messages, variants: 2, seed: Some(7), is_again: false, deadline: Instant::now() };
        let body: Value = serde_json::from_slice(&request_body("writer-1", &ask).unwrap()).unwrap();
        assert_eq!(body["model"], "writer-1");
        assert_eq!(body["seed"], 7);
        assert_eq!(body["messages"], json!([{ "role": "user", "content": "a \"quoted\" line" }]));
        let format = &body["response_format"];
        assert_eq!((&format["type"], &format["json_schema"]["strict"]), (&json!("json_schema"), &json!(true)));
        let variant = &format["json_schema"]["schema"]["properties"]["variants"]["items"];
        assert_eq!(variant["required"], json!(["caption", "hashtags"]));
        assert_eq!(variant["additionalProperties"], false);
    }

    proptest! {
        #[test]
        fn no_body_whatever_makes_reading_panic(body in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            if let Some(completion) = Completion::read(&body) {
                let _ = completion.proposals(1);
            }
            let _ = proposals(&text);
        }
    }
}
