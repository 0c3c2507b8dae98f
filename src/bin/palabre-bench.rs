//! The `palabre-bench` binary, the load generator; everything stands in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    palabre::cli::bench::main()
}
