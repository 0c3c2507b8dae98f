//! Whether the system could run a program, without running it: what execve(2) would say.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::limits::SCRIPTS_MAX;

/// Linux looks no further into a script (`BINPRM_BUF_SIZE`).
const START_BYTES: u64 = 256;

/// Why a program can't be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProgramFault {
    /// Nothing is in it.
    Empty,
    /// Neither a program nor a script.
    Nothing,
    /// A script whose first line names no program.
    NoInterpreter,
    /// A script for a program that can't be run.
    Interpreter(PathBuf),
    /// A script for a program that env(1) does not find.
    NotInPath(String),
    /// A script whose first line ends in a carriage return, which the system takes for a part of a
    /// name.
    WindowsLine,
}

impl ProgramFault {
    /// What was found, behind the name of the program, and what would be right.
    pub(super) fn found_and_needed(&self) -> (String, &'static str) {
        let first_line = "a first line such as #!/bin/sh or #!/usr/bin/env python3, or a program";
        match self {
            Self::Empty => ("which is empty".to_owned(), "a program, or a script"),
            Self::Nothing => ("which is no program".to_owned(), first_line),
            Self::NoInterpreter => ("a script for no program".to_owned(), first_line),
            Self::Interpreter(other) => (
                format!("a script for {}, which can't be run", other.display()),
                "a script whose first line names a program that is there",
            ),
            Self::NotInPath(name) => (
                format!("a script for {name:?}, and no such program in PATH"),
                "a script whose first line names a program that is there",
            ),
            Self::WindowsLine => (
                "a script whose first line ends as on Windows".to_owned(),
                "lines that end as on Unix: sed -i 's/\\r$//' makes them so",
            ),
        }
    }
}

/// What keeps an executable file from being run in this directory; nothing where that can't be
/// told.
pub(super) fn fault(program: &Path, directory: &Path) -> Option<ProgramFault> {
    fault_at(program, directory, 0)
}

fn fault_at(program: &Path, directory: &Path, depth: u32) -> Option<ProgramFault> {
    let mut start = Vec::new();
    // Who may run it may not be allowed to read it.
    File::open(program).ok()?.take(START_BYTES).read_to_end(&mut start).ok()?;
    if start.is_empty() {
        return Some(ProgramFault::Empty);
    }
    let Some(line) = start.strip_prefix(b"#!") else {
        return (!is_program(&start)).then_some(ProgramFault::Nothing);
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Some(ProgramFault::WindowsLine);
    }
    let line = str::from_utf8(line).ok()?;
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else { return Some(ProgramFault::NoInterpreter) };
    let interpreter = directory.join(interpreter);
    if !is_executable(&interpreter) {
        return Some(ProgramFault::Interpreter(interpreter));
    }
    if interpreter.ends_with("env")
        && let Some(name) = words.find(|word| *word != "-S")
        && !name.starts_with('-')
        && !name.contains(['=', '/'])
        && in_path(Path::new(name)).is_none()
    {
        return Some(ProgramFault::NotInPath(name.to_owned()));
    }
    let is_wrong = depth < SCRIPTS_MAX && fault_at(&interpreter, directory, depth + 1).is_some();
    is_wrong.then_some(ProgramFault::Interpreter(interpreter))
}

/// Whether a file that begins so is a program.
#[cfg(target_os = "linux")]
fn is_program(start: &[u8]) -> bool {
    // The kernel may have been told of others (binfmt_misc).
    let others = || {
        let entries = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| name != "register" && name != "status")
    };
    start.starts_with(b"\x7fELF") || others()
}

#[cfg(not(target_os = "linux"))]
const fn is_program(_: &[u8]) -> bool {
    true
}

/// Whether this process may run a file.
pub(crate) fn is_executable(file: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        && accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// The program of this name where a shell would find it.
pub(crate) fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|place| place.join(name)).find(|file| is_executable(file))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_the_system_would_not_run_is_known_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, text: &[u8]| {
            fs::write(path(name), text).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("good.sh", b"#!/bin/sh\ncat\n");
        write("empty", b"");
        let by = |name: &str| format!("#!{}\n", path(name).display()).into_bytes();
        for (text, expected) in [
            (&b"#!/bin/sh"[..], None),
            (b"#! /bin/sh -e\n", None),
            (b"#!/usr/bin/env sh\n", None),
            (b"#!/usr/bin/env -S sh -e\n", None),
            (b"#!/usr/bin/env -i X=1 sh\n", None),
            (b"#!good.sh\n", None),
            (&by("good.sh"), None),
            (b"", Some(ProgramFault::Empty)),
            (b"#!\n", Some(ProgramFault::NoInterpreter)),
            (b"#! \t\n", Some(ProgramFault::NoInterpreter)),
            (b"#!/bin/sh\r\n", Some(ProgramFault::WindowsLine)),
            (b"#!/bin/sh -e\r\n", Some(ProgramFault::WindowsLine)),
            (b"#!/no/such -e\n", Some(ProgramFault::Interpreter("/no/such".into()))),
            (b"#!/\n", Some(ProgramFault::Interpreter("/".into()))),
            (&by("empty"), Some(ProgramFault::Interpreter(path("empty")))),
            (
                b"#!/usr/bin/env no-such-program\n",
                Some(ProgramFault::NotInPath("no-such-program".into())),
            ),
        ] {
            write("program", text);
            let found = fault(&path("program"), directory.path());
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(text));
        }
        // Of what is run by a script of a script, only so much is looked at.
        write("script-0", b"");
        for depth in 1..=SCRIPTS_MAX + 1 {
            write(&format!("script-{depth}"), &by(&format!("script-{}", depth - 1)));
        }
        let of_depth = |depth: u32| fault(&path(&format!("script-{depth}")), directory.path());
        assert!(of_depth(SCRIPTS_MAX).is_some() && of_depth(SCRIPTS_MAX + 1).is_none());
        assert_eq!(fault(&std::env::current_exe().unwrap(), directory.path()), None);
        for text in [&b"cat\n"[..], b"\xEF\xBB\xBF#!/bin/sh\n", b"\x89PNG", b"\x7fEL"] {
            let known = is_program(b"");
            write("program", text);
            assert_eq!(fault(&path("program"), directory.path()).is_none(), known, "{text:?}");
        }
    }
}
