//! The server's certificate and its key on disk.
//!
//! Owns the file with the server's own key, which is made once and never replaced, and the reading of those that an operator
//! brings. Neither may lie where clients can fetch it. What is done with them on a connection is
//! [`crate::connection::Stream::accept_tls`]'s.

use crate::connection::Identity;
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, RemotePath};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Certificate and key in one file, so that they always belong together.
const OWN: &str = "identity.pem";
/// A larger file than this is no certificate.
const MOST_BYTES: u64 = 1024 * 1024;

/// The rights of the group that a file belongs to, and those of everybody.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// Where certificate and key come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder in which the server keeps its own, made at the first start.
    Own(PathBuf),
    /// Two files in PEM that somebody else sees to.
    Given {
        /// The certificate, with those that it is signed by.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// What the server proves itself with; shared, so that it can be exchanged while the server runs.
#[derive(Debug, Clone)]
pub struct Credentials {
    source: Source,
    identity: Arc<Mutex<Identity>>,
}

impl Source {
    /// Reads what there is, and makes the server's own key if there is none yet.
    ///
    /// # Errors
    /// [`Error::Refused`] if it lies where clients of `hosted` could fetch it; [`Error::Local`] if it cannot be read or used.
    pub fn open(self, hosted: &Path) -> Result<Credentials> {
        let (path, flag) = match &self {
            Self::Own(folder) => (folder.join(OWN), "--tls-dir"),
            Self::Given { key, .. } => (key.clone(), "--tls-key"),
        };
        if is_served(&real(&path), &real(hosted)) {
            let place = path.display();
            let why = format!("{flag}: {place} is in the directory that is served, and anybody could fetch the key");
            return Err(Error::refused(ErrorCode::Forbidden, format!("{why}; choose another place")));
        }
        let identity = self.load()?;
        Ok(Credentials { source: self, identity: Arc::new(Mutex::new(identity)) })
    }

    fn load(&self) -> Result<Identity> {
        match self {
            Self::Own(folder) => own(folder),
            Self::Given { certificate, key } => {
                let (chain, secret) = (read(certificate, 0)?, read(key, OTHERS)?);
                Identity::from_pem(&chain, &secret).map_err(|error| Error::local("use", certificate.display(), error))
            }
        }
    }
}

impl Credentials {
    /// What a new connection is proved to with.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Folders that are read again while the server runs.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let Source::Given { certificate, key } = &self.source else { return Vec::new() };
        // A link is followed anew each time, so the folder that it stands in matters as well as the one that it leads to.
        let folder = |path: &PathBuf| {
            path.parent().map(|parent| if parent == Path::new("") { ".".into() } else { parent.to_owned() })
        };
        [certificate, key].into_iter().flat_map(|path| [folder(path), folder(&real(path))]).flatten().collect()
    }

    /// Reads the operator's files again. If they cannot be used, what was there before stays, and the log says why.
    pub fn reload(&self) {
        if matches!(self.source, Source::Own(_)) {
            return;
        }
        match self.source.load() {
            Ok(identity) => {
                let fingerprint = identity.fingerprint();
                *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
                // Whoever reads this may rely on it.
                log::info!(event = "certificate", fingerprint:%; "read again");
            }
            Err(error) => {
                let kept = self.identity().fingerprint();
                log::error!(event = "certificate", fingerprint:% = kept, cause:% = error; "the one before stays in use");
            }
        }
    }
}

/// The server's own identity, made if there is none.
fn own(folder: &Path) -> Result<Identity> {
    let path = folder.join(OWN);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(folder, &path).map_err(|error| Error::local("make", path.display(), error))?;
            File::open(&path)
        }
        result => result,
    };
    let file = file.map_err(|error| Error::local("open", path.display(), error))?;
    let use_it = |file: File| {
        let pem = read_all(file, GROUP | OTHERS)?;
        Identity::from_pem(&pem, &pem).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{error}; remove it, and a new key is made, which clients will ask about"),
            )
        })
    };
    use_it(file).map_err(|error| Error::local("use", path.display(), error))
}

/// Makes a key and a certificate for it, and puts them in place unless somebody else just did.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let aside = folder.join(format!("{OWN}.{:016x}", getrandom::u64().map_err(io::Error::other)?));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let named = file.write_all(new_identity()?.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        match renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE) {
            // Another server was faster: there is one key then, and it is that one's.
            Err(Errno::EXIST) => std::fs::remove_file(&aside),
            result => result.map_err(Into::into),
        }
    });
    named.inspect_err(|_| _ = std::fs::remove_file(&aside))?;
    File::open(folder)?.sync_all()
}

fn new_identity() -> io::Result<String> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut parameters = CertificateParams::new(names()).map_err(io::Error::other)?;
    parameters.distinguished_name.push(DnType::CommonName, "hostdir");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // It is known by its key, and a key does not age by itself: "no well-defined expiration date" (RFC 5280, 4.1.2.5).
    parameters.not_before = date_time_ymd(2025, 1, 1);
    parameters.not_after = date_time_ymd(9999, 12, 31);
    let certificate = parameters.self_signed(&key).map_err(io::Error::other)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// What this machine is likely to be called by; clients that go by the key do not care.
fn names() -> Vec<String> {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_plain = |name: &String| {
        !name.is_empty()
            && name.len() < 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    let machine = Some(machine).filter(is_plain);
    let local = machine.as_ref().filter(|name| !name.contains('.')).map(|name| format!("{name}.local"));
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    machine
        .into_iter()
        .chain(local)
        .chain(always)
        .filter({
            let mut seen = std::collections::HashSet::new();
            move |name| seen.insert(name.clone())
        })
        .collect()
}

fn read(path: &Path, nobody: u32) -> Result<Vec<u8>> {
    let read = File::open(path).and_then(|file| read_all(file, nobody));
    read.map_err(|error| Error::local("read", path.display(), error))
}

/// Reads a file on which `nobody` has these rights.
fn read_all(file: File, nobody: u32) -> io::Result<Vec<u8>> {
    if file.metadata()?.permissions().mode() & nobody != 0 {
        let why = "others can get at the key: take their rights to it away (chmod 600)";
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    let Some((there, real)) = found else { return absolute };
    absolute.strip_prefix(there).map_or_else(|_| absolute.clone(), |rest| real.join(rest))
}

/// Whether a remote path leads to it.
fn is_served(path: &Path, hosted: &Path) -> bool {
    path.strip_prefix(hosted).is_ok_and(|rest| RemotePath::parse(rest.as_os_str().as_bytes()).is_ok())
}
