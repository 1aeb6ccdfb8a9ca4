//! Where the client's token comes from: a file, the terminal, or the environment. Never an argument, which every user of the
//! machine could read.

use super::cancel::Cancel;
use super::terminal::screen::Keys;
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, Token};
use std::fs::File;
use std::io::{IsTerminal, Read, Write, stderr, stdin};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// The variable that may hold a token.
pub(super) const VARIABLE: &str = "HOSTDIR_TOKEN";
/// Others than the owner may do nothing with the file.
const ANY_RIGHT_OF_OTHERS: u32 = 0o077;
/// How often a question looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// Finds the token: in the file that was named, by asking if that is wanted, or in the environment.
///
/// # Errors
/// [`Error::Local`] for a file that cannot be read, or that others can; [`Error::Refused`] for what is no token.
pub(super) fn find(file: Option<&Path>, asks: bool, cancel: &Cancel) -> Result<Option<Token>> {
    match (file, asks) {
        (Some(file), _) => read(file).map(Some),
        (None, true) => ask(cancel).map(Some),
        (None, false) => match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            Some(value) => parse(value.as_bytes(), VARIABLE).map(Some),
            None => Ok(None),
        },
    }
}

fn read(path: &Path) -> Result<Token> {
    let failed = |error: std::io::Error| Error::local("read", path.display(), error);
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    if mode & ANY_RIGHT_OF_OTHERS != 0 {
        return Err(failed(std::io::Error::other(
            "others than its owner can get at it: chmod 600 it, or ask for a new token",
        )));
    }
    let mut text = Vec::new();
    file.take(Token::MAX as u64 + 2).read_to_end(&mut text).map_err(failed)?;
    parse(&text, &path.display().to_string())
}

/// Asks on the terminal; what is typed is not shown.
fn ask(cancel: &Cancel) -> Result<Token> {
    let failed = |error: std::io::Error| Error::local("ask for", "a token", error);
    if !stdin().is_terminal() {
        return Err(failed(std::io::Error::other("there is no terminal: use --token-file")));
    }
    // Before the question is seen: who types at once must not see that either.
    let keys = Keys::enter().map_err(failed)?;
    let _ = stderr().write_all(b"Token (not shown): ");
    let typed = keys.line(LOOK, || cancel.is_cancelled());
    drop(keys);
    let _ = stderr().write_all(b"\n");
    if cancel.is_cancelled() {
        // Half a token is none, and nobody's business.
        return Err(failed(std::io::ErrorKind::Interrupted.into()));
    }
    parse(&typed.map_err(failed)?, "what was typed")
}

fn parse(text: &[u8], place: &str) -> Result<Token> {
    let text = text.trim_ascii();
    let is_plain = text.iter().all(u8::is_ascii_graphic);
    Token::new(text).filter(|_| is_plain).ok_or_else(|| {
        Error::refused(ErrorCode::Unauthorized, format!("{place} holds no token: one is a single word, such as hd_…"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_read_if_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hd_abc\n").unwrap();
        for (mode, is_taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), is_taken, "{mode:o}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(parse(b" hd_abc\r\n", "x").unwrap().secret(), b"hd_abc");
        for wrong in [&b""[..], b"\n", b"a b", b"a\nb", b"a\x1b", &[b'a'; 129]] {
            let error = parse(wrong, "x").unwrap_err().to_string();
            assert!(!error.contains("a b"), "{error}");
        }
    }
}
