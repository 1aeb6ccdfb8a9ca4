//! How the server is reached and files are moved: what downloads and uploads share.

use super::cancel::Cancel;
use super::dial::Target;
use super::trust::Trust;
use crate::wire::{OnConflict, Token};
use std::sync::Arc;
use std::time::Duration;

/// How files are spread over connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Several connections, each for many files.
    Auto,
    /// One connection, requests pipelined.
    Serial,
    /// One connection a file.
    Parallel,
}

/// Whether a large file is fetched over several connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segmenting {
    /// Where the server is far.
    Auto,
    /// Wherever it can be cut.
    Always,
    /// Not at all.
    Never,
}

/// How the server is reached, and how patiently.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) target: Target,
    /// Whether TLS is asked for; a server that is known so is spoken to with it either way.
    pub(super) tls: bool,
    pub(super) trust: Arc<Trust>,
    /// What shows the server who asks.
    pub(super) token: Option<Token>,
    pub(super) silence: Duration,
    pub(super) retries: u32,
    pub(super) cancel: Cancel,
}

/// How files are moved.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) link: Link,
    pub(super) strategy: Strategy,
    /// Connections at a time.
    pub(super) jobs: usize,
    pub(super) segments: Segmenting,
    pub(super) on_conflict: OnConflict,
    /// Whether partial files of earlier attempts are used.
    pub(super) resume: bool,
}
