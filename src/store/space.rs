//! The disk space that uploads must leave free.

use crate::error::{Error, Result};
use crate::root::Root;
use crate::wire::ErrorCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const GIB: u64 = 1024 * 1024 * 1024;
/// Small files are checked against an answer of the file system that is at most this old.
const FRESH: Duration = Duration::from_millis(100);
/// A file of at least this many bytes is checked against a new answer.
const LARGE: u64 = 1024 * 1024;

/// Keeps uploads from filling the disk.
#[derive(Debug)]
pub(super) struct Space {
    minimum: Option<u64>,
    last: Mutex<Option<Answer>>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    at: Instant,
    available: u64,
    total: u64,
}

impl Space {
    pub(super) fn new(minimum: Option<u64>) -> Self {
        Self { minimum, last: Mutex::new(None) }
    }

    /// Refuses a file of `size` bytes that would leave less than the minimum free.
    pub(super) fn check(&self, root: &Root, size: u64) -> Result<()> {
        let answer = self.ask(root, size)?;
        let minimum = self.minimum.unwrap_or(GIB.min(answer.total / 100));
        if answer.available >= size.saturating_add(minimum) {
            return Ok(());
        }
        let available = answer.available.saturating_sub(minimum);
        Err(Error::refused(
            ErrorCode::NoSpace,
            format!("{size} bytes are needed, {available} are free beyond the {minimum} that the server keeps free"),
        ))
    }

    fn ask(&self, root: &Root, size: u64) -> Result<Answer> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some(answer) if size < LARGE && answer.at.elapsed() < FRESH => Ok(answer),
            _ => {
                let (available, total) = root.space()?;
                Ok(*last.insert(Answer { at: Instant::now(), available, total }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_stay_free_stays_free() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(Space::new(Some(0)).check(&root, 1).is_ok());
        let error = Space::new(Some(u64::MAX / 2)).check(&root, 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NoSpace);
        assert!(error.to_string().contains(&(u64::MAX / 2).to_string()));
        assert_eq!(Space::new(Some(0)).check(&root, u64::MAX).unwrap_err().code(), ErrorCode::NoSpace);
    }
}
