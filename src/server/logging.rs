//! Logs: one line an event on standard error, as text or JSON.
//!
//! Personal data is kept out twice. Values wrapped in [`Pii`] print as `<redacted>` wherever they are logged; a place
//! that may show a number uses [`number`], which obeys `[log] reveal_numbers`. And whatever was logged some other way,
//! every line passes a filter that masks what looks like a telephone number (`+` and digits, the user of a `sip:`,
//! `sips:` or `tel:` URI) down to its last two digits, and writes control characters out, so that no peer can forge a
//! line or drive a terminal.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Log, LogFormat};
use crate::identity::{CallId, Pii};

/// Starts logging to standard error. Called once, before anything is logged.
///
/// The variable `RUST_LOG`, given as `rust_log`, takes the place of `[log] level`.
pub fn start(log: &Log, rust_log: Option<&str>) -> Result<(), LoggingError> {
    let subscriber = subscriber(log, rust_log, io::stderr)?;
    REVEAL_NUMBERS.store(log.reveal_numbers, Ordering::Relaxed);
    subscriber.try_init().or(Err(LoggingError::Started))
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` cannot be understood.
    #[error("RUST_LOG={text:?} is not understood: {reason}")]
    Filter {
        /// The variable.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging was started before.
    #[error("logging was started twice")]
    Started,
}

/// The span that everything about one call is logged in: its id is a field of each line.
pub fn call_span(call: CallId) -> tracing::Span {
    // At the level of errors, so that no filter takes the id away from a line that it lets pass.
    tracing::error_span!("call", %call)
}

/// A phone number or address as `[log] reveal_numbers` wants it: as it is, or only its last two characters.
pub fn number(number: &Pii<String>) -> impl Display {
    fmt::from_fn(move |f| {
        if REVEAL_NUMBERS.load(Ordering::Relaxed) {
            return f.write_str(number.reveal());
        }
        let length = number.reveal().chars().count();
        f.write_str(MASK)?;
        number
            .reveal()
            .chars()
            .skip(length.saturating_sub(SHOWN_MAX.min(length / 2)))
            .try_for_each(|it| write!(f, "{it}"))
    })
}

fn subscriber<W>(log: &Log, rust_log: Option<&str>, writer: W) -> Result<impl Subscriber + Send + Sync, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let text = rust_log.filter(|it| !it.is_empty()).unwrap_or(&log.level);
    let filter = EnvFilter::try_new(text)
        .map_err(|error| LoggingError::Filter { text: text.to_owned(), reason: error.to_string() })?;
    let writer = Filtered { inner: writer, reveal: log.reveal_numbers };
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let layer = match log.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(layer))
}

/// Makes writers whose lines are filtered.
struct Filtered<W> {
    inner: W,
    reveal: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Filtered<W> {
    type Writer = FilteredWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        FilteredWriter { inner: self.inner.make_writer(), reveal: self.reveal }
    }
}

/// The subscriber writes a whole line at once, so each write is filtered by itself.
struct FilteredWriter<W> {
    inner: W,
    reveal: bool,
}

impl<W: Write> Write for FilteredWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.inner.write_all(filter(&String::from_utf8_lossy(line), self.reveal).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn filter(line: &str, reveal: bool) -> String {
    let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
    let mut filtered = String::with_capacity(line.len());
    let mut rest = body;
    while let Some(next) = rest.chars().next() {
        if !reveal && let Some((shown, after)) = mask(rest, filtered.chars().next_back()) {
            filtered.push_str(&shown);
            rest = after;
            continue;
        }
        if next.is_control() && next != '\t' {
            filtered.extend(next.escape_default());
        } else {
            filtered.push(next);
        }
        rest = rest.strip_prefix(next).unwrap_or_default();
    }
    filtered + end
}

/// If `text` begins with a number, that number masked and what follows it.
fn mask(text: &str, before: Option<char>) -> Option<(String, &str)> {
    if before.is_some_and(|it| it.is_ascii_alphanumeric()) {
        return None;
    }
    let (prefix, number) = match SCHEMES.iter().find_map(|scheme| Some((*scheme, text.strip_prefix(scheme)?))) {
        Some((scheme, after)) => (scheme, after),
        None if text.starts_with('+') => ("", text),
        None => return None,
    };
    let is_uri = !prefix.is_empty();
    let part_of_number = |it: char| match it {
        '+' | '0'..='9' => true,
        // A name before the @ of a URI is as personal as a number; a host behind `sip:` is not.
        _ => is_uri && (it.is_ascii_alphanumeric() || "-_.!~*'()%&=$,;?/".contains(it)),
    };
    let length = number.find(|it| !part_of_number(it)).unwrap_or(number.len());
    let (number, after) = number.split_at_checked(length)?;
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let is_number = if is_uri { after.starts_with('@') || prefix == "tel:" } else { digits >= DIGITS_MIN };
    if !is_number {
        return None;
    }
    let shown_max = SHOWN_MAX.min(number.len() / 2);
    let shown: String = number.chars().skip(number.chars().count() - shown_max).collect();
    Some((format!("{prefix}{MASK}{shown}"), after))
}

static REVEAL_NUMBERS: AtomicBool = AtomicBool::new(false);

const SCHEMES: [&str; 3] = ["sip:", "sips:", "tel:"];
const MASK: &str = "***";
/// Characters of a number that are logged in any case, to tell two numbers apart.
const SHOWN_MAX: usize = 2;
/// Digits after a `+` that make a number.
const DIGITS_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|error| io::Error::other(error.to_string()))?.write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: &Log, rust_log: Option<&str>, what: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(log, rust_log, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, what);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    fn log(format: LogFormat) -> Log {
        Log { level: "info".to_owned(), format, reveal_numbers: false }
    }

    #[test]
    fn numbers_are_masked_wherever_they_stand() {
        for (line, expected) in [
            ("from +4915112345678 to sip:+49301234@192.0.2.1:5060\n", "from ***78 to sip:***34@192.0.2.1:5060\n"),
            ("<sip:alice@example.com;tag=1>", "<sip:***ce@example.com;tag=1>"),
            ("tel:110 sips:7@example.com", "tel:***0 sips:***@example.com"),
            ("to sip:example.com:5060 via udp://192.0.2.1:5060", "to sip:example.com:5060 via udp://192.0.2.1:5060"),
            ("2026-11-20T11:17:00+00:00 rtt +12 ms", "2026-11-20T11:17:00+00:00 rtt +12 ms"),
            ("call_018bcfe56800000000000000000000aa", "call_018bcfe56800000000000000000000aa"),
            ("Grüße\u{1b}[31m an\nalle\tda\n", "Grüße\\u{1b}[31m an\\nalle\tda\n"),
        ] {
            assert_eq!(filter(line, false), expected);
        }
        assert_eq!(filter("sip:alice@example.com\u{7}", true), "sip:alice@example.com\\u{7}");
    }

    #[test]
    fn a_number_is_shown_by_its_end() {
        for (written, shown) in [("+4915112345678", "***78"), ("100", "***0"), ("7", "***"), ("", "***")] {
            assert_eq!(number(&Pii::new(written.to_owned())).to_string(), shown);
        }
    }

    #[test]
    fn every_line_of_a_call_carries_its_id() {
        let call: CallId = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let what = || {
            let _inside = call_span(call).entered();
            tracing::warn!(to = "+4915112345678", "busy");
            tracing::debug!("not logged");
        };
        let text = logged(&log(LogFormat::Text), Some("warn"), what);
        assert!(text.contains("call{call=call_018bcfe56800000000000000000000aa}"), "{text}");
        assert!(text.ends_with("busy to=\"***78\"\n") && text.lines().count() == 1, "{text}");

        let json = logged(&log(LogFormat::Json), None, what);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["spans"][0]["call"], call.to_string());
        assert_eq!(
            (&value["message"], &value["to"], &value["level"]),
            (&"busy".into(), &"***78".into(), &"WARN".into())
        );
    }

    #[test]
    fn a_level_that_is_not_understood_is_told() {
        let error = subscriber(&log(LogFormat::Text), Some("hookswitch=loud"), io::sink).err().unwrap();
        assert!(error.to_string().starts_with("RUST_LOG=\"hookswitch=loud\" is not understood"), "{error}");
    }
}
