//! GET and HEAD of files (WEB.md, section 4).

use crate::common::{Log, Server, content, eventually};
use crate::http::{Http, digest_field, get, put, served, write};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{FileExt, symlink};
use std::time::{Duration, SystemTime};

fn etag(server: &Server, target: &str) -> String {
    get(server, target).field("etag").unwrap().to_owned()
}

#[test]
fn a_file_comes_with_its_kind_name_size_and_version() {
    let (dir, server) = served(&[("photos/año nuevo.JPG", b"jpeg"), ("a b", b""), ("x.txt", b"text")], &[]);
    let time = SystemTime::UNIX_EPOCH + Duration::new(784_111_777, 500_000_000);
    File::open(dir.path().join("x.txt")).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    let photo = get(&server, "/files/photos/a%C3%B1o%20nuevo.JPG");
    assert_eq!((photo.status, &photo.body[..]), (200, &b"jpeg"[..]));
    assert_eq!(photo.field("content-type"), Some("image/jpeg"));
    let disposition = "attachment; filename=\"a_o nuevo.JPG\"; filename*=UTF-8''a%C3%B1o%20nuevo.JPG";
    assert_eq!(photo.field("content-disposition"), Some(disposition));
    assert_eq!(photo.field("accept-ranges"), Some("bytes"));
    assert_eq!(photo.field("cache-control"), Some("no-cache"));
    let text = get(&server, "/files/x.txt");
    assert_eq!(text.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.field("last-modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    let tag = text.field("etag").unwrap();
    assert!(tag.len() == 34 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let empty = get(&server, "/files/a%20b");
    assert_eq!((empty.status, empty.field("content-length")), (200, Some("0")));
    assert_eq!(empty.field("content-type"), Some("application/octet-stream"));
    fs::write(dir.path().join("x.txt"), "changed").unwrap();
    assert_ne!(etag(&server, "/files/x.txt"), tag);
    server.logged(Log::Transfers, &["event=download", "via=web", "path=x.txt", "bytes=4", "status=sent"]);
}

#[test]
fn files_of_any_size_come_whole_on_one_connection() {
    let (dir, server) = served(&[], &[]);
    let mut client = Http::connect(&server);
    for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let content = content(size as u64, size);
        write(dir.path(), "f", &content);
        let answer = client.get("/files/f");
        assert!(answer.is_whole && answer.body == content, "{size}");
        assert_eq!(answer.field("content-length"), Some(&*size.to_string()));
    }
}

#[test]
fn a_digest_that_is_known_is_told() {
    let (_dir, server) = served(&[], &[]);
    let content = content(1, 100_000);
    assert_eq!(put(&server, "/files/f", "", &content).status, 201);
    let mut client = Http::connect(&server);
    assert_eq!(client.get("/files/f").field("hostdir-digest"), Some(&*digest_field(&content)));
    let head = client.ask("HEAD /files/f", "", b"");
    assert_eq!(head.field("hostdir-digest"), Some(&*digest_field(&content)));
}

/// RFC 9110, section 14, over the wire; the tables are with the code.
#[test]
fn one_range_is_answered_and_others_are_not() {
    let content = content(2, 300_000);
    let (_dir, server) = served(&[("f", &content), ("empty", b"")], &[]);
    let mut client = Http::connect(&server);
    let parts = [
        ("0-0", 0, 1),
        ("0-299999", 0, 300_000),
        ("1-", 1, 299_999),
        ("-1", 299_999, 1),
        ("100000-199999", 100_000, 100_000),
        ("299999-400000", 299_999, 1),
    ];
    for (range, offset, length) in parts {
        let answer = client.ask("GET /files/f", &format!("Range: bytes={range}\r\n"), b"");
        assert_eq!((answer.status, answer.body.len()), (206, length), "{range}");
        assert!(answer.body == content[offset..offset + length], "{range}");
        let told = format!("bytes {offset}-{}/300000", offset + length - 1);
        assert_eq!(answer.field("content-range"), Some(&*told));
    }
    for range in ["bytes=300000-", "bytes=-0", "bytes=0-0,2-2"] {
        let answer = client.ask("GET /files/f", &format!("Range: {range}\r\n"), b"");
        answer.problem(416, "out-of-range");
        assert_eq!(answer.field("content-range"), Some("bytes */300000"));
    }
    let twice = "Range: bytes=0-0\r\nRange: bytes=2-2\r\n";
    assert_eq!(client.ask("GET /files/f", twice, b"").status, 200);
    assert_eq!(client.ask("GET /files/empty", "Range: bytes=0-\r\n", b"").status, 416);
    for range in ["lines=0-1", "bytes=2-1", "bytes=x", "bytes"] {
        let answer = client.ask("GET /files/f", &format!("Range: {range}\r\n"), b"");
        assert_eq!((answer.status, answer.body.len(), answer.field("content-range")), (200, 300_000, None), "{range}");
    }
    let head = client.ask("HEAD /files/f", "Range: bytes=0-0\r\n", b"");
    assert_eq!((head.status, head.field("content-length")), (200, Some("300000")));
    server.logged(Log::Transfers, &["path=f", "offset=100000", "bytes=100000", "size=300000", "status=sent"]);
}

#[test]
fn conditions_are_honoured_and_an_unchanged_file_is_not_sent_again() {
    let (dir, server) = served(&[("f", b"content")], &[]);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    File::open(dir.path().join("f")).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
    let tag = etag(&server, "/files/f");
    let same = "Sun, 06 Nov 1994 08:49:37 GMT";
    let before = "Sun, 06 Nov 1994 08:49:36 GMT";
    let cases = [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"x\"\r\n".into(), 200),
        (format!("If-Modified-Since: {same}\r\n"), 304),
        (format!("If-Modified-Since: {before}\r\n"), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {same}\r\n"), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: \"x\"\r\n".into(), 412),
        (format!("If-Unmodified-Since: {before}\r\n"), 412),
        (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {before}\r\n"), 200),
        (format!("If-Range: {tag}\r\nRange: bytes=0-0\r\n"), 206),
        (format!("If-Range: {same}\r\nRange: bytes=0-0\r\n"), 206),
        ("If-Range: \"x\"\r\nRange: bytes=0-0\r\n".into(), 200),
        (format!("If-Range: {before}\r\nRange: bytes=0-0\r\n"), 200),
        ("If-Range: \"x\"\r\nRange: bytes=99-\r\n".into(), 200),
        (format!("If-None-Match: {tag}\r\nRange: bytes=99-\r\n"), 304),
        ("If-Match: \"x\"\r\nRange: bytes=99-\r\n".into(), 412),
    ];
    let mut client = Http::connect(&server);
    for (fields, status) in cases {
        let answer = client.ask("GET /files/f", &fields, b"");
        assert_eq!(answer.status, status, "{fields}");
        if status == 304 {
            assert_eq!((answer.field("etag"), answer.field("content-length")), (Some(&*tag), None));
        }
        let head = client.ask("HEAD /files/f", &fields, b"");
        assert_eq!(head.status, if status == 206 { 200 } else { status }, "HEAD with {fields}");
    }
    assert_eq!(
        client.ask("GET /files/f", "If-Match: \"x\"\r\n", b"").problem(412, "changed"),
        "the file is another version"
    );
    assert_eq!(client.ask("GET /files/nothing", "If-None-Match: *\r\n", b"").status, 404);
}

#[test]
fn only_regular_files_inside_are_served() {
    let (dir, server) = served(&[("folder/f", b"x")], &[]);
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    symlink("/etc", dir.path().join("etc")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let mut client = Http::connect(&server);
    for target in ["/files/nothing", "/files/link", "/files/etc/passwd", "/files/folder/f/x"] {
        client.get(target).problem(404, "not-found");
    }
    for target in ["/files/folder", "/files/folder/", "/files/", "/files/fifo"] {
        let detail = client.get(target).problem(404, "not-a-file");
        assert!(detail.contains("/tar/"), "{detail}");
    }
    for target in [
        "/files/../etc/passwd",
        "/files/folder/../folder/f",
        "/files/%2e%2e/etc/passwd",
        "/files//etc/passwd",
        "/files/%2Fetc%2Fpasswd",
        "/files/.hostdir/digests",
        "/files/.HOSTDIR/digests",
        "/files/a%00b",
        "/files/a%5Cb",
        "/files/./folder/f",
    ] {
        client.get(target).problem(400, "bad-path");
    }
    client.get("/files/%").problem(400, "protocol");
    client.get("/files/%252e%252e/x").problem(404, "not-found");
    // One encoding of a path is as good as another.
    assert_eq!(client.get("/files/%66older%2Ff").body, b"x");
    server.logged(Log::Transfers, &["event=download", "via=web", "path=link", "status=refused"]);
}

/// The announced number of bytes must not come of a file that changed, however it did.
#[test]
fn a_file_that_changes_while_it_is_sent_is_not_whole() {
    let (dir, server) = served(&[], &[]);
    type Change = fn(&mut File);
    let changes: [(&str, Change); 3] = [
        ("appended", |file| file.write_all_at(b"x", 64 << 20).unwrap()),
        ("overwritten", |file| file.write_all_at(b"x", 63 << 20).unwrap()),
        ("cut", |file| file.set_len(60 << 20).unwrap()),
    ];
    for (name, change) in changes {
        let mut file = File::create_new(dir.path().join(name)).unwrap();
        file.set_len(64 << 20).unwrap();
        for fields in ["", "Range: bytes=1000-\r\n"] {
            let mut client = Http::connect(&server);
            client.send(&format!("GET /files/{name}"), fields, b"");
            let mut answer = client.head();
            assert!(answer.field("content-length").unwrap().parse::<usize>().unwrap() > 60_000_000);
            change(&mut file);
            assert!(!client.body(&mut answer), "{name} {fields}");
            client.gone();
            file.set_len(64 << 20).unwrap();
        }
        server.logged(Log::Transfers, &[&format!("path={name}"), "status=failed", "changed"]);
    }
}

#[test]
fn a_client_that_leaves_or_stalls_is_incomplete_in_the_log() {
    let (dir, server) = served(&[], &["--stall-timeout", "1"]);
    File::create(dir.path().join("big")).unwrap().set_len(64 << 20).unwrap();
    let mut leaving = Http::connect(&server);
    leaving.send("GET /files/big", "", b"");
    leaving.head();
    drop(leaving);
    server.logged(Log::Transfers, &["path=big", "status=incomplete"]);
    let mut stalling = Http::connect(&server);
    stalling.send("GET /files/big", "X-Who: stalling\r\n", b"");
    eventually("both are in the log", || {
        server.log(Log::Transfers).iter().filter(|line| line.contains("status=incomplete")).count() == 2
    });
    stalling.gone();
}
