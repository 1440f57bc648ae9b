//! The program `penstock-benches`: see `benches/README.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    penstock_benches::cli::main()
}
