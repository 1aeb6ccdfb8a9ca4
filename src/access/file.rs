//! `.hostdir/tokens` on the disk: read whole, replaced in one step, changed by one program at a time.

use super::{Damaged, Grant, TokenHash, parse, write};
use crate::error::{Error, Result};
use crate::wire::RemotePath;
use rustix::fs::{AtFlags, unlinkat};
use rustix::fs::{
    CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, fsync, mkdirat, openat, renameat, statat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const NAME: &str = "tokens";
const NEW: &str = "tokens.new";
const LOCK: &str = "tokens.lock";
/// More bytes than any list that this code writes may have; a larger file is not read.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
const FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);
const MODE: Mode = Mode::from_raw_mode(0o600);
/// Others than the owner may not write to it: who could would give out rights.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The tokens as they are in the file, by their hashes.
pub type Tokens = Vec<(TokenHash, Grant)>;

/// Where the tokens of a host directory are.
#[derive(Debug)]
pub struct TokenFile {
    directory: OwnedFd,
}

/// What tells one state of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl TokenFile {
    /// Of a host directory, which must be there.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be opened.
    pub fn of(directory: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, directory, flags, Mode::empty())
            .map_err(|error| Error::local("open", directory.display(), error))?;
        Ok(Self { directory })
    }

    /// What state the file is in; `None` if there is none.
    pub(super) fn stamp(&self) -> Result<Option<Stamp>> {
        let Some(state) = self.state_folder()? else { return Ok(None) };
        match statat(&state, NAME, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stamp::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("look at", error)),
        }
    }

    /// The tokens, and the state that they were read in; `None` if there is no file.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be read, is damaged, or can be written by others than its owner.
    pub(super) fn load(&self) -> Result<Option<(Stamp, Tokens)>> {
        match self.state_folder()? {
            Some(state) => read(&state),
            None => Ok(None),
        }
    }

    /// The tokens; none if there is no file.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be read, is damaged, or can be written by others than its owner.
    pub fn tokens(&self) -> Result<Tokens> {
        Ok(self.load()?.map(|(_, tokens)| tokens).unwrap_or_default())
    }

    /// Changes the tokens: they are there as before, or as `change` leaves them, durably. Programs that do this at once
    /// wait for each other.
    ///
    /// # Errors
    /// As for [`TokenFile::tokens`]; that of `change`, after which nothing was changed.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Tokens) -> Result<T>) -> Result<T> {
        let state = self.made_state_folder()?;
        let lock = openat(&state, LOCK, OFlags::RDWR | OFlags::CREATE | FLAGS, MODE).map_err(lock_failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(lock_failed)?;
        let mut tokens = read(&state)?.map(|(_, tokens)| tokens).unwrap_or_default();
        let done = change(&mut tokens)?;
        replace(&state, &write(&tokens)).map_err(|error| Error::local("write", shown(), error))?;
        Ok(done)
    }

    fn state_folder(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | FLAGS;
        match openat(&self.directory, RemotePath::STATE_FOLDER, flags, Mode::empty()) {
            Ok(state) => Ok(Some(state)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("open the folder of", error)),
        }
    }

    fn made_state_folder(&self) -> Result<OwnedFd> {
        match mkdirat(&self.directory, RemotePath::STATE_FOLDER, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("make the folder of", error)),
        }
        self.state_folder()?.ok_or_else(|| failed("open the folder of", Errno::NOENT))
    }
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        #[expect(clippy::useless_conversion, reason = "the width of these differs from system to system")]
        let time = |seconds, nanoseconds| (i64::from(seconds), i64::try_from(nanoseconds).unwrap_or(0));
        let modified = time(stat.st_mtime, stat.st_mtime_nsec);
        let changed = time(stat.st_ctime, stat.st_ctime_nsec);
        Self { inode: stat.st_ino, size: stat.st_size, modified, changed }
    }
}

fn read(state: &OwnedFd) -> Result<Option<(Stamp, Tokens)>> {
    let file = match openat(state, NAME, OFlags::RDONLY | FLAGS, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed("open", error)),
    };
    let stat = fstat(&file).map_err(|error| failed("look at", error))?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(refused("it is not a file"));
    }
    if stat.st_mode & WRITABLE_BY_OTHERS != 0 {
        return Err(refused("others than its owner can write to it: chmod 600 it, and look at what it gives to whom"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_BYTES).read_to_end(&mut bytes).map_err(|error| Error::local("read", shown(), error))?;
    let tokens = parse(&bytes).map_err(|damaged: Damaged| refused(&damaged.to_string()))?;
    Ok(Some((Stamp::of(&stat), tokens)))
}

/// A new file takes the place of the old one, in one step and durably.
fn replace(state: &OwnedFd, text: &str) -> std::io::Result<()> {
    // What a killed program left.
    let _ = unlinkat(state, NEW, AtFlags::empty());
    let mut file = File::from(openat(state, NEW, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | FLAGS, MODE)?);
    file.write_all(text.as_bytes())?;
    fsync(file.as_fd())?;
    renameat(state, NEW, state, NAME)?;
    Ok(fsync(state)?)
}

fn shown() -> String {
    format!("{}/{NAME}", RemotePath::STATE_FOLDER)
}

fn failed(operation: &'static str, error: Errno) -> Error {
    Error::local(operation, shown(), error)
}

fn lock_failed(error: Errno) -> Error {
    failed("lock", error)
}

fn refused(why: &str) -> Error {
    Error::local("read", shown(), std::io::Error::other(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::generate;
    use crate::wire::Rights;
    use std::os::unix::fs::PermissionsExt;

    fn add(file: &TokenFile, name: &str) {
        let entry = (TokenHash::of(&generate().unwrap()), Grant::named(name, Rights::ALL, Vec::new()).unwrap());
        file.edit(|tokens| {
            tokens.push(entry);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_is_changed_is_there_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::of(dir.path()).unwrap();
        assert!(file.load().unwrap().is_none() && file.stamp().unwrap().is_none());
        add(&file, "one");
        let before = file.stamp().unwrap();
        add(&file, "two");
        assert_ne!(file.stamp().unwrap(), before);
        let (stamp, tokens) = file.load().unwrap().unwrap();
        assert_eq!((Some(stamp), tokens.len()), (file.stamp().unwrap(), 2));
        let mode = std::fs::metadata(dir.path().join(".hostdir/tokens")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::of(dir.path()).unwrap();
        add(&file, "one");
        let before = file.stamp().unwrap();
        let refused = file.edit(|tokens| {
            tokens.clear();
            Err::<(), _>(refused("no"))
        });
        assert!(refused.is_err());
        assert_eq!(file.stamp().unwrap(), before);
    }

    #[test]
    fn many_at_once_all_find_their_change() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let file = TokenFile::of(dir.path()).unwrap();
                scope.spawn(move || (0..5).for_each(|number| add(&file, &format!("{worker}-{number}"))));
            }
        });
        assert_eq!(TokenFile::of(dir.path()).unwrap().tokens().unwrap().len(), 20);
    }

    #[test]
    fn a_file_that_others_can_write_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::of(dir.path()).unwrap();
        add(&file, "one");
        let path = dir.path().join(".hostdir/tokens");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(file.tokens().unwrap_err().to_string().contains("others"));
    }
}
