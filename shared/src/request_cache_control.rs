//! The caller's `Cache-Control`: HTTP's own words steer Lede's caches (RFC 9111 §5.2.1).

/// The request directives that Lede honours; unknown ones are ignored, as the RFC asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCacheControl {
    /// Do not keep the answer.
    pub no_store: bool,
    /// Do not answer from a cache; the new answer may be kept.
    pub no_cache: bool,
    /// Answer from a cache or not at all.
    pub only_if_cached: bool,
    /// Take nothing older than this many seconds.
    pub max_age_s: Option<u64>,
}

impl RequestCacheControl {
    /// Reads a header value. A `max-age` that is not a number counts as 0, the careful reading.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        let mut directives = Self::default();
        for directive in value.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => directives.no_store = true,
                "no-cache" => directives.no_cache = true,
                "only-if-cached" => directives.only_if_cached = true,
                "max-age" => directives.max_age_s = Some(argument.trim().trim_matches('"').parse().unwrap_or(0)),
                _ => {}
            }
        }
        directives
    }

    /// May an answer of this age be served to this caller?
    #[must_use]
    pub fn accepts_age_ms(&self, age_ms: u64) -> bool {
        !self.no_cache && self.max_age_s.is_none_or(|max_age_s| age_ms <= max_age_s.saturating_mul(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_in_any_case_and_order() {
        let read = RequestCacheControl::parse("Max-Age=30 ,NO-STORE, something=else");
        assert_eq!(read, RequestCacheControl { no_store: true, max_age_s: Some(30), ..Default::default() });
    }

    #[test]
    fn a_broken_max_age_is_read_as_zero() {
        assert_eq!(RequestCacheControl::parse("max-age=soon").max_age_s, Some(0));
    }

    #[test]
    fn max_age_bounds_what_a_caller_is_given() {
        let read = RequestCacheControl::parse("max-age=2");
        assert!(read.accepts_age_ms(2_000));
        assert!(!read.accepts_age_ms(2_001));
        assert!(!RequestCacheControl::parse("no-cache").accepts_age_ms(0));
    }
}
