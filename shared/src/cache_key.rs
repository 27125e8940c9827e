//! Under which name an answer is kept: a 256-bit hash of everything that decides it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::api::ValidRequest;

/// Changes whenever the canonical form does, so that old entries are never read as new ones.
const CANONICAL_FORM: &[u8] = b"lede-caption/2";
/// The same for [`form_about`]; no form of the one kind is one of the other.
const FORM_ABOUT: &[u8] = b"lede-about/1";
/// The same for [`NamespaceDigest`].
const NAMESPACE_FORM: &[u8] = b"lede-namespace/1";

/// What decides an answer besides the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheNamespace<'a> {
    /// The model's id, such as `lede-nano-2`.
    pub model: &'a str,
    /// The policy table's version.
    pub policy_version: &'a str,
    /// Raised to purge everything at once.
    pub epoch: u64,
    /// Set for entries that only one tenant may see; `None` is shared by all.
    pub tenant: Option<&'a str>,
}

/// A cache key: SHA-256 of the canonical form. Shown and stored as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(pub [u8; 32]);

impl CacheKey {
    /// The key of `request` in `namespace`.
    #[must_use]
    pub fn of(namespace: &CacheNamespace<'_>, request: &ValidRequest) -> Self {
        Self(Sha256::digest(canonical_form(namespace, request)).into())
    }

    /// The weak entity tag of answers under this key: bodies differ in their timings only.
    #[must_use]
    pub fn etag(&self) -> String {
        ["W/\"", self.hex_digits(&mut [0; 64]), "\""].concat()
    }

    /// Its 64 digits, in memory of the caller's: they are written for every answer.
    fn hex_digits<'a>(&self, digits: &'a mut [u8; 64]) -> &'a str {
        // Neither can fail: there are two digits for each byte, and all are ASCII.
        let _ = hex::encode_to_slice(self.0, digits);
        std::str::from_utf8(digits).unwrap_or_default()
    }

    /// Does an `If-None-Match` header name [`Self::etag`]? Weak comparison (RFC 9110 §13.1.2): the `W/` does not count.
    #[must_use]
    pub fn is_named_by(&self, if_none_match: &str) -> bool {
        let opaque = format!("\"{self}\"");
        let names = |tag: &str| tag.trim().trim_start_matches("W/") == opaque;
        if_none_match.trim() == "*" || if_none_match.split(',').any(names)
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.hex_digits(&mut [0; 64]))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CacheKey({self})")
    }
}

/// A namespace by its hash: to be carried with a request while nobody needs to know what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceDigest(pub [u8; 32]);

impl NamespaceDigest {
    /// That of `namespace`.
    #[must_use]
    pub fn of(namespace: &CacheNamespace<'_>) -> Self {
        let mut form = NAMESPACE_FORM.to_vec();
        namespace_fields(&mut form, namespace);
        Self(Sha256::digest(form).into())
    }
}

/// An unambiguous byte string: each field as tag, length (big-endian `u32`) and bytes, in a fixed order.
#[must_use]
pub fn canonical_form(namespace: &CacheNamespace<'_>, request: &ValidRequest) -> Vec<u8> {
    let mut form = Vec::with_capacity(request.content_description.len() + 128);
    form.extend_from_slice(CANONICAL_FORM);
    namespace_fields(&mut form, namespace);
    request_fields(&mut form, request, request.content_description.as_bytes());
    form
}

/// The same of a request whose description is taken to be `about`, for whoever looks for requests that are alike.
#[must_use]
pub fn form_about(namespace: NamespaceDigest, request: &ValidRequest, about: &[u8]) -> Vec<u8> {
    let mut form = Vec::with_capacity(about.len() + 160);
    form.extend_from_slice(FORM_ABOUT);
    field(&mut form, b'n', &namespace.0);
    request_fields(&mut form, request, about);
    form
}

/// Taken apart without `..`, so that a new field does not compile until it is decided here.
fn namespace_fields(form: &mut Vec<u8>, namespace: &CacheNamespace<'_>) {
    let CacheNamespace { model, policy_version, epoch, tenant } = *namespace;
    field(form, b'm', model.as_bytes());
    field(form, b'p', policy_version.as_bytes());
    field(form, b'e', &epoch.to_be_bytes());
    optional_field(form, b't', tenant.map(str::as_bytes));
}

/// Taken apart without `..`, too; in the description's place stands `about`.
fn request_fields(form: &mut Vec<u8>, request: &ValidRequest, about: &[u8]) {
    let ValidRequest {
        content_description: _,
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
    } = request;
    field(form, b'd', about);
    field(form, b's', style.as_str().as_bytes());
    field(form, b'h', &[*hashtag_count]);
    field(form, b'o', optimization_level.as_str().as_bytes());
    field(form, b'v', &[*variants]);
    field(form, b'l', language.as_str().as_bytes());
    field(form, b'j', emoji.as_str().as_bytes());
    field(form, b'c', call_to_action.as_str().as_bytes());
    list_field(form, b'i', must_include);
    list_field(form, b'w', banned_words);
    optional_field(form, b'b', brand_voice.as_deref().map(str::as_bytes));
    optional_field(form, b'x', max_length.map(u16::to_be_bytes).as_ref().map(|bytes| bytes.as_slice()));
    optional_field(form, b'r', seed.map(u64::to_be_bytes).as_ref().map(|bytes| bytes.as_slice()));
}

fn field(form: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    form.push(tag);
    form.extend_from_slice(&length.to_be_bytes());
    form.extend_from_slice(bytes);
}

/// A list is written as its length under its tag, then each text as a field of that tag.
fn list_field(form: &mut Vec<u8>, tag: u8, texts: &[String]) {
    let count = u32::try_from(texts.len()).unwrap_or(u32::MAX);
    field(form, tag, &count.to_be_bytes());
    for text in texts {
        field(form, tag, text.as_bytes());
    }
}

/// Absent is written as the tag in upper case without a length, so it differs from present-and-empty.
fn optional_field(form: &mut Vec<u8>, tag: u8, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => field(form, tag, bytes),
        None => form.push(tag.to_ascii_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CallToAction, EmojiLevel, LanguageTag, OptimizationLevel, Style};
    use proptest::prelude::*;

    const NAMESPACE: CacheNamespace<'static> =
        CacheNamespace { model: "lede-nano-1", policy_version: "2025-12", epoch: 1, tenant: None };

    fn any_request() -> impl Strategy<Value = ValidRequest> {
        let words = (
            prop::sample::select(Style::ALL),
            prop::sample::select(OptimizationLevel::ALL),
            prop::sample::select(EmojiLevel::ALL),
            prop::sample::select(CallToAction::ALL),
        );
        let numbers = (0u8..3, 1u8..3, prop::option::of(40u16..42), prop::option::of(0u64..3));
        let list = || prop::collection::vec("[ab]{1,2}", 0..3);
        let texts = ("[a-c ]{1,3}", prop::sample::select(vec!["en", "de"]), prop::option::of("[ab]{1,2}"));
        (words, numbers, texts, list(), list()).prop_map(|(words, numbers, texts, must_include, banned_words)| {
            let (style, optimization_level, emoji, call_to_action) = words;
            let (hashtag_count, variants, max_length, seed) = numbers;
            let (content_description, language, brand_voice) = texts;
            ValidRequest {
                content_description,
                style,
                hashtag_count,
                optimization_level,
                variants,
                language: LanguageTag::parse(language).unwrap(),
                emoji,
                call_to_action,
                must_include,
                banned_words,
                brand_voice,
                max_length,
                seed,
            }
        })
    }

    /// The same request but for what is taken from `other` when the bit of that field is set.
    fn crossed(request: &ValidRequest, other: &ValidRequest, bits: u16) -> ValidRequest {
        let mut crossed = request.clone();
        let ValidRequest {
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
        } = other.clone();
        let mut bit = 0;
        let mut is_set = || {
            bit += 1;
            bits >> (bit - 1) & 1 == 1
        };
        if is_set() {
            crossed.content_description = content_description;
        }
        if is_set() {
            crossed.style = style;
        }
        if is_set() {
            crossed.hashtag_count = hashtag_count;
        }
        if is_set() {
            crossed.optimization_level = optimization_level;
        }
        if is_set() {
            crossed.variants = variants;
        }
        if is_set() {
            crossed.language = language;
        }
        if is_set() {
            crossed.emoji = emoji;
        }
        if is_set() {
            crossed.call_to_action = call_to_action;
        }
        if is_set() {
            crossed.must_include = must_include;
        }
        if is_set() {
            crossed.banned_words = banned_words;
        }
        if is_set() {
            crossed.brand_voice = brand_voice;
        }
        if is_set() {
            crossed.max_length = max_length;
        }
        if is_set() {
            crossed.seed = seed;
        }
        crossed
    }

    fn any_namespace() -> impl Strategy<Value = (String, String, u64, Option<String>)> {
        ("[ab]{0,2}", "[ab]{0,2}", 0u64..3, prop::option::of("[ab]{0,2}"))
    }

    fn namespace(
        (model, policy_version, epoch, tenant): &(String, String, u64, Option<String>),
    ) -> CacheNamespace<'_> {
        CacheNamespace { model, policy_version, epoch: *epoch, tenant: tenant.as_deref() }
    }

    proptest! {
        // Small alphabets, so that equal requests and near misses both come up often.
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn keys_are_equal_exactly_when_everything_that_matters_is(
            a in any_request(), b in any_request(), bits in any::<u16>().prop_map(|bits| bits & bits.rotate_left(5)),
            in_a in any_namespace(), in_b in any_namespace(), same in any::<bool>(),
        ) {
            let in_b = if same { in_a.clone() } else { in_b };
            let b = crossed(&a, &b, bits);
            let keys_equal = CacheKey::of(&namespace(&in_a), &a) == CacheKey::of(&namespace(&in_b), &b);
            prop_assert_eq!(keys_equal, a == b && in_a == in_b);
        }

        #[test]
        fn forms_about_one_thing_are_equal_exactly_when_all_but_the_description_is(
            a in any_request(), b in any_request(), bits in any::<u16>().prop_map(|bits| bits & bits.rotate_left(5)),
            in_a in any_namespace(), in_b in any_namespace(), same in any::<bool>(),
        ) {
            let in_b = if same { in_a.clone() } else { in_b };
            let b = crossed(&a, &b, bits);
            let form = |within, request| form_about(NamespaceDigest::of(&namespace(within)), request, b"about");
            let like_a = ValidRequest { content_description: a.content_description.clone(), ..b.clone() };
            prop_assert_eq!(form(&in_a, &a) == form(&in_b, &b), a == like_a && in_a == in_b);
            prop_assert_ne!(form(&in_a, &a), canonical_form(&namespace(&in_a), &a));
            let elsewhere = form_about(NamespaceDigest::of(&namespace(&in_a)), &a, b"about it");
            prop_assert_ne!(form(&in_a, &a), elsewhere);
        }
    }

    #[test]
    fn an_etag_is_recognised_weak_or_strong_alone_or_in_a_list() {
        let key = CacheKey([0xab; 32]);
        let (weak, other) = (key.etag(), CacheKey([0xcd; 32]).etag());
        let strong = weak.trim_start_matches("W/");
        for header in [weak.as_str(), strong, &format!("{other}, {weak}"), "*"] {
            assert!(key.is_named_by(header), "{header}");
        }
        for header in [other.as_str(), "", "\"ab\""] {
            assert!(!key.is_named_by(header), "{header}");
        }
    }

    #[test]
    fn changing_any_one_field_changes_the_key() {
        let base = ValidRequest {
            content_description: "a".to_owned(),
            style: Style::Casual,
            hashtag_count: 5,
            optimization_level: OptimizationLevel::Balanced,
            variants: 1,
            language: LanguageTag::default(),
            emoji: EmojiLevel::None,
            call_to_action: CallToAction::None,
            must_include: Vec::new(),
            banned_words: Vec::new(),
            brand_voice: None,
            max_length: None,
            seed: None,
        };
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let changed = [
            ValidRequest { content_description: "A".to_owned(), ..base.clone() },
            ValidRequest { style: Style::Bold, ..base.clone() },
            ValidRequest { hashtag_count: 6, ..base.clone() },
            ValidRequest { optimization_level: OptimizationLevel::Quality, ..base.clone() },
            ValidRequest { variants: 2, ..base.clone() },
            ValidRequest { language: LanguageTag::parse("en-GB").unwrap(), ..base.clone() },
            ValidRequest { emoji: EmojiLevel::Light, ..base.clone() },
            ValidRequest { call_to_action: CallToAction::Save, ..base.clone() },
            ValidRequest { must_include: texts(&["a"]), ..base.clone() },
            ValidRequest { must_include: texts(&["ab"]), ..base.clone() },
            ValidRequest { must_include: texts(&["a", "b"]), ..base.clone() },
            ValidRequest { must_include: texts(&["b", "a"]), ..base.clone() },
            ValidRequest { banned_words: texts(&["a"]), ..base.clone() },
            ValidRequest { must_include: texts(&["a"]), banned_words: texts(&["b"]), ..base.clone() },
            ValidRequest { banned_words: texts(&["a", "b"]), ..base.clone() },
            ValidRequest { brand_voice: Some("a".to_owned()), ..base.clone() },
            ValidRequest { max_length: Some(40), ..base.clone() },
            ValidRequest { max_length: Some(41), ..base.clone() },
            ValidRequest { seed: Some(0), ..base.clone() },
            ValidRequest { seed: Some(1), ..base.clone() },
        ];
        let mut keys: Vec<_> = changed.iter().map(|request| CacheKey::of(&NAMESPACE, request)).collect();
        keys.extend([
            CacheKey::of(&NAMESPACE, &base),
            CacheKey::of(&CacheNamespace { model: "other", ..NAMESPACE }, &base),
            CacheKey::of(&CacheNamespace { policy_version: "2026-01", ..NAMESPACE }, &base),
            CacheKey::of(&CacheNamespace { epoch: 2, ..NAMESPACE }, &base),
            CacheKey::of(&CacheNamespace { tenant: Some(""), ..NAMESPACE }, &base),
            CacheKey::of(&CacheNamespace { tenant: Some("acme"), ..NAMESPACE }, &base),
        ]);
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
