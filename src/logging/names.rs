//! The names of a log's files: the current one, those that were rotated away, and those that are compressed.
//!
//! `transfers.log` → `transfers-20261120T140321.482Z.log` → `transfers-20261120T140321.482Z.log.gz`, which is written
//! as `….log.gz.tmp` first. A name that is not exactly of this form is somebody else's file and is never touched.

use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// How a log's file name ends; what stands before it is the log's stem.
pub(super) const EXTENSION: &str = ".log";

/// A log's place: its directory, and the name that its files share.
#[derive(Debug, Clone)]
pub(super) struct LogName {
    directory: PathBuf,
    stem: String,
}

/// What a file that was rotated away is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines as they were written.
    Rotated,
    /// Compressed, and whole.
    Compressed,
    /// The output of a compression that is under way, or was interrupted.
    Unfinished,
}

impl LogName {
    /// `None` unless `file` is one plain file name that ends in [`EXTENSION`].
    pub(super) fn new(directory: &Path, file: &str) -> Option<Self> {
        let stem = file.strip_suffix(EXTENSION)?;
        let plain = !stem.is_empty() && !stem.starts_with('.') && !file.contains(['/', '\0']);
        plain.then(|| Self { directory: directory.to_owned(), stem: stem.to_owned() })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that is written now.
    pub(super) fn current(&self) -> PathBuf {
        self.directory.join(format!("{}{EXTENSION}", self.stem))
    }

    /// The name under which the current file is put away at `time`.
    pub(super) fn rotated(&self, time: Timestamp) -> PathBuf {
        let stamp = format!("{time:.3}").replace(['-', ':'], "");
        self.directory.join(format!("{}-{stamp}{EXTENSION}", self.stem))
    }

    /// What `file_name` is to this log, if it was rotated away from it. Within a kind, names sort by age.
    pub(super) fn kind(&self, file_name: &str) -> Option<Kind> {
        let rest = file_name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        let (stamp, end) = rest.split_at_checked(STAMP.len())?;
        if !is_stamp(stamp) {
            return None;
        }
        match end {
            ".log" => Some(Kind::Rotated),
            ".log.gz" => Some(Kind::Compressed),
            ".log.gz.tmp" => Some(Kind::Unfinished),
            _ => None,
        }
    }

    /// When a file of this name was put away; `None` if the name has no stamp, or that of no day.
    pub(super) fn stamp(&self, file_name: &str) -> Option<Timestamp> {
        self.kind(file_name)?;
        let rest = file_name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        rest.get(..STAMP.len())?.parse().ok()
    }
}

/// The name that a rotated file has once it is compressed.
pub(super) fn compressed(rotated: &Path) -> PathBuf {
    with_ending(rotated, ".gz")
}

/// The name under which a rotated file is being compressed.
pub(super) fn unfinished(rotated: &Path) -> PathBuf {
    with_ending(rotated, UNFINISHED)
}

/// The rotated file that `unfinished` is a part of.
pub(super) fn rotated_of(unfinished: &str) -> &str {
    unfinished.strip_suffix(UNFINISHED).unwrap_or(unfinished)
}

const UNFINISHED: &str = ".gz.tmp";

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The form of a stamp; `0` stands for any digit.
const STAMP: &str = "00000000T000000.000Z";

fn is_stamp(text: &str) -> bool {
    text.bytes().zip(STAMP.bytes()).all(|(byte, form)| if form == b'0' { byte.is_ascii_digit() } else { byte == form })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfers() -> LogName {
        LogName::new(Path::new("logs"), "transfers.log").unwrap()
    }

    #[test]
    fn a_rotated_file_carries_its_time() {
        let time = "2026-11-20T14:03:21.4829Z".parse().unwrap();
        assert_eq!(transfers().rotated(time), Path::new("logs/transfers-20261120T140321.482Z.log"));
        assert_eq!(transfers().current(), Path::new("logs/transfers.log"));
        let time = Some("2026-11-20T14:03:21.482Z".parse().unwrap());
        assert_eq!(transfers().stamp("transfers-20261120T140321.482Z.log.gz"), time);
        assert_eq!(transfers().stamp("transfers-20261320T140321.482Z.log"), None, "there is no month 13");
    }

    #[test]
    fn only_names_of_exactly_this_form_are_ours() {
        let kind = |name: &str| transfers().kind(name);
        assert_eq!(kind("transfers-20261120T140321.482Z.log"), Some(Kind::Rotated));
        assert_eq!(kind("transfers-20261120T140321.482Z.log.gz"), Some(Kind::Compressed));
        assert_eq!(kind("transfers-20261120T140321.482Z.log.gz.tmp"), Some(Kind::Unfinished));
        for other in [
            "transfers.log",
            "transfers-old.log",
            "transfers-20261120T140321.482Z.log.bak",
            "transfers-20261120T140321.48xZ.log",
            "transfers-2026112ñT140321.482Z.log",
            "old-transfers-20261120T140321.482Z.log",
            "transfers-",
            "",
        ] {
            assert_eq!(kind(other), None, "{other}");
        }
    }

    #[test]
    fn a_log_name_is_one_plain_file_name() {
        for name in ["", ".log", "../a.log", "a/b.log", "a", "a.txt", ".a.log", "a\0.log"] {
            assert!(LogName::new(Path::new("logs"), name).is_none(), "{name:?}");
        }
    }
}
