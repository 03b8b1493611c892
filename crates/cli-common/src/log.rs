//! `-v`, `-q`, `--color`, and where log lines go.
//!
//! Log lines go to stderr, or above a [`Prompt`](crate::prompt::Prompt) while one is open. They are
//! sentences for a person, or JSON objects:
//!
//! ```text
//! listening on 127.0.0.1:8001
//! warning: a caller was cut off peer="192.0.2.7:40612" why="too slow"
//! {"timestamp":"…","level":"INFO","event":"listening","addr":"127.0.0.1:8001","target":"…"}
//! ```
//!
//! An event with a field `event` is a milestone, and its message says it all: as a sentence it is
//! shown without its fields. There is no time in the sentences: the journal adds its own, and JSON has
//! one.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::LevelFilter,
    fmt::{
        FmtContext, FormatEvent, MakeWriter,
        format::{DefaultFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    clean,
    color::{Palette, Role, When},
    exit::{Exit, Failure},
    prompt::Printer,
};

/// The variable with a filter that wins over `-v` and `-q`, in the syntax of `tracing-subscriber`.
pub const FILTER_VARIABLE: &str = "HELPLINE_LOG";

/// The arguments about how much a program says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Verbosity {
    /// Say more; may be repeated
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,

    /// Say less; may be repeated
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub quiet: u8,

    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub color: When,
}

impl Verbosity {
    /// The level asked for, where the program would say things up to `default`.
    #[must_use]
    pub fn level(self, default: LevelFilter) -> LevelFilter {
        const LEVELS: [LevelFilter; 6] = [
            LevelFilter::OFF,
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
            LevelFilter::TRACE,
        ];
        let start = LEVELS.iter().position(|level| *level == default).unwrap_or(0);
        let asked = start
            .saturating_add(usize::from(self.verbose))
            .saturating_sub(usize::from(self.quiet))
            .min(LEVELS.len() - 1);
        LEVELS.get(asked).copied().unwrap_or(default)
    }
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A sentence.
    Text,
    /// A JSON object.
    Json,
}

/// Begins to log, once in the life of the process.
///
/// Helpline's own crates are heard up to the level asked for, all others only from warnings up.
///
/// # Errors
/// The filter in [`FILTER_VARIABLE`] can't be understood, or something else logs already.
pub fn init(verbosity: Verbosity, default: LevelFilter, format: Format) -> Result<Logs, Failure> {
    let filter = match env::var(FILTER_VARIABLE) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map_err(|error| {
            Failure::new(Exit::Config, format!("{FILTER_VARIABLE} is not a log filter"))
                .because(error)
                .hint(format!("for example: {FILTER_VARIABLE}=helpline=debug"))
        })?,
        _ => EnvFilter::new(filter(verbosity.level(default))),
    };
    let logs = Logs::default();
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(format, verbosity.color.stderr(), logs.clone()))
        .try_init()
        .map_err(|error| Failure::new(Exit::Other, "logging can't begin").because(error))?;
    Ok(logs)
}

fn filter(level: LevelFilter) -> String {
    if level <= LevelFilter::WARN { level.to_string() } else { format!("warn,helpline={level}") }
}

fn layer<S, W>(format: Format, palette: Palette, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    match format {
        Format::Text => {
            layer.with_ansi(palette.is_colored()).event_format(Sentence(palette)).boxed()
        }
        Format::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_ansi(false)
            .boxed(),
    }
}

/// Where log lines go. Clones mean the same place.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<Above>>);

#[derive(Debug, Default)]
struct Above {
    printer: Option<Printer>,
    /// Lines that found no room above the prompt since the last one that did.
    lost: usize,
}

impl Logs {
    /// From now on log lines are printed above the prompt of `printer`, if stderr is a terminal.
    ///
    /// Logging never waits: lines for which there is no room are counted, and the count is printed.
    /// Once the prompt is closed log lines go to stderr again.
    pub fn above(&self, printer: Printer) {
        if io::stderr().is_terminal() {
            self.lock().printer = Some(printer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Above> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine(self.clone())
    }
}

/// Writes one log line; the subscriber writes each in one piece.
#[derive(Debug)]
pub struct LogLine(Logs);

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut above = self.0.lock();
        match &above.printer {
            Some(printer) if !printer.is_closed() => {
                let mut text = match above.lost {
                    0 => String::new(),
                    lost => format!("warning: {lost} log lines could not be shown\n"),
                };
                text.push_str(&clean::bytes(line));
                let shown = printer.offer(text);
                above.lost = if shown { 0 } else { above.lost.saturating_add(1) };
            }
            // A program doesn't fail because nobody reads its log.
            _ => {
                let _stderr_is_gone = io::stderr().write_all(line);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows an event as a sentence.
struct Sentence(Palette);

impl<S> FormatEvent<S, DefaultFields> for Sentence
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let label = match *event.metadata().level() {
            Level::ERROR => self.0.paint(Role::Error, "error: "),
            Level::WARN => self.0.paint(Role::Name, "warning: "),
            Level::INFO => "".into(),
            Level::DEBUG => self.0.paint(Role::Own, "debug: "),
            Level::TRACE => self.0.paint(Role::Own, "trace: "),
        };
        writer.write_str(&label)?;
        let mut text = clean::line(&said.message);
        if !said.is_milestone || text.is_empty() {
            text.push_str(&clean::line(&said.fields));
        }
        writeln!(writer, "{}", text.trim_start())
    }
}

/// What an event's fields say.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
    is_milestone: bool,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;

        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "event" => self.is_milestone = true,
            // Writing into a string can't fail.
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<u8>>>);

    impl Write for Collected {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, color: When, log: impl FnOnce()) -> String {
        let collected = Collected::default();
        let writer = collected.clone();
        let subscriber =
            tracing_subscriber::registry()
                .with(layer(format, color.stderr(), move || writer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = collected.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_log_line_is_a_sentence() {
        let text = logged(Format::Text, When::Never, || {
            tracing::info!(event = "listening", addr = "[::1]:8001", "listening on [::1]:8001");
            tracing::warn!(peer = %"192.0.2.7:1", "a caller was cut off");
            tracing::error!("bad");
        });
        assert_eq!(
            text,
            "listening on [::1]:8001\nwarning: a caller was cut off peer=192.0.2.7:1\nerror: bad\n"
        );
    }

    #[test]
    fn a_log_line_can_be_a_json_object_with_its_fields_in_it() {
        let text = logged(Format::Json, When::Never, || {
            tracing::info!(event = "listening", addr = "[::1]:8001");
        });
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["event"], "listening");
        assert_eq!(object["addr"], "[::1]:8001");
        assert_eq!(object["level"], "INFO");
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn a_log_line_can_not_break_out_of_its_line() {
        let text = logged(Format::Text, When::Never, || {
            tracing::info!(name = %"\x1b[2J\nerror: x\u{9b}", "a\u{202e}\nb");
        });
        assert_eq!(text, "a\u{202e}^Jb\u{202c} name=^[[2J^Jerror: xM-^[\n");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let error = || tracing::error!("bad");
        assert_eq!(logged(Format::Text, When::Never, error), "error: bad\n");
        assert_eq!(logged(Format::Text, When::Always, error), "\x1b[31merror: \x1b[0mbad\n");
        assert!(!logged(Format::Json, When::Always, error).contains('\x1b'));
    }

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        verbosity: Verbosity,
    }

    #[test]
    fn every_v_says_more_and_every_q_less() {
        let level = |arguments: &[&str]| {
            let arguments = Arguments::try_parse_from([&["p"], arguments].concat()).unwrap();
            arguments.verbosity.level(LevelFilter::INFO)
        };
        assert_eq!(level(&[]), LevelFilter::INFO);
        assert_eq!(level(&["-v"]), LevelFilter::DEBUG);
        assert_eq!(level(&["-vvvv"]), LevelFilter::TRACE);
        assert_eq!(level(&["-q"]), LevelFilter::WARN);
        assert_eq!(level(&["-qqqqq"]), LevelFilter::OFF);
        assert_eq!(level(&["--verbose", "--quiet"]), LevelFilter::INFO);
    }

    #[test]
    fn other_peoples_crates_are_heard_from_warnings_up() {
        assert_eq!(filter(LevelFilter::DEBUG), "warn,helpline=debug");
        assert_eq!(filter(LevelFilter::ERROR), "error");
    }
}
