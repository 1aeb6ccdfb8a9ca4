//! A listing for somebody who may see only some folders of what they ask for.
//!
//! Owns what they are shown on the way to those folders: the folders that lead there, and nothing else of what lies beside
//! them. No folder on the way is read, so neither the time that it takes nor a count tells of what it holds; and its
//! modification time, which changes with whatever is made in it, is given as 0.

use super::Store;
use super::list::OnPage;
use crate::error::{Error, Result};
use crate::root::nanoseconds;
use crate::wire::{Entries, Entry, EntryKind, List, Listed, RawBytes, RemoteFolder, RemotePath};
use rustix::fs::fstat;
use std::collections::BTreeMap;

impl Store {
    /// Lists what lies in `folders` of what `request` asks for. Each of them is the folder that is asked for, or lies below
    /// it; then only what leads to them is shown besides, as far as they exist.
    ///
    /// # Errors
    /// As for [`Store::list`].
    pub fn list_within(&self, request: &List, folders: &[RemoteFolder], on_page: &mut OnPage<'_>) -> Result<Listed> {
        let asked = RemoteFolder::parse(&request.path)?;
        if folders.contains(&asked) {
            return self.list(request, on_page);
        }
        self.root.open_folder(&asked)?;
        let mut listed = Listed::default();
        let limit = request.limit.unwrap_or(u64::MAX);
        for (path, modified) in self.leading(request.recursive, &asked, folders)? {
            if listed.entries >= limit {
                listed.truncated = true;
                return Ok(listed);
            }
            listed.entries = listed.entries.saturating_add(1);
            on_page(lead(&path, modified))?;
        }
        if request.recursive {
            self.list_each(request, folders, on_page, &mut listed)?;
        }
        Ok(listed)
    }

    /// What is in each of the folders that are seen.
    fn list_each(
        &self,
        request: &List,
        folders: &[RemoteFolder],
        on_page: &mut OnPage<'_>,
        listed: &mut Listed,
    ) -> Result<()> {
        for folder in folders.iter().filter(|folder| self.root.open_folder(folder).is_ok()) {
            let limit = request.limit.map(|limit| limit.saturating_sub(listed.entries));
            let path = RawBytes(folder.as_bytes().to_vec());
            let part = self.list(&List { path, recursive: true, limit }, on_page)?;
            listed.entries = listed.entries.saturating_add(part.entries);
            listed.skipped = listed.skipped.saturating_add(part.skipped);
            listed.unreadable = listed.unreadable.saturating_add(part.unreadable);
            listed.truncated |= part.truncated;
        }
        Ok(())
    }

    /// The folders between the one that is asked for and those that are seen, with them, and their modification times;
    /// parents first. Without `recursive` only those that lie in the one that is asked for.
    fn leading(
        &self,
        recursive: bool,
        asked: &RemoteFolder,
        folders: &[RemoteFolder],
    ) -> Result<BTreeMap<RemotePath, i64>> {
        let mut leading = BTreeMap::new();
        for folder in folders {
            let (Some(seen), Ok(directory)) = (folder.path(), self.root.open_folder(folder)) else { continue };
            let stat = fstat(&directory).map_err(|error| Error::local("look at", folder, error))?;
            let mut modified = nanoseconds(stat.st_mtime, stat.st_mtime_nsec);
            let mut path = seen.clone();
            loop {
                let parent = path.parent();
                if recursive || parent == *asked {
                    leading.insert(path, modified);
                }
                match parent.path() {
                    Some(above) if parent != *asked => path = above.clone(),
                    _ => break,
                }
                modified = 0;
            }
        }
        Ok(leading)
    }
}

fn lead(path: &RemotePath, modified: i64) -> Entries {
    let entry = Entry { name: path.name().into(), kind: EntryKind::Folder, size: 0, modified };
    Entries { folder: RawBytes(path.parent().as_bytes().to_vec()), entries: vec![entry] }
}
