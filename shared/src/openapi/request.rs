//! What a caller sends, with the limits that validation has.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ArrayItems, ObjectBuilder, OneOfBuilder, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::examples;
use crate::api::{
    BANNED_WORD_CHARS_MAX, BANNED_WORDS_MAX, BATCH_REQUESTS_MAX, BRAND_VOICE_CHARS_MAX, CallToAction,
    CaptionRequest, DESCRIPTION_CHARS_MAX, EmojiLevel, HASHTAG_COUNT_DEFAULT, HASHTAG_COUNT_MAX,
    LANGUAGE_CHARS_MAX, MAX_LENGTH_MAX, MAX_LENGTH_MIN, MUST_INCLUDE_CHARS_MAX, MUST_INCLUDE_ITEMS_MAX,
    OptimizationLevel, SEED_MAX, Style, VARIANTS_MAX,
};

/// A character that is left of a text after normalisation, which turns all others into spaces.
macro_rules! visible {
    ($also_not:literal) => {
        concat!(
            r"[^\s\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb",
            $also_not,
            "]"
        )
    };
}
const TEXT: &str = visible!("");
const TEXT_WITHOUT_HASH: &str = concat!("^[^#]*", visible!("#"), "[^#]*$");
/// A language tag begins with two or three letters.
const LANGUAGE: &str = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$";

/// A model or a version, as a purge names it.
const NAME: &str = "^[A-Za-z0-9._:/-]{1,128}$";

/// Named fields, in the order of the documentation.
pub(super) type Fields = Vec<(&'static str, RefOr<Schema>)>;

/// Every field of a caption request but the one that is required.
pub(super) fn optional_fields() -> Fields {
    vec![
        ("style", word::<Style>("How the caption sounds", Style::default().as_str())),
        (
            "hashtag_count",
            integer("How many hashtags to write", (0, HASHTAG_COUNT_MAX.into()), Some(HASHTAG_COUNT_DEFAULT)),
        ),
        (
            "optimization_level",
            word::<OptimizationLevel>(
                "How much device time the caption may cost: `ultra_fast` takes the likeliest words, \
                `balanced` samples once, `quality` takes the best of several",
                OptimizationLevel::default().as_str(),
            ),
        ),
        ("variants", integer("How many different captions to write", (1, VARIANTS_MAX.into()), Some(1))),
        (
            "language",
            text("The language to write in, a BCP 47 tag; `en` when not given", (2, LANGUAGE_CHARS_MAX), LANGUAGE),
        ),
        ("emoji", word::<EmojiLevel>("How many emoji the caption may have", EmojiLevel::default().as_str())),
        (
            "call_to_action",
            word::<CallToAction>("What the caption asks its readers to do", CallToAction::default().as_str()),
        ),
        (
            "must_include",
            list(
                "Texts that stand in the caption as written here",
                (MUST_INCLUDE_ITEMS_MAX, MUST_INCLUDE_CHARS_MAX),
                TEXT_WITHOUT_HASH,
            ),
        ),
        (
            "banned_words",
            list(
                "Words and phrases that do not appear, in any case; each holds a letter or a digit",
                (BANNED_WORDS_MAX, BANNED_WORD_CHARS_MAX),
                TEXT,
            ),
        ),
        ("brand_voice", text("How your brand speaks, in your words", (1, BRAND_VOICE_CHARS_MAX), TEXT)),
        (
            "max_length",
            integer(
                "Longest caption in UTF-16 code units, hashtags not counted",
                (MAX_LENGTH_MIN.into(), MAX_LENGTH_MAX.into()),
                None,
            ),
        ),
        ("seed", integer("The same seed gives the same caption", (0, SEED_MAX), None)),
    ]
}

/// The same as a query string carries them: nothing is `null`, and no text of a list has a comma in it.
pub(super) fn optional_query_fields() -> Fields {
    let without_null = |(name, field)| (name, not_null(field));
    optional_fields().into_iter().map(without_null).collect()
}

fn not_null(field: RefOr<Schema>) -> RefOr<Schema> {
    let only = |types: SchemaType| match types {
        SchemaType::Array(types) => {
            types.into_iter().find(|one| *one != Type::Null).map_or(SchemaType::AnyValue, SchemaType::new)
        }
        one => one,
    };
    match field {
        RefOr::T(Schema::Object(mut object)) => {
            object.schema_type = only(object.schema_type);
            object.into()
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.schema_type = only(array.schema_type);
            if let ArrayItems::RefOrSchema(item) = &mut array.items
                && let RefOr::T(Schema::Object(item)) = item.as_mut()
            {
                item.pattern = item.pattern.take().map(|pattern| pattern.replace("[^", "[^,"));
            }
            array.into()
        }
        RefOr::T(Schema::OneOf(word)) => word.items.into_iter().next().unwrap_or_default(),
        other => other,
    }
}

/// The field that is required.
pub(super) fn description() -> RefOr<Schema> {
    let what =
        "What the post shows. Lengths count after normalisation: spaces around and between words are made one.";
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .description(Some(what))
        .min_length(Some(1))
        .max_length(Some(DESCRIPTION_CHARS_MAX))
        .pattern(Some(TEXT))
        .examples([json!("Beautiful sunset over the ocean")])
        .into()
}

fn word<T: ToSchema>(what: &str, default: &str) -> RefOr<Schema> {
    let named = Ref::from_schema_name(T::name());
    let null = ObjectBuilder::new().schema_type(SchemaType::new(Type::Null));
    OneOfBuilder::new().item(named).item(null).description(Some(what)).default(Some(json!(default))).into()
}

fn integer(what: &str, (min, max): (u64, u64), default: Option<u8>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .description(Some(what))
        .minimum(Some(min))
        .maximum(Some(max))
        .default(default.map(|default| json!(default)))
        .into()
}

fn text(what: &str, (min, max): (usize, usize), pattern: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some(what))
        .min_length(Some(min))
        .max_length(Some(max))
        .pattern(Some(pattern))
        .into()
}

fn list(what: &str, (items_max, chars_max): (usize, usize), pattern: &str) -> RefOr<Schema> {
    let item = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .min_length(Some(1))
        .max_length(Some(chars_max))
        .pattern(Some(pattern));
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .description(Some(what))
        .items(item)
        .max_items(Some(items_max))
        .default(Some(json!([])))
        .into()
}

impl PartialSchema for CaptionRequest {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new()
            .description(Some("What a caption is asked for with. No other fields are taken."))
            .property("content_description", description())
            .required("content_description");
        for (name, field) in optional_fields() {
            object = object.property(name, field);
        }
        object.additional_properties(closed()).examples([examples::request()]).into()
    }
}

impl ToSchema for CaptionRequest {
    fn name() -> Cow<'static, str> {
        "CaptionRequest".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend([
            (Style::name().into_owned(), Style::schema()),
            (OptimizationLevel::name().into_owned(), OptimizationLevel::schema()),
            (EmojiLevel::name().into_owned(), EmojiLevel::schema()),
            (CallToAction::name().into_owned(), CallToAction::schema()),
        ]);
    }
}

/// The body of a batch. An item at fault gets a problem of its own, so any JSON value is taken in its place.
pub(super) struct BatchFrame;

impl PartialSchema for BatchFrame {
    fn schema() -> RefOr<Schema> {
        let what =
            "Each is answered on its own: one that is at fault gets its problem, and the others their captions.";
        let requests = ArrayBuilder::new()
            .description(Some(what))
            .items(Ref::from_schema_name(CaptionRequest::name()))
            .min_items(Some(1))
            .max_items(Some(BATCH_REQUESTS_MAX));
        ObjectBuilder::new()
            .property("requests", requests)
            .required("requests")
            .additional_properties(closed())
            .examples([examples::batch()])
            .into()
    }
}

impl ToSchema for BatchFrame {
    fn name() -> Cow<'static, str> {
        "BatchRequest".into()
    }
}

/// What to purge.
pub(super) struct PurgeFrame;

impl PartialSchema for PurgeFrame {
    fn schema() -> RefOr<Schema> {
        let string = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let frame = |scope: &str| {
            let scope = string().enum_values(Some([scope]));
            ObjectBuilder::new().property("scope", scope).required("scope").additional_properties(closed())
        };
        let named = |scope, what, pattern| {
            frame(scope).property("name", string().description(Some(what)).pattern(Some(pattern))).required("name")
        };
        OneOfBuilder::new()
            .item(frame("all").description(Some("Everything")))
            .item(named("tenant", "The tenant's id", "^[a-z0-9_-]{1,64}$"))
            .item(named("model", "The model's id", NAME))
            .item(named("policy", "The policy's version", NAME))
            .examples([examples::purge()])
            .into()
    }
}

impl ToSchema for PurgeFrame {
    fn name() -> Cow<'static, str> {
        "PurgeRequest".into()
    }
}

fn closed() -> Option<AdditionalProperties<Schema>> {
    Some(AdditionalProperties::FreeForm(false))
}
