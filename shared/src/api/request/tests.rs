use std::collections::BTreeSet;

use super::*;
use crate::api::arbitrary::{caption_request, valid_request};
use crate::api::text::{contains_emoji, contains_word, fold_case, normalise};
use crate::api::{
    BANNED_WORD_CHARS_MAX, BANNED_WORDS_MAX, DESCRIPTION_CHARS_MAX, GENERATE_BODY_BYTES_MAX,
    MUST_INCLUDE_CHARS_MAX, MUST_INCLUDE_ITEMS_MAX,
};
use crate::cache_key::{CacheKey, CacheNamespace};
use proptest::prelude::*;
use serde_json::json;

fn read(json: &str) -> Result<ValidRequest, Problem> {
    CaptionRequest::from_json(json.as_bytes()).and_then(|request| request.validate())
}

fn faults(json: &str) -> Vec<(String, FieldErrorCode)> {
    let problem = read(json).unwrap_err();
    assert_eq!(problem.code, ProblemCode::InvalidFields);
    problem.errors.into_iter().map(|error| (error.pointer, error.code)).collect()
}

/// A request with `x` as its description and the given fields.
fn with(fields: Value) -> Result<ValidRequest, Problem> {
    let Value::Object(mut body) = fields else { panic!("fields stand in an object") };
    body.insert("content_description".to_owned(), "x".into());
    CaptionRequest(body).validate()
}

/// The only fault of such a request.
fn fault(fields: Value) -> (String, FieldErrorCode) {
    let mut errors = with(fields).unwrap_err().errors;
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors.remove(0);
    (error.pointer, error.code)
}

#[test]
fn a_description_alone_is_a_request_and_the_rest_has_defaults() {
    let request = read(r#"{"content_description": "Beautiful sunset over the ocean"}"#).unwrap();
    assert_eq!(request.style(), Style::Casual);
    assert_eq!(request.hashtag_count(), 5);
    assert_eq!(request.optimization_level(), OptimizationLevel::Balanced);
    assert_eq!((request.variants(), request.seed()), (1, None));
    assert_eq!(request.language().as_str(), "en");
    assert_eq!((request.emoji(), request.call_to_action()), (EmojiLevel::None, CallToAction::None));
    assert!(request.must_include().is_empty() && request.banned_words().is_empty());
    assert_eq!((request.brand_voice(), request.max_length()), (None, None));
}

#[test]
fn null_is_the_same_as_a_field_left_out() {
    let nulls = FIELDS.into_iter().map(|field| (field.to_owned(), Value::Null)).collect();
    assert_eq!(with(Value::Object(nulls)).unwrap(), with(json!({})).unwrap());
}

#[test]
fn every_field_at_fault_is_named_at_once() {
    let all_wrong = r##"{"content_description": 7, "style": "loud", "hashtag_count": 31,
        "optimization_level": [], "variants": 0, "language": "en_US", "emoji": "some", "call_to_action": 1,
        "must_include": ["fine", 7, "", "#tag", "\u0301"], "banned_words": "cheap", "brand_voice": [],
        "max_length": 39, "seed": -1, "sty/le~": 1}"##;
    let expected = [
        ("/sty~1le~0", FieldErrorCode::UnknownField),
        ("/content_description", FieldErrorCode::WrongType),
        ("/style", FieldErrorCode::UnknownValue),
        ("/hashtag_count", FieldErrorCode::OutOfRange),
        ("/optimization_level", FieldErrorCode::WrongType),
        ("/variants", FieldErrorCode::OutOfRange),
        ("/language", FieldErrorCode::InvalidFormat),
        ("/emoji", FieldErrorCode::UnknownValue),
        ("/call_to_action", FieldErrorCode::WrongType),
        ("/must_include/1", FieldErrorCode::WrongType),
        ("/must_include/2", FieldErrorCode::OutOfRange),
        ("/must_include/3", FieldErrorCode::InvalidFormat),
        ("/must_include/4", FieldErrorCode::InvalidFormat),
        ("/banned_words", FieldErrorCode::WrongType),
        ("/brand_voice", FieldErrorCode::WrongType),
        ("/max_length", FieldErrorCode::OutOfRange),
        ("/seed", FieldErrorCode::OutOfRange),
    ];
    assert_eq!(faults(all_wrong), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
}

#[test]
fn the_limits_of_each_number_are_exact() {
    let limits =
        [("hashtag_count", 0, 30), ("variants", 1, 8), ("max_length", 40, 2_200), ("seed", 0, (1_i64 << 53) - 1)];
    for (field, min, max) in limits {
        assert!(with(json!({ field: min })).is_ok() && with(json!({ field: max })).is_ok(), "{field}");
        for outside in [min - 1, max + 1] {
            let expected = (format!("/{field}"), FieldErrorCode::OutOfRange);
            assert_eq!(fault(json!({ field: outside })), expected, "{outside}");
        }
    }
}

#[test]
fn the_limits_of_each_text_are_exact_and_count_characters_after_normalisation() {
    let limits =
        [("content_description", 2_000), ("brand_voice", 280), ("must_include", 60), ("banned_words", 40)];
    for (field, chars_max) in limits {
        let with_length = |length: usize| {
            let text = format!(" {}\u{202e}", "e\u{301}".repeat(length));
            let is_list = matches!(field, "must_include" | "banned_words");
            let mut body = json!({ "content_description": "x" });
            body[field] = if is_list { json!([text]) } else { json!(text) };
            read(&body.to_string())
        };
        assert!(with_length(1).is_ok() && with_length(chars_max).is_ok(), "{field}");
        assert!(with_length(0).is_err() && with_length(chars_max + 1).is_err(), "{field}");
    }
}

#[test]
fn a_list_has_a_longest_length_too() {
    let list = |count: usize| (0..count).map(|n| format!("w{n}")).collect::<Vec<_>>();
    for (field, items_max) in [("must_include", 8), ("banned_words", 50)] {
        assert!(with(json!({ field: list(items_max) })).is_ok(), "{field}");
        let expected = (format!("/{field}"), FieldErrorCode::OutOfRange);
        assert_eq!(fault(json!({ field: list(items_max + 1) })), expected);
    }
}

#[test]
fn what_must_be_included_keeps_its_order_and_case_and_loses_repeats() {
    let request = with(json!({ "must_include": ["Zoë  Café", "10%", "ZOE\u{308} café", "a", "10%"] })).unwrap();
    assert_eq!(request.must_include(), ["Zoë Café", "10%", "a"]);
}

#[test]
fn banned_words_are_folded_and_sorted_so_that_order_and_case_make_no_other_request() {
    let request = with(json!({ "banned_words": ["Cheap", "ΟΔΟΣ", "best  EVER", "cheap", "#ad"] })).unwrap();
    assert_eq!(request.banned_words(), ["#ad", "best ever", "cheap", "οδοσ"]);
    let same = with(json!({ "banned_words": ["#AD", "οδος", "CHEAP", "Best ever"] })).unwrap();
    assert_eq!(same, request);
}

#[test]
fn a_banned_word_of_signs_alone_is_refused() {
    for sign in ["!", "🔥", "--", "#"] {
        let expected = ("/banned_words/1".to_owned(), FieldErrorCode::InvalidFormat);
        assert_eq!(fault(json!({ "banned_words": ["ok", sign] })), expected);
    }
}

#[test]
fn a_text_that_must_be_included_cannot_hold_a_banned_word() {
    let lists = json!({ "must_include": ["Modern ART", "party"], "banned_words": ["zebra", "Art"] });
    assert_eq!(fault(lists), ("/banned_words/1".to_owned(), FieldErrorCode::Conflict));
    assert!(with(json!({ "must_include": ["party"], "banned_words": ["art"] })).is_ok());
}

#[test]
fn a_text_with_an_emoji_must_not_be_included_where_none_is_wanted() {
    let must_include = json!(["no picture", "3 € ©", "party 🎉"]);
    let unwanted = json!({ "must_include": must_include, "emoji": "none" });
    assert_eq!(fault(unwanted), ("/must_include/2".to_owned(), FieldErrorCode::Conflict));
    assert!(with(json!({ "must_include": must_include, "emoji": "light" })).is_ok());
}

#[test]
fn a_caption_must_have_room_for_what_it_must_include() {
    let conflict = ("/max_length".to_owned(), FieldErrorCode::Conflict);
    // 30 + 2 and 2 × 10 + 2 UTF-16 code units: 54, and 60 for the call to action.
    let texts = json!(["x".repeat(30), "😀".repeat(10)]);
    let fields = |max_length: u16, call_to_action: &str| json!({ "must_include": texts, "emoji": "rich", "max_length": max_length, "call_to_action": call_to_action });
    assert!(with(fields(54, "none")).is_ok() && with(fields(114, "shop")).is_ok());
    assert_eq!(fault(fields(53, "none")), conflict);
    assert_eq!(fault(fields(113, "shop")), conflict);
    let detail = with(fields(53, "none")).unwrap_err().detail;
    assert!(detail.contains("at least 54"), "{detail}");
}

#[test]
fn fields_that_could_not_be_read_are_in_no_conflict() {
    let fields = json!({ "must_include": ["party 🎉"], "emoji": "lots" });
    assert_eq!(fault(fields), ("/emoji".to_owned(), FieldErrorCode::UnknownValue));
}

#[test]
fn several_conflicts_are_named_at_once() {
    let errors = with(json!({
        "must_include": ["🎉 art", "x".repeat(60)], "banned_words": ["x", "ART", "🎉 art"], "max_length": 40,
    }))
    .unwrap_err()
    .errors;
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/must_include/0", "/banned_words/1", "/banned_words/2", "/max_length"]);
}

#[test]
fn a_request_with_every_field_at_its_limit_fits_a_body_even_when_it_is_escaped() {
    const ESCAPED: &str = "\\ud83d\\udc69";
    let text = |chars: usize| format!("\"{}\"", ESCAPED.repeat(chars));
    let list = |items: usize, chars: usize| format!("[{}]", vec![text(chars); items].join(", "));
    let body = format!(
        "{{\"content_description\": {}, \"must_include\": {}, \"banned_words\": {}, \"brand_voice\": {}}}",
        text(DESCRIPTION_CHARS_MAX),
        list(MUST_INCLUDE_ITEMS_MAX, MUST_INCLUDE_CHARS_MAX),
        list(BANNED_WORDS_MAX, BANNED_WORD_CHARS_MAX),
        text(BRAND_VOICE_CHARS_MAX),
    );
    assert!(body.len() + 1_024 < GENERATE_BODY_BYTES_MAX, "{}", body.len());
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
    let query = "content_description=caf%C3%A9+by+the+sea&style=bold&hashtag_count=3&seed=7&language=PT-br\
        &emoji=light&must_include=caf%C3%A9,2+for+1&banned_words=cheap&brand_voice=warm,+dry&max_length=300";
    let from_query = CaptionRequest::from_query(query).unwrap().validate().unwrap();
    let from_body = read(
        r#"{"content_description": "café by the sea", "style": "bold", "hashtag_count": 3, "seed": 7,
        "language": "pt-BR", "emoji": "light", "must_include": ["café", "2 for 1"], "banned_words": ["cheap"],
        "brand_voice": "warm, dry", "max_length": 300}"#,
    );
    assert_eq!(from_query, from_body.unwrap());
}

#[test]
fn an_empty_list_in_a_query_is_a_list_of_nothing() {
    let read = |query: &str| CaptionRequest::from_query(query).unwrap().validate();
    let request = read("content_description=x&must_include=&banned_words=").unwrap();
    assert_eq!(request, with(json!({})).unwrap());
    let error = read("content_description=x&must_include=a,,b").unwrap_err().errors.remove(0);
    assert_eq!((error.pointer.as_str(), error.code), ("/must_include/1", FieldErrorCode::OutOfRange));
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
    let request = read(
        r#"{"content_description": "my secret wedding", "must_include": ["wedding cake"],
        "banned_words": ["wedding bells"], "brand_voice": "wedding planner", "language": "en-x-wedding"}"#,
    );
    assert!(!format!("{:?}", request.unwrap()).contains("wedding"));
}

#[test]
fn no_fault_repeats_what_a_caller_wrote() {
    let problem = with(json!({
        "style": "wedding", "language": "wedding!", "must_include": ["wedding", "#wedding"],
        "banned_words": ["wedding", 1], "emoji": "wedding",
    }));
    assert!(!format!("{:?}", problem.unwrap_err()).contains("wedding"));
    let problem = with(json!({ "must_include": ["wedding 💍"], "banned_words": ["wedding"], "max_length": 40 }));
    assert!(!format!("{:?}", problem.unwrap_err()).contains("wedding"));
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
        values in prop::collection::vec(json_leaf(), FIELDS.len()),
    ) {
        let body: Map<_, _> = FIELDS.iter().map(ToString::to_string).zip(values).collect();
        if let Err(problem) = CaptionRequest(body).validate() {
            let field = |error: &FieldError| error.pointer[1..].split('/').next().unwrap().to_owned();
            prop_assert!(problem.errors.iter().all(|error| FIELDS.contains(&field(error).as_str())));
            prop_assert!(!problem.errors.is_empty());
        }
    }

    #[test]
    fn a_request_of_sound_parts_is_valid_and_its_canonical_form_reads_back_as_the_same(body in caption_request()) {
        let request = read(&body.to_string()).map_err(|problem| TestCaseError::fail(format!("{problem:?}")))?;
        let canonical = request.to_json();
        prop_assert!(canonical.len() <= GENERATE_BODY_BYTES_MAX);
        let written: Value = serde_json::from_str(&canonical).unwrap();
        prop_assert!(written.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>() == BTreeSet::from(FIELDS));
        let again = read(&canonical).unwrap();
        prop_assert_eq!(again.to_json(), canonical);
        prop_assert!(again == request);
    }

    #[test]
    fn a_valid_request_keeps_what_its_accessors_promise(request in valid_request()) {
        let chars = |text: &str| text.chars().count();
        prop_assert!((1..=DESCRIPTION_CHARS_MAX).contains(&chars(request.content_description())));
        prop_assert!(request.brand_voice().is_none_or(|voice| (1..=BRAND_VOICE_CHARS_MAX).contains(&chars(voice))));
        let must_include = request.must_include();
        prop_assert!(must_include.len() <= MUST_INCLUDE_ITEMS_MAX);
        prop_assert!(must_include.iter().all(|text| (1..=MUST_INCLUDE_CHARS_MAX).contains(&chars(text))));
        prop_assert!(must_include.iter().all(|text| !text.contains('#') && normalise(text) == *text));
        prop_assert!(request.emoji() != EmojiLevel::None || must_include.iter().all(|text| !contains_emoji(text)));
        let folded: BTreeSet<_> = must_include.iter().map(|text| fold_case(text)).collect();
        prop_assert_eq!(folded.len(), must_include.len());
        let banned_words = request.banned_words();
        prop_assert!(banned_words.len() <= BANNED_WORDS_MAX && banned_words.is_sorted());
        prop_assert!(banned_words.iter().all(|word| (1..=BANNED_WORD_CHARS_MAX).contains(&chars(word))));
        prop_assert!(banned_words.iter().all(|word| must_include.iter().all(|text| !contains_word(text, word))));
    }

    #[test]
    fn requests_have_one_key_exactly_when_their_canonical_forms_are_one(a in valid_request(), b in valid_request()) {
        let namespace = CacheNamespace { model: "m", policy_version: "p", epoch: 1, tenant: None };
        let key = |request: &ValidRequest| CacheKey::of(&namespace, request);
        prop_assert_eq!(key(&a) == key(&b), a.to_json() == b.to_json());
        prop_assert_eq!(key(&a), key(&read(&a.to_json()).unwrap()));
    }

    #[test]
    fn a_request_reads_the_same_from_a_query_unless_a_text_has_a_comma(request in valid_request()) {
        let texts = || request.must_include().iter().chain(request.banned_words());
        let canonical: Value = serde_json::from_str(&request.to_json()).unwrap();
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in canonical.as_object().unwrap() {
            match value {
                Value::Null => &mut query,
                Value::String(text) => query.append_pair(name, text),
                Value::Array(_) if name == "must_include" => query.append_pair(name, &request.must_include().join(",")),
                Value::Array(_) => query.append_pair(name, &request.banned_words().join(",")),
                number => query.append_pair(name, &number.to_string()),
            };
        }
        let query = query.finish();
        let read = CaptionRequest::from_query(&query).and_then(|read| read.validate());
        // U+FFFD is what bytes that are not UTF-8 are read as, so a query cannot carry it.
        if query.len() > QUERY_BYTES_MAX || query.contains("%EF%BF%BD") {
            prop_assert_eq!(read.unwrap_err().code, ProblemCode::MalformedRequest);
        } else if !texts().any(|text| text.contains(',')) {
            prop_assert!(read.unwrap() == request);
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
        Just(json!([1])),
        prop::collection::vec("\\PC{0,20}", 0..4).prop_map(Value::from),
        Just(json!({"a": 1})),
    ]
}
