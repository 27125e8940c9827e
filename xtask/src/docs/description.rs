//! The description as the page reads it: ordered where the order is the documentation's.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct Description {
    pub(super) info: Info,
    pub(super) paths: IndexMap<String, IndexMap<String, Operation>>,
    pub(super) components: Components,
}

#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) description: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) operation_id: String,
    pub(super) summary: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
    pub(super) request_body: Option<Body>,
    pub(super) responses: IndexMap<String, MaybeResponse>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    #[serde(rename = "in")]
    pub(super) place: String,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) description: String,
    pub(super) schema: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) content: IndexMap<String, Media>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum MaybeResponse {
    Elsewhere {
        #[serde(rename = "$ref")]
        reference: String,
    },
    Here(Response),
}

#[derive(Debug, Deserialize)]
pub(super) struct Response {
    pub(super) description: String,
    #[serde(default)]
    pub(super) content: IndexMap<String, Media>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Media {
    #[serde(default)]
    pub(super) schema: Value,
    pub(super) example: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Components {
    pub(super) headers: IndexMap<String, Header>,
    pub(super) responses: IndexMap<String, Response>,
    pub(super) schemas: IndexMap<String, Schema>,
}

impl Components {
    /// The response itself.
    pub(super) fn resolved<'a>(&'a self, response: &'a MaybeResponse) -> Option<&'a Response> {
        match response {
            MaybeResponse::Elsewhere { reference } => self.responses.get(reference.rsplit('/').next()?),
            MaybeResponse::Here(response) => Some(response),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) description: String,
    pub(super) example: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) properties: IndexMap<String, Value>,
    #[serde(default)]
    pub(super) required: Vec<String>,
    #[serde(default, rename = "enum")]
    pub(super) words: Vec<String>,
    /// The parts of a schema that is made of several.
    #[serde(default)]
    pub(super) all_of: Vec<Value>,
}
