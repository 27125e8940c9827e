//! The key to the provider.

use std::fmt;

use reqwest::header::HeaderValue;

/// The key to the provider. It shows in nothing that is printed.
#[derive(Clone)]
pub struct ProviderKey(HeaderValue);

impl ProviderKey {
    /// Reads a key; `None` unless it is visible ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.chars().all(|character| character.is_ascii_graphic()) {
            return None;
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        bearer.set_sensitive(true);
        Some(Self(bearer))
    }

    /// The `Authorization` header.
    pub(super) fn authorization(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProviderKey(…)")
    }
}
