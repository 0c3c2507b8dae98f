//! Where lines are typed and stanzas are shown: a line editor at a terminal, which keeps a
//! half-typed line whole while something arrives; plain lines in a pipe.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use super::shown::Shown;
use crate::limits::CLIENT_LINE_BYTES_MAX;

/// Where lines come from.
pub(super) enum ConsoleInput {
    #[cfg(feature = "editor")]
    Typed(Box<typed::Editor>),
    Piped,
}

/// Where stanzas are shown.
pub(super) struct Printer {
    #[cfg(feature = "editor")]
    above: Option<typed::Above>,
}

/// Opens the console as it is.
pub(super) fn open() -> (ConsoleInput, Printer) {
    #[cfg(feature = "editor")]
    if let Some((editor, above)) = typed::open() {
        return (ConsoleInput::Typed(Box::new(editor)), Printer { above: Some(above) });
    }
    let printer = Printer {
        #[cfg(feature = "editor")]
        above: None,
    };
    (ConsoleInput::Piped, printer)
}

impl ConsoleInput {
    /// Whether somebody types.
    pub(super) fn is_typed(&self) -> bool {
        match self {
            #[cfg(feature = "editor")]
            Self::Typed(_) => true,
            Self::Piped => io::stdin().is_terminal(),
        }
    }

    /// Reads a line; whether there was one.
    ///
    /// # Errors
    /// When the input can't be read.
    #[cfg_attr(
        not(feature = "editor"),
        expect(clippy::needless_pass_by_ref_mut, reason = "an editor changes")
    )]
    pub(super) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        match self {
            #[cfg(feature = "editor")]
            Self::Typed(editor) => editor.read(line),
            Self::Piped => {
                let max = CLIENT_LINE_BYTES_MAX as u64;
                let length = io::stdin().lock().take(max).read_until(b'\n', line)?;
                if length == CLIENT_LINE_BYTES_MAX && !line.ends_with(b"\n") {
                    let what = format!("a line over {max} bytes");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
                }
                Ok(length > 0)
            }
        }
    }
}

impl Printer {
    /// Shows a stanza on a line of its own.
    ///
    /// # Errors
    /// When nobody reads the output any more, or it can't be written.
    #[cfg_attr(
        not(feature = "editor"),
        expect(clippy::needless_pass_by_ref_mut, reason = "an editor changes")
    )]
    pub(super) fn print(&mut self, stanza: &[u8]) -> io::Result<()> {
        let line = format!("{}\n", Shown(stanza));
        #[cfg(feature = "editor")]
        if let Some(above) = &mut self.above {
            return above.print(line);
        }
        io::stdout().lock().write_all(line.as_bytes())
    }

    /// Has what was printed be seen.
    ///
    /// # Errors
    /// As [`Printer::print`].
    pub(super) fn flush(&self) -> io::Result<()> {
        io::stdout().lock().flush()
    }

    /// Leaves the terminal as it was: a line may still be being typed.
    pub(super) fn close(self) {
        #[cfg(feature = "editor")]
        if let Some(above) = self.above {
            above.close();
        }
    }
}

#[cfg(feature = "editor")]
mod typed {
    use std::io::{self, IsTerminal as _, Write as _};

    use rustyline::error::ReadlineError;
    use rustyline::history::MemHistory;
    use rustyline::{Config, ExternalPrinter};

    use super::super::super::terminal::Keeping;

    /// Edits a line at a time.
    pub(in super::super) struct Editor(rustyline::Editor<(), MemHistory>);

    /// Shows lines above the one that is being typed.
    pub(in super::super) struct Above {
        printer: Box<dyn ExternalPrinter + Send>,
        /// For an end that comes while a line is being typed.
        terminal: Option<Keeping>,
    }

    /// Both, where somebody types at a terminal and looks at it.
    pub(super) fn open() -> Option<(Editor, Above)> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return None;
        }
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = rustyline::Editor::with_history(config, MemHistory::new()).ok()?;
        let printer = Box::new(editor.create_external_printer().ok()?);
        let terminal = Keeping::of(io::stdin()).ok();
        Some((Editor(editor), Above { printer, terminal }))
    }

    impl Editor {
        /// Reads a line; Ctrl-C and Ctrl-D are ends.
        pub(super) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
            match self.0.readline("> ") {
                Ok(text) => line.extend_from_slice(text.as_bytes()),
                Err(error) => return of_system(error).map_or(Ok(false), Err),
            }
            Ok(true)
        }
    }

    /// What the system refused; `None` where somebody wants to end it.
    fn of_system(error: ReadlineError) -> Option<io::Error> {
        if let ReadlineError::Io(error) = error {
            Some(error)
        } else if let ReadlineError::Errno(error) = error {
            Some(error.into())
        } else {
            None
        }
    }

    impl Above {
        pub(super) fn print(&mut self, line: String) -> io::Result<()> {
            // The editor may be gone, and with it whoever looked at it.
            let gone = || io::ErrorKind::BrokenPipe.into();
            self.printer.print(line).map_err(|error| of_system(error).unwrap_or_else(gone))
        }

        pub(super) fn close(self) {
            if let Some(keeping) = self.terminal {
                drop(keeping);
                // The prompt's own line.
                let _ = io::stdout().lock().write_all(b"\r\x1b[K");
                let _ = io::stdout().lock().flush();
            }
        }
    }
}
