//! The binary `penstock`. Everything it does is in the library of the same name, where tests can reach it:
//! `penstock::cli` reads the command line, `penstock::serve` runs the server.
//! The exit code is 0 for a clean end, 1 for an error that was printed, 2 for a command line that was not understood.

use std::process::ExitCode;

fn main() -> ExitCode {
    penstock::cli::main()
}
