//! From what a caller sent to a request that may be answered: every fault at once, each with its pointer.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::{
    DESCRIPTION_CHARS_MAX, HASHTAG_COUNT_DEFAULT, HASHTAG_COUNT_MAX, OptimizationLevel, QUERY_BYTES_MAX, SEED_MAX,
    Style, VARIANTS_MAX,
};
use crate::problem::{FieldError, FieldErrorCode, Problem, ProblemCode};

/// The fields a request may have, in the order of the documentation.
const FIELDS: [&str; 6] =
    ["content_description", "style", "hashtag_count", "optimization_level", "variants", "seed"];
/// Fields that a query string carries as decimal digits.
const NUMBER_FIELDS: [&str; 3] = ["hashtag_count", "variants", "seed"];

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

    /// Reads the query string of a GET. Numbers are decimal digits; a parameter may be given once.
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
        let mut reader = FieldReader { fields: &self.0, pointer, errors: Vec::new() };
        reader.refuse_unknown_fields();
        let request = ValidRequest {
            content_description: reader.description(),
            style: reader.word("style", Style::ALL, Style::as_str),
            hashtag_count: reader.small_integer("hashtag_count", 0, HASHTAG_COUNT_MAX, HASHTAG_COUNT_DEFAULT),
            optimization_level: reader.word(
                "optimization_level",
                OptimizationLevel::ALL,
                OptimizationLevel::as_str,
            ),
            variants: reader.small_integer("variants", 1, VARIANTS_MAX, 1),
            seed: reader.integer("seed", 0, SEED_MAX),
        };
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
        let Self { content_description, style, hashtag_count, optimization_level, variants, seed } = self;
        let mut fields = serializer.serialize_struct("CaptionRequest", FIELDS.len())?;
        fields.serialize_field("content_description", content_description)?;
        fields.serialize_field("style", style)?;
        fields.serialize_field("hashtag_count", hashtag_count)?;
        fields.serialize_field("optimization_level", optimization_level)?;
        fields.serialize_field("variants", variants)?;
        fields.serialize_field("seed", seed)?;
        fields.end()
    }
}

/// What a caller writes is not for logs, so the description is left out.
impl fmt::Debug for ValidRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ValidRequest")
            .field("style", &self.style)
            .field("hashtag_count", &self.hashtag_count)
            .field("optimization_level", &self.optimization_level)
            .field("variants", &self.variants)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Unicode NFC, control and invisible formatting characters out, white space folded to single spaces, trimmed.
pub(super) fn normalise(text: &str) -> String {
    let visible: String = text.nfc().map(|character| if is_blank(character) { ' ' } else { character }).collect();
    visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// White space, controls, and marks that change a text's direction or cannot be seen (but not the joiners that
/// emoji and several scripts need).
fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

pub(super) fn json_from_body(body: &[u8]) -> Result<Value, Problem> {
    let malformed = |detail: String| Problem::new(ProblemCode::MalformedRequest, detail);
    if body.is_empty() {
        return Err(malformed("the body is empty; send a JSON object".to_owned()));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(format!("the body is not UTF-8 from byte {}", error.valid_up_to())))?;
    serde_json::from_str(text).map_err(|error| {
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
    Value::String(text.to_owned())
}

/// Reads fields one by one and collects what is wrong with them.
struct FieldReader<'a> {
    fields: &'a Map<String, Value>,
    pointer: &'a str,
    errors: Vec<FieldError>,
}

impl FieldReader<'_> {
    fn fault(&mut self, field: &str, code: FieldErrorCode, detail: String) {
        // RFC 6901: `~` and `/` inside a name are escaped.
        let name = field.replace('~', "~0").replace('/', "~1");
        self.errors.push(FieldError { pointer: format!("{}/{name}", self.pointer), code, detail });
    }

    fn refuse_unknown_fields(&mut self) {
        const UNKNOWN_FIELDS_REPORTED_MAX: usize = 8;
        const NAME_CHARS_MAX: usize = 64;
        let fields = self.fields;
        let unknown = fields.keys().filter(|name| !FIELDS.contains(&name.as_str()));
        for name in unknown.take(UNKNOWN_FIELDS_REPORTED_MAX) {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            self.fault(
                &name,
                FieldErrorCode::UnknownField,
                format!("is not a field; the fields are {}", FIELDS.join(", ")),
            );
        }
    }

    /// The value, when the field is there and not null.
    fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn description(&mut self) -> String {
        const FIELD: &str = "content_description";
        let range = format!("must have 1 to {DESCRIPTION_CHARS_MAX} characters");
        let text = match self.value(FIELD) {
            Some(Value::String(text)) => normalise(text),
            Some(_) => {
                self.fault(FIELD, FieldErrorCode::WrongType, "must be a string".to_owned());
                return String::new();
            }
            None => {
                self.fault(FIELD, FieldErrorCode::Missing, "is required".to_owned());
                return String::new();
            }
        };
        if !(1..=DESCRIPTION_CHARS_MAX).contains(&text.chars().count()) {
            self.fault(FIELD, FieldErrorCode::OutOfRange, range);
        }
        text
    }

    fn word<T: Copy + Default>(&mut self, field: &str, words: &[T], name: fn(T) -> &'static str) -> T {
        let (code, problem) = match self.value(field) {
            None => return T::default(),
            Some(Value::String(text)) => match words.iter().find(|word| name(**word) == text) {
                Some(word) => return *word,
                None => (FieldErrorCode::UnknownValue, "must be one of"),
            },
            Some(_) => (FieldErrorCode::WrongType, "must be a string, one of"),
        };
        let names: Vec<_> = words.iter().map(|word| name(*word)).collect();
        self.fault(field, code, format!("{problem} {}", names.join(", ")));
        T::default()
    }

    fn small_integer(&mut self, field: &str, min: u8, max: u8, default: u8) -> u8 {
        let read = self.integer(field, u64::from(min), u64::from(max));
        read.and_then(|number| u8::try_from(number).ok()).unwrap_or(default)
    }

    fn integer(&mut self, field: &str, min: u64, max: u64) -> Option<u64> {
        let value = self.value(field)?;
        let code = match value.as_u64() {
            Some(number) if (min..=max).contains(&number) => return Some(number),
            _ if value.is_u64() || value.is_i64() => FieldErrorCode::OutOfRange,
            _ => FieldErrorCode::WrongType,
        };
        self.fault(field, code, format!("must be an integer from {min} to {max}"));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<ValidRequest, Problem> {
        CaptionRequest::from_json(json.as_bytes()).and_then(|request| request.validate())
    }

    fn faults(json: &str) -> Vec<(String, FieldErrorCode)> {
        let problem = read(json).unwrap_err();
        assert_eq!(problem.code, ProblemCode::InvalidFields);
        problem.errors.into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn a_description_alone_is_a_request_and_the_rest_has_defaults() {
        let request = read(r#"{"content_description": "Beautiful sunset over the ocean"}"#).unwrap();
        assert_eq!(request.style(), Style::Casual);
        assert_eq!(request.hashtag_count(), 5);
        assert_eq!(request.optimization_level(), OptimizationLevel::Balanced);
        assert_eq!((request.variants(), request.seed()), (1, None));
    }

    #[test]
    fn every_field_at_fault_is_named_at_once() {
        let all_wrong = r#"{"content_description": 7, "style": "loud", "hashtag_count": 31,
            "optimization_level": [], "variants": 0, "seed": -1, "sty/le~": 1}"#;
        let expected = [
            ("/sty~1le~0", FieldErrorCode::UnknownField),
            ("/content_description", FieldErrorCode::WrongType),
            ("/style", FieldErrorCode::UnknownValue),
            ("/hashtag_count", FieldErrorCode::OutOfRange),
            ("/optimization_level", FieldErrorCode::WrongType),
            ("/variants", FieldErrorCode::OutOfRange),
            ("/seed", FieldErrorCode::OutOfRange),
        ];
        assert_eq!(faults(all_wrong), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn the_limits_of_each_field_are_exact() {
        let with_length = |length: usize| read(&format!(r#"{{"content_description": "{}"}}"#, "é".repeat(length)));
        assert!(with_length(1).is_ok() && with_length(2_000).is_ok());
        assert!(with_length(0).is_err() && with_length(2_001).is_err());
        let with =
            |field: &str, number: i64| read(&format!(r#"{{"content_description": "x", "{field}": {number}}}"#));
        assert!(with("hashtag_count", 0).is_ok() && with("hashtag_count", 30).is_ok());
        assert!(with("hashtag_count", -1).is_err() && with("hashtag_count", 31).is_err());
        assert!(with("variants", 1).is_ok() && with("variants", 8).is_ok());
        assert!(with("variants", 0).is_err() && with("variants", 9).is_err());
        assert!(with("seed", (1 << 53) - 1).is_ok() && with("seed", 1 << 53).is_err());
    }

    #[test]
    fn a_description_of_blanks_alone_is_empty() {
        assert_eq!(
            faults(r#"{"content_description": " \n\u200b\u202e\ufeff "}"#),
            [("/content_description".to_owned(), FieldErrorCode::OutOfRange)]
        );
    }

    #[test]
    fn a_body_that_cannot_be_read_is_malformed_not_invalid() {
        for body in [&b""[..], b"{", b"\xff\xfe", b"{\"content_description\": \"\xc3\"}", b"nonsense"] {
            let problem = CaptionRequest::from_json(body).err().unwrap();
            assert_eq!(problem.code, ProblemCode::MalformedRequest, "{body:?}");
        }
        assert_eq!(CaptionRequest::from_json(b"[1]").err().unwrap().code, ProblemCode::InvalidFields);
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let deep = "[".repeat(GENERATE_DEPTH) + &"]".repeat(GENERATE_DEPTH);
        assert!(CaptionRequest::from_json(deep.as_bytes()).is_err());
    }
    const GENERATE_DEPTH: usize = 30_000;

    #[test]
    fn a_query_reads_as_the_same_request_as_a_body() {
        let query = "content_description=caf%C3%A9+by+the+sea&style=bold&hashtag_count=3&seed=7";
        let from_query = CaptionRequest::from_query(query).unwrap().validate().unwrap();
        let from_body =
            read(r#"{"content_description": "café by the sea", "style": "bold", "hashtag_count": 3, "seed": 7}"#);
        assert_eq!(from_query, from_body.unwrap());
    }

    #[test]
    fn a_broken_query_is_malformed_and_a_wrong_number_in_it_is_pointed_at() {
        for query in ["content_description=%ff", "style=bold&style=minimal"] {
            let problem = CaptionRequest::from_query(query).err().unwrap();
            assert_eq!(problem.code, ProblemCode::MalformedRequest, "{query}");
        }
        let problem = CaptionRequest::from_query("content_description=x&hashtag_count=many").unwrap().validate();
        let error = problem.unwrap_err().errors.remove(0);
        assert_eq!((error.pointer.as_str(), error.code), ("/hashtag_count", FieldErrorCode::WrongType));
    }

    #[test]
    fn debug_output_never_shows_what_a_caller_wrote() {
        let request = read(r#"{"content_description": "my secret wedding"}"#).unwrap();
        assert!(!format!("{request:?}").contains("wedding"));
    }

    proptest! {
        #[test]
        fn reading_any_bytes_never_panics(body in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = CaptionRequest::from_json(&body).and_then(|request| request.validate());
        }

        #[test]
        fn reading_any_query_never_panics(query in "\\PC{0,200}") {
            let _ = CaptionRequest::from_query(&query).and_then(|request| request.validate());
        }

        #[test]
        fn reading_any_values_never_panics_and_points_at_fields(
            description in json_leaf(), style in json_leaf(), count in json_leaf(), seed in json_leaf(),
        ) {
            let body = serde_json::json!({
                "content_description": description, "style": style, "hashtag_count": count, "seed": seed,
            });
            if let Err(problem) = read(&body.to_string()) {
                prop_assert!(problem.errors.iter().all(|error| FIELDS.contains(&&error.pointer[1..])));
                prop_assert!(!problem.errors.is_empty());
            }
        }

        #[test]
        fn normalisation_is_idempotent(text in "\\PC{0,200}|[ \\t\\n\\u{200b}é\\u{301}a]{0,40}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once.clone());
            prop_assert!(!once.contains("  ") && once.trim() == once);
        }

        #[test]
        fn the_canonical_form_reads_back_as_the_same_request(text in "\\PC{1,60}", seed in prop::option::of(0..SEED_MAX)) {
            let body = serde_json::json!({ "content_description": text, "seed": seed });
            if let Ok(request) = read(&body.to_string()) {
                prop_assert_eq!(read(&request.to_json()).unwrap(), request);
            }
        }
    }

    fn json_leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
            Just(serde_json::json!([1])),
            Just(serde_json::json!({"a": 1})),
        ]
    }
}
