//! `client`: lists, downloads and uploads. Arguments go to the library, its end becomes an exit code.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use hostdir::client::{arguments::Arguments, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(Arguments::from_command_line())
}
