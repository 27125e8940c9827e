//! What a sequence wrote.

/// A caption and its hashtags, as far as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenCaption {
    /// The caption, without blanks around it.
    pub caption: String,
    /// Names of different hashtags, lower case, without `#`.
    pub hashtags: Vec<String>,
    /// The caption reached its limit and was made to end.
    pub caption_was_cut: bool,
    /// Something that has to stand in the caption was put there, not written by the model.
    pub length_forced: bool,
    /// Something that has to stand in the caption could not be put there.
    pub lacks_required: bool,
    /// The end was reached with every hashtag that was asked for.
    pub is_complete: bool,
}
