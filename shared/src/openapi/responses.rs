//! What comes back: headers, problems, and the answers that have no type of their own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ComponentsBuilder, ContentBuilder, Ref, RefOr, ResponseBuilder, ResponsesBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use strum::VariantArray;

use super::{Side, examples};
use crate::headers::PROBLEM_JSON;
use crate::problem::{Problem, ProblemCode};

const JSON: &str = "application/json";

/// Headers of every answer, with what they say.
const ALWAYS: [(&str, &str, &str); 5] = [
    (
        "x-request-id",
        "Finds this request in all logs; taken over from the request when well formed",
        "4bf92f3577b34da6a3ce929d0e0e4736",
    ),
    ("Server-Timing", "Where the milliseconds went", "edge;dur=84, workers_kv;dur=4, origin;dur=79"),
    (
        "Cache-Status",
        "RFC 9211: what each cache on the way did, the one nearest you last",
        "lede-edge; hit; ttl=86100; detail=workers_kv",
    ),
    (
        "RateLimit",
        "What is left of your quota (r) and when more comes (t), in seconds",
        "\"burst\";r=9990;t=1, \"daily\";r=999990;t=21600",
    ),
    (
        "RateLimit-Policy",
        "Your quota (q) in cells and its window (w) in seconds",
        "\"burst\";q=10000;w=60, \"daily\";q=1000000;w=86400",
    ),
];
/// Headers of some answers.
const SOMETIMES: [(&str, &str, &str); 4] = [
    ("ETag", "Names the answer: equal requests have equal tags", "\"a803e79f83b5353d\""),
    (
        "Cache-Control",
        "Who may keep the answer, and for how long",
        "s-maxage=86400, stale-while-revalidate=86400, stale-if-error=604800",
    ),
    ("Retry-After", "Seconds to wait before trying again", "2"),
    ("Allow", "The methods that the route takes", "GET, HEAD, POST"),
];

/// All of them as components.
pub(super) fn headers(components: ComponentsBuilder) -> ComponentsBuilder {
    ALWAYS.iter().chain(&SOMETIMES).fold(components, |components, (name, what, example)| {
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let header =
            HeaderBuilder::new().schema(Some(text)).description(Some(*what)).example(Some(json!(example)));
        components.header(*name, header.build())
    })
}

/// The responses of one operation: its own, and a reference for each status that its problems have.
pub(super) fn with_problems(own: ResponsesBuilder, codes: &[ProblemCode]) -> ResponsesBuilder {
    let statuses: BTreeSet<u16> = codes.iter().map(|code| code.status()).collect();
    statuses.iter().fold(own, |responses, status| {
        responses.response(status.to_string(), Ref::from_response_name(component(*status)))
    })
}

/// One response for each status that a problem has on this side.
pub(super) fn problems(side: Side) -> impl Iterator<Item = (String, ResponseBuilder)> {
    let mut by_status: BTreeMap<u16, Vec<ProblemCode>> = BTreeMap::new();
    for code in ProblemCode::VARIANTS.iter().filter(|code| is_of(side, **code)) {
        by_status.entry(code.status()).or_default().push(*code);
    }
    by_status.into_iter().map(|(status, codes)| (component(status), problem(&codes)))
}

fn component(status: u16) -> String {
    format!("problem_{status}")
}

/// Signatures are between the two sides; only the edge has an origin that may be away.
fn is_of(side: Side, code: ProblemCode) -> bool {
    match code {
        ProblemCode::InvalidSignature | ProblemCode::ReplayedSignature => side == Side::Origin,
        ProblemCode::OriginUnavailable => side == Side::Edge,
        _ => true,
    }
}

fn problem(codes: &[ProblemCode]) -> ResponseBuilder {
    let example = |code: &ProblemCode| {
        let example = ExampleBuilder::new().summary(code.title()).value(Some(json!(examples::problem(*code))));
        (code.as_str(), example)
    };
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .examples_from_iter(codes.iter().map(example));
    let titles: Vec<_> = codes.iter().map(|code| code.title()).collect();
    ok(&titles.join(" · "), more(codes)).content(PROBLEM_JSON, content.build())
}

fn more(codes: &[ProblemCode]) -> &'static [&'static str] {
    match codes {
        [ProblemCode::MethodNotAllowed] => &["Allow"],
        _ if codes.iter().any(|code| code.is_retryable()) => &["Retry-After"],
        _ => &[],
    }
}

/// A response with the headers of every answer and `more`.
pub(super) fn ok(description: &str, more: &[&str]) -> ResponseBuilder {
    let names = ALWAYS.iter().map(|(name, _, _)| *name).chain(more.iter().copied());
    names.fold(ResponseBuilder::new().description(description), |response, name| {
        response.header_ref(name, Ref::new(format!("#/components/headers/{name}")))
    })
}

/// The same with a JSON body.
pub(super) fn json_of<T: ToSchema>(description: &str, more: &[&str], example: Value) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).example(Some(example));
    ok(description, more).content(JSON, content.build())
}

/// A body that comes piece by piece. JSON Schema has no word for its parts, so an example shows them.
pub(super) fn streamed(description: &str, example: String) -> ContentBuilder {
    let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).description(Some(description));
    ContentBuilder::new().schema(Some(text)).example(Some(json!(example)))
}

/// How a side does.
pub(super) struct Health;

impl PartialSchema for Health {
    fn schema() -> RefOr<Schema> {
        let text = |what| ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).description(Some(what));
        let number = ObjectBuilder::new().schema_type(SchemaType::new(Type::Number));
        ObjectBuilder::new()
            .property("status", text("One word"))
            .property("side", text("`edge` or `origin`"))
            .property("version", text("Version of the software"))
            .property("model", text("The model's id"))
            .property("canary_ms", number.description(Some("How long one generated word took")))
            .required("status")
            .into()
    }
}

impl ToSchema for Health {
    fn name() -> Cow<'static, str> {
        "Health".into()
    }
}

/// What was purged.
pub(super) struct Purged;

impl PartialSchema for Purged {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let name = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
        let time = |what| ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).description(Some(what));
        ObjectBuilder::new()
            .property("scope", text())
            .property("name", name)
            .property("epoch_ms", time("When it was purged, in Unix milliseconds"))
            .property("holds_everywhere_from_ms", time("From when it holds in every data centre"))
            .required("scope")
            .required("name")
            .required("epoch_ms")
            .required("holds_everywhere_from_ms")
            .into()
    }
}

impl ToSchema for Purged {
    fn name() -> Cow<'static, str> {
        "Purged".into()
    }
}
