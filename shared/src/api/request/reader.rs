//! Fields read one by one, with a note of everything that is wrong with them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::FIELDS;
use crate::api::text::{fold_case, normalise, stands_alone};
use crate::api::{
    BANNED_WORD_CHARS_MAX, BANNED_WORDS_MAX, DESCRIPTION_CHARS_MAX, LANGUAGE_CHARS_MAX, LanguageTag,
    MUST_INCLUDE_CHARS_MAX, MUST_INCLUDE_ITEMS_MAX,
};
use crate::problem::{FieldError, FieldErrorCode};

/// Reads fields one by one and collects what is wrong with them.
pub(super) struct FieldReader<'a> {
    fields: &'a Map<String, Value>,
    pointer: &'a str,
    /// One for each field or list item at fault.
    pub(super) errors: Vec<FieldError>,
}

/// A text of a list and where it stood in what the caller sent.
pub(super) struct Listed {
    pub(super) place: usize,
    pub(super) text: String,
}

impl<'a> FieldReader<'a> {
    /// Of the request that stands at `pointer` in what the caller sent.
    pub(super) const fn new(fields: &'a Map<String, Value>, pointer: &'a str) -> Self {
        Self { fields, pointer, errors: Vec::new() }
    }

    pub(super) fn fault(&mut self, field: &str, code: FieldErrorCode, detail: impl Into<String>) {
        // RFC 6901: `~` and `/` inside a name are escaped.
        let name = field.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{}/{name}", self.pointer);
        self.errors.push(FieldError { pointer, code, detail: detail.into() });
    }

    pub(super) fn item_fault(
        &mut self,
        field: &str,
        place: usize,
        code: FieldErrorCode,
        detail: impl Into<String>,
    ) {
        let pointer = format!("{}/{field}/{place}", self.pointer);
        self.errors.push(FieldError { pointer, code, detail: detail.into() });
    }

    pub(super) fn refuse_unknown_fields(&mut self) {
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
    fn value(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn description(&mut self) -> String {
        const FIELD: &str = "content_description";
        if self.value(FIELD).is_none() {
            self.fault(FIELD, FieldErrorCode::Missing, "is required");
        }
        self.text(FIELD, DESCRIPTION_CHARS_MAX).unwrap_or_default()
    }

    /// A text of 1 to `chars_max` characters after normalisation.
    pub(super) fn text(&mut self, field: &str, chars_max: usize) -> Option<String> {
        let Value::String(text) = self.value(field)? else {
            self.fault(field, FieldErrorCode::WrongType, "must be a string");
            return None;
        };
        let text = normalise(text);
        if !(1..=chars_max).contains(&text.chars().count()) {
            self.fault(field, FieldErrorCode::OutOfRange, format!("must have 1 to {chars_max} characters"));
            return None;
        }
        Some(text)
    }

    pub(super) fn word<T: Copy + Default>(&mut self, field: &str, words: &[T], name: fn(T) -> &'static str) -> T {
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

    pub(super) fn integer<T: Copy + Into<u64> + TryFrom<u64>>(
        &mut self,
        field: &str,
        min: T,
        max: T,
    ) -> Option<T> {
        let value = self.value(field)?;
        let (min, max) = (min.into(), max.into());
        let code = match value.as_u64() {
            Some(number) if (min..=max).contains(&number) => return T::try_from(number).ok(),
            _ if value.is_u64() || value.is_i64() => FieldErrorCode::OutOfRange,
            _ => FieldErrorCode::WrongType,
        };
        self.fault(field, code, format!("must be an integer from {min} to {max}"));
        None
    }

    pub(super) fn language(&mut self) -> LanguageTag {
        const FIELD: &str = "language";
        let code = match self.value(FIELD) {
            None => return LanguageTag::default(),
            Some(Value::String(text)) => match LanguageTag::parse(text) {
                Some(tag) => return tag,
                None => FieldErrorCode::InvalidFormat,
            },
            Some(_) => FieldErrorCode::WrongType,
        };
        let detail = "must be a BCP 47 language tag of at most";
        self.fault(FIELD, code, format!("{detail} {LANGUAGE_CHARS_MAX} characters, such as en or pt-BR"));
        LanguageTag::default()
    }

    /// In the caller's order, the first of those that are alike but for their case.
    pub(super) fn must_include(&mut self) -> Vec<Listed> {
        const FIELD: &str = "must_include";
        let mut seen = Vec::new();
        let mut must_include = Vec::new();
        for Listed { place, text } in self.list(FIELD, MUST_INCLUDE_ITEMS_MAX) {
            let text = normalise(&text);
            if !self.has_length(FIELD, place, &text, MUST_INCLUDE_CHARS_MAX) {
                continue;
            }
            if text.contains('#') {
                let detail = "must not hold a #: hashtags are asked for with hashtag_count";
                self.item_fault(FIELD, place, FieldErrorCode::InvalidFormat, detail);
            } else if !text.starts_with(stands_alone) {
                let detail = "must begin with a character that can be seen by itself";
                self.item_fault(FIELD, place, FieldErrorCode::InvalidFormat, detail);
            }
            let folded = fold_case(&text);
            if !seen.contains(&folded) {
                seen.push(folded);
                must_include.push(Listed { place, text });
            }
        }
        must_include
    }

    /// Folded, sorted and without repeats: their order says nothing, so it must not make another request.
    pub(super) fn banned_words(&mut self) -> Vec<Listed> {
        const FIELD: &str = "banned_words";
        let mut banned_words = BTreeMap::new();
        for Listed { place, text } in self.list(FIELD, BANNED_WORDS_MAX) {
            let text = fold_case(&normalise(&text));
            if !self.has_length(FIELD, place, &text, BANNED_WORD_CHARS_MAX) {
                continue;
            }
            if !text.contains(char::is_alphanumeric) {
                let detail = "must hold a letter or a digit";
                self.item_fault(FIELD, place, FieldErrorCode::InvalidFormat, detail);
            }
            banned_words.entry(text).or_insert(place);
        }
        banned_words.into_iter().map(|(text, place)| Listed { place, text }).collect()
    }

    fn has_length(&mut self, field: &str, place: usize, text: &str, chars_max: usize) -> bool {
        let has_length = (1..=chars_max).contains(&text.chars().count());
        if !has_length {
            let detail = format!("must have 1 to {chars_max} characters");
            self.item_fault(field, place, FieldErrorCode::OutOfRange, detail);
        }
        has_length
    }

    /// The texts of a list as they were sent; those that are no texts are faults.
    fn list(&mut self, field: &str, items_max: usize) -> Vec<Listed> {
        let items = match self.value(field) {
            None => return Vec::new(),
            Some(Value::Array(items)) if items.len() <= items_max => items,
            Some(Value::Array(_)) => {
                self.fault(field, FieldErrorCode::OutOfRange, format!("must have at most {items_max} strings"));
                return Vec::new();
            }
            Some(_) => {
                self.fault(field, FieldErrorCode::WrongType, "must be an array of strings");
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            match item {
                Value::String(text) => texts.push(Listed { place, text: text.clone() }),
                _ => self.item_fault(field, place, FieldErrorCode::WrongType, "must be a string"),
            }
        }
        texts
    }
}
