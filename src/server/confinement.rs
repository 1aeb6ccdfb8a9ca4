//! A second wall: after this the process can open nothing but the host directory, the logs and certificates, whatever goes wrong in it.
//!
//! The first wall is [`crate::root`], which resolves every path beneath the host directory. This one is the kernel's
//! Landlock (<https://docs.kernel.org/userspace-api/landlock.html>): it knows nothing of paths from the wire, so a mistake
//! in the first wall does not open it. It holds for the calling thread and those that it starts later; so it is raised
//! before there is any other thread.

use crate::error::{Error, Result};
use crate::wire::RemotePath;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The rights that are fenced in. Kernels that know fewer fence in fewer.
const KNOWN: ABI = ABI::V7;
/// Where the time zone comes from; it is looked up again now and then.
const TIME_ZONE: [&str; 2] = ["/usr/share/zoneinfo", "/etc/localtime"];

/// What stays within reach.
#[derive(Debug, Clone)]
pub struct Confinement {
    /// The host directory.
    pub directory: PathBuf,
    /// Whether it is only read. The server's own state folder in it is written all the same.
    pub read_only: bool,
    /// The directory of the logs.
    pub logs: PathBuf,
    /// Folders of certificates and keys, which are only read.
    pub certificates: Vec<PathBuf>,
}

/// How much of it the kernel could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All of it.
    Full,
    /// Paths, but not every right of newer kernels.
    Partial,
    /// Nothing: the kernel has no Landlock, or one that cannot allow renaming from folder to folder (before Linux 5.19).
    None,
}

impl Level {
    /// The word for the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::None => "none",
        }
    }
}

impl Confinement {
    /// Raises the wall around the calling thread and those that it starts from now on. Both directories must be there.
    ///
    /// # Errors
    /// What the kernel or a directory gave; then nothing is confined.
    pub fn raise(&self) -> Result<Level> {
        let paths = self.paths()?;
        restrict(paths).map_err(|error| Error::local("confine to", self.directory.display(), io::Error::other(error)))
    }

    /// What can be reached, and how.
    fn paths(&self) -> Result<Vec<(OwnedFd, BitFlags<AccessFs>)>> {
        let hosted = if self.read_only { reading() } else { writing() };
        let mut paths = vec![(open(&self.directory)?, hosted), (open(&self.logs)?, writing())];
        if self.read_only {
            paths.extend(state_folder(&self.directory).map(|state| (state, writing())));
        }
        for folder in &self.certificates {
            paths.push((open(folder)?, reading()));
        }
        paths.extend(TIME_ZONE.iter().filter_map(|zone| Some((open(Path::new(zone)).ok()?, reading()))));
        Ok(paths)
    }
}

fn restrict(paths: Vec<(OwnedFd, BitFlags<AccessFs>)>) -> std::result::Result<Level, RulesetError> {
    let renaming = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::Refer);
    let Ok(ruleset) = renaming else { return Ok(Level::None) };
    let mut ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        // The server only listens.
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for (path, access) in paths {
        // Rights that only folders have are left out for a file.
        ruleset = ruleset.add_rule(PathBeneath::new(path, access))?;
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Level::Full,
        RulesetStatus::PartiallyEnforced => Level::Partial,
        RulesetStatus::NotEnforced => Level::None,
    })
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

fn writing() -> BitFlags<AccessFs> {
    reading()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::Refer
}

fn open(path: &Path) -> Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Error::local("open", path.display(), error))
}

/// The state folder, made if it can be; never what a link in its place points to.
fn state_folder(directory: &Path) -> Option<OwnedFd> {
    let state = directory.join(RemotePath::STATE_FOLDER);
    // It may be there, or the directory may not be writable; the descriptor tells.
    let _ = mkdirat(CWD, &state, Mode::from_raw_mode(0o700));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, &state, flags, Mode::empty()).ok()
}
