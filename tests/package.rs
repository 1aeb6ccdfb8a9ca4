//! What is handed out: the unit, the container, the Debian package, the static program. Quick tests read the files and run what
//! is built already; with `HOSTDIR_LONG` everything is built by `scripts/package`, examined and run. What a machine lacks
//! is said, and that test is left out.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "package/built.rs"]
mod built;
#[path = "package/manifest.rs"]
mod manifest;
#[path = "package/unit.rs"]
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(top(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a program is there; if not, says what is left out.
fn has(program: &str, what: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|folder| folder.join(program).is_file())
    });
    if !found {
        eprintln!("no {program} on this machine: {what} is left out");
    }
    found
}

/// What a program prints, if it ends well.
fn out(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).unwrap()
}
