//! What has become known of an answer while it is written.
//!
//! A log that is only added to, of events as they stand on the wire: who joins late reads it from the beginning, and who
//! reads slowly holds up nobody, least of all the engine.

use bytes::{Bytes, BytesMut};
use lede_shared::api::Variant;
use lede_shared::api::stream::{Draft, DraftReset, FinalVariant, StreamEvent, StreamStart};
use tokio::sync::watch;

use crate::engine::draft::{DraftChange, DraftListener};

/// Past so many bytes no draft is noted any more; what is final always is, and that is bounded by the variants. Enough
/// for three rounds of eight captions in single entries.
const DRAFT_BYTES_MAX: usize = 1024 * 1024;

/// The writer's side. Clones write the same log.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(watch::Sender<Log>);

#[derive(Debug, Default)]
struct Log {
    /// Told with the first of the events: until then a failure can still be told by its status.
    start: Option<Bytes>,
    events: Vec<Bytes>,
    bytes: usize,
    /// What was drafted of each variant, as whoever has read all events knows it.
    drafts: Vec<String>,
    is_final: bool,
}

impl Progress {
    /// Somebody is about to write. Only the first is announced; `done` names whose text it became.
    pub(super) fn begin(&self, start: StreamStart) {
        self.0.send_if_modified(|log| {
            if log.start.is_none() {
                log.drafts.resize(usize::from(start.variants), String::new());
                log.start = Some(StreamEvent::Start(start).to_sse().into());
            }
            // Nobody waits for this alone.
            false
        });
    }

    /// A listener that drafts `variant`.
    pub(super) fn drafting(&self, variant: usize) -> DraftListener {
        let progress = self.clone();
        DraftListener::new(move |change| progress.draft(variant, change))
    }

    /// `variant` is written anew.
    pub(super) fn reset(&self, variant: usize) {
        self.draft(variant, DraftChange::Anew);
    }

    fn draft(&self, variant: usize, change: DraftChange<'_>) {
        self.0.send_if_modified(|log| !log.is_final && log.draft(variant, change));
    }

    /// The variants are known; no draft is noted after them.
    pub(super) fn finish(&self, variants: &[Variant]) {
        self.0.send_modify(|log| {
            for (index, variant) in variants.iter().enumerate() {
                log.finish(index, variant);
            }
            log.is_final = true;
        });
    }

    /// Reads from the beginning.
    pub(super) fn reader(&self) -> ProgressReader {
        ProgressReader { log: self.0.subscribe(), is_started: false, read: 0 }
    }
}

impl Log {
    fn note(&mut self, event: &StreamEvent) {
        let event = Bytes::from(event.to_sse());
        self.bytes += event.len();
        self.events.push(event);
    }

    /// True when there is something new to tell.
    fn draft(&mut self, variant: usize, change: DraftChange<'_>) -> bool {
        let is_full = self.bytes >= DRAFT_BYTES_MAX;
        let Some(drafted) = self.drafts.get_mut(variant) else { return false };
        match change {
            DraftChange::Anew if drafted.is_empty() => return false,
            DraftChange::Anew => {
                drafted.clear();
                self.note(&StreamEvent::DraftReset(DraftReset { variant }));
            }
            DraftChange::More(_) if is_full => return false,
            DraftChange::More(text) => {
                drafted.push_str(text);
                self.note(&StreamEvent::Draft(Draft { variant, text: text.to_owned() }));
            }
        }
        true
    }

    /// Brings the draft to what the variant has become, unless it is that already.
    fn finish(&mut self, index: usize, variant: &Variant) {
        let drafted = self.drafts.get(index).map_or("", String::as_str);
        if drafted != variant.caption {
            if !drafted.is_empty() {
                self.note(&StreamEvent::DraftReset(DraftReset { variant: index }));
            }
            self.note(&StreamEvent::Draft(Draft { variant: index, text: variant.caption.clone() }));
        }
        self.note(&StreamEvent::Variant(FinalVariant { index, variant: variant.clone() }));
    }
}

/// A reader's place in the log.
#[derive(Debug)]
pub(super) struct ProgressReader {
    log: watch::Receiver<Log>,
    is_started: bool,
    read: usize,
}

impl ProgressReader {
    /// Goes on where `earlier` ended, whose log has been given up.
    pub(super) fn after(self, earlier: &Self) -> Self {
        Self { is_started: earlier.is_started, ..self }
    }

    /// Has anything been told?
    pub(super) const fn has_told(&self) -> bool {
        self.is_started
    }

    /// All events that have not been read; none when there are none.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let log = self.log.borrow_and_update();
        let new = log.events.get(self.read..).filter(|new| !new.is_empty())?;
        let start = log.start.as_ref().filter(|_| !self.is_started);
        self.is_started = true;
        self.read += new.len();
        Some(joined(start.into_iter().chain(new)))
    }

    /// Waits for more; for ever when nobody writes any more.
    pub(super) async fn changed(&mut self) {
        if self.log.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// One piece; a single one is not copied.
pub(super) fn joined<'a>(pieces: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut only = pieces.clone();
    if let (Some(first), None) = (only.next(), only.next()) {
        return first.clone();
    }
    let mut whole = BytesMut::with_capacity(pieces.clone().map(Bytes::len).sum());
    pieces.for_each(|piece| whole.extend_from_slice(piece));
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use lede_shared::api::Counts;
    use lede_shared::api::stream::{STREAM_EVENT_BYTES_MAX, SseReader};

    use super::*;

    fn begun(variants: u8) -> Progress {
        let progress = Progress::default();
        progress.begin(StreamStart { id: "cap_0".to_owned(), model: "m".to_owned(), variants });
        progress
    }

    fn variant(caption: &str) -> Variant {
        let counts = Counts { characters: caption.len(), hashtags: 0 };
        let text = caption.to_owned();
        Variant { caption: text.clone(), hook: text.clone(), hashtags: Vec::new(), post_text: text, counts }
    }

    /// The events in short: `+0 text`, `-0`, `=0 text`.
    fn read(reader: &mut ProgressReader) -> Vec<String> {
        let bytes = reader.take().unwrap_or_default();
        let events = SseReader::new(STREAM_EVENT_BYTES_MAX).push(&bytes).unwrap();
        let short = |event| match StreamEvent::read(event).unwrap().unwrap() {
            StreamEvent::Start(start) => format!("start {}", start.variants),
            StreamEvent::Draft(draft) => format!("+{} {}", draft.variant, draft.text),
            StreamEvent::DraftReset(reset) => format!("-{}", reset.variant),
            StreamEvent::Variant(last) => format!("={} {}", last.index, last.variant.caption),
            other => panic!("{other:?} is not for the log"),
        };
        events.iter().map(short).collect()
    }

    #[test]
    fn nothing_is_told_before_there_is_text() {
        let progress = begun(1);
        assert_eq!(progress.reader().take(), None);
    }

    #[test]
    fn who_joins_late_reads_what_the_others_have_read() {
        let progress = begun(2);
        let mut early = progress.reader();
        progress.draft(0, DraftChange::More("Soft"));
        assert_eq!(read(&mut early), ["start 2", "+0 Soft"]);
        progress.draft(1, DraftChange::More("Salt"));
        progress.finish(&[variant("Soft"), variant("Salt air")]);
        let rest = ["+1 Salt", "=0 Soft", "-1", "+1 Salt air", "=1 Salt air"];
        assert_eq!(read(&mut early), rest);
        assert_eq!(read(&mut progress.reader())[2..], rest);
    }

    #[test]
    fn a_variant_that_nobody_drafted_is_drafted_whole_and_one_that_is_given_up_once_is_reset_once() {
        let progress = begun(2);
        progress.reset(0);
        progress.draft(0, DraftChange::More("Soft"));
        progress.reset(0);
        progress.reset(0);
        progress.finish(&[variant("Salt"), variant("Sand")]);
        let expected = ["start 2", "+0 Soft", "-0", "+0 Salt", "=0 Salt", "+1 Sand", "=1 Sand"];
        assert_eq!(read(&mut progress.reader()), expected);
    }

    #[test]
    fn what_comes_after_the_end_or_of_no_variant_is_not_noted() {
        let progress = begun(1);
        progress.draft(1, DraftChange::More("nobody's"));
        progress.finish(&[variant("Salt")]);
        progress.draft(0, DraftChange::More("late"));
        assert_eq!(read(&mut progress.reader()), ["start 1", "+0 Salt", "=0 Salt"]);
    }

    #[test]
    fn drafts_are_bounded_and_the_end_still_comes() {
        let progress = begun(1);
        let text = "x".repeat(1_000);
        for _ in 0..2_000 {
            progress.draft(0, DraftChange::More(&text));
        }
        assert!(progress.0.borrow().bytes < DRAFT_BYTES_MAX + 2_000);
        progress.finish(&[variant("Salt")]);
        let events = read(&mut progress.reader());
        assert_eq!(events[events.len() - 3..], ["-0", "+0 Salt", "=0 Salt"]);
    }

    #[test]
    fn a_second_author_is_not_announced() {
        let progress = begun(1);
        progress.begin(StreamStart { id: "cap_0".to_owned(), model: "other".to_owned(), variants: 1 });
        progress.finish(&[variant("Salt")]);
        let told = progress.reader().take().unwrap();
        assert!(!String::from_utf8_lossy(&told).contains("other"));
    }
}
