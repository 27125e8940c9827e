//! A line of the log as one JSON object, written straight into the line: every answer has one, and the form that comes with
//! `tracing-subscriber` is made for nested spans, which this process has not (figures in docs/BENCH.md).

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Time, level, the event's fields, target. There are no spans in this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        line.write_str(r#"{"timestamp":""#)?;
        SystemTime.format_time(&mut line)?;
        line.write_str(r#"","level":""#)?;
        line.write_str(metadata.level().as_str())?;
        line.write_char('"')?;
        let mut fields = Fields { line: &mut line, outcome: Ok(()) };
        event.record(&mut fields);
        fields.outcome?;
        line.write_str(r#","target":""#)?;
        Escaped(&mut line).write_str(metadata.target())?;
        line.write_str("\"}\n")
    }
}

/// Writes each field as a member, unless one before it could not be written.
struct Fields<'a, 'b> {
    line: &'a mut Writer<'b>,
    outcome: fmt::Result,
}

impl Fields<'_, '_> {
    fn member(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        self.outcome = self.outcome.and_then(|()| {
            // A field's name is a name of the program's: nothing in it has to be escaped.
            self.line.write_str(",\"")?;
            self.line.write_str(field.name())?;
            self.line.write_str("\":")?;
            write(self.line)
        });
    }

    fn text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        self.member(field, |line| {
            line.write_char('"')?;
            Escaped(line).write_fmt(text)?;
            line.write_char('"')
        });
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| {
            line.write_char('"')?;
            Escaped(line).write_str(value)?;
            line.write_char('"')
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| line.write_str(if value { "true" } else { "false" }));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers than finite ones.
        self.member(
            field,
            |line| if value.is_finite() { write!(line, "{value:?}") } else { line.write_str("null") },
        );
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Escapes what may not stand within a JSON string (RFC 8259 §7).
struct Escaped<'a, 'b>(&'a mut Writer<'b>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut written = 0;
        for (place, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            // These bytes are characters of their own, so the text may be cut on both sides.
            self.0.write_str(&text[written..place])?;
            written = place + 1;
            match byte {
                b'"' | b'\\' => {
                    self.0.write_char('\\')?;
                    self.0.write_char(char::from(byte))?;
                }
                b'\n' => self.0.write_str("\\n")?,
                _ => write!(self.0, "\\u{byte:04x}")?,
            }
        }
        self.0.write_str(&text[written..])
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line that `log` makes, and the same in the form of `tracing-subscriber`, without their times.
    fn both(log: impl Fn()) -> (Value, Value) {
        let read = |lines: &Lines| {
            let mut line: Value = serde_json::from_slice(&lines.0.lock().unwrap()).unwrap();
            let timestamp = line["timestamp"].take();
            assert!(timestamp.as_str().unwrap().ends_with('Z'));
            line
        };
        let (ours, theirs) = (Lines::default(), Lines::default());
        let lines = ours.clone();
        let subscriber =
            tracing_subscriber::fmt().event_format(JsonLine).with_writer(move || lines.clone()).finish();
        tracing::subscriber::with_default(subscriber, &log);
        let lines = theirs.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || lines.clone());
        tracing::subscriber::with_default(subscriber.finish(), &log);
        (read(&ours), read(&theirs))
    }

    #[test]
    fn every_kind_of_field_has_its_json_form() {
        let nothing: Option<&str> = None;
        let (ours, theirs) = both(|| {
            tracing::info!(a = 1u64, b = -2i64, c = 0.25, d = true, e = "text", f = %"shown", g = ?"debug", nothing, "said");
        });
        assert_eq!(ours, theirs);
        assert_eq!(ours["message"], "said");
        assert_eq!(ours["g"], "\"debug\"");
        let (ours, _) = both(|| tracing::warn!(infinite = f64::INFINITY, "x"));
        assert_eq!((&ours["infinite"], &ours["level"]), (&Value::Null, &json!("WARN")));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_out_of_the_line(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}", thousandths in any::<i32>()) {
            let number = f64::from(thousandths) / 1_000.0;
            let (ours, theirs) = both(|| tracing::info!(text, number, "{text}"));
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(ours["text"].as_str(), Some(text.as_str()));
        }
    }
}
