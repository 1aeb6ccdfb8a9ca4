//! The servers that are known with TLS, and the key of each, in a file of the user.
//!
//! A line is a server as it was asked for (`nas:9000`, `[fd00::2]:9000`) and the fingerprint of its key; words after those, empty
//! lines and lines that begin with `#` are left as they are. What cannot be understood is an error and never an unknown
//! server: a damaged line must not be a way back to plaintext.
//!
//! Owns that file: it is exchanged as a whole, under a lock, so clients that run at the same time lose nothing of each
//! other's. Decides nothing.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::connection::Fingerprint;
use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The first line of a new file.
const HEADING: &str = "# Servers that client knows with TLS. To forget one: client --ip HOST --port PORT forget\n";
/// A larger file than this is none of ours.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// The file.
#[derive(Debug, Clone)]
pub struct KnownServers {
    path: PathBuf,
}

/// What is to be done where another key is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// Leave it.
    Keep,
    /// The user has said that the new one is right.
    Replace,
}

/// The number of a line that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged(usize);

impl KnownServers {
    /// The file at `path`, which need not be there.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that is known of a server.
    ///
    /// # Errors
    /// [`Error::Local`], also if the file is damaged.
    pub fn find(&self, server: &str) -> Result<Option<Fingerprint>> {
        let text = self.read()?;
        find(&text, server).map_err(|damaged| self.failed("read", damaged.into()))
    }

    /// Notes a server's key, durably. Returns another one that was known already: if that is kept, it counts.
    ///
    /// # Errors
    /// [`Error::Local`]; the file is then as it was.
    pub fn remember(&self, server: &str, key: &Fingerprint, other: Other) -> Result<Option<Fingerprint>> {
        self.change(|text| {
            let known = find(text, server)?.filter(|known| known != key);
            let is_there = find(text, server)?.is_some() && known.is_none();
            if is_there || (known.is_some() && other == Other::Keep) {
                return Ok((None, known));
            }
            let mut new = without(text, server);
            if new.is_empty() {
                new.push_str(HEADING);
            }
            Ok((Some(format!("{new}{server} {key}\n")), known))
        })
    }

    /// Forgets a server; returns the key that was known of it.
    ///
    /// # Errors
    /// [`Error::Local`]; the file is then as it was.
    pub fn forget(&self, server: &str) -> Result<Option<Fingerprint>> {
        if self.find(server)?.is_none() {
            return Ok(None);
        }
        self.change(|text| Ok((Some(without(text, server)), find(text, server)?)))
    }

    fn read(&self) -> Result<String> {
        match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            file => file.and_then(read_all).map_err(|error| self.failed("read", error)),
        }
    }

    /// Exchanges the text, if there is a new one, while nobody else does.
    fn change<T>(&self, change: impl FnOnce(&str) -> std::result::Result<(Option<String>, T), Damaged>) -> Result<T> {
        // A link stays a link: what it leads to is exchanged.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let changed = || {
            if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let lock = private(&beside(&path, ".lock"))?;
            flock(&lock, FlockOperation::LockExclusive)?;
            let text = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                file => read_all(file?)?,
            };
            let (new, result) = change(&text)?;
            if let Some(new) = new {
                exchange(&path, &new)?;
            }
            Ok(result)
        };
        changed().map_err(|error| self.failed("change", error))
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> Error {
        Error::local(operation, format_args!("the known servers, {}", self.path.display()), error)
    }
}

/// The key of a server in the text of the file.
///
/// # Errors
/// [`Damaged`] if any line cannot be understood, or if two lines say two things of the server.
pub fn find(text: &str, server: &str) -> std::result::Result<Option<Fingerprint>, Damaged> {
    let mut found = None;
    for (number, line) in (1..).zip(text.lines()) {
        let Some((known, key)) = entry(line).map_err(|()| Damaged(number))? else { continue };
        if known == server && found.replace(key).is_some_and(|before| before != key) {
            return Err(Damaged(number));
        }
    }
    Ok(found)
}

/// Server and key of a line; `None` if it is empty or a remark.
fn entry(line: &str) -> std::result::Result<Option<(&str, Fingerprint)>, ()> {
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some(first), _) if first.starts_with('#') => Ok(None),
        (Some(""), None) => Ok(None),
        (Some(server), Some(key)) if server.contains(':') => Ok(Some((server, key.parse().map_err(|_| ())?))),
        _ => Err(()),
    }
}

/// The text without the lines of a server.
fn without(text: &str, server: &str) -> String {
    let is_other = |line: &&str| !matches!(entry(line), Ok(Some((known, _))) if known == server);
    text.lines().filter(is_other).flat_map(|line| [line, "\n"]).collect()
}

fn read_all(file: File) -> io::Result<String> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidData, "that is no file of known servers"));
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Puts a new text in the file's place, durably.
fn exchange(path: &Path, text: &str) -> io::Result<()> {
    let aside = beside(path, ".new");
    let mut file = private(&aside)?;
    file.set_len(0)?;
    let named =
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&aside, path));
    named.inspect_err(|_| _ = std::fs::remove_file(&aside))?;
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl From<Damaged> for io::Error {
    fn from(Damaged(line): Damaged) -> Self {
        Self::new(
            ErrorKind::InvalidData,
            format!("line {line} is damaged, or contradicts another: put it right, or remove it"),
        )
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::*;

    fn key(number: u8) -> Fingerprint {
        let letter = char::from(number.wrapping_add(b'A'));
        format!("sha256//{letter}{}=", "A".repeat(42)).parse().unwrap()
    }

    fn file() -> (tempfile::TempDir, KnownServers) {
        let dir = tempfile::tempdir().unwrap();
        let file = KnownServers::at(dir.path().join("new/folder/known-servers"));
        (dir, file)
    }

    #[test]
    fn what_is_remembered_is_found_and_can_be_forgotten() {
        let (_dir, file) = file();
        assert_eq!(file.find("a:1").unwrap(), None);
        assert_eq!(file.forget("a:1").unwrap(), None);
        assert!(!file.path().parent().unwrap().exists(), "nothing was made for nothing");
        for (server, number) in [("a:1", 1), ("a:10", 2), ("[::1]:1", 3)] {
            assert_eq!(file.remember(server, &key(number), Other::Keep).unwrap(), None);
            assert_eq!(file.find(server).unwrap(), Some(key(number)));
        }
        assert_eq!(file.forget("a:1").unwrap(), Some(key(1)));
        assert_eq!((file.find("a:1").unwrap(), file.find("a:10").unwrap()), (None, Some(key(2))));
    }

    #[test]
    fn another_key_is_replaced_only_if_that_is_wanted() {
        let (_dir, file) = file();
        file.remember("a:1", &key(1), Other::Keep).unwrap();
        assert_eq!(file.remember("a:1", &key(2), Other::Keep).unwrap(), Some(key(1)));
        assert_eq!(file.find("a:1").unwrap(), Some(key(1)));
        assert_eq!(file.remember("a:1", &key(2), Other::Replace).unwrap(), Some(key(1)));
        assert_eq!(file.find("a:1").unwrap(), Some(key(2)));
    }

    #[test]
    fn what_people_wrote_stays_and_what_cannot_be_understood_is_no_unknown_server() {
        let (_dir, file) = file();
        file.remember("a:1", &key(1), Other::Keep).unwrap();
        let mine = format!("# mine\n\nb:2 {} in the cellar\n", key(2));
        std::fs::write(file.path(), &mine).unwrap();
        file.remember("a:1", &key(1), Other::Keep).unwrap();
        file.forget("a:1").unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), mine);
        for damaged in ["b:2", "b:2 sha256//", " b:2", "words", &format!("b:2 {}", key(3)), "\u{feff}#"] {
            let text = format!("{mine}{damaged}\n");
            std::fs::write(file.path(), &text).unwrap();
            assert!(file.find("b:2").unwrap_err().to_string().contains("line 4"), "{damaged}");
            assert!(
                file.remember("c:3", &key(1), Other::Replace).is_err() || damaged.starts_with("b:2 s"),
                "{damaged}"
            );
        }
    }

    #[test]
    fn clients_at_the_same_time_lose_nothing() {
        let (_dir, file) = file();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = file.clone();
                scope.spawn(move || file.remember(&format!("a:{number}"), &key(number), Other::Keep).unwrap());
            }
        });
        for number in 0..16 {
            assert_eq!(file.find(&format!("a:{number}")).unwrap(), Some(key(number)));
        }
    }

    #[test]
    fn nobody_else_can_write_to_it_and_a_link_stays_a_link() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, file) = file();
        file.remember("a:1", &key(1), Other::Keep).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(file.path()), mode(file.path().parent().unwrap())), (0o600, 0o700));
        let link = KnownServers::at(dir.path().join("link"));
        std::os::unix::fs::symlink(file.path(), link.path()).unwrap();
        link.remember("b:2", &key(2), Other::Keep).unwrap();
        assert!(link.path().is_symlink());
        assert_eq!(file.find("b:2").unwrap(), Some(key(2)));
    }
}
