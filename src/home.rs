//! Where a user's own data is kept: the folder that the XDG Base Directory Specification names for it.
//!
//! Knows only the environment; what is kept there belongs to whoever asks.

use std::ffi::OsString;
use std::path::PathBuf;

/// `hostdir` in `$XDG_DATA_HOME`, which is `~/.local/share` where it is not set; `None` without a home.
#[must_use]
pub fn data_folder() -> Option<PathBuf> {
    data_folder_of(|name| std::env::var_os(name))
}

fn data_folder_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // Relative paths are to be ignored, says the specification.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("hostdir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_the_home_and_relative_paths_are_ignored() {
        let with = |data: &'static str, home: &'static str| {
            let set = move |value: &str| (!value.is_empty()).then(|| value.into());
            data_folder_of(move |name| set(if name == "HOME" { home } else { data }))
        };
        assert_eq!(with("/d", "/h"), Some("/d/hostdir".into()));
        assert_eq!(with("", "/h"), Some("/h/.local/share/hostdir".into()));
        assert_eq!(with("d", "/h"), Some("/h/.local/share/hostdir".into()));
        assert_eq!(with("", "h"), None);
        assert_eq!(with("", ""), None);
    }
}
