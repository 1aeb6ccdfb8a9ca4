//! Which key a server must have, and who decides that: the command line, what is known, or the user.
//!
//! Owns the decision. What is known is kept by [`KnownServers`], and connections are dialled in [`super::dial`].
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::arguments::Settings;
use super::cancel::Cancel;
use super::commands::get::quoted;
use super::dial::Target;
use super::known_servers::{KnownServers, Other};
use super::menu::asked;
use super::report::say;
use super::terminal::Terminal;
use super::terminal::menu::{Answer, Suggested, confirm};
use crate::connection::{Fingerprint, NotSecured};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

const NOTHING_SENT: &str = "Nothing was sent";

/// What is to be spoken with a server, and which key it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Plaintext: nobody has ever said anything else.
    Plain,
    /// TLS, with this key.
    Key(Fingerprint),
    /// TLS, with a key that is yet to be decided on.
    NewKey,
}

/// What follows when a server has proved to have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be spoken to.
    Trusted,
    /// It may, but the server will not have waited for the answer of the user: on a new connection.
    DialAgain,
}

/// Who decides on a key that is not known.
#[derive(Debug)]
enum Newcomers {
    Accept,
    Ask(Terminal, Cancel),
    Refuse,
}

/// What is trusted, for everything that one run dials.
#[derive(Debug)]
pub(super) struct Trust {
    known: Option<KnownServers>,
    /// `--fingerprint`, and the server that it is for.
    pinned: Option<(String, Fingerprint)>,
    newcomers: Newcomers,
    is_quiet: bool,
    /// What is known of the servers that were asked for, so that the file is read once and nobody is asked twice.
    settled: Mutex<HashMap<String, Option<Fingerprint>>>,
}

impl Trust {
    pub(super) fn new(settings: &Settings, terminal: &Terminal, cancel: &Cancel) -> Self {
        let newcomers = if settings.accept_new {
            Newcomers::Accept
        } else if terminal.is_interactive() && !settings.no_input {
            Newcomers::Ask(*terminal, cancel.clone())
        } else {
            Newcomers::Refuse
        };
        Self {
            known: known_servers(settings),
            pinned: settings.fingerprint.map(|key| (settings.target().known_as(), key)),
            newcomers,
            is_quiet: settings.quiet,
            settled: Mutex::default(),
        }
    }

    /// What to speak with a server, if the user asks for `tls` or not.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be read what is known.
    pub(super) fn expected(&self, target: &Target, tls: bool) -> Result<Expected> {
        if let Some(key) = self.pinned(target) {
            return Ok(Expected::Key(key));
        }
        let mut settled = self.settled();
        let name = target.known_as();
        let known = match settled.get(&name) {
            Some(known) => *known,
            None => {
                let found = self.known.as_ref().map_or(Ok(None), |known| known.find(&name))?;
                settled.insert(name, found);
                found
            }
        };
        Ok(match known {
            Some(key) => Expected::Key(key),
            None if tls => Expected::NewKey,
            None => Expected::Plain,
        })
    }

    /// Decides on the key that a server has proved to have.
    ///
    /// # Errors
    /// [`Error::Untrusted`]; [`Error::Local`] if it cannot be kept.
    pub(super) fn decide(&self, target: &Target, seen: Fingerprint) -> Result<Verdict> {
        let name = target.known_as();
        // Held while the user is asked: the other connections want the same answer.
        let mut settled = self.settled();
        let is_pinned = self.pinned(target).is_some();
        match settled.get(&name).copied().flatten() {
            Some(known) if known == seen => return Ok(Verdict::Trusted),
            Some(known) if !is_pinned => return Err(changed(target, seen, known)),
            _ => {}
        }
        let mut verdict = Verdict::Trusted;
        if is_pinned {
            self.remember_pinned(target, seen);
        } else {
            self.admit(target, seen)?;
            // Another client may have met it in the meantime.
            if let Some(known) = self.remember(&name, seen, Other::Keep)? {
                return Err(changed(target, seen, known));
            }
            if matches!(self.newcomers, Newcomers::Ask(..)) {
                verdict = Verdict::DialAgain;
            }
        }
        settled.insert(name, Some(seen));
        Ok(verdict)
    }

    /// What to say of a server that could not be spoken to with TLS.
    pub(super) fn explain(&self, target: &Target, expected: Expected, why: NotSecured) -> Error {
        let is_pinned = self.pinned(target).is_some();
        match (why, expected) {
            (NotSecured::Io(error), _) => Error::network("TLS handshake", error),
            (NotSecured::OtherKey(seen), Expected::Key(key)) if is_pinned => untrusted(format!(
                "the server's key is {seen}, and not {key}, as --fingerprint says. {NOTHING_SENT}: somebody may be in between"
            )),
            (NotSecured::OtherKey(seen), Expected::Key(known)) => changed(target, seen, known),
            (why @ NotSecured::NoTls(_), Expected::Key(_)) if !is_pinned => untrusted(format!(
                "{why}, and it is known with TLS. {NOTHING_SENT}: somebody may be in between; if its operator says that \
                 it runs without TLS now: {}",
                forget(target)
            )),
            (why @ NotSecured::NoTls(_), _) => untrusted(format!(
                "{why}. {NOTHING_SENT}; if that is as it should be, leave --tls and --fingerprint out"
            )),
            (why, _) => untrusted(format!("{why}. {NOTHING_SENT}")),
        }
    }

    /// Forgets a server; returns the key that was known of it.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(super) fn forget(&self, target: &Target) -> Result<Option<Fingerprint>> {
        self.settled().remove(&target.known_as());
        self.known.as_ref().map_or(Ok(None), |known| known.forget(&target.known_as()))
    }

    /// Asks whether a new key is to be trusted, or knows the answer.
    fn admit(&self, target: &Target, seen: Fingerprint) -> Result<()> {
        match &self.newcomers {
            Newcomers::Accept => {
                self.say(&format!("The key of {target} is {seen}; it is known from now on"));
                Ok(())
            }
            Newcomers::Ask(terminal, cancel) => {
                say(&format!("The key of {target} is not known yet. Compare it with what the server shows:\n {seen}"));
                match asked(confirm(terminal, "Trust it from now on?", Suggested::No))? {
                    Answer::Given(true) => return Ok(()),
                    Answer::Given(false) | Answer::Back => {}
                    Answer::Quit => cancel.cancel(),
                }
                Err(untrusted(format!("the server's key is not trusted. {NOTHING_SENT}")))
            }
            Newcomers::Refuse => Err(untrusted(format!(
                "the server's key is not known yet. {NOTHING_SENT}. If the server shows this one: --fingerprint {seen}; \
                 to trust whatever key comes first: --accept-new"
            ))),
        }
    }

    /// Keeps a key; returns another one that was known.
    fn remember(&self, name: &str, key: Fingerprint, other: Other) -> Result<Option<Fingerprint>> {
        let Some(known) = &self.known else {
            let why = "there is no home directory: set HOSTDIR_CLIENT_KNOWN_SERVERS, or use --fingerprint";
            return Err(Error::local("keep", "the server's key", io::Error::new(io::ErrorKind::NotFound, why)));
        };
        known.remember(name, &key, other)
    }

    /// Keeps a key that the user has named. It is right either way, so where it cannot be kept that is only said.
    fn remember_pinned(&self, target: &Target, key: Fingerprint) {
        match self.remember(&target.known_as(), key, Other::Replace) {
            Ok(None) => {}
            Ok(Some(known)) => self.say(&format!("The key of {target} was {known} before; it is {key} from now on")),
            Err(_) if self.known.is_none() => {}
            Err(error) => self.say(&format!("{error}; it will have to be named again")),
        }
    }

    fn pinned(&self, target: &Target) -> Option<Fingerprint> {
        self.pinned.as_ref().filter(|(name, _)| *name == target.known_as()).map(|(_, key)| *key)
    }

    fn settled(&self) -> MutexGuard<'_, HashMap<String, Option<Fingerprint>>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, line: &str) {
        if !self.is_quiet {
            say(line);
        }
    }
}

/// Where known servers are kept: where the user says, or with the user's own data.
fn known_servers(settings: &Settings) -> Option<KnownServers> {
    let own = || Some(crate::home::data_folder()?.join("known-servers"));
    settings.known_servers.clone().or_else(own).map(|path: PathBuf| KnownServers::at(path))
}

fn changed(target: &Target, seen: Fingerprint, known: Fingerprint) -> Error {
    untrusted(format!(
        "the server's key has changed: it is {seen} now, and {known} is known. {NOTHING_SENT}: somebody may be in between; \
         if its operator says that the key is a new one: {}",
        forget(target)
    ))
}

fn untrusted(message: String) -> Error {
    Error::Untrusted { message }
}

/// The command that forgets a server.
fn forget(target: &Target) -> String {
    format!("client --ip {} --port {} forget", quoted(&target.host), target.port)
}
