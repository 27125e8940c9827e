//! Server-sent events as bytes (WHATWG HTML, 9.2: server-sent events).

/// An event as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// `message` where the sender gave none.
    pub name: String,
    /// The data lines, joined by line feeds.
    pub data: String,
}

/// The bytes are no stream of events that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event that is longer than the reader's limit. Nothing after it is read.
    #[error("an event is longer than {0} bytes")]
    EventTooLong(usize),
}

/// One event on the wire. `data` must be one line.
#[must_use]
pub fn sse_event(name: &str, data: &str) -> String {
    const FRAME: [&str; 4] = ["event: ", "\ndata: ", "\n", "\n"];
    let mut event = String::with_capacity(17 + name.len() + data.len());
    for part in [FRAME[0], name, FRAME[1], data, FRAME[2], FRAME[3]] {
        event.push_str(part);
    }
    event
}

/// Reads events out of bytes in whatever pieces they come.
#[derive(Clone, Debug)]
pub struct SseReader {
    event_bytes_max: usize,
    /// The line that is being read.
    line: Vec<u8>,
    /// The event that is being read; no data yet is `None`.
    name: String,
    data: Option<String>,
    /// Bytes since the end of the last event.
    unfinished_bytes: usize,
    /// The last byte was a carriage return, so a line feed that follows belongs to it.
    after_return: bool,
    /// No line has ended yet: the first may begin with a byte order mark.
    at_first_line: bool,
    failure: Option<SseError>,
}

impl SseReader {
    /// A reader of events of at most `event_bytes_max` bytes each, comments and line ends included.
    #[must_use]
    pub const fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            name: String::new(),
            data: None,
            unfinished_bytes: 0,
            after_return: false,
            at_first_line: true,
            failure: None,
        }
    }

    /// Bytes that came after the end of the last event: so many at the end of all that was pushed say nothing yet.
    #[must_use]
    pub const fn unfinished_bytes(&self) -> usize {
        self.unfinished_bytes
    }

    /// The events that are complete with `bytes`.
    ///
    /// # Errors
    /// When one is too long; the same for all that follows.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        let mut events = Vec::new();
        for byte in bytes {
            if let Some(failure) = self.failure {
                return Err(failure);
            }
            self.take(*byte, &mut events);
        }
        self.failure.map_or(Ok(events), Err)
    }

    fn take(&mut self, byte: u8, events: &mut Vec<SseEvent>) {
        let ends_pair = self.after_return && byte == b'\n';
        self.after_return = byte == b'\r';
        if ends_pair {
            // The line has ended with the carriage return; of what follows this byte is no part.
            self.unfinished_bytes += usize::from(self.unfinished_bytes > 0);
            return;
        }
        self.unfinished_bytes += 1;
        if self.unfinished_bytes > self.event_bytes_max {
            self.failure = Some(SseError::EventTooLong(self.event_bytes_max));
        } else if matches!(byte, b'\r' | b'\n') {
            events.extend(self.end_line());
        } else {
            self.line.push(byte);
        }
    }

    /// A blank line ends an event, any other is a field of it.
    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if std::mem::take(&mut self.at_first_line) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if !line.is_empty() {
            self.read_field(line);
            return None;
        }
        self.unfinished_bytes = 0;
        let name = std::mem::take(&mut self.name);
        let data = self.data.take()?;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(SseEvent { name, data })
    }

    /// `name: value`, `name:value` or `name`; a line that begins with the colon is a comment.
    fn read_field(&mut self, line: &[u8]) {
        // Neither line end is part of another character, so each line can be decoded by itself.
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            // `id` and `retry` are for reconnecting, which nobody does here: an answer is asked for anew.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(stream: &str) -> Vec<SseEvent> {
        SseReader::new(1_000).push(stream.as_bytes()).unwrap()
    }

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        let stocks = "data: YHOO\ndata: +2\ndata: 10\n\n";
        assert_eq!(events(stocks), [event("message", "YHOO\n+2\n10")]);
        let four_blocks =
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
        assert_eq!(events(four_blocks), [event("message", "first event"), event("message", "second event")]);
        assert_eq!(events("data\n\ndata\ndata\n\ndata:"), [event("message", ""), event("message", "\n")]);
        assert_eq!(events("data:test\n\ndata: test\n\n"), [event("message", "test"), event("message", "test")]);
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = "\u{feff}event: a|data: 1||: comment||event: b|data: 2||".replace('|', end);
            assert_eq!(events(&stream), [event("a", "1"), event("b", "2")], "{end:?}");
        }
    }

    #[test]
    fn a_name_without_data_is_no_event_and_does_not_stick() {
        assert_eq!(events("event: a\n\ndata: 1\n\n"), [event("message", "1")]);
    }

    #[test]
    fn an_event_that_is_too_long_ends_the_reading_and_long_streams_of_short_ones_do_not() {
        let mut reader = SseReader::new(20);
        for _ in 0..100 {
            assert_eq!(reader.push(b"data: 1\n\n"), Ok(vec![event("message", "1")]));
        }
        assert_eq!(reader.push(&[b'a'; 21]), Err(SseError::EventTooLong(20)));
        assert_eq!(reader.push(b"\n\ndata: 1\n\n"), Err(SseError::EventTooLong(20)));
    }

    #[test]
    fn what_follows_the_last_whole_event_is_counted() {
        for (stream, unfinished) in
            [("", 0), ("data: 1\n\n", 0), ("data: 1\r\n\r\n", 0), ("data: 1\n", 8), ("data: 1\n\n: k", 3)]
        {
            let mut reader = SseReader::new(100);
            reader.push(stream.as_bytes()).unwrap();
            assert_eq!(reader.unfinished_bytes(), unfinished, "{stream:?}");
        }
    }

    fn any_stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => prop::sample::select(vec!["data", "event", ":", ": ", "\n", "\r", "\r\n", "\n\n", "é", "🌅", "id", "{}"])
                .prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cut_into_pieces_gives_the_same_events(stream in any_stream(), cuts in prop::collection::vec(1usize..9, 1..9)) {
            let mut whole = SseReader::new(64);
            let expected = whole.push(&stream);
            let mut reader = SseReader::new(64);
            let mut found = Ok(Vec::new());
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                found = found.and_then(|mut found: Vec<_>| { found.extend(reader.push(piece)?); Ok(found) });
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(reader.unfinished_bytes(), whole.unfinished_bytes());
        }

        #[test]
        fn what_was_written_is_read(name in "[a-z_]{1,12}", data in "[^\r\n]{0,80}") {
            let wire = sse_event(&name, &data);
            prop_assert_eq!(SseReader::new(1_000).push(wire.as_bytes()), Ok(vec![SseEvent { name, data }]));
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_keep_more_than_its_limit(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut reader = SseReader::new(32);
            for piece in pieces {
                let _ = reader.push(&piece);
                prop_assert!(reader.line.len() + reader.data.as_ref().map_or(0, String::len) <= 3 * 32);
            }
        }
    }
}
