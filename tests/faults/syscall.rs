//! The server is killed at every system call of the way of an upload, one after another; and each of them fails once.

use crate::common::{
    Frame, Log, RawClient, Server, Strace, data_frame, digest_of, eventually, is_long, put_file, upload_id,
};
use crate::ledger::{Ledger, stamped};
use hostdir::wire::{Begin, ErrorCode, Finish, OnConflict, Put, RawBytes, Reply, Request, StoredOutcome, Subscribe};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// The calls of the write path, and those around it.
const CALLS: [&str; 15] = [
    "openat2",
    "openat",
    "mkdirat",
    "newfstatat",
    "fstat",
    "fallocate",
    "pwrite64",
    "pread64",
    "ftruncate",
    "utimensat",
    "fsync",
    "syncfs",
    "renameat2",
    "renameat",
    "sendto",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    Create,
    Group,
    Conflict,
    Overwrite,
    Resume,
}

const UPLOADS: [Upload; 5] = [Upload::Create, Upload::Group, Upload::Conflict, Upload::Overwrite, Upload::Resume];

/// Which threads are killed or fail: that of the session, or whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    Session,
    All,
}

impl Upload {
    fn seeds(self) -> std::ops::Range<u64> {
        if self == Self::Group { 100..112 } else { 100..101 }
    }

    fn path(self, seed: u64) -> String {
        match self {
            Self::Create => "new/folder/file".into(),
            Self::Group => format!("group/{seed}"),
            Self::Conflict | Self::Overwrite => "taken.txt".into(),
            Self::Resume => "resumed".into(),
        }
    }

    fn bytes(self, seed: u64) -> Vec<u8> {
        stamped(seed, if self == Self::Resume { 1_500_000 } else { 10_000 })
    }

    fn put(self, seed: u64) -> Put {
        let bytes = self.bytes(seed);
        Put {
            modified: Some(1_000_000_000),
            digest: Some(digest_of(&bytes)),
            upload: Some(upload_id(seed)),
            on_conflict: if self == Self::Overwrite { OnConflict::Overwrite } else { OnConflict::Rename },
            ..put_file(self.path(seed), bytes.len())
        }
    }

    /// What is there before: acknowledged by an earlier run, or begun in it.
    fn prepare(self, dir: &Path, ledger: &Ledger) {
        let server = Server::start(dir, &["--allow-overwrite"]);
        let mut client = server.client();
        client.put("taken.txt", &stamped(1, 500)).unwrap().unwrap();
        ledger.acknowledged(b"taken.txt", 1);
        if self == Self::Resume {
            client.ask(self.put(100)).unwrap().unwrap();
            client.send(Request::Begin(Begin { offset: 0 })).unwrap();
            client.data(&self.bytes(100)[..700_000]).unwrap();
            drop(client);
            let partial = dir.join(".hostdir/partial").join(upload_id(100).to_string());
            eventually("it is begun", || partial.metadata().is_ok_and(|it| it.len() == 700_000));
        }
        server.kill();
    }

    /// The upload itself; what was acknowledged goes into the ledger, also if the rest fails.
    fn run(self, client: &mut RawClient, ledger: &Ledger) -> io::Result<()> {
        if self == Self::Overwrite {
            ledger.sent_over(self.path(100).as_bytes(), 100);
        }
        if self == Self::Resume {
            let stored = client
                .put_asking(self.put(100), &self.bytes(100))?
                .map_err(|it| io::Error::other(format!("{it:?}")))?;
            ledger.acknowledged(&stored.path, 100);
            return Ok(());
        }
        for seed in self.seeds() {
            client.send_put(self.put(seed), &self.bytes(seed))?;
        }
        let mut refused = None;
        for seed in self.seeds() {
            match client.stored()? {
                Ok(stored) => ledger.acknowledged(&stored.path, seed),
                Err(fault) => refused = Some(io::Error::other(format!("{fault:?}"))),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

/// Runs an upload with a fault. Returns whether the fault came to be.
fn with_fault(upload: Upload, call: &str, fault: &str, when: usize, threads: Threads) -> bool {
    let (dir, ledger) = (TempDir::new().unwrap(), Ledger::default());
    let what = format!("{upload:?}: {call} {when} of {threads:?}: {fault}");
    upload.prepare(dir.path(), &ledger);
    let mut server = Server::start(dir.path(), &["--allow-overwrite"]);
    let mut client = server.client();
    let injection = format!("{call}:{fault}:when={when}");
    let strace = match threads {
        Threads::Session => Strace::attach_thread(server.thread("session"), &[injection]),
        Threads::All => Strace::attach(server.pid(), &[injection]),
    };
    let came_through = upload.run(&mut client, &ledger);
    if !server.is_running() || came_through.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Other) {
        server.wait();
        assert!(fault.contains("KILL"), "{what}: the server ended");
    }
    let fault_came = came_through.is_err();
    drop(strace);
    ledger.check(dir.path(), &what);
    if !server.is_running() {
        drop(server);
        server = Server::start(dir.path(), &["--allow-overwrite"]);
        ledger.check(dir.path(), &what);
    }
    // The sender comes back, as it would; in the end each content is there once.
    if upload != Upload::Conflict || fault_came {
        upload.run(&mut server.client(), &ledger).unwrap_or_else(|error| panic!("{what}: again: {error}"));
    }
    let mut seeds = ledger.check(dir.path(), &what);
    seeds.sort_unstable();
    let before = if upload == Upload::Overwrite { vec![] } else { vec![1] };
    assert_eq!(seeds, before.into_iter().chain(upload.seeds()).collect::<Vec<_>>(), "{what}");
    let left = fs::read_dir(dir.path().join(".hostdir/partial")).unwrap().count();
    assert_eq!(left, 0, "{what}: leftovers");
    fault_came
}

/// Every combination, on a few threads; returns how many faults came to be.
fn sweep(calls: &[&'static str], fault: &str, most: usize) -> usize {
    let scopes: &[Threads] = if is_long() { &[Threads::Session, Threads::All] } else { &[Threads::Session] };
    let mut jobs: Vec<(Upload, &str, Threads)> = Vec::new();
    for upload in UPLOADS {
        for call in calls {
            jobs.extend(scopes.iter().map(|threads| (upload, *call, *threads)));
            // Content and folders are flushed by a thread of its own, which only the wider net catches.
            if !is_long() && matches!(*call, "fsync" | "syncfs") {
                jobs.push((upload, call, Threads::All));
            }
        }
    }
    let (next, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((upload, call, threads)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for when in 1..=most {
                        if !with_fault(*upload, call, fault, when, *threads) {
                            break;
                        }
                        came.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    came.into_inner()
}

fn is_possible(test: &str) -> bool {
    let possible = Strace::is_possible();
    if !possible {
        eprintln!("SKIPPED {test}: strace cannot attach here");
    }
    possible
}

#[test]
fn a_kill_at_any_system_call_loses_nothing_acknowledged() {
    if is_possible("kill at every system call") {
        let most = if is_long() { 100 } else { 6 };
        let kills = sweep(&CALLS, "signal=SIGKILL", most);
        eprintln!("{kills} kills, each at a system call of its own");
        assert!(kills > 30, "only {kills} kills came to be");
    }
}

#[test]
fn a_system_call_that_fails_loses_nothing_and_service_goes_on() {
    if is_possible("failing system calls") {
        let calls = ["mkdirat", "fallocate", "pwrite64", "utimensat", "fsync", "syncfs", "renameat2", "openat"];
        let faults: &[&str] =
            if is_long() { &["error=EIO", "error=ENOSPC", "error=EMFILE", "error=EINTR"] } else { &["error=EIO"] };
        let most = if is_long() { 100 } else { 1 };
        let failures: usize = faults.iter().map(|fault| sweep(&calls, fault, most)).sum();
        eprintln!("{failures} failures, each of a system call of its own");
        assert!(failures > 10, "only {failures} failures came to be");
    }
}

#[test]
fn a_flush_that_failed_is_final_and_its_file_is_not_seen() {
    if !is_possible("a failing flush") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    for (call, files) in [("fsync", 1), ("syncfs", 20)] {
        let strace = Strace::attach(server.pid(), &[format!("{call}:error=EIO:when=1")]);
        // At once, so that they are flushed together.
        let mut frames = Vec::new();
        for number in 0..files {
            let bytes = stamped(number, 5000);
            Request::Put(put_file(format!("{call}{number}"), 5000)).encode(&mut frames);
            frames.extend(data_frame(&bytes));
            Request::Finish(Finish { digest: digest_of(&bytes) }).encode(&mut frames);
        }
        client.raw(&frames).unwrap();
        let answers: Vec<_> = (0..files).map(|_| client.stored().unwrap()).collect();
        drop(strace);
        assert!(answers.iter().any(|answer| answer.as_ref().is_err_and(|it| it.code == ErrorCode::Unavailable)));
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer.is_ok(), dir.path().join(format!("{call}{number}")).exists());
        }
    }
    assert_eq!(client.put("after", &stamped(1, 100)).unwrap().unwrap().outcome, StoredOutcome::New);
    assert_eq!(fs::read_dir(dir.path().join(".hostdir/partial")).unwrap().count(), 0);
}

/// Without a free descriptor, say.
#[test]
fn a_file_that_cannot_be_looked_at_when_it_comes_arrives_later() {
    if !is_possible("a watch that fails") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    server.logged(Log::Events, &["event=watch", "folders="]);
    let mut follower = server.client();
    let folders = vec![RawBytes(Vec::new())];
    follower.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None })).unwrap();
    assert!(matches!(follower.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    let strace = Strace::attach_thread(server.thread("watch"), &["openat2:error=EMFILE".into()]);
    fs::write(dir.path().join("f"), "bytes").unwrap();
    server.logged(Log::Events, &["event=watch", "path=f", "not announced yet"]);
    drop(strace);
    let Frame::Reply(Reply::Arrived(arrived)) = follower.receive().unwrap() else { panic!("it does not arrive") };
    assert_eq!((&*arrived.path, arrived.digest), (&b"f"[..], digest_of(b"bytes")));
}
