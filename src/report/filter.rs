//! Which entries are asked for: by time, client, folder or path.

use crate::escape::{harmless, original};
use globset::{GlobBuilder, GlobMatcher};
use jiff::Timestamp;

/// What an entry must be to count. Nothing set: every entry is.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) since: Option<Timestamp>,
    /// An address as the logs have it, without a port.
    pub(super) client: Option<String>,
    pub(super) topic: Option<PathFilter>,
    pub(super) path: Option<PathFilter>,
}

/// A file, a folder and what is below it, or a glob; compared with paths as they stand in the logs.
#[derive(Debug, Clone)]
pub struct PathFilter {
    /// As in the logs: escaped, without slashes at its ends. Empty is everything.
    name: String,
    glob: Option<GlobMatcher>,
}

impl Filter {
    pub(super) fn admits(&self, client: &str, path: &str) -> bool {
        self.client.as_deref().is_none_or(|asked| asked == client) && self.admits_path(path)
    }

    pub(super) fn admits_path(&self, path: &str) -> bool {
        [&self.topic, &self.path].into_iter().flatten().all(|filter| filter.admits(path))
    }

    pub(super) fn admits_client(&self, client: &str) -> bool {
        self.client.as_deref().is_none_or(|asked| asked == client)
    }
}

impl PathFilter {
    /// A folder: itself and what is below it.
    pub(super) fn parse_folder(text: &str) -> Result<Self, String> {
        Ok(Self { name: as_logged(text), glob: None })
    }

    /// A name, or a glob: `*` stays within a folder, `**` crosses folders. What is no glob, as `[`, is a name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let is_glob = text.contains(['*', '?', '[', '{']);
        // In the logs a backslash begins an escape, and names have no other.
        let glob =
            GlobBuilder::new(text.trim_start_matches('/')).literal_separator(true).backslash_escape(false).build();
        let glob = glob.ok().filter(|_| is_glob).map(|glob| glob.compile_matcher());
        Ok(Self { name: as_logged(text), glob })
    }

    fn admits(&self, path: &str) -> bool {
        let is_below = path.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.name.is_empty() || is_below || self.glob.as_ref().is_some_and(|glob| glob.is_match(path))
    }
}

/// A name as it was typed or copied from a report: in either case it is what the logs have.
fn as_logged(text: &str) -> String {
    harmless(&original(text.trim_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(filter: &str, path: &str) -> bool {
        PathFilter::parse(filter).unwrap().admits(path)
    }

    #[test]
    fn a_name_is_the_file_or_all_below_the_folder() {
        for path in ["photos", "photos/a.jpg", "photos/raw/b.jpg"] {
            assert!(admits("photos", path) && admits("/photos/", path), "{path}");
        }
        assert!(!admits("photos", "photos2/a.jpg") && !admits("photos", "my/photos"));
        assert!(admits("/", "anything"));
    }

    #[test]
    fn a_glob_crosses_folders_only_with_two_stars() {
        assert!(admits("*.jpg", "a.jpg") && !admits("*.jpg", "photos/a.jpg"));
        assert!(admits("**/*.jpg", "photos/raw/a.jpg") && admits("/photos/*", "photos/a.jpg"));
        assert!(admits("{a,b}.iso", "b.iso") && admits("odd[1].txt", "odd[1].txt"), "or the name itself");
        assert!(admits("a[", "a[") && !admits("a[", "a"));
    }

    #[test]
    fn a_strange_name_is_found_as_it_is_shown_and_as_it_is() {
        assert!(admits(r"a\u{1b}[2J.txt", r"a\u{1b}[2J.txt"));
        assert!(admits("a\u{1b}2J.txt", r"a\u{1b}2J.txt"));
        assert!(admits(r"\xff.txt", r"\xff.txt") && admits("*.txt", r"\xff.txt"));
    }

    #[test]
    fn a_topic_is_never_a_glob() {
        let topic = PathFilter::parse_folder("chat*").unwrap();
        assert!(topic.admits("chat*/a") && !topic.admits("chats/a"));
    }
}
