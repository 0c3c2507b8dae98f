//! The `palabre` binary, the server; everything stands in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    palabre::cli::main()
}
