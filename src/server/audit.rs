//! One line in `server.log` for every refusal: who asked for what, and why it was refused.

use crate::access::Caller;
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::wire::ErrorCode;
use std::net::SocketAddr;

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) client: SocketAddr,
    pub(super) caller: &'a Caller,
    /// The command, as PROTOCOL.md or WEB.md names it.
    pub(super) command: &'a str,
    /// As it was sent.
    pub(super) path: &'a [u8],
}

impl Asked<'_> {
    /// Gives a result back, and logs it if it is that this is not allowed.
    pub(super) fn note<T>(self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.log(error))
    }

    /// Logs an error, if it is that this is not allowed.
    pub(super) fn log(self, error: &Error) {
        if !matches!(error.code(), ErrorCode::Forbidden | ErrorCode::Unauthorized) {
            return;
        }
        let (client, token, command) = (self.client, self.caller.grant(), self.command);
        let (path, why) = (harmless(self.path), error.to_string());
        log::warn!(event = "denied", client:%, token:%, command, path:%, why; "");
    }
}
