//! What somebody was given: rights, the folders that they hold in, until when, and how fast.

use super::Rate;
use crate::wire::{RemoteFolder, RemotePath, Right, Rights};
use std::fmt;

/// Longest name of a token, in bytes.
pub const MAX_NAME: usize = 64;
/// Most folders of a token.
pub const MAX_FOLDERS: usize = 64;

/// Rights in some folders, for a time. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The name of the token; none for whoever has no token.
    pub name: Option<String>,
    /// The rights.
    pub rights: Rights,
    folders: Vec<RemoteFolder>,
    /// When it ends, in seconds since 1970-01-01T00:00:00Z.
    pub expires: Option<u64>,
    /// How much all who have it may move in a second, if that is not what holds for everybody.
    pub rate: Option<Rate>,
}

impl Grant {
    /// For whoever has no token: in the whole host directory, for ever.
    #[must_use]
    pub fn anonymous(rights: Rights) -> Self {
        Self { name: None, rights, folders: vec![RemoteFolder::ROOT], expires: None, rate: None }
    }

    /// For a token. Without a folder, it is for the whole host directory.
    ///
    /// # Errors
    /// A sentence that says what cannot be.
    pub fn named(name: &str, rights: Rights, folders: Vec<RemoteFolder>) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(format!("a name has 1 to {MAX_NAME} letters, digits, dots, dashes and underscores"));
        }
        if rights.is_empty() {
            return Err("a token without rights is none".into());
        }
        if folders.len() > MAX_FOLDERS {
            return Err(format!("a token has at most {MAX_FOLDERS} folders"));
        }
        let folders = outermost(folders);
        Ok(Self { name: Some(name.to_owned()), rights, folders, expires: None, rate: None })
    }

    /// The same until a time, in seconds since 1970-01-01T00:00:00Z; for ever without one.
    #[must_use]
    pub fn until(self, expires: Option<u64>) -> Self {
        Self { expires, ..self }
    }

    /// The same with a rate of its own; with that of everybody without one.
    #[must_use]
    pub fn at(self, rate: Option<Rate>) -> Self {
        Self { rate, ..self }
    }

    /// The folders, none of them in another.
    #[must_use]
    pub fn folders(&self) -> &[RemoteFolder] {
        &self.folders
    }

    /// Whether it holds everywhere.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.folders.iter().any(|folder| folder.path().is_none())
    }

    /// Whether a path is one of its folders, or lies in one.
    #[must_use]
    pub fn covers(&self, path: &RemotePath) -> bool {
        self.folders.iter().any(|folder| folder.contains(path.as_bytes()))
    }

    /// Whether a path lies in one of its folders, and is none of them.
    #[must_use]
    pub fn covers_inside(&self, path: &RemotePath) -> bool {
        self.covers(path) && !self.folders.iter().any(|folder| folder.as_bytes() == path.as_bytes())
    }

    /// What of a folder it holds in: the folder itself, or its own folders below it; nothing if there are none.
    #[must_use]
    pub fn narrow(&self, folder: &RemoteFolder) -> Vec<RemoteFolder> {
        if self.folders.iter().any(|own| own.contains(folder.as_bytes())) {
            return vec![folder.clone()];
        }
        self.folders.iter().filter(|own| folder.contains(own.as_bytes())).cloned().collect()
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What a client is told of its rights: nothing if it may do everything.
    #[must_use]
    pub fn told(&self) -> Option<Rights> {
        (self.rights != Rights::ALL).then_some(self.rights)
    }

    /// Whether one of these rights is among its own.
    #[must_use]
    pub fn has_any(&self, rights: impl Into<Rights>) -> bool {
        self.rights.has_any(rights.into())
    }

    /// Whether this right is among its own.
    #[must_use]
    pub fn has(&self, right: Right) -> bool {
        self.rights.has(right)
    }
}

/// The name, for a log.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("anonymous"))
    }
}

/// Without those that lie in another one; the whole host directory if there are none.
fn outermost(mut folders: Vec<RemoteFolder>) -> Vec<RemoteFolder> {
    folders.sort_unstable();
    folders.dedup();
    let all = folders.clone();
    folders.retain(|folder| !all.iter().any(|other| other != folder && other.contains(folder.as_bytes())));
    if folders.is_empty() { vec![RemoteFolder::ROOT] } else { folders }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> RemoteFolder {
        RemoteFolder::parse(text.as_bytes()).unwrap()
    }

    fn grant(folders: &[&str]) -> Grant {
        Grant::named("x", Rights::ALL, folders.iter().map(|it| folder(it)).collect()).unwrap()
    }

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_folder_holds_what_is_below_it_and_no_name_that_only_begins_alike() {
        let grant = grant(&["a/b", "c"]);
        for inside in ["a/b", "a/b/x", "c/d/e"] {
            assert!(grant.covers(&path(inside)), "{inside}");
        }
        for outside in ["a", "a/bc", "a/b.txt", "cc", "A/b", "x"] {
            assert!(!grant.covers(&path(outside)), "{outside}");
        }
        assert!(!grant.covers_inside(&path("a/b")) && grant.covers_inside(&path("a/b/x")));
    }

    #[test]
    fn a_folder_above_is_narrowed_and_one_beside_is_nothing() {
        let grant = grant(&["a/b", "a/c", "d"]);
        assert_eq!(grant.narrow(&RemoteFolder::ROOT), [folder("a/b"), folder("a/c"), folder("d")]);
        assert_eq!(grant.narrow(&folder("a")), [folder("a/b"), folder("a/c")]);
        assert_eq!(grant.narrow(&folder("a/b/x")), [folder("a/b/x")]);
        assert_eq!(grant.narrow(&folder("a/bb")), []);
    }

    #[test]
    fn folders_in_others_and_no_folder_at_all_come_to_the_outermost() {
        assert_eq!(grant(&["a/b", "a", "a/b/c", "ab"]).folders(), [folder("a"), folder("ab")]);
        assert!(grant(&[]).is_everywhere() && grant(&["a", ""]).is_everywhere());
    }

    #[test]
    fn what_is_no_name_and_what_gives_no_right_is_refused() {
        for name in ["", "a b", "a\n", "año", &"a".repeat(65)] {
            assert!(Grant::named(name, Rights::ALL, Vec::new()).is_err(), "{name}");
        }
        assert!(Grant::named("a", Rights::NONE, Vec::new()).is_err());
    }
}
