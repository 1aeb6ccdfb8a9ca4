//! Who asks, and whether they may: every right is compared with a path here, and nowhere else (PROTOCOL.md, section 17).

use super::{Grant, TokenHash};
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, OnConflict, PutKind, RemoteFolder, RemotePath, Right, Rights};
use std::sync::Arc;

/// Somebody who was recognised, or has no token.
#[derive(Debug, Clone)]
pub struct Caller {
    grant: Arc<Grant>,
    token: Option<TokenHash>,
}

impl Caller {
    pub(super) fn new(grant: Arc<Grant>, token: Option<TokenHash>) -> Self {
        Self { grant, token }
    }

    /// Nobody yet: may do nothing.
    #[must_use]
    pub fn nobody() -> Self {
        Self { grant: Arc::new(Grant::anonymous(Rights::NONE)), token: None }
    }

    /// What was given to them.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The hash of their token, if they have one.
    #[must_use]
    pub fn token(&self) -> Option<&TokenHash> {
        self.token.as_ref()
    }

    /// Whether they may fetch a file: to read it, or because they are told of arrivals.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`], the same whether anything is there or not.
    pub fn may_fetch(&self, path: &RemotePath) -> Result<()> {
        self.check(Right::Read | Right::Subscribe, self.grant.covers(path))
    }

    /// Whether they may fetch the bytes of an upload that is on its way to this path.
    ///
    /// # Errors
    /// As for [`Caller::may_fetch`].
    pub fn may_follow(&self, path: &RemotePath) -> Result<()> {
        self.check(Right::Subscribe, self.grant.covers(path))
    }

    /// Whether they may add a file or folder under this name. A file needs a name inside a folder of theirs: one that takes
    /// the folder's own name might be given another, which is not theirs.
    ///
    /// # Errors
    /// As for [`Caller::may_fetch`].
    pub fn may_put(&self, path: &RemotePath, kind: PutKind, on_conflict: OnConflict) -> Result<()> {
        let is_inside = match kind {
            PutKind::File => self.grant.is_everywhere() || self.grant.covers_inside(path),
            PutKind::Folder => self.grant.covers(path),
        };
        self.check(Right::Add | Right::Publish, is_inside)?;
        if on_conflict == OnConflict::Overwrite { self.check(Right::Overwrite, is_inside) } else { Ok(()) }
    }

    /// Whether they may ask who received what; of what, [`Caller::sees`] says.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`].
    pub fn may_ask_receivers(&self) -> Result<()> {
        self.check(Right::Publish, true)
    }

    /// Whether they may be told what goes on in the whole server.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`].
    pub fn may_measure(&self) -> Result<()> {
        self.check(Right::Read, self.grant.is_everywhere())
    }

    /// Whether they may open a WebSocket that needs one of these rights somewhere.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`].
    pub fn may_speak(&self, rights: Rights) -> Result<()> {
        self.check(rights, true)
    }

    /// Whether an arrival is in a folder of theirs.
    #[must_use]
    pub fn sees(&self, path: &RemotePath) -> bool {
        self.grant.covers(path)
    }

    /// What of a folder they may list.
    ///
    /// # Errors
    /// As for [`Caller::may_fetch`].
    pub fn listed(&self, folder: &RemoteFolder) -> Result<Vec<RemoteFolder>> {
        self.narrow(Right::Read, folder)
    }

    /// What of these folders they may follow. One that they may not follow at all is refused with all others.
    ///
    /// # Errors
    /// As for [`Caller::may_fetch`].
    pub fn followed(&self, folders: &[RemoteFolder]) -> Result<Vec<RemoteFolder>> {
        let narrowed = folders.iter().map(|folder| self.narrow(Right::Subscribe, folder));
        let mut narrowed = narrowed.collect::<Result<Vec<_>>>()?.concat();
        narrowed.sort_unstable();
        narrowed.dedup();
        Ok(narrowed)
    }

    fn narrow(&self, right: Right, folder: &RemoteFolder) -> Result<Vec<RemoteFolder>> {
        let narrowed = self.grant.narrow(folder);
        self.check(right, !narrowed.is_empty())?;
        Ok(narrowed)
    }

    fn check(&self, rights: impl Into<Rights>, is_covered: bool) -> Result<()> {
        let rights = rights.into();
        if is_covered && self.grant.has_any(rights) {
            return Ok(());
        }
        let why = format!("not allowed: this needs the right to {} here", rights.joined(" or "));
        Err(Error::refused(ErrorCode::Forbidden, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(rights: &str, folders: &[&str]) -> Caller {
        let folders = folders.iter().map(|it| RemoteFolder::parse(it.as_bytes()).unwrap()).collect();
        Caller::new(Arc::new(Grant::named("x", rights.parse().unwrap(), folders).unwrap()), None)
    }

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_file_never_takes_the_name_of_a_folder_that_is_given() {
        let caller = caller("add", &["a/b"]);
        let put = |text: &str, kind| caller.may_put(&path(text), kind, OnConflict::Rename).is_ok();
        assert!(put("a/b/x", PutKind::File) && put("a/b", PutKind::Folder));
        assert!(!put("a/b", PutKind::File) && !put("a", PutKind::Folder));
    }

    #[test]
    fn to_replace_needs_to_add_as_well() {
        let put = |rights: &str| caller(rights, &[]).may_put(&path("x"), PutKind::File, OnConflict::Overwrite).is_ok();
        assert!(put("add,overwrite") && put("publish,overwrite"));
        assert!(!put("overwrite") && !put("add") && !put("publish"));
    }

    #[test]
    fn one_folder_that_is_not_theirs_refuses_all() {
        let caller = caller("subscribe", &["a"]);
        let folders = |texts: &[&str]| -> Vec<RemoteFolder> {
            texts.iter().map(|it| RemoteFolder::parse(it.as_bytes()).unwrap()).collect()
        };
        assert_eq!(caller.followed(&folders(&["", "a/x"])).unwrap(), folders(&["a", "a/x"]));
        assert!(caller.followed(&folders(&["a", "b"])).is_err());
    }

    #[test]
    fn a_refusal_says_nothing_of_the_path() {
        let refused = |rights, text| caller(rights, &["a"]).may_fetch(&path(text)).unwrap_err().to_string();
        assert_eq!(refused("read", "b/x"), refused("add", "a/x"));
    }
}
