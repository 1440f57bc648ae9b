//! The binary `penstock`: see `penstock::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    penstock::cli::main()
}
