//! The program that is run for each file (`--exec`): one at a time, directly, never through a shell.
//!
//! Owns the program's environment and the words for its failure. What it is run for is told in variables and not in arguments, so
//! that no name can be taken for an option.

use super::arrival::Arrival;
use crate::client::token;
use crate::escape::harmless;
use crate::wire::RemotePath;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is run, and where the files are.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// The download folder, absolute.
    pub(super) folder: PathBuf,
    /// Whether standard output carries objects, so that the program must not write to it.
    pub(super) is_json: bool,
}

impl Program {
    /// Runs the program for a file that is in its place; why it failed, if it did.
    pub(super) fn run(&self, arrival: &Arrival, place: &RemotePath) -> Result<(), String> {
        let mut command = Command::new(&self.path);
        command
            .env("HOSTDIR_PATH", local(&self.folder, place))
            .env("HOSTDIR_REMOTE_PATH", OsStr::from_bytes(arrival.path.as_bytes()))
            .env("HOSTDIR_DIGEST", arrival.digest.to_string())
            .env("HOSTDIR_SIZE", arrival.size.to_string())
            .env("HOSTDIR_NUMBER", arrival.number.map_or(String::new(), |number| number.value.to_string()))
            // It has no business with it.
            .env_remove(token::VARIABLE)
            .stdin(Stdio::null());
        if self.is_json
            && let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned()
        {
            command.stdout(stderr);
        }
        let name = harmless(self.path.as_os_str().as_bytes());
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(match (status.code(), status.signal()) {
                (Some(code), _) => format!("{name} ended with exit code {code} for {}", arrival.path),
                (_, signal) => format!("{name} was ended by signal {} for {}", signal.unwrap_or(0), arrival.path),
            }),
            Err(error) => Err(format!("{name} cannot be run for {}: {error}", arrival.path)),
        }
    }
}

fn local(folder: &Path, place: &RemotePath) -> PathBuf {
    folder.join(OsStr::from_bytes(place.as_bytes()))
}
