//! The host directory: what can be listed, read and added, and how an addition becomes durable.
//!
//! Owns everything below `--dir`, also its own state in `.hostdir/`. Knows nothing of connections and frames. Nothing
//! here removes or changes a file that it did not make, except where a PUT asked for `overwrite` and the operator allows it,
//! and where a [`Rule`] of the operator says that it goes: that is done in `expire`, and nowhere else.
//!
//! Nothing outside this folder opens a hosted file; nothing inside it trusts a name that is not a
//! [`RemotePath`].
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod commit;
mod digests;
mod expire;
mod figures;
mod flush;
mod followers;
mod inodes;
mod journal;
mod list;
mod live;
mod narrow;
mod receivers;
mod rules;
mod space;
#[cfg(test)]
mod tests;
mod topics;
mod underway;
mod unflushed;
mod uploads;
mod watch;

pub use commit::{Answer, NewFolder};
pub use digests::{Digests, Pending};
pub use expire::Expiry;
pub use figures::Figures;
pub use followers::{Follower, Notice};
pub use journal::{Arrival, Journal, Keep, NewArrival, Opened, Removal, Span};
pub use list::{OnPage, list, totals, walk};
pub use live::{End, LiveReader, LiveUpload, Next};
pub use rules::{Limit, Rule, parse_duration};
pub use topics::{LiveSource, Told};
pub use uploads::{Finished, OnIdentical, Plan, Upload};
pub use watch::Watch;

use crate::conflict::{Place, find_place};
use crate::connection::Interrupt;
use crate::error::{Error, Result};
use crate::root::{FileState, OpenFile, Root};
use crate::staged::Staging;
use crate::wire::{Digest, ErrorCode, List, Listed, OnConflict, Put, RemoteFolder, RemotePath};
use followers::Followers;
use live::LiveUploads;
use receivers::Receivers;
use rustix::fs::{FlockOperation, flock, fstat};
use space::Space;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use underway::Underway;
use unflushed::Unflushed;
use uploads::Claims;

/// How long a partial upload is kept for its sender to come back (PROTOCOL.md, section 8).
pub const KEEP_PARTIAL: Duration = Duration::from_secs(24 * 60 * 60);
/// What `on_wait` callbacks are called after, while something takes long (PROTOCOL.md, section 12).
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What an operator decides about a host directory.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory.
    pub directory: PathBuf,
    /// Take no uploads.
    pub read_only: bool,
    /// Let PUT replace files where it asks for it.
    pub overwrite: bool,
    /// Largest file that is taken, in bytes.
    pub max_file_size: Option<u64>,
    /// Bytes that uploads leave free; by default 1 GiB or 1 % of the file system, whichever is less.
    pub min_free_space: Option<u64>,
    /// How much of what arrived is kept in the journal.
    pub keep: Keep,
    /// What is removed, and when; nothing if there are none.
    pub rules: Vec<Rule>,
}

/// A host directory, open.
#[derive(Debug)]
pub struct Store {
    root: Root,
    staging: Option<Arc<Staging>>,
    digests: Digests,
    journal: Option<(Journal, Opened)>,
    claims: Arc<Claims>,
    space: Space,
    config: Config,
    temporary: AtomicU64,
    followers: Arc<Followers>,
    live: Arc<LiveUploads>,
    receivers: Receivers,
    underway: Underway,
    unflushed: Arc<Unflushed>,
    /// Held while a file is replaced, and while one is looked at and removed.
    replacing: Mutex<()>,
    /// Held while an arrival is made up for, or noticed, from the last look at the file on: it is one arrival.
    arriving: Mutex<()>,
}

/// What a PUT that asks is answered with.
#[derive(Debug)]
pub enum Offered {
    /// Nothing needs to be sent.
    Answer(Answer),
    /// The bytes may come.
    Upload(Box<Upload>),
}

/// Called now and then while something takes long, so that a waiting peer can be told.
pub type OnWait<'a> = dyn FnMut() -> Result<()> + 'a;

impl Store {
    /// Opens a host directory, and its state folder unless it is read-only and cannot be written.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be opened, or cannot be written though it should be, or is being served already.
    pub fn open(config: Config) -> Result<Self> {
        let root = Root::open(&config.directory)?;
        let staging = match Staging::open(&root) {
            Ok(staging) => Some(Arc::new(staging)),
            Err(_) if config.read_only => None,
            Err(error) => return Err(error),
        };
        if let Some(staging) = &staging {
            flock(staging.state_folder(), FlockOperation::NonBlockingLockExclusive).map_err(|_| {
                let cause =
                    std::io::Error::other("another server is serving it: stop that one, or choose another --dir");
                Error::local("serve", config.directory.display(), cause)
            })?;
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let digests = Digests::open(staging.as_ref().map(|staging| staging.state_folder()), threads)?;
        let journal = match staging.as_ref().map(|staging| Journal::open(staging.state_folder(), config.keep)) {
            Some(Err(error)) if !config.read_only => return Err(error),
            result => result.and_then(Result::ok),
        };
        let space = Space::new(config.min_free_space);
        let (claims, temporary, unflushed) = (Arc::default(), AtomicU64::new(0), Arc::default());
        let followers = Arc::<Followers>::default();
        let live = Arc::new(LiveUploads::new(Arc::clone(&followers)));
        let receivers = Receivers::default();
        Ok(Self {
            root,
            staging,
            digests,
            claims,
            space,
            config,
            temporary,
            unflushed,
            followers,
            live,
            receivers,
            underway: Underway::default(),
            replacing: Mutex::default(),
            arriving: Mutex::default(),
            journal,
        })
    }

    /// What the operator decided.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Opens a hosted file.
    ///
    /// # Errors
    /// As for [`Root::open_file`]; [`ErrorCode::Expired`] if it was removed by a rule.
    pub fn open_file(&self, path: &RemotePath) -> Result<OpenFile> {
        self.root.open_file(path).map_err(|error| self.explain(path, error))
    }

    /// Lists a folder or a tree, page by page.
    ///
    /// # Errors
    /// As for [`list()`]; [`ErrorCode::Expired`] for a file that was removed by a rule.
    pub fn list(&self, request: &List, on_page: &mut OnPage<'_>) -> Result<Listed> {
        list(&self.root, request, on_page).map_err(|error| match RemotePath::parse(&request.path) {
            Ok(path) => self.explain(&path, error),
            Err(_) => error,
        })
    }

    /// Reads a folder and all below it, page by page.
    ///
    /// # Errors
    /// As for [`walk()`].
    pub fn walk(&self, folder: &RemoteFolder, on_page: &mut OnPage<'_>) -> Result<Listed> {
        walk(&self.root, folder, on_page)
    }

    /// The modification time of a folder, nanoseconds since the epoch.
    ///
    /// # Errors
    /// As for [`Root::open_folder`].
    pub fn folder_modified(&self, folder: &RemoteFolder) -> Result<i64> {
        let open = self.root.open_folder(folder)?;
        let stat = fstat(&open).map_err(|error| Error::local("stat", folder, error))?;
        Ok(FileState::of(&stat).modified)
    }

    /// Files in the whole host directory, and their bytes.
    ///
    /// # Errors
    /// As for [`list()`].
    pub fn totals(&self) -> Result<(u64, u64)> {
        totals(&self.root)
    }

    /// The digests of hosted files.
    #[must_use]
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// What arrived; `None` if the host directory is read-only and has no state folder that can be written.
    #[must_use]
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().map(|(journal, _)| journal)
    }

    /// What was found when the journal was opened.
    #[must_use]
    pub fn journal_opened(&self) -> Option<&Opened> {
        self.journal.as_ref().map(|(_, opened)| opened)
    }

    /// The digest of an open file, remembered or computed now.
    ///
    /// # Errors
    /// Those of [`Pending::wait`] and of `on_wait`.
    pub fn digest(&self, open: &OpenFile, on_wait: &mut OnWait<'_>) -> Result<Digest> {
        if let Some(digest) = self.digests.recall(&open.state.version) {
            return Ok(digest);
        }
        let file = open.file.try_clone().map_err(|error| Error::local("open", "a file to hash", error))?;
        let pending = self.digests.compute(file, &open.state);
        loop {
            match pending.wait(PATIENCE) {
                Some(result) => return result,
                None => on_wait()?,
            }
        }
    }

    /// Whether an open file has the content of this digest. One that changes meanwhile has not: that is no answer to whoever
    /// sends something of this name.
    fn has_content(&self, open: &OpenFile, digest: Digest, on_wait: &mut OnWait<'_>) -> Result<bool> {
        match self.digest(open, on_wait) {
            Err(error) if error.code() == ErrorCode::Changed => Ok(false),
            found => Ok(found? == digest),
        }
    }

    /// Checks what a PUT of a file asks for against the rules of this host directory.
    ///
    /// # Errors
    /// The refusals of PROTOCOL.md, section 8, that need no look at the disk.
    pub fn plan(&self, put: &Put) -> Result<Plan> {
        let path = self.plan_path(&put.path)?;
        if put.on_conflict == OnConflict::Overwrite && !self.config.overwrite {
            return Err(Error::refused(ErrorCode::Forbidden, "this server does not let uploads replace files"));
        }
        let limit = self.config.max_file_size.unwrap_or(u64::MAX);
        if put.size.is_some_and(|size| size > limit) {
            return Err(Error::refused(
                ErrorCode::TooLarge,
                format!("the server takes files of at most {limit} bytes"),
            ));
        }
        let limit = self.check_quotas(&path, put.size)?.min(limit);
        Ok(Plan {
            path,
            size: put.size,
            modified: put.modified,
            on_conflict: put.on_conflict,
            upload: put.upload,
            digest: put.digest,
            limit,
            publisher: None,
            on_identical: OnIdentical::Recognise,
        })
    }

    /// Checks the path of an upload of any kind.
    fn plan_path(&self, path: &[u8]) -> Result<RemotePath> {
        self.writable()?;
        let path = RemotePath::parse(path)?;
        path.check_portable()?;
        Ok(path)
    }

    /// Takes a plan up whose sender asks: the answer, if it needs no bytes; else what an earlier attempt left is resumed, if
    /// the plan has an identity.
    ///
    /// The identity is taken first. A connection that still holds it may be about to give the file its name; only after
    /// that is it known what is there.
    ///
    /// # Errors
    /// [`ErrorCode::Exists`], [`ErrorCode::NoSpace`]; those of this machine.
    pub fn offer(&self, plan: Plan, interrupt: Interrupt, on_wait: &mut OnWait<'_>) -> Result<Offered> {
        let staging = self.writable()?;
        let claim = plan.upload.map(|id| self.claims.take(id, interrupt, on_wait)).transpose()?;
        if let Some(answer) = self.answer_at_once(&plan, on_wait)? {
            if let Some(id) = plan.upload {
                // What an earlier attempt left is of no use any more. Mostly there is none.
                let _ = staging.remove(&id.to_string());
                self.give_up_away(id);
            }
            return Ok(Offered::Answer(answer));
        }
        let upload = match (plan.upload, claim) {
            (Some(id), Some(claim)) => {
                let name = id.to_string();
                // What an earlier attempt has, or has reserved, is not asked for again.
                let missing = plan.size.unwrap_or(0).saturating_sub(staging.allocated(&name));
                self.space.check(&self.root, missing)?;
                Upload::open(staging, plan, &name, Some(claim), on_wait)?
            }
            _ => self.begin_small(plan)?,
        };
        Ok(Offered::Upload(Box::new(upload)))
    }

    /// Looks whether a plan needs bytes at all: `Some` is the answer if not.
    fn answer_at_once(&self, plan: &Plan, on_wait: &mut OnWait<'_>) -> Result<Option<Answer>> {
        let folder = match self.root.open_folder(&plan.path.parent()) {
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            result => result?,
        };
        let mut is_same = |found: &OpenFile| match plan.digest {
            Some(digest) => self.has_content(found, digest, on_wait),
            None => Ok(false),
        };
        let place = find_place(&self.root, folder.as_fd(), &plan.path, plan.size, plan.on_conflict, &mut is_same)?;
        Ok(match place {
            Place::Free(..) => None,
            Place::Identical(path) => {
                Some(self.settle_identical(Answer::identical(path), plan.digest, plan, on_wait)?)
            }
            Place::Skipped => Some(Answer::skipped(plan.path.clone())),
        })
    }

    /// Begins to receive a file that is sent at once, and cannot be resumed.
    ///
    /// # Errors
    /// [`ErrorCode::NoSpace`]; those of this machine.
    pub fn begin_small(&self, plan: Plan) -> Result<Upload> {
        let staging = self.writable()?;
        self.space.check(&self.root, plan.size.unwrap_or(0))?;
        let name = format!("{TEMPORARY}{}", self.temporary.fetch_add(1, Ordering::Relaxed));
        Upload::open(staging, plan, &name, None, &mut || Ok(()))
    }

    /// Removes what crashed uploads left: those that cannot be resumed at once, the others when they are older than
    /// `keep`. Returns how many files and bytes went, and how many partial uploads wait to be resumed.
    ///
    /// To be called before anything is received, and with [`Sweep::Running`] later.
    ///
    /// # Errors
    /// [`Error::Local`] if the leftovers cannot be read.
    pub fn sweep(&self, sweep: Sweep, keep: Duration) -> Result<Swept> {
        let Some(staging) = &self.staging else { return Ok(Swept::default()) };
        let mut swept = Swept::default();
        for (name, age, size) in staging.leftovers()? {
            let is_dead = sweep == Sweep::Start && name.starts_with(TEMPORARY);
            if !is_dead && age < keep {
                swept.kept = swept.kept.saturating_add(1);
                continue;
            }
            // One that was taken up again is of age until its first byte comes.
            match self.claims.unless_held(&name, || staging.remove(&name)) {
                None => swept.kept = swept.kept.saturating_add(1),
                Some(Err(_)) => {}
                Some(Ok(())) => {
                    swept.removed = swept.removed.saturating_add(1);
                    swept.bytes = swept.bytes.saturating_add(size);
                }
            }
        }
        Ok(swept)
    }

    fn writable(&self) -> Result<&Arc<Staging>> {
        match &self.staging {
            Some(staging) if !self.config.read_only => Ok(staging),
            _ => Err(Error::refused(ErrorCode::ReadOnly, "this server takes no uploads")),
        }
    }
}

/// What the names of partial files that nobody can resume begin with; an upload id is hexadecimal.
const TEMPORARY: &str = "once-";

/// When leftovers are swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Before anything is received: whatever is there was left by an earlier run.
    Start,
    /// While uploads are running.
    Running,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Files removed.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Partial uploads that can still be resumed.
    pub kept: u64,
}
