//! What can be wrong with settings, in one line each.

use crate::escape::harmless;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Settings that cannot be had.
#[derive(Debug)]
pub enum Error {
    /// The command line or the environment is wrong, or asks for help or the version. Clap knows the words and the exit code.
    Usage(clap::Error),
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is read, and wrong.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and what to do.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(out),
            Self::Read { path, source } => {
                write!(out, "read the configuration {}: {source}", harmless(path.as_os_str().as_bytes()))
            }
            Self::File { path, line, why } => {
                let path = harmless(path.as_os_str().as_bytes());
                write!(out, "{path}, line {line}: {}", harmless(why.as_bytes()))
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Usage(error) => Some(error),
            Self::Read { source, .. } => Some(source),
            Self::File { .. } => None,
        }
    }
}

impl From<clap::Error> for Error {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}
