//! Every route: what it takes, what it answers.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, ParameterStyle, PathItemBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{
    ContentBuilder, Paths, PathsBuilder, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder, Schema,
    SecurityRequirement,
};

use super::request::{self, BatchFrame, PurgeFrame};
use super::responses::{Health, Purged, json_of, ok, streamed, with_problems};
use super::{ADMIN, API_KEY, CAPTIONS, OPENAPI_PATH, PURGE_PATH, SERVICE, Side, examples};
use crate::api::{
    BATCH_PATH, BatchResponse, CaptionRequest, CaptionResponse, GENERATE_PATH, INFO_PATH, ServiceInfo,
};
use crate::headers::{EVENT_STREAM_ESSENCE, NDJSON, X_PRIORITY, X_REQUEST_ID};
use crate::problem::ProblemCode::{
    self, BodyTooLarge, DeadlineExceeded, Forbidden, GenerationFailed, InternalError, InvalidApiKey,
    InvalidFields, InvalidSignature, MalformedRequest, MethodNotAllowed, MissingApiKey, NotCached, NotReady,
    OriginUnavailable, Overloaded, RateLimited, ReplayedSignature, UnsupportedMediaType,
};

/// Headers of an answer that may be kept.
const KEPT: [&str; 2] = ["ETag", "Cache-Control"];
const ASKING: [ProblemCode; 13] = [
    MalformedRequest,
    MissingApiKey,
    InvalidApiKey,
    Forbidden,
    MethodNotAllowed,
    InvalidFields,
    RateLimited,
    InternalError,
    GenerationFailed,
    Overloaded,
    NotReady,
    DeadlineExceeded,
    NotCached,
];
const WITH_A_BODY: [ProblemCode; 2] = [BodyTooLarge, UnsupportedMediaType];

const DEEP: [ProblemCode; 5] = [NotReady, Overloaded, DeadlineExceeded, InternalError, GenerationFailed];
const UNREADY: [ProblemCode; 3] = [NotReady, OriginUnavailable, DeadlineExceeded];

pub(super) fn paths(side: Side) -> Paths {
    let get = |operation: OperationBuilder| PathItemBuilder::new().operation(HttpMethod::Get, operation).build();
    let post = |operation: OperationBuilder| PathItemBuilder::new().operation(HttpMethod::Post, operation).build();
    let mut generate = post(generate_from_body(side));
    generate.merge_operations(get(generate_from_query(side)));
    let paths = PathsBuilder::new()
        .path(GENERATE_PATH, generate)
        .path(BATCH_PATH, post(batch(side)))
        .path(INFO_PATH, get(info(side)))
        .path("/health", get(health("health", "Is this side alive?", &[])))
        .path("/health/live", get(health("health_live", "Does this side answer?", &[])))
        .path("/health/ready", get(health("health_ready", "Can captions be written?", &UNREADY)))
        .path(OPENAPI_PATH, get(document()));
    match side {
        Side::Edge => paths
            .path("/docs", get(page("docs", "This description, for people")))
            .path("/", get(page("playground", "A page to try it on")))
            .path(PURGE_PATH, post(purge())),
        Side::Origin => paths.path("/health/deep", get(health("health_deep", "Does a generation work?", &DEEP))),
    }
    .build()
}

/// What can go wrong with a question for captions on this side.
fn problems_of(side: Side, with_a_body: bool) -> Vec<ProblemCode> {
    let mut codes = ASKING.to_vec();
    codes.extend(with_a_body.then_some(WITH_A_BODY).into_iter().flatten());
    codes.extend(match side {
        Side::Edge => vec![OriginUnavailable],
        Side::Origin => vec![InvalidSignature, ReplayedSignature],
    });
    codes
}

fn generate_from_body(side: Side) -> OperationBuilder {
    let what = "Writes 1 to 8 variants of one caption. With `Accept: text/event-stream` the answer comes while it is \
        written: `start` (`StreamStart`), then `draft` (`Draft`: more of a variant's text; provisional), `draft_reset` \
        (`DraftReset`: what was drafted of a variant is void), `variant` (`FinalVariant`: as it will stand in the answer) \
        and at last `done`, whose data is the answer a caller without a stream gets, or `error`, whose data is a problem.";
    let events = streamed("Server-sent events; the data of each is JSON", examples::events());
    let answer = json_of::<CaptionResponse>("A caption with its variants", &KEPT, json!(examples::answer()));
    let own = ResponsesBuilder::new().response("200", answer.content(EVENT_STREAM_ESSENCE, events.build()));
    asking("generate", "A caption", what)
        .request_body(Some(body::<CaptionRequest>(examples::request())))
        .responses(with_problems(own, &problems_of(side, true)).build())
}

fn generate_from_query(side: Side) -> OperationBuilder {
    let what = "The same, to be kept by caches on the way: a GET with `ETag` and `Cache-Control`. Lists have commas \
        between their texts, so a text with a comma in it needs a POST.";
    let answer = json_of::<CaptionResponse>("A caption with its variants", &KEPT, json!(examples::answer()));
    let own =
        ResponsesBuilder::new().response("200", answer).response("304", ok("You hold this answer already", &KEPT));
    let responses = with_problems(own, &problems_of(side, false)).build();
    let operation = asking("generate_from_query", "A caption, cacheable", what).responses(responses);
    let description = query("content_description", request::description()).required(Required::True);
    let fields = request::optional_query_fields();
    fields.into_iter().fold(operation.parameter(description), |operation, (name, schema)| {
        operation.parameter(query(name, schema))
    })
}

fn batch(side: Side) -> OperationBuilder {
    let what = "Up to 100 requests, each with its own result or problem, in order. With \
        `Accept: application/x-ndjson` each result comes on a line of its own as soon as it is there.";
    let lines = streamed("Each line is a result", examples::lines());
    let answer = json_of::<BatchResponse>(
        "One result for each request",
        &["Cache-Control"],
        json!(examples::batch_answer()),
    );
    let own = ResponsesBuilder::new().response("200", answer.content(NDJSON, lines.build()));
    asking("batch", "Many captions", what)
        .request_body(Some(body::<BatchFrame>(examples::batch())))
        .responses(with_problems(own, &problems_of(side, true)).build())
}

/// An operation that needs a key and gives captions.
fn asking(id: &str, summary: &str, description: &str) -> OperationBuilder {
    OperationBuilder::new()
        .operation_id(Some(id))
        .tag(CAPTIONS)
        .summary(Some(summary))
        .description(Some(description))
        .security(SecurityRequirement::new(API_KEY, Vec::<String>::new()))
        .parameter(header(
            "Cache-Control",
            "`no-store`, `no-cache`, `only-if-cached`, `max-age=<seconds>`",
            "no-cache",
        ))
        .parameter(header(
            X_PRIORITY,
            "`low`, `normal`, `high` or `critical`: how urgent this request is, at most as the plan of the key has it. What \
            is low waits behind the rest and is the first to be refused when the service is full",
            "low",
        ))
        .parameter(header(
            X_REQUEST_ID,
            "16 to 64 characters of your own to find the request by",
            "my-own-request-id",
        ))
}

fn info(side: Side) -> OperationBuilder {
    let side = match side {
        Side::Edge => "edge",
        Side::Origin => "origin",
    };
    let answer =
        json_of::<ServiceInfo>("Model, policy, words and limits", &["Cache-Control"], json!(examples::info(side)));
    open("info", "What this service is and takes", ResponsesBuilder::new().response("200", answer), &[])
}

fn health(id: &str, summary: &str, codes: &[ProblemCode]) -> OperationBuilder {
    let answer = json_of::<Health>("Yes", &["Cache-Control"], json!({ "status": "ready" }));
    open(id, summary, ResponsesBuilder::new().response("200", answer), codes)
}

fn document() -> OperationBuilder {
    let object = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
    let content = ContentBuilder::new().schema(Some(object)).build();
    let answer = ResponseBuilder::new().description("OpenAPI 3.1").content("application/json", content);
    open("openapi", "This description", ResponsesBuilder::new().response("200", answer), &[])
}

fn page(id: &str, summary: &str) -> OperationBuilder {
    let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let content = ContentBuilder::new().schema(Some(text)).build();
    let answer = ResponseBuilder::new().description("A page").content("text/html", content);
    open(id, summary, ResponsesBuilder::new().response("200", answer), &[])
}

/// A GET that needs no key.
fn open(id: &str, summary: &str, own: ResponsesBuilder, codes: &[ProblemCode]) -> OperationBuilder {
    let codes: Vec<_> = codes.iter().copied().chain([MethodNotAllowed]).collect();
    OperationBuilder::new()
        .operation_id(Some(id))
        .tag(SERVICE)
        .summary(Some(summary))
        .responses(with_problems(own, &codes).build())
}

fn purge() -> OperationBuilder {
    let codes = [
        MalformedRequest,
        MissingApiKey,
        InvalidApiKey,
        Forbidden,
        MethodNotAllowed,
        BodyTooLarge,
        UnsupportedMediaType,
        InvalidFields,
        RateLimited,
        InternalError,
        OriginUnavailable,
    ];
    let answer = json_of::<Purged>("What was purged", &["Cache-Control"], examples::purged());
    let own = ResponsesBuilder::new().response("200", answer);
    OperationBuilder::new()
        .operation_id(Some("purge"))
        .tag(ADMIN)
        .summary(Some("Purge what is cached"))
        .description(Some(
            "Everything, or what belongs to a tenant, a model or a policy, at once, however much there is: no caption \
             made before is served from then on. Needs a key with the scope `admin`.",
        ))
        .security(SecurityRequirement::new(API_KEY, Vec::<String>::new()))
        .request_body(Some(body::<PurgeFrame>(examples::purge())))
        .responses(with_problems(own, &codes).build())
}

fn body<T: ToSchema>(example: Value) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).example(Some(example));
    RequestBodyBuilder::new().content("application/json", content.build()).required(Some(Required::True)).build()
}

fn query(name: &str, schema: RefOr<Schema>) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .style(Some(ParameterStyle::Form))
        .explode(Some(false))
        .schema(Some(schema))
}

fn header(name: &str, what: &str, example: &str) -> ParameterBuilder {
    let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(what))
        .schema(Some(text))
        .example(Some(json!(example)))
}
