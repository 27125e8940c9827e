//! From what a caller sent to a request that may be answered: every fault at once, each with its pointer.

mod conflicts;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Map, Value};

use self::reader::FieldReader;
use super::{
    BRAND_VOICE_CHARS_MAX, CallToAction, EmojiLevel, HASHTAG_COUNT_DEFAULT, HASHTAG_COUNT_MAX, LanguageTag,
    MAX_LENGTH_MAX, MAX_LENGTH_MIN, OptimizationLevel, QUERY_BYTES_MAX, SEED_MAX, Style, VARIANTS_MAX,
};
use crate::problem::{FieldError, FieldErrorCode, Problem, ProblemCode};

/// The fields a request may have, in the order of the documentation.
const FIELDS: [&str; 13] = [
    "content_description",
    "style",
    "hashtag_count",
    "optimization_level",
    "variants",
    "language",
    "emoji",
    "call_to_action",
    "must_include",
    "banned_words",
    "brand_voice",
    "max_length",
    "seed",
];
/// Fields that a query string carries as decimal digits.
const NUMBER_FIELDS: [&str; 4] = ["hashtag_count", "variants", "max_length", "seed"];
/// Fields that a query string carries with commas between their texts.
const LIST_FIELDS: [&str; 2] = ["must_include", "banned_words"];

/// A JSON object that claims to be a caption request. [`CaptionRequest::validate`] decides.
#[derive(Clone)]
pub struct CaptionRequest(pub(super) Map<String, Value>);

impl CaptionRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 when it is empty, not UTF-8 or not JSON; 422 when it is not an object.
    pub fn from_json(body: &[u8]) -> Result<Self, Problem> {
        match json_from_body(body)? {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Problem::invalid_fields(vec![not_an_object("")])),
        }
    }

    /// Reads the query string of a GET. Numbers are decimal digits, lists have commas between their texts (so a text
    /// with a comma in it needs a POST); a parameter may be given once.
    ///
    /// # Errors
    /// 400 when it is too long, its percent-encoding is not UTF-8 or a parameter is repeated.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let malformed = |detail: &str| Problem::new(ProblemCode::MalformedRequest, detail);
        if query.len() > QUERY_BYTES_MAX {
            return Err(malformed("the query string is too long; send a POST"));
        }
        let mut fields = Map::new();
        for (name, text) in form_urlencoded::parse(query.as_bytes()) {
            // The parser writes U+FFFD where the bytes are not UTF-8: a mistake, not a character to keep.
            if name.contains('\u{fffd}') || text.contains('\u{fffd}') {
                return Err(malformed("the query string is not UTF-8"));
            }
            let value = query_value(&name, &text);
            if fields.insert(name.into_owned(), value).is_some() {
                return Err(malformed("a query parameter is given twice"));
            }
        }
        Ok(Self(fields))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// 422 with a JSON pointer for each field at fault.
    pub fn validate(&self) -> Result<ValidRequest, Problem> {
        self.validate_at("").map_err(Problem::invalid_fields)
    }

    /// The same, for a request that stands at `pointer` in a larger document.
    pub(super) fn validate_at(&self, pointer: &str) -> Result<ValidRequest, Vec<FieldError>> {
        let mut reader = FieldReader::new(&self.0, pointer);
        reader.refuse_unknown_fields();
        let content_description = reader.description();
        let style = reader.word("style", Style::ALL, Style::as_str);
        let hashtag_count = reader.integer("hashtag_count", 0, HASHTAG_COUNT_MAX).unwrap_or(HASHTAG_COUNT_DEFAULT);
        let optimization_level =
            reader.word("optimization_level", OptimizationLevel::ALL, OptimizationLevel::as_str);
        let variants = reader.integer("variants", 1, VARIANTS_MAX).unwrap_or(1);
        let language = reader.language();
        let emoji = reader.word("emoji", EmojiLevel::ALL, EmojiLevel::as_str);
        let call_to_action = reader.word("call_to_action", CallToAction::ALL, CallToAction::as_str);
        let must_include = reader.must_include();
        let banned_words = reader.banned_words();
        let brand_voice = reader.text("brand_voice", BRAND_VOICE_CHARS_MAX);
        let max_length = reader.integer("max_length", MAX_LENGTH_MIN, MAX_LENGTH_MAX);
        let seed = reader.integer("seed", 0, SEED_MAX);
        let request = ValidRequest {
            content_description,
            style,
            hashtag_count,
            optimization_level,
            variants,
            language,
            emoji,
            call_to_action,
            must_include: must_include.iter().map(|listed| listed.text.clone()).collect(),
            banned_words: banned_words.iter().map(|listed| listed.text.clone()).collect(),
            brand_voice,
            max_length,
            seed,
        };
        // Fields that could not be read would contradict each other without the caller's doing.
        if reader.errors.is_empty() {
            reader.refuse_conflicts(&request, &must_include, &banned_words);
        }
        if reader.errors.is_empty() { Ok(request) } else { Err(reader.errors) }
    }
}

/// A request that may be answered. Only validation makes one, so holding it is the proof.
///
/// Its JSON form is canonical: every field stands in it, defaults included, and reading it back gives the same.
#[derive(Clone, PartialEq, Eq)]
pub struct ValidRequest {
    pub(crate) content_description: String,
    pub(crate) style: Style,
    pub(crate) hashtag_count: u8,
    pub(crate) optimization_level: OptimizationLevel,
    pub(crate) variants: u8,
    pub(crate) language: LanguageTag,
    pub(crate) emoji: EmojiLevel,
    pub(crate) call_to_action: CallToAction,
    pub(crate) must_include: Vec<String>,
    pub(crate) banned_words: Vec<String>,
    pub(crate) brand_voice: Option<String>,
    pub(crate) max_length: Option<u16>,
    pub(crate) seed: Option<u64>,
}

impl ValidRequest {
    /// What the post shows: normalised, 1 to 2,000 characters.
    #[must_use]
    pub fn content_description(&self) -> &str {
        &self.content_description
    }

    /// How the caption should sound.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }

    /// How many hashtags to write, 0 to 30.
    #[must_use]
    pub const fn hashtag_count(&self) -> u8 {
        self.hashtag_count
    }

    /// How much device time it may cost.
    #[must_use]
    pub const fn optimization_level(&self) -> OptimizationLevel {
        self.optimization_level
    }

    /// How many different captions to write, 1 to 8.
    #[must_use]
    pub const fn variants(&self) -> u8 {
        self.variants
    }

    /// The language to write in; English when the request does not say.
    #[must_use]
    pub const fn language(&self) -> &LanguageTag {
        &self.language
    }

    /// How many emoji to write.
    #[must_use]
    pub const fn emoji(&self) -> EmojiLevel {
        self.emoji
    }

    /// What to ask the readers to do.
    #[must_use]
    pub const fn call_to_action(&self) -> CallToAction {
        self.call_to_action
    }

    /// What has to stand in the caption as it is written here, in the caller's order: at most 8 texts, each
    /// normalised, of 1 to 60 characters, without `#`, and no two alike but for their case. None holds a banned
    /// word, and none an emoji unless emoji are wanted.
    #[must_use]
    pub fn must_include(&self) -> &[String] {
        &self.must_include
    }

    /// Words that may not stand in the answer, as [`super::text::contains_word`] finds them: at most 50, sorted, each
    /// folded to lower case, of 1 to 40 characters, at least one of them a letter or a digit.
    #[must_use]
    pub fn banned_words(&self) -> &[String] {
        &self.banned_words
    }

    /// How the brand speaks, in the caller's words: normalised, 1 to 280 characters.
    #[must_use]
    pub fn brand_voice(&self) -> Option<&str> {
        self.brand_voice.as_deref()
    }

    /// Longest caption without its hashtags, 40 to 2,200 UTF-16 code units; enough for `must_include` and the call
    /// to action.
    #[must_use]
    pub const fn max_length(&self) -> Option<u16> {
        self.max_length
    }

    /// The caller's seed; without one the answer is the same for all who ask the same.
    #[must_use]
    pub const fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// The canonical JSON body.
    #[must_use]
    #[expect(clippy::expect_used, reason = "strings, integers and unit variants always have a JSON form")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a valid request has a JSON form")
    }
}

impl Serialize for ValidRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            content_description,
            style,
            hashtag_count,
            optimization_level,
            variants,
            language,
            emoji,
            call_to_action,
            must_include,
            banned_words,
            brand_voice,
            max_length,
            seed,
        } = self;
        let mut fields = serializer.serialize_struct("CaptionRequest", FIELDS.len())?;
        fields.serialize_field("content_description", content_description)?;
        fields.serialize_field("style", style)?;
        fields.serialize_field("hashtag_count", hashtag_count)?;
        fields.serialize_field("optimization_level", optimization_level)?;
        fields.serialize_field("variants", variants)?;
        fields.serialize_field("language", language)?;
        fields.serialize_field("emoji", emoji)?;
        fields.serialize_field("call_to_action", call_to_action)?;
        fields.serialize_field("must_include", must_include)?;
        fields.serialize_field("banned_words", banned_words)?;
        fields.serialize_field("brand_voice", brand_voice)?;
        fields.serialize_field("max_length", max_length)?;
        fields.serialize_field("seed", seed)?;
        fields.end()
    }
}

/// What a caller writes is not for logs, so every text is left out.
impl fmt::Debug for ValidRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ValidRequest")
            .field("style", &self.style)
            .field("hashtag_count", &self.hashtag_count)
            .field("optimization_level", &self.optimization_level)
            .field("variants", &self.variants)
            .field("emoji", &self.emoji)
            .field("call_to_action", &self.call_to_action)
            .field("max_length", &self.max_length)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

pub(super) fn json_from_body(body: &[u8]) -> Result<Value, Problem> {
    let malformed = |detail: String| Problem::new(ProblemCode::MalformedRequest, detail);
    if body.is_empty() {
        return Err(malformed("the body is empty; send a JSON object".to_owned()));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(format!("the body is not UTF-8 from byte {}", error.valid_up_to())))?;
    // From bytes, as everything else is read: another source would be another copy of the reader in the Worker.
    serde_json::from_slice(text.as_bytes()).map_err(|error| {
        malformed(format!("the body is not JSON: fault at line {}, column {}", error.line(), error.column()))
    })
}

pub(super) fn not_an_object(pointer: &str) -> FieldError {
    let detail = "must be a JSON object".to_owned();
    FieldError { pointer: pointer.to_owned(), code: FieldErrorCode::WrongType, detail }
}

fn query_value(name: &str, text: &str) -> Value {
    if NUMBER_FIELDS.contains(&name)
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    if LIST_FIELDS.contains(&name) {
        // No text at all is a list of nothing, not of one empty text.
        return if text.is_empty() { Value::Array(Vec::new()) } else { text.split(',').collect() };
    }
    Value::String(text.to_owned())
}
