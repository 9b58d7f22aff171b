//! How results reach people (tables, colours, progress) and programs (JSON).
//!
//! Results go to standard output, everything said on the way to standard error. Colours and moving lines appear only
//! on a terminal that can show them; `NO_COLOR` is honoured.

use crate::error::Error;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// What standard output and standard error can show, decided once at start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Print JSON.
    pub(crate) json: bool,
    /// Standard output takes colours.
    pub(crate) colour_out: bool,
    /// Standard error takes colours and lines that are overwritten.
    pub(crate) colour_err: bool,
    /// Standard error is a terminal.
    pub(crate) live: bool,
}

impl Output {
    /// From the process's descriptors and environment.
    pub(crate) fn detect(json: bool) -> Output {
        let wanted = colours_wanted(|name| std::env::var(name).ok());
        let live = std::io::stderr().is_terminal();
        Output {
            json,
            colour_out: wanted && std::io::stdout().is_terminal(),
            colour_err: wanted && live,
            live: live && !json,
        }
    }

    /// Prints `value` as one JSON document to standard output.
    pub(crate) fn json_document<T: Serialize>(&self, value: &T) {
        if let Ok(text) = serde_json::to_string_pretty(value) {
            self.line(&text);
        }
    }

    /// Prints one line to standard output; a closed pipe is not an error.
    pub(crate) fn line(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Prints one line to standard error.
    pub(crate) fn note(&self, text: &str) {
        // One write, so that it is not torn where both outputs go to one place.
        let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    }

    /// Says why a command failed and what to do next, on standard error.
    pub(crate) fn failure(&self, error: &Error) {
        let hint = error.hint();
        if self.json {
            let document = serde_json::json!({
                "error": { "code": error.code(), "message": error.to_string(), "hint": hint }
            });
            self.note(&document.to_string());
            return;
        }
        let paint = self.paint_err();
        self.note(&format!("{} {error}", paint.red("error:")));
        if let Some(hint) = hint {
            self.note(&format!("  {} {hint}", paint.cyan("next:")));
        }
    }

    /// Paint for standard output.
    pub(crate) fn paint(&self) -> Paint {
        Paint { on: self.colour_out }
    }

    /// Paint for standard error.
    pub(crate) fn paint_err(&self) -> Paint {
        Paint { on: self.colour_err }
    }
}

/// `NO_COLOR` set to anything but nothing, or a dumb terminal, means no colours.
fn colours_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty())
        && variable("TERM").is_none_or(|value| value != "dumb")
}

/// Applies colours, or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
    /// Errors.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }
    /// Success.
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }
    /// Warnings.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }
    /// Names.
    pub(crate) fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }
    /// What matters.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
    /// What matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
}

/// A table without borders; columns in `right` are right-aligned.
pub(crate) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Bytes in the largest unit that leaves at least 1: `812 B`, `1.2 kB`, `15.3 MB` (powers of 1,000).
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A span with three digits or so: `0.4 ms`, `38 ms`, `1.24 s`, `2 min 5 s`.
pub(crate) fn span(span: std::time::Duration) -> String {
    let ms = span.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{:.2} s", ms / 1e3),
        _ => format!("{} min {} s", span.as_secs() / 60, span.as_secs() % 60),
    }
}

/// The steps of a long command, one line each: shown while running on a terminal, and when done everywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    output: Output,
    quiet: bool,
}

impl Progress {
    /// Shows steps on standard error; nothing when JSON is asked for.
    pub(crate) fn new(output: Output) -> Progress {
        Progress { output, quiet: output.json }
    }

    /// Shows finished steps only: for several commands at once.
    pub(crate) fn lines(output: Output) -> Progress {
        Progress { output: Output { live: false, ..output }, quiet: output.json }
    }

    /// What is being done now; replaced by the next call.
    pub(crate) fn doing(&self, label: &str, what: &str) {
        if self.output.live && !self.quiet {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\x1b[2K  {label:<13}{}", self.output.paint_err().dim(what));
            let _ = err.flush();
        }
    }

    /// What was done.
    pub(crate) fn done(&self, label: &str, what: &str) {
        if self.quiet {
            return;
        }
        self.clear();
        self.output.note(&format!("  {}{what}", self.output.paint_err().cyan(&format!("{label:<13}"))));
    }

    /// Something the user should know.
    pub(crate) fn warn(&self, what: &str) {
        if !self.quiet {
            self.clear();
            self.output
                .note(&format!("  {}{what}", self.output.paint_err().yellow(&format!("{:<13}", "warning"))));
        }
    }

    /// Removes the line of the step that is being done.
    pub(crate) fn clear(&self) {
        if self.output.live && !self.quiet {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }

    /// Whether a child process may write to this terminal itself.
    pub(crate) fn live(&self) -> bool {
        self.output.live && !self.quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn sizes_and_spans_read_well() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_250), "1.2 kB");
        assert_eq!(size(15_300_000), "15.3 MB");
        assert_eq!(span(Duration::from_micros(400)), "0.4 ms");
        assert_eq!(span(Duration::from_millis(38)), "38 ms");
        assert_eq!(span(Duration::from_millis(1_240)), "1.24 s");
        assert_eq!(span(Duration::from_secs(125)), "2 min 5 s");
    }

    #[test]
    fn tables_align_and_end_without_blanks() {
        let text = table(
            &["NAME", "MB"],
            &[1],
            vec![vec!["hello".into(), "128".into()], vec!["x".into(), "1024".into()]],
        );
        assert_eq!(text, "NAME     MB\nhello   128\nx      1024");
    }

    #[test]
    fn no_color_turns_colours_off() {
        assert!(colours_wanted(|_| None));
        assert!(!colours_wanted(|name| (name == "NO_COLOR").then(|| "1".into())));
        assert!(colours_wanted(|name| (name == "NO_COLOR").then(String::new)));
        assert!(!colours_wanted(|name| (name == "TERM").then(|| "dumb".into())));
        assert_eq!(Paint { on: false }.red("x"), "x");
    }
}
