//! `client`: lists, downloads and uploads. Arguments go to the library, its end becomes an exit code.

use hostdir::client::{arguments::Arguments, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(Arguments::from_command_line())
}
