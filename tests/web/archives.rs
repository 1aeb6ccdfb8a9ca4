//! Folders as archives (WEB.md, section 7), unpacked by the real `tar`.

use crate::common::{Log, content, digest_of};
use crate::http::{Http, get, served, write};
use hostdir::wire::Digest;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use walkdir::WalkDir;

/// Unpacks an archive with the real `tar`, which must find nothing wrong with it.
fn unpack(archive: &[u8]) -> TempDir {
    use std::io::Write;
    let into = TempDir::new().unwrap();
    let mut tar = Command::new("tar")
        .args(["-xpf", "-", "-C"])
        .arg(into.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tar is installed");
    tar.stdin.take().unwrap().write_all(archive).unwrap();
    assert!(tar.wait().unwrap().success());
    into
}

/// Paths below a folder, with what an archive must keep of each.
fn tree(root: &Path) -> Vec<(Vec<u8>, Option<Digest>, i64, i64)> {
    let entries = WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter().map(Result::unwrap);
    let kept =
        entries.filter(|entry| !entry.path().starts_with(root.join(".hostdir")) && !entry.file_type().is_symlink());
    kept.map(|entry| {
        let metadata = entry.metadata().unwrap();
        let content = metadata.is_file().then(|| digest_of(&fs::read(entry.path()).unwrap()));
        let name = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        (name, content, metadata.mtime(), metadata.mtime_nsec())
    })
    .collect()
}

fn set_modified(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn a_tree_is_unpacked_as_it_was() {
    let (dir, server) = served(&[], &[]);
    let long = "0".repeat(200);
    let names = [
        "a",
        "photos/año nuevo.jpg",
        "photos/deep/er/x",
        &format!("{long}/{long}/{long}"),
        "photos/ends with .",
        "-rf",
    ];
    for (number, name) in names.iter().enumerate() {
        write(dir.path(), name, &content(number as u64, number * 70_000));
    }
    fs::write(dir.path().join(OsStr::from_bytes(b"photos/\xff\n")), "not text").unwrap();
    fs::create_dir(dir.path().join("photos/empty")).unwrap();
    for size in [511, 512, 513] {
        write(dir.path(), &format!("blocks/{size}"), &content(9, size));
    }
    let epoch = SystemTime::UNIX_EPOCH;
    set_modified(&dir.path().join("a"), epoch + Duration::new(1_767_225_600, 123_456_789));
    set_modified(&dir.path().join("-rf"), epoch - Duration::from_millis(1250));
    set_modified(&dir.path().join("photos/empty"), epoch + Duration::from_secs(86_400));
    symlink("/etc/passwd", dir.path().join("photos/link")).unwrap();
    let answer = get(&server, "/tar/");
    assert!(answer.is_whole);
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/x-tar")));
    assert_eq!(answer.field("content-disposition"), Some("attachment; filename=\"hostdir.tar\""));
    assert_eq!(tree(unpack(&answer.body).path()), tree(dir.path()));
    // A folder unpacks to a folder of its name.
    let answer = get(&server, "/tar/photos/deep");
    let unpacked = unpack(&answer.body);
    assert_eq!(tree(&unpacked.path().join("deep")), tree(&dir.path().join("photos/deep")));
    assert_eq!(fs::read_dir(unpacked.path()).unwrap().count(), 1);
    let mode = |name: &str| fs::metadata(unpacked.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("deep"), mode("deep/er/x")), (0o755, 0o644));
    assert_eq!(get(&server, "/tar/photos/").field("content-disposition"), Some("attachment; filename=\"photos.tar\""));
    server.logged(Log::Transfers, &["event=download", "via=web", "path=photos/deep", "bytes=140000", "status=sent"]);
}

#[test]
fn what_is_no_folder_is_no_archive() {
    let (dir, server) = served(&[("f", b"x")], &[]);
    symlink("/etc", dir.path().join("link")).unwrap();
    let mut client = Http::connect(&server);
    for target in ["/tar/f", "/tar/nothing", "/tar/link"] {
        client.get(target).problem(404, "not-found");
    }
    for target in ["/tar/..", "/tar/.hostdir", "/tar/a//b"] {
        client.get(target).problem(400, "bad-path");
    }
    client.get("/tar/%").problem(400, "protocol");
    assert!(client.is_alive());
}

#[test]
fn an_archive_of_a_file_that_changes_is_not_whole() {
    let (dir, server) = served(&[], &[]);
    let file = File::create(dir.path().join("big")).unwrap();
    file.set_len(64 << 20).unwrap();
    let mut client = Http::connect(&server);
    client.send("GET /tar/", "", b"");
    let mut answer = client.head();
    file.write_all_at(b"x", 1).unwrap();
    assert!(!client.body(&mut answer));
    server.logged(Log::Transfers, &["event=download", "path=/", "status=failed", "changed"]);
}
