//! The tokens and the anonymous rights that hold now, kept in step with the file while the server runs.

use super::file::Stamp;
use super::ticket::Tickets;
use super::{Caller, Grant, Purpose, TokenFile, TokenHash, now};
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, Rights, Token};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Who may do what on a server.
#[derive(Debug)]
pub struct Access {
    file: TokenFile,
    /// What `--anonymous` says.
    chosen: Option<Rights>,
    book: RwLock<Book>,
    tickets: Tickets,
}

#[derive(Debug)]
struct Book {
    /// The state of the file that all of this was read from.
    stamp: Option<Stamp>,
    /// A state of it that could not be read, which was told.
    unread: Option<Option<Stamp>>,
    tokens: Vec<(TokenHash, Arc<Grant>)>,
    anonymous: Arc<Grant>,
}

/// How what a client says reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Nobody on the way can read it.
    Encrypted,
    /// Anybody on the way can.
    Plain,
    /// Anybody on the way can, and the operator said that tokens may travel so.
    PlainOnPurpose,
}

impl Access {
    /// Reads the tokens of a host directory. `anonymous` is what anybody may do who has none; by default everything, where
    /// there is no file of tokens, and nothing where there is one, also if no token is left in it.
    ///
    /// # Errors
    /// [`Error::Local`] if the file is damaged, or cannot be read.
    pub fn open(directory: &Path, anonymous: Option<Rights>) -> Result<Self> {
        let file = TokenFile::of(directory)?;
        let (stamp, tokens) = file.load()?.unzip();
        let open = if stamp.is_some() { Rights::NONE } else { Rights::ALL };
        let rights = Arc::new(Grant::anonymous(anonymous.unwrap_or(open)));
        let book = Book { stamp, unread: None, tokens: shared(tokens.unwrap_or_default()), anonymous: rights };
        Ok(Self { file, chosen: anonymous, book: RwLock::new(book), tickets: Tickets::new()? })
    }

    /// Recognises whoever has this token, or none.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`].
    pub fn caller(&self, token: Option<&Token>) -> Result<Caller> {
        let book = self.book();
        let Some(token) = token else {
            let anonymous = Arc::clone(&book.anonymous);
            if anonymous.rights.is_empty() {
                return Err(unauthorized("this server wants a token"));
            }
            return Ok(Caller::new(anonymous, None));
        };
        let found = book.find(&TokenHash::of(token));
        recognised(found.ok_or_else(|| unauthorized("the token is not known here, or was revoked"))?)
    }

    /// A ticket for a caller; none for one without a token, who needs none.
    #[must_use]
    pub fn ticket(&self, caller: &Caller, purpose: Purpose, path: &[u8]) -> Option<String> {
        Some(self.tickets.issue(caller.token()?, purpose, path, now()))
    }

    /// Recognises whoever has this ticket, for the token that it was made for.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`].
    pub fn caller_with_ticket(&self, ticket: &[u8], purpose: Purpose, path: &[u8]) -> Result<Caller> {
        let name = self.tickets.check(ticket, purpose, path, now());
        let book = self.book();
        let found = name.and_then(|name| book.tokens.iter().find(|(hash, _)| hash.as_bytes().starts_with(&name)));
        recognised(found.ok_or_else(|| unauthorized("the ticket is not good for this, or no more"))?)
    }

    /// Whether a caller still has what it was given.
    #[must_use]
    pub fn holds(&self, caller: &Caller) -> bool {
        let book = self.book();
        let grant = match caller.token() {
            None => Some(&book.anonymous),
            Some(hash) => book.find(hash).map(|(_, grant)| grant),
        };
        grant.is_some_and(|grant| **grant == *caller.grant() && !grant.is_over(now()))
    }

    /// Looks whether the file was changed, and takes over what is in it. Whether anything was.
    ///
    /// A file that is gone takes its tokens with it, and opens nothing to anybody.
    ///
    /// # Errors
    /// [`Error::Local`], once for each change, if it is damaged or cannot be read: what held before goes on to hold.
    pub fn refresh(&self) -> Result<bool> {
        let stamp = self.file.stamp()?;
        if stamp == self.book().stamp {
            return Ok(false);
        }
        let loaded = self.file.load();
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let (stamp, tokens) = match loaded {
            Ok(loaded) => loaded.unzip(),
            // Whatever kept it from being read may pass: it is tried each time, and told once.
            Err(_) if book.unread == Some(stamp) => return Ok(false),
            Err(error) => {
                book.unread = Some(stamp);
                return Err(error);
            }
        };
        (book.stamp, book.unread) = (stamp, None);
        book.tokens = shared(tokens.unwrap_or_default());
        book.anonymous = Arc::new(Grant::anonymous(self.chosen.unwrap_or(Rights::NONE)));
        Ok(true)
    }

    /// What anybody may do who has no token.
    #[must_use]
    pub fn anonymous(&self) -> Rights {
        self.book().anonymous.rights
    }

    /// How many tokens there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.book().tokens.len()
    }

    /// Whether tokens may be used over these addresses: whoever reads one on its way has it.
    ///
    /// # Errors
    /// [`Error::Refused`], with what to do about it.
    pub fn check_transport(&self, transport: Transport, listening: &[SocketAddr]) -> Result<()> {
        let is_exposed = listening.iter().any(|address| !address.ip().to_canonical().is_loopback());
        if transport != Transport::Plain || !is_exposed || self.count() == 0 {
            return Ok(());
        }
        let why = "there are tokens, and without encryption anybody on the network can read them on their way: encrypt with \
                   --tls, listen on --ip 127.0.0.1, revoke them, or say --insecure-tokens";
        Err(Error::refused(ErrorCode::Forbidden, why))
    }

    fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Compares with all of them, so that the time that it takes tells nothing of which it was.
    fn find(&self, hash: &TokenHash) -> Option<&(TokenHash, Arc<Grant>)> {
        self.tokens.iter().fold(None, |found, entry| if entry.0 == *hash { Some(entry) } else { found })
    }
}

fn recognised((hash, grant): &(TokenHash, Arc<Grant>)) -> Result<Caller> {
    if grant.is_over(now()) {
        return Err(unauthorized("the token has expired"));
    }
    Ok(Caller::new(Arc::clone(grant), Some(*hash)))
}

fn shared(tokens: Vec<(TokenHash, Grant)>) -> Vec<(TokenHash, Arc<Grant>)> {
    tokens.into_iter().map(|(hash, grant)| (hash, Arc::new(grant))).collect()
}

fn unauthorized(why: &str) -> Error {
    Error::refused(ErrorCode::Unauthorized, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::generate;

    struct Scene {
        dir: tempfile::TempDir,
        token: Token,
    }

    impl Scene {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), token: generate().unwrap() }
        }

        fn edit(&self, change: impl FnOnce(&mut Vec<(TokenHash, Grant)>)) {
            let done = TokenFile::of(self.dir.path()).unwrap().edit(|tokens| {
                change(tokens);
                Ok(())
            });
            done.unwrap();
        }

        fn add(&self, expires: Option<u64>) {
            let grant = Grant::named("x", Rights::ALL, Vec::new()).unwrap().until(expires);
            let entry = (TokenHash::of(&self.token), grant);
            self.edit(|tokens| tokens.push(entry));
        }

        fn open(&self, anonymous: Option<Rights>) -> Access {
            Access::open(self.dir.path(), anonymous).unwrap()
        }
    }

    #[test]
    fn without_tokens_everybody_may_and_with_one_nobody_else() {
        let scene = Scene::new();
        let access = scene.open(None);
        let before = access.caller(None).unwrap();
        assert_eq!((before.grant().rights, access.holds(&before)), (Rights::ALL, true));
        assert!(access.caller(Some(&scene.token)).is_err(), "a token that is not known is not passed over");
        scene.add(None);
        assert!(access.refresh().unwrap() && !access.refresh().unwrap());
        assert!(!access.holds(&before) && access.caller(None).is_err());
        assert!(access.holds(&access.caller(Some(&scene.token)).unwrap()));
    }

    #[test]
    fn neither_the_last_revocation_nor_a_file_that_vanishes_opens_the_server() {
        let scene = Scene::new();
        scene.add(None);
        let access = scene.open(None);
        let caller = access.caller(Some(&scene.token)).unwrap();
        scene.edit(Vec::clear);
        assert!(access.refresh().unwrap() && !access.holds(&caller) && access.caller(None).is_err());
        std::fs::remove_file(scene.dir.path().join(".hostdir/tokens")).unwrap();
        assert!(access.refresh().unwrap() && access.caller(None).is_err());
        assert!(scene.open(None).caller(None).is_ok(), "a start without a file is one without tokens");
    }

    #[test]
    fn what_was_chosen_for_others_stays_as_tokens_come_and_go() {
        let scene = Scene::new();
        for chosen in [Rights::NONE, Rights::ALL] {
            assert_eq!(scene.open(Some(chosen)).anonymous(), chosen);
        }
        let access = scene.open("read".parse().ok());
        scene.add(None);
        access.refresh().unwrap();
        assert_eq!(access.anonymous().to_string(), "read");
    }

    #[test]
    fn a_damaged_file_stops_the_start_and_changes_nothing_later() {
        let scene = Scene::new();
        scene.add(None);
        let access = scene.open(None);
        std::fs::write(scene.dir.path().join(".hostdir/tokens"), "hostdir tokens 1\nx\nend\n").unwrap();
        assert!(access.refresh().unwrap_err().to_string().contains("line 2"));
        assert!(!access.refresh().unwrap(), "it is told once");
        assert!(access.caller(Some(&scene.token)).is_ok());
        assert!(Access::open(scene.dir.path(), None).is_err());
    }

    #[test]
    fn a_token_that_is_over_is_none() {
        let scene = Scene::new();
        scene.add(Some(now()));
        assert!(scene.open(None).caller(Some(&scene.token)).unwrap_err().to_string().contains("expired"));
    }

    #[test]
    fn tokens_do_not_travel_in_the_open_unasked() {
        let scene = Scene::new();
        let (near, far) = ("127.0.0.1:1".parse().unwrap(), "192.0.2.1:1".parse().unwrap());
        assert!(scene.open(None).check_transport(Transport::Plain, &[far]).is_ok());
        scene.add(None);
        let access = scene.open(None);
        assert!(access.check_transport(Transport::Plain, &[near, far]).is_err());
        assert!(access.check_transport(Transport::Plain, &[near]).is_ok());
        for everywhere in ["[::]:1", "0.0.0.0:1"] {
            assert!(access.check_transport(Transport::Plain, &[everywhere.parse().unwrap()]).is_err());
        }
        for transport in [Transport::Encrypted, Transport::PlainOnPurpose] {
            assert!(access.check_transport(transport, &[far]).is_ok());
        }
    }
}
