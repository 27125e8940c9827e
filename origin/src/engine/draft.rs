//! Text as it is being written, told to somebody who listens.

use std::fmt;
use std::sync::Arc;

/// What has become of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftChange<'a> {
    /// It goes on with these characters.
    More(&'a str),
    /// It is void; what follows is written anew. Rare: a caption that reached its limit is cut back.
    Anew,
}

/// Somebody who listens. Called by the engine's thread between two steps, so it must note what it hears and return; it
/// hears no more than one caption of the request's length for each time that the text is written anew.
#[derive(Clone)]
pub struct DraftListener(Arc<dyn Fn(DraftChange<'_>) + Send + Sync>);

impl DraftListener {
    /// Tells every change to `hear`.
    #[must_use]
    pub fn new(hear: impl Fn(DraftChange<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl fmt::Debug for DraftListener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DraftListener").finish_non_exhaustive()
    }
}

/// A listener and what it has heard.
#[derive(Debug)]
pub(super) struct Telling {
    listener: DraftListener,
    told: String,
}

impl Telling {
    pub(super) const fn to(listener: DraftListener) -> Self {
        Self { listener, told: String::new() }
    }

    /// Tells what is new in `text`.
    pub(super) fn tell(&mut self, text: &str) {
        let hear = &self.listener.0;
        let more = text.strip_prefix(self.told.as_str()).unwrap_or_else(|| {
            hear(DraftChange::Anew);
            self.told.clear();
            text
        });
        if !more.is_empty() {
            hear(DraftChange::More(more));
            self.told.push_str(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn heard(texts: &[&str]) -> Vec<String> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        let mut telling = Telling::to(DraftListener::new(move |change| {
            notes.lock().unwrap().push(match change {
                DraftChange::More(text) => text.to_owned(),
                DraftChange::Anew => "(anew)".to_owned(),
            });
        }));
        texts.iter().for_each(|text| telling.tell(text));
        heard.lock().unwrap().clone()
    }

    #[test]
    fn only_what_is_new_is_told() {
        assert_eq!(heard(&["", "Soft", "Soft", "Soft sand"]), ["Soft", " sand"]);
    }

    #[test]
    fn a_text_that_was_cut_back_is_told_anew() {
        assert_eq!(heard(&["Soft sand", "Soft. Save this"]), ["Soft sand", "(anew)", "Soft. Save this"]);
        assert_eq!(heard(&["Soft", "", "Salt"]), ["Soft", "(anew)", "Salt"]);
    }
}
