//! Folders that are kept open for a moment, since many files go into one after another.

use crate::error::Result;
use crate::wire::RemoteFolder;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Folders that are kept open at a time.
const MOST: usize = 16;
/// For how long at most: somebody may move or remove them.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// The folders that were used last, the latest first.
#[derive(Debug, Default)]
pub(super) struct OpenFolders {
    known: Mutex<VecDeque<OpenFolder>>,
}

#[derive(Debug)]
struct OpenFolder {
    path: RemoteFolder,
    descriptor: Arc<OwnedFd>,
    since: Instant,
}

impl OpenFolders {
    /// A folder that is open since a moment ago, or is opened now.
    pub(super) fn get(&self, path: &RemoteFolder, open: impl FnOnce() -> Result<OwnedFd>) -> Result<Arc<OwnedFd>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        known.retain(|folder| now.saturating_duration_since(folder.since) < OPEN_FOR);
        if let Some(found) = known.iter().find(|folder| folder.path == *path) {
            return Ok(Arc::clone(&found.descriptor));
        }
        let descriptor = Arc::new(open()?);
        known.truncate(MOST - 1);
        known.push_front(OpenFolder { path: path.clone(), descriptor: Arc::clone(&descriptor), since: now });
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_folder_is_opened_once_and_only_so_many_are_kept() {
        let folders = OpenFolders::default();
        let opened = Cell::new(0);
        let get = |name: usize| {
            let path = RemoteFolder::parse(name.to_string().as_bytes()).unwrap();
            folders
                .get(&path, || {
                    opened.set(opened.get() + 1);
                    Ok(std::fs::File::open(".").unwrap().into())
                })
                .unwrap()
        };
        assert!(Arc::ptr_eq(&get(0), &get(0)));
        assert_eq!(opened.get(), 1);
        (0..2 * MOST).for_each(|name| drop(get(name)));
        assert_eq!(folders.known.lock().unwrap().len(), MOST);
    }
}
