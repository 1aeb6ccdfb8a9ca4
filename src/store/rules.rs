//! What an operator lets stay in a folder, how long and how much, and the sentences that tell why a file is gone.
//!
//! Knows what is allowed; [`super::Expiry`] sees to it.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Removal, Store};
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, RemoteFolder, RemotePath};
use bytesize::ByteSize;
use std::fmt;
use std::time::Duration;

/// A rule for everything below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The folder; it need not exist.
    pub folder: RemoteFolder,
    /// What it limits.
    pub limit: Limit,
}

/// What a rule limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// How long a file stays after it arrived.
    Age(Duration),
    /// How many bytes all files may have together.
    Size(u64),
}

impl Rule {
    /// Whether it is about this file.
    #[must_use]
    pub fn covers(&self, path: &RemotePath) -> bool {
        let rest = path.as_bytes().strip_prefix(self.folder.as_bytes());
        rest.is_some_and(|rest| self.folder.path().is_none() || rest.starts_with(b"/"))
    }

    /// What is noted of a file that it removes.
    pub(super) fn reason(&self) -> Removal {
        match self.limit {
            Limit::Age(after) => Removal::Expired { after },
            Limit::Size(quota) => Removal::OverQuota { folder: self.folder.as_bytes().len() as u64, quota },
        }
    }
}

/// A duration as people write it: `30d`, `2w`, `12h 30m`. Not months and years, which are of no fixed length.
///
/// # Errors
/// A sentence, for what is none, and for nothing at all.
pub fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = "not a duration such as 30d, 12h or 90m";
    let span: jiff::Span = text.parse().map_err(|_| wrong)?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong)?;
    Ok(Duration::try_from(duration).ok().filter(|duration| !duration.is_zero()).ok_or(wrong)?)
}

impl Store {
    /// Most bytes that a file of this name may have under the quotas of its folders.
    ///
    /// # Errors
    /// [`ErrorCode::TooLarge`] if `size` is more: such a file could not stay, and all others would go before it.
    pub(super) fn check_quotas(&self, path: &RemotePath, size: Option<u64>) -> Result<u64> {
        let mut least = u64::MAX;
        for rule in self.config.rules.iter().filter(|rule| rule.covers(path)) {
            let Limit::Size(quota) = rule.limit else { continue };
            if size.is_some_and(|size| size > quota) {
                let (folder, quota) = (&rule.folder, bytes(quota));
                let why = format!("the files in {folder} may have {quota} together, and this one alone has more");
                return Err(Error::refused(ErrorCode::TooLarge, why));
            }
            least = least.min(quota);
        }
        Ok(least)
    }

    /// The error of a file that cannot be found: says why, if a rule has removed it.
    pub(super) fn explain(&self, path: &RemotePath, error: Error) -> Error {
        if error.code() != ErrorCode::NotFound {
            return error;
        }
        match self.journal().and_then(|journal| journal.why_removed(path)) {
            Some(removal) => Error::refused(ErrorCode::Expired, sentence(path, removal)),
            None => error,
        }
    }
}

fn sentence(path: &RemotePath, removal: Removal) -> String {
    match removal {
        Removal::Expired { after } => format!("it was removed {} after it arrived", Age(after)),
        Removal::OverQuota { folder, quota } => {
            let length = usize::try_from(folder).unwrap_or(0);
            let folder = path.as_bytes().get(..length).unwrap_or_default();
            let folder = RemoteFolder::parse(folder).unwrap_or(RemoteFolder::ROOT);
            format!("it was removed to keep {folder} within {}", bytes(quota))
        }
    }
}

fn bytes(count: u64) -> String {
    ByteSize(count).display().iec().to_string()
}

/// A time in its largest unit that tells all of it.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, u64, &str); 3] = [(86_400, 2, "days"), (3_600, 1, "h"), (60, 1, "min")];
        let seconds = self.0.as_secs();
        let fits = |(unit, least, _): &(u64, u64, &str)| {
            seconds.is_multiple_of(*unit) && seconds.checked_div(*unit).is_some_and(|count| count >= *least)
        };
        match UNITS.into_iter().find(fits) {
            Some((unit, _, name)) => write!(f, "{} {name}", seconds.checked_div(unit).unwrap_or(seconds)),
            None => write!(f, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_covers_what_is_below_its_folder() {
        let rule = |folder: &[u8]| Rule { folder: RemoteFolder::parse(folder).unwrap(), limit: Limit::Size(1) };
        for (folder, path, is_covered) in [
            ("chat", "chat/a", true),
            ("chat", "chat/deep/a", true),
            ("chat", "chat", false),
            ("chat", "chatter/a", false),
            ("chat/deep", "chat/a", false),
            ("", "chat/a", true),
            ("", "a", true),
        ] {
            let path = RemotePath::parse(path.as_bytes()).unwrap();
            assert_eq!(rule(folder.as_bytes()).covers(&path), is_covered, "{path} in {folder}");
        }
    }

    #[test]
    fn reasons_are_told_in_words() {
        let path = RemotePath::parse(b"chat/deep/a").unwrap();
        let expired = |seconds| sentence(&path, Removal::Expired { after: Duration::from_secs(seconds) });
        assert_eq!(expired(86_400), "it was removed 24 h after it arrived");
        assert_eq!(expired(172_800), "it was removed 2 days after it arrived");
        assert_eq!(expired(5_400), "it was removed 90 min after it arrived");
        assert_eq!(expired(61), "it was removed 61 s after it arrived");
        let over = |folder| sentence(&path, Removal::OverQuota { folder, quota: 10 << 30 });
        assert_eq!(over(4), "it was removed to keep chat within 10.0 GiB");
        assert_eq!(over(0), "it was removed to keep / within 10.0 GiB");
        assert_eq!(over(99), "it was removed to keep / within 10.0 GiB");
    }
}
