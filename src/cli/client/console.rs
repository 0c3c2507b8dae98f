//! Where lines are typed and stanzas are shown: a line editor at a terminal, which keeps a
//! half-typed line whole while something arrives; plain lines in a pipe.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::history::MemHistory;
use rustyline::{Config, Editor, ExternalPrinter};

use super::shown::Shown;

/// Where lines come from.
pub(super) enum Input {
    Typed(Box<Editor<(), MemHistory>>),
    Piped,
}

/// Where stanzas are shown.
pub(super) struct Printer {
    /// Above the line that is being typed.
    above: Option<Box<dyn ExternalPrinter + Send>>,
    /// How the terminal was, for an end that comes while a line is being typed.
    terminal: Option<Termios>,
}

/// Opens the console as it is.
pub(super) fn open() -> (Input, Printer) {
    if io::stdin().is_terminal()
        && io::stdout().is_terminal()
        && let Some((editor, above)) = editor()
    {
        let terminal = tcgetattr(io::stdin()).ok();
        return (Input::Typed(Box::new(editor)), Printer { above: Some(above), terminal });
    }
    (Input::Piped, Printer { above: None, terminal: None })
}

fn editor() -> Option<(Editor<(), MemHistory>, Box<dyn ExternalPrinter + Send>)> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor = Editor::with_history(config, MemHistory::new()).ok()?;
    let above = editor.create_external_printer().ok()?;
    Some((editor, Box::new(above)))
}

impl Input {
    /// Whether somebody types.
    pub(super) fn is_typed(&self) -> bool {
        matches!(self, Self::Typed(_)) || io::stdin().is_terminal()
    }

    /// Reads a line; whether there was one.
    pub(super) fn read(&mut self, line: &mut Vec<u8>) -> bool {
        line.clear();
        match self {
            // Ctrl-C and Ctrl-D are ends as well.
            Self::Typed(editor) => editor.readline("> ").is_ok_and(|text| {
                line.extend_from_slice(text.as_bytes());
                true
            }),
            Self::Piped => {
                io::stdin().lock().read_until(b'\n', line).is_ok_and(|length| length > 0)
            }
        }
    }
}

impl Printer {
    /// Shows a stanza on a line of its own.
    ///
    /// # Errors
    /// When nobody reads the output any more.
    pub(super) fn print(&mut self, stanza: &[u8]) -> io::Result<()> {
        let line = format!("{}\n", Shown(stanza));
        match &mut self.above {
            Some(above) => above.print(line).map_err(io::Error::other),
            None => io::stdout().lock().write_all(line.as_bytes()),
        }
    }

    /// Has what was printed be seen.
    ///
    /// # Errors
    /// As [`Printer::print`].
    #[expect(clippy::unused_self, reason = "only an open printer prints")]
    pub(super) fn flush(&self) -> io::Result<()> {
        io::stdout().lock().flush()
    }

    /// Leaves the terminal as it was: a line may still be being typed.
    pub(super) fn close(self) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, terminal);
            // The prompt's own line.
            let _ = io::stdout().lock().write_all(b"\r\x1b[K");
            let _ = io::stdout().lock().flush();
        }
    }
}
