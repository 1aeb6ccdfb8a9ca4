//! What can go wrong with the logs, as one line that says what to do about it.

use crate::escape::harmless;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A fault of this machine, or of the configuration, that has to do with the logs: what failed, on what, and why.
#[derive(Debug)]
pub struct Error {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
    cure: &'static str,
}

impl Error {
    pub(super) fn new(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let cure = cure(&source);
        Self { operation, path: path.into(), source, cure }
    }

    pub(super) fn invalid_name(name: &str) -> Self {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name ending in .log");
        Self { operation: "name log", path: name.into(), source, cure: "use a name like server.log" }
    }

    pub(super) fn thread(path: &Path, source: io::Error) -> Self {
        Self { operation: "start thread for logs in", path: path.into(), source, cure: "raise the limit on threads" }
    }

    pub(super) fn already_installed(path: &Path) -> Self {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "this process has a logger already");
        Self { operation: "install logger for", path: path.into(), source, cure: "start the logs once" }
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The file or directory that it was done to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What a person can do about it.
fn cure(source: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match source.kind() {
        Kind::PermissionDenied => "allow this user to write there, or name another directory for the logs",
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => "free some space; logging goes on by itself",
        Kind::NotADirectory | Kind::IsADirectory | Kind::AlreadyExists => "move away what has its name",
        Kind::ReadOnlyFilesystem => "name a directory for the logs that can be written",
        _ if source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => "raise the limit on open files",
        _ => "check the directory for the logs",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = harmless(self.path.as_os_str().as_bytes());
        write!(formatter, "{} {path}: {} ({})", self.operation, self.source, self.cure)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_ends_with_the_cure() {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::new("write log", "lo\ngs/server.log", source);
        let expected = r"write log lo\ngs/server.log: no storage space (free some space; logging goes on by itself)";
        assert_eq!(error.to_string(), expected);
        assert!(std::error::Error::source(&error).is_some());
    }
}
