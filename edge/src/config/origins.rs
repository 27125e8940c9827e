//! `ORIGINS`: where captions are made.

use super::ConfigError;

/// A name in a list that a request goes through; more would be a mistake.
const ORIGINS_MAX: usize = 16;
const WEIGHT_MAX: u32 = 1_000;
const INVALID: ConfigError = ConfigError::Invalid {
    name: "ORIGINS",
    expected: "http(s)://host[:port][;weight=1..1000], up to 16 different ones with commas",
};

/// One of the pool's origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginAddress {
    /// Scheme and authority, without a slash at the end.
    pub(crate) url: String,
    /// Its share of the keys, 1 to 1,000.
    pub(crate) weight: u32,
}

/// Reads `https://a.example;weight=2, https://b.example:8140`.
///
/// # Errors
/// When there is none, one is malformed or named twice.
pub(super) fn parse(text: &str) -> Result<Vec<OriginAddress>, ConfigError> {
    let mut origins: Vec<OriginAddress> = Vec::new();
    for part in text.split(',') {
        let origin = address(part).ok_or(INVALID)?;
        if origins.iter().any(|known| known.url == origin.url) || origins.len() == ORIGINS_MAX {
            return Err(INVALID);
        }
        origins.push(origin);
    }
    Ok(origins)
}

fn address(text: &str) -> Option<OriginAddress> {
    let (url, weight) = match text.split_once(';') {
        Some((url, parameter)) => (url, parameter.trim().strip_prefix("weight=")?.parse().ok()?),
        None => (text, 1),
    };
    let url = url.trim().trim_end_matches('/');
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    // The signature covers path and query, so the address has neither.
    let is_authority = !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ', ';']);
    let is_sound = is_authority && (1..=WEIGHT_MAX).contains(&weight);
    is_sound.then(|| OriginAddress { url: url.to_owned(), weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_or_several_with_their_weights() {
        let origin = |url: &str, weight| OriginAddress { url: url.to_owned(), weight };
        assert_eq!(parse("https://a.example/").unwrap(), [origin("https://a.example", 1)]);
        let several = parse(" https://a.example;weight=2 , http://127.0.0.1:8140,https://b.example ; weight=30");
        let expected =
            [origin("https://a.example", 2), origin("http://127.0.0.1:8140", 1), origin("https://b.example", 30)];
        assert_eq!(several.unwrap(), expected);
    }

    #[test]
    fn what_is_not_a_list_of_different_origins_is_refused() {
        for text in [
            "",
            ",",
            "https://a.example,",
            "https://a.example,https://a.example/",
            "a.example",
            "https://a.example/path",
            "https://a.example;weight=0",
            "https://a.example;weight=1001",
            "https://a.example;weight",
            "https://a.example;share=2",
            "https://a.example;weight=2;weight=3",
        ] {
            assert_eq!(parse(text), Err(INVALID), "{text}");
        }
        let many: Vec<String> = (0..=ORIGINS_MAX).map(|number| format!("https://{number}.example")).collect();
        assert!(parse(&many[1..].join(",")).is_ok());
        assert_eq!(parse(&many.join(",")), Err(INVALID));
    }
}
