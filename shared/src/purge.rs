//! What a purge is about. Both sides raise the epoch of what they are told by this name.

use std::fmt;
use std::str::FromStr;

use crate::api_key::TenantId;

/// Longest name of a model or of a policy's version.
pub const PURGE_NAME_BYTES_MAX: usize = 128;

/// What a purge is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PurgeScope {
    /// Everything.
    All,
    /// What only this tenant is served. What tenants share is not any one's to purge.
    Tenant(TenantId),
    /// What this model has written.
    Model(String),
    /// What was made under this version of the policy.
    Policy(String),
}

/// The text names nothing that can be purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be all, tenant:…, model:… or policy:…, with a name of 1 to {PURGE_NAME_BYTES_MAX} visible characters"
)]
pub struct NoPurgeScope;

impl PurgeScope {
    /// Its kind, and which one.
    #[must_use]
    pub fn named(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::All => ("all", None),
            Self::Tenant(tenant) => ("tenant", Some(tenant.as_str())),
            Self::Model(model) => ("model", Some(model)),
            Self::Policy(version) => ("policy", Some(version)),
        }
    }
}

/// `all`, `tenant:acme`, `model:lede-nano-2` or `policy:2025-12`.
impl fmt::Display for PurgeScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            (kind, None) => formatter.write_str(kind),
            (kind, Some(name)) => write!(formatter, "{kind}:{name}"),
        }
    }
}

impl FromStr for PurgeScope {
    type Err = NoPurgeScope;

    fn from_str(text: &str) -> Result<Self, NoPurgeScope> {
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        match (kind, name) {
            ("all", None) => Ok(Self::All),
            ("tenant", Some(name)) => TenantId::parse(name).map(Self::Tenant).ok_or(NoPurgeScope),
            ("model", Some(name)) if is_sound(name) => Ok(Self::Model(name.to_owned())),
            ("policy", Some(name)) if is_sound(name) => Ok(Self::Policy(name.to_owned())),
            _ => Err(NoPurgeScope),
        }
    }
}

fn is_sound(name: &str) -> bool {
    (1..=PURGE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_scope_is_written_as_it_is_read() {
        for text in ["all", "tenant:acme", "model:hub/lede-nano:2", "policy:2025-12"] {
            assert_eq!(text.parse::<PurgeScope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let long = format!("model:{}", "m".repeat(PURGE_NAME_BYTES_MAX + 1));
        for text in
            ["", "all:", "all:x", "tenant", "tenant:", "tenant:ACME", "model:", "model:a b", "key:x", &long]
        {
            assert_eq!(text.parse::<PurgeScope>(), Err(NoPurgeScope), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_comes_out_as_it_went_in(text in "(all|tenant|model|policy|x):?[ -~é]{0,12}") {
            if let Ok(scope) = text.parse::<PurgeScope>() {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }
}
