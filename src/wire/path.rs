//! Remote paths (PROTOCOL.md, section 4): parsed once, never checked again.
//!
//! A [`RemotePath`] can only be had by parsing, so whoever holds one knows that it names something inside the root:
//! relative, without `.` or `..`, bounded in length and depth, and outside `.hostdir`.

use std::fmt;

/// A valid remote path: bytes, `/`-separated, one component or more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePath(Box<[u8]>);

/// A folder on the server: the host directory itself, or one below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RemoteFolder(Option<RemotePath>);

/// Why bytes are not a remote path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the Display texts say it")]
pub enum PathError {
    Empty,
    TooLong,
    TooDeep,
    ComponentTooLong,
    EmptyComponent,
    DotComponent,
    Reserved,
    Nul,
    Backslash,
}

/// Why a name cannot be stored: another system could not hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the Display texts say it")]
pub enum NameError {
    Control,
    Colon,
    TrailingDotOrSpace,
    DeviceName,
}

impl RemotePath {
    /// Longest path, in bytes.
    pub const MAX: usize = 1024;
    /// Longest component, in bytes.
    pub const MAX_COMPONENT: usize = 255;
    /// Most components.
    pub const MAX_DEPTH: usize = 64;
    /// The folder in which each side keeps its own state; no remote path can name it.
    pub const STATE_FOLDER: &str = ".hostdir";

    /// Parses the bytes of a path.
    ///
    /// # Errors
    /// [`PathError`] says which rule is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes.len() > Self::MAX {
            return Err(PathError::TooLong);
        }
        let mut depth = 0_usize;
        for component in bytes.split(|byte| *byte == b'/') {
            check_component(component)?;
            depth = depth.saturating_add(1);
        }
        if depth > Self::MAX_DEPTH {
            return Err(PathError::TooDeep);
        }
        Ok(Self(bytes.into()))
    }

    /// Whether every component could be stored on other systems too (PROTOCOL.md, "stored name").
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn check_portable(&self) -> Result<(), NameError> {
        self.components().try_for_each(check_portable_component)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its components, outermost first; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.components().next_back().unwrap_or_default()
    }

    /// The folder that it is in.
    #[must_use]
    pub fn parent(&self) -> RemoteFolder {
        let end = self.0.len().saturating_sub(self.name().len()).saturating_sub(1);
        match self.0.get(..end) {
            Some(parent) if !parent.is_empty() => RemoteFolder(Some(Self(parent.into()))),
            _ => RemoteFolder::ROOT,
        }
    }

    /// This path with another last component.
    ///
    /// # Errors
    /// [`PathError`] if the name is not one component, or the whole becomes too long.
    pub fn with_name(&self, name: &[u8]) -> Result<Self, PathError> {
        self.parent().join(name)
    }
}

impl RemoteFolder {
    /// The host directory itself.
    pub const ROOT: Self = Self(None);

    /// Parses the bytes of a folder's path; empty is the host directory itself.
    ///
    /// # Errors
    /// [`PathError`] as for [`RemotePath::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() { Ok(Self::ROOT) } else { RemotePath::parse(bytes).map(|path| Self(Some(path))) }
    }

    /// The folder as a path, unless it is the host directory itself.
    #[must_use]
    pub fn path(&self) -> Option<&RemotePath> {
        self.0.as_ref()
    }

    /// Its bytes; empty for the host directory.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], RemotePath::as_bytes)
    }

    /// Whether the bytes of a path, or of a folder's path, are those of this folder or of something below it.
    #[must_use]
    pub fn contains(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(self.as_bytes());
        rest.is_some_and(|rest| self.0.is_none() || rest.is_empty() || rest.starts_with(b"/"))
    }

    /// The path of what is called `name` in this folder; `name` may have several components.
    ///
    /// # Errors
    /// [`PathError`] if the result is not a valid path.
    pub fn join(&self, name: &[u8]) -> Result<RemotePath, PathError> {
        match &self.0 {
            None => RemotePath::parse(name),
            Some(folder) => RemotePath::parse(&[folder.as_bytes(), name].join(&b'/')),
        }
    }
}

impl From<RemotePath> for RemoteFolder {
    fn from(path: RemotePath) -> Self {
        Self(Some(path))
    }
}

fn check_component(component: &[u8]) -> Result<(), PathError> {
    match component {
        [] => Err(PathError::EmptyComponent),
        b"." | b".." => Err(PathError::DotComponent),
        name if name.len() > RemotePath::MAX_COMPONENT => Err(PathError::ComponentTooLong),
        name if name.contains(&0) => Err(PathError::Nul),
        name if name.contains(&b'\\') => Err(PathError::Backslash),
        name if name.eq_ignore_ascii_case(RemotePath::STATE_FOLDER.as_bytes()) => Err(PathError::Reserved),
        _ => Ok(()),
    }
}

fn check_portable_component(component: &[u8]) -> Result<(), NameError> {
    if component.iter().any(u8::is_ascii_control) {
        return Err(NameError::Control);
    }
    if component.contains(&b':') {
        return Err(NameError::Colon);
    }
    if component.ends_with(b".") || component.ends_with(b" ") {
        return Err(NameError::TrailingDotOrSpace);
    }
    if is_device_name(component) { Err(NameError::DeviceName) } else { Ok(()) }
}

/// The names of devices on Windows, which no file there can have, with any extension
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
fn is_device_name(component: &[u8]) -> bool {
    let stem = component.split(|byte| *byte == b'.').next().unwrap_or_default().to_ascii_uppercase();
    match stem.as_slice() {
        b"CON" | b"PRN" | b"AUX" | b"NUL" => true,
        [port @ .., b'1'..=b'9'] => port == b"COM" || port == b"LPT",
        _ => false,
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemotePath({})", self.0.escape_ascii())
    }
}

impl fmt::Display for RemotePath {
    /// The path made harmless for a terminal or a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::escape::harmless(&self.0))
    }
}

impl fmt::Display for RemoteFolder {
    /// The path made harmless for a terminal or a log; `/` for the host directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("/"),
            Some(path) => path.fmt(f),
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the path is empty",
            Self::TooLong => "the path is longer than 1024 bytes",
            Self::TooDeep => "the path is deeper than 64 folders",
            Self::ComponentTooLong => "a name in the path is longer than 255 bytes",
            Self::EmptyComponent => "the path is absolute, ends with / or has //",
            Self::DotComponent => "the path has . or .. in it",
            Self::Reserved => ".hostdir is the server's own",
            Self::Nul => "the path has a NUL byte in it",
            Self::Backslash => "the path has a backslash in it",
        })
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "the name has a control character in it",
            Self::Colon => "the name has a colon in it, which Windows cannot hold",
            Self::TrailingDotOrSpace => "the name ends with a dot or a space, which Windows cannot hold",
            Self::DeviceName => "the name is that of a device on Windows",
        })
    }
}

impl std::error::Error for PathError {}
impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<RemotePath, PathError> {
        RemotePath::parse(text.as_bytes())
    }

    #[test]
    fn ordinary_and_odd_but_harmless_names_are_paths() {
        for text in ["a", "a/b/c.txt", "año nuevo.jpg", "...", "a..b", ".bashrc", "-rf", "*", "C:", " ", "hostdir/.x"]
        {
            assert_eq!(parse(text).map(|path| path.as_bytes().to_vec()), Ok(text.as_bytes().to_vec()));
        }
        assert!(RemotePath::parse(b"\xff\xfe/\x01").is_ok());
    }

    #[test]
    fn each_rule_refuses() {
        use PathError::*;
        let cases = [
            ("", Empty),
            ("/", EmptyComponent),
            ("/etc/passwd", EmptyComponent),
            ("a/", EmptyComponent),
            ("a//b", EmptyComponent),
            (".", DotComponent),
            ("..", DotComponent),
            ("a/../b", DotComponent),
            ("./a", DotComponent),
            ("a\0b", Nul),
            ("a\\b", Backslash),
            ("..\\x", Backslash),
            (".hostdir", Reserved),
            ("a/.HostDir/b", Reserved),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn lengths_and_depth_hold_to_the_byte() {
        assert!(parse(&"a".repeat(255)).is_ok());
        assert_eq!(parse(&"a".repeat(256)), Err(PathError::ComponentTooLong));
        let long = format!("{}/{}", vec!["a".repeat(255); 4].join("/"), "b");
        assert_eq!(long.len(), 1025);
        assert_eq!(parse(&long), Err(PathError::TooLong));
        assert!(parse(&long[1..]).is_ok());
        assert!(parse(&["a"; 64].join("/")).is_ok());
        assert_eq!(parse(&["a"; 65].join("/")), Err(PathError::TooDeep));
    }

    #[test]
    fn names_that_other_systems_cannot_hold_are_told() {
        use NameError::*;
        let cases = [
            ("a\x1bb", Control),
            ("x:y", Colon),
            ("a.", TrailingDotOrSpace),
            ("dir /f", TrailingDotOrSpace),
            ("nul", DeviceName),
            ("a/COM1.txt", DeviceName),
            ("lpt9", DeviceName),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text).unwrap().check_portable(), Err(error), "{text:?}");
        }
        for text in ["console", "COM0", "COM10", "nullable.txt", ".nul", "año"] {
            assert_eq!(parse(text).unwrap().check_portable(), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn parent_and_name_take_a_path_apart() {
        let path = parse("a/b/c").unwrap();
        assert_eq!((path.parent().as_bytes(), path.name()), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(parse("a").unwrap().parent(), RemoteFolder::ROOT);
        assert_eq!(path.with_name(b"d").unwrap().as_bytes(), b"a/b/d");
        assert_eq!(RemoteFolder::ROOT.join(b"..").unwrap_err(), PathError::DotComponent);
    }

    proptest! {
        #[test]
        fn a_parsed_path_never_leaves_the_root(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'/'), Just(b'.')], 0..40)) {
            if let Ok(path) = RemotePath::parse(&bytes) {
                prop_assert!(path.components().all(|name| !name.is_empty() && name != b"." && name != b".."));
                prop_assert_eq!(path.parent().join(path.name()).unwrap(), path);
            }
        }
    }
}
