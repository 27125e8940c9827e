//! The description of the API (OpenAPI 3.1), made from the types that both sides read and write: fields, words and
//! limits cannot say anything else here than in the program. Both sides serve it at [`OPENAPI_PATH`].

mod examples;
mod operations;
mod request;
mod responses;

use utoipa::ToSchema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, Info, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Schema,
};

use crate::api::stream::{Draft, DraftReset, FinalVariant, StreamStart};
use crate::api::{API_VERSION, BatchResponse, CaptionRequest, CaptionResponse, ServiceInfo};
use crate::problem::Problem;

/// Where both sides serve the description.
pub const OPENAPI_PATH: &str = "/openapi.json";
/// Purges what is cached; taken by the edge.
pub const PURGE_PATH: &str = "/admin/v1/purge";
/// How the security scheme is called.
const API_KEY: &str = "api_key";
const CAPTIONS: &str = "captions";
const SERVICE: &str = "service";
const ADMIN: &str = "admin";

const INTRODUCTION: &str = "Instagram captions from the edge: a description goes in, a caption with hashtags comes out.\n\n\
    Every request for a caption carries an API key as `Authorization: Bearer <key>`. Equal requests have equal answers, \
    so they are cached; HTTP's own words steer the cache (`Cache-Control: no-store`, `no-cache`, `only-if-cached`, \
    `max-age=`), and `Cache-Status` says what it did. Errors are problem documents (RFC 9457) with a closed set of \
    codes: 429 means that you are over your quota, 503 that the service is full or down; both say in `Retry-After` \
    when to come again.";

/// Who serves the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The Worker that callers talk to.
    Edge,
    /// The service behind it.
    Origin,
}

/// The document of one side as JSON, two spaces of indent and a line end at the end.
#[must_use]
#[expect(clippy::expect_used, reason = "a document of strings, numbers and maps always has a JSON form")]
pub fn document(side: Side) -> String {
    let mut json = build(side).to_pretty_json().expect("the document has a JSON form");
    json.push('\n');
    json
}

fn build(side: Side) -> OpenApi {
    let tag = |name: &str, what: &str| TagBuilder::new().name(name).description(Some(what)).build();
    let tags = [
        tag(CAPTIONS, "Have captions written"),
        tag(SERVICE, "What this service is, and how it does"),
        tag(ADMIN, "For keys with the scope `admin`"),
    ];
    let tags = tags.into_iter().filter(|tag| side == Side::Edge || tag.name != ADMIN);
    OpenApiBuilder::new()
        .info(info())
        .paths(operations::paths(side))
        .components(Some(components(side)))
        .tags(Some(tags))
        .build()
}

fn info() -> Info {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    InfoBuilder::new()
        .title("Lede")
        .version(API_VERSION.trim_start_matches('v'))
        .description(Some(INTRODUCTION))
        .license(Some(license))
        .build()
}

fn components(side: Side) -> Components {
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The API key that you were given, `lede_…`"))
        .build();
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    add::<CaptionRequest>(&mut schemas);
    add::<request::BatchFrame>(&mut schemas);
    add::<CaptionResponse>(&mut schemas);
    add::<BatchResponse>(&mut schemas);
    add::<Problem>(&mut schemas);
    add::<StreamStart>(&mut schemas);
    add::<Draft>(&mut schemas);
    add::<DraftReset>(&mut schemas);
    add::<FinalVariant>(&mut schemas);
    add::<ServiceInfo>(&mut schemas);
    add::<responses::Health>(&mut schemas);
    if side == Side::Edge {
        add::<request::PurgeFrame>(&mut schemas);
        add::<responses::Purged>(&mut schemas);
    }
    responses::headers(ComponentsBuilder::new())
        .schemas_from_iter(schemas)
        .responses_from_iter(responses::problems(side).map(|(name, response)| (name, response.build())))
        .security_scheme(API_KEY, SecurityScheme::Http(key))
        .build()
}

/// A type with all that it refers to.
fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

#[cfg(test)]
mod tests;
