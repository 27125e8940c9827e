//! The closed sets of words that a request may choose from.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

macro_rules! wire_words {
    ($name:ident) => {
        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;

            /// The wire name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }
    };
}

/// How a caption sounds.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Style {
    #[default]
    Casual,
    Inspirational,
    Playful,
    Professional,
    Luxury,
    Educational,
    Storytelling,
    Minimal,
    Romantic,
    Bold,
    Promotional,
}

wire_words!(Style);

/// How much device time a caption may cost.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OptimizationLevel {
    /// The likeliest words, no sampling.
    UltraFast,
    /// Sampled once.
    #[default]
    Balanced,
    /// The best of several.
    Quality,
}

wire_words!(OptimizationLevel);

/// How many emoji a caption may have.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EmojiLevel {
    /// None at all.
    #[default]
    None,
    /// A few, where they say something.
    Light,
    /// Many.
    Rich,
}

wire_words!(EmojiLevel);

/// What a caption asks its readers to do.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CallToAction {
    /// Nothing.
    #[default]
    None,
    /// Write a comment.
    Comment,
    /// Save the post for later.
    Save,
    /// Share it with somebody.
    Share,
    /// Follow the link in the profile.
    Link,
    /// Buy what is shown.
    Shop,
}

wire_words!(CallToAction);
