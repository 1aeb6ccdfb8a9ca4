//! PUT of files (WEB.md, section 5), in one go.

use crate::common::{Log, Server, content};
use crate::http::{Answer, Http, digest_field, put, served};
use std::fs;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

fn empty(arguments: &[&str]) -> (TempDir, Server) {
    served(&[], arguments)
}

fn chunked(parts: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(format!("{:x};note=\"a b\"\r\n", part.len()).bytes());
        body.extend_from_slice(part);
        body.extend(b"\r\n");
    }
    [&body[..], b"0\r\nX-Trailer: a\r\n\r\n"].concat()
}

fn put_chunked(client: &mut Http, target: &str, fields: &str, parts: &[&[u8]]) -> Answer {
    client.ask(&format!("PUT {target}"), &format!("Transfer-Encoding: chunked\r\n{fields}"), &chunked(parts))
}

fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["outcome"].as_str().unwrap_or_default().to_owned())
}

/// Nothing that an upload left: no partial file, and no file of that name.
fn assert_nothing_is_left(dir: &TempDir, name: &str) {
    assert!(!dir.path().join(name).exists());
    assert_eq!(fs::read_dir(dir.path().join(".hostdir/partial")).unwrap().count(), 0);
}

#[test]
fn an_upload_is_stored_and_told_with_its_name_and_digest() {
    let (dir, server) = empty(&[]);
    let mut client = Http::connect(&server);
    let content = content(1, 3_000_000);
    for (number, size) in [(1, 0), (2, 1), (3, 70_000), (4, 3_000_000)] {
        let (name, content) = (format!("a/b/ñ {size}"), &content[..size]);
        let answer = client.put(&format!("/files/a/b/%C3%B1%20{size}"), "", content);
        assert_eq!((answer.status, answer.field("content-type")), (201, Some("application/json")));
        assert_eq!(answer.field("location"), Some(&*format!("/files/a/b/%C3%B1%20{size}")));
        let body = answer.json();
        assert_eq!(body["path"], name);
        assert_eq!(body["href"], answer.field("location").unwrap());
        assert_eq!(body["outcome"], "new");
        assert_eq!(body["size"], size);
        assert_eq!(body["number"], number);
        assert_eq!(format!("blake3={}", body["digest"].as_str().unwrap()), digest_field(content));
        assert!(fs::read(dir.path().join(&name)).unwrap() == content, "{size}");
    }
    assert_eq!(client.ask("PUT /files/none", "", b"").status, 201, "no body is an empty file");
    assert_eq!(fs::read(dir.path().join("none")).unwrap(), b"");
    server.logged(Log::Transfers, &["event=upload", "via=web", "path=\"a/b/ñ 70000\"", "bytes=70000", "status=ok"]);
}

#[test]
fn a_chunked_upload_is_stored_whatever_its_chunks() {
    let (dir, server) = empty(&[]);
    let mut client = Http::connect(&server);
    let content = content(2, 400_000);
    let ones: Vec<&[u8]> = content[..1000].chunks(1).collect();
    type Shape<'a> = (&'a str, Vec<&'a [u8]>, &'a [u8]);
    let shapes: [Shape<'_>; 5] = [
        ("none", vec![], b""),
        ("one", vec![&content], &content),
        ("ones", ones, &content[..1000]),
        ("odd", content.chunks(65_537).collect(), &content),
        ("mixed", vec![&content[..1], &content[1..200_000], &content[200_000..200_003], &content[200_003..]], &content),
    ];
    for (name, parts, expected) in shapes {
        let answer = put_chunked(&mut client, &format!("/files/{name}"), "", &parts);
        assert_eq!(outcome(&answer), (201, "new".into()), "{name}");
        assert!(fs::read(dir.path().join(name)).unwrap() == expected, "{name}");
    }
    let answer = put_chunked(&mut client, "/files/sized", "Hostdir-Size: 3\r\n", &[b"ab", b"c"]);
    assert_eq!(answer.status, 201);
    for (name, size) in [("more", 2), ("fewer", 4)] {
        let mut client = Http::connect(&server);
        let fields = format!("Hostdir-Size: {size}\r\nHostdir-Upload: {}\r\n", "ab".repeat(16));
        put_chunked(&mut client, &format!("/files/{name}"), &fields, &[b"abc"]).problem(422, "mismatch");
        assert_nothing_is_left(&dir, name);
    }
    assert!(client.is_alive());
}

#[test]
fn a_body_that_is_no_sequence_of_chunks_is_refused_and_not_stored() {
    let (dir, server) = empty(&[]);
    let bodies = [
        "x\r\n",
        "5\r\nhelloX",
        "5\r\nhello5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno field\r\n\r\n",
        "5\r\nhello\r\n8000000000000000\r\n",
        "5;a\x01\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        &format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(4096)),
        &format!("0\r\n{}\r\n", "a: b\r\n".repeat(1000)),
    ];
    for body in bodies {
        let mut client = Http::connect(&server);
        // What follows would be a request to whoever reads the chunks in another way.
        let more = "PUT /files/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.send("PUT /files/x", "Transfer-Encoding: chunked\r\n", format!("{body}{more}").as_bytes());
        client.answer().problem(400, "protocol");
        client.closed();
        assert_nothing_is_left(&dir, "x");
    }
    assert!(!dir.path().join("smuggled").exists());
}

#[test]
fn each_policy_is_kept_when_a_name_is_taken() {
    let (dir, server) = empty(&["--allow-overwrite"]);
    let mut client = Http::connect(&server);
    let file = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    client.put("/files/f.txt", "", b"one");
    let again = client.put("/files/f.txt", "", b"one");
    assert_eq!(outcome(&again), (200, "identical".into()));
    assert_eq!(again.json()["number"], 1);
    let renamed = client.put("/files/f.txt", "", b"two");
    assert_eq!(outcome(&renamed), (201, "renamed".into()));
    assert_eq!(renamed.field("location"), Some("/files/f%20%281%29.txt"));
    assert_eq!(file("f (1).txt"), "two");
    let skipped = client.put("/files/f.txt", "Hostdir-On-Conflict: skip\r\n", b"six");
    assert_eq!((outcome(&skipped), &skipped.json()["digest"]), ((200, "skipped".into()), &serde_json::Value::Null));
    client.put("/files/f.txt", "Hostdir-On-Conflict: fail\r\n", b"six").problem(409, "exists");
    client.put("/files/f.txt", "If-None-Match: *\r\n", b"six").problem(412, "exists");
    // The acknowledgement of an upload may have been lost: sent once more, it is no failure.
    for policy in ["Hostdir-On-Conflict: fail", "If-None-Match: *"] {
        assert_eq!(outcome(&client.put("/files/f.txt", &format!("{policy}\r\n"), b"one")), (200, "identical".into()));
    }
    assert_eq!((file("f.txt"), file("f (1).txt")), ("one".into(), "two".into()));
    let replaced = client.put("/files/f.txt", "Hostdir-On-Conflict: overwrite\r\n", b"new");
    assert_eq!((outcome(&replaced), file("f.txt")), ((200, "overwritten".into()), "new".into()));
    assert_eq!(outcome(&client.put("/files/new", "If-None-Match: *\r\n", b"x")), (201, "new".into()));
    client.put("/files/f.txt", "Hostdir-On-Conflict: replace\r\n", b"x").problem(400, "protocol");
    // Another condition compares with what is there.
    let tag = client.get("/files/f.txt").field("etag").unwrap().to_owned();
    let overwrite = "Hostdir-On-Conflict: overwrite\r\n";
    client.put("/files/f.txt", &format!("{overwrite}If-Match: \"x\"\r\n"), b"x").problem(412, "changed");
    client.put("/files/f.txt", &format!("{overwrite}If-None-Match: {tag}\r\n"), b"x").problem(412, "changed");
    client.put("/files/missing", "If-Match: *\r\n", b"x").problem(412, "changed");
    assert_eq!(client.put("/files/f.txt", &format!("{overwrite}If-Match: {tag}\r\n"), b"x").status, 200);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn a_digest_that_is_announced_is_checked() {
    let (dir, server) = empty(&[]);
    let mut client = Http::connect(&server);
    let content = content(3, 200_000);
    let digest = format!("Hostdir-Digest: {}\r\n", digest_field(&content));
    let mut damaged = content.clone();
    damaged[100_000] ^= 1;
    client.put("/files/f", &digest, &damaged).problem(422, "mismatch");
    assert_nothing_is_left(&dir, "f");
    server.logged(Log::Transfers, &["event=upload", "path=f", "status=failed"]);
    assert_eq!(client.put("/files/f", &digest, &content).status, 201);
    for broken in ["blake3=00", "sha256=00", "x"] {
        client.put("/files/g", &format!("Hostdir-Digest: {broken}\r\n"), b"").problem(400, "protocol");
    }
}

#[test]
fn a_modification_time_is_kept_to_the_nanosecond() {
    let (dir, server) = empty(&[]);
    let mut client = Http::connect(&server);
    let epoch = SystemTime::UNIX_EPOCH;
    let times = [
        ("1767225600", epoch + Duration::from_secs(1_767_225_600)),
        ("1767225600.123456789", epoch + Duration::new(1_767_225_600, 123_456_789)),
        ("0.5", epoch + Duration::from_millis(500)),
        ("-1.25", epoch - Duration::from_millis(1250)),
    ];
    for (text, time) in times {
        let name = format!("t{text}");
        assert_eq!(client.put(&format!("/files/{name}"), &format!("Hostdir-Modified: {text}\r\n"), b"x").status, 201);
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().modified().unwrap(), time, "{text}");
    }
    for broken in ["yesterday", "1e9", "1.0000000001", ""] {
        client.put("/files/g", &format!("Hostdir-Modified: {broken}\r\n"), b"").problem(400, "protocol");
    }
}

/// `100` comes as soon as it is known that the body is wanted, and not before.
#[test]
fn who_waits_for_a_word_hears_it_only_if_the_body_is_wanted() {
    let (dir, server) = empty(&["--max-file-size", "1MiB"]);
    let wait = "Expect: 100-continue\r\n";
    let mut client = Http::connect(&server);
    for name in ["a", "b"] {
        client.send(&format!("PUT /files/{name}"), &format!("{wait}Content-Length: 5\r\n"), b"");
        assert_eq!(client.head().status, 100);
        client.raw(b"hello");
        assert_eq!(client.answer().status, 201);
    }
    client.send("PUT /files/c", &format!("{wait}Transfer-Encoding: chunked\r\n"), b"");
    assert_eq!(client.head().status, 100);
    client.raw(chunked(&[b"hello"]));
    assert_eq!(client.answer().status, 201);
    assert_eq!(client.ask("PUT /files/none", &format!("{wait}Content-Length: 0\r\n"), b"").status, 201);
    let refusals = [
        ("PUT /files/../x", "Content-Length: 5\r\n", 400),
        ("PUT /files/nul:", "Content-Length: 5\r\n", 400),
        ("PUT /files/x", "Content-Length: 2000000\r\n", 413),
        ("PUT /files/a", "Content-Length: 5\r\nHostdir-On-Conflict: fail\r\n", 409),
        ("PUT /files/a", "Content-Length: 5\r\nHostdir-On-Conflict: overwrite\r\n", 403),
        ("PUT /files/x", "Content-Length: 5\r\nContent-Range: bytes 1-5/6\r\n", 428),
        ("PUT /nothing", "Content-Length: 5\r\n", 404),
    ];
    for (line, fields, status) in refusals {
        let mut client = Http::connect(&server);
        let answer = client.ask(line, &format!("{wait}{fields}"), b"");
        assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{line}");
        client.closed();
    }
    // Content that is there already needs no body.
    let mut client = Http::connect(&server);
    let fields = format!("{wait}Content-Length: 5\r\nHostdir-Digest: {}\r\n", digest_field(b"hello"));
    let answer = client.ask("PUT /files/a", &fields, b"");
    assert_eq!(outcome(&answer), (200, "identical".into()));
    client.closed();
    let answer = Http::connect(&server).ask(
        "PUT /files/a",
        &format!("{wait}{}", "Content-Length: 7\r\nHostdir-On-Conflict: skip\r\n"),
        b"",
    );
    assert_eq!(outcome(&answer), (200, "skipped".into()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

#[test]
fn a_server_that_takes_none_says_so_before_the_body() {
    let (dir, server) = empty(&["--read-only"]);
    let mut client = Http::connect(&server);
    assert_eq!(client.ask("PUT /files/x", "Expect: 100-continue\r\nContent-Length: 5\r\n", b"").status, 403);
    assert_eq!(put(&server, "/files/x", "", b"hello").problem(403, "read-only"), "this server takes no uploads");
    assert!(!dir.path().join("x").exists());
    server.logged(Log::Transfers, &["event=upload", "via=web", "path=x", "status=refused"]);
}

/// A client that looks for the answer only when it has sent everything must find it, not a reset.
#[test]
fn a_client_that_is_refused_in_the_middle_of_sending_hears_why() {
    let (dir, server) = empty(&["--max-file-size", "1MiB"]);
    let body = vec![b'x'; 32 << 20];
    let mut client = Http::connect(&server);
    assert!(client.put("/files/x", "", &body).problem(413, "too-large").contains("1048576"));
    client.closed();
    let mut client = Http::connect(&server);
    put_chunked(&mut client, "/files/x", "", &[&body]).problem(413, "too-large");
    client.closed();
    // Also one that takes longer than a connection that ends is listened to otherwise.
    let mut client = Http::connect(&server);
    client.send("PUT /files/x", &format!("Content-Length: {}\r\n", body.len()), b"");
    for piece in body.chunks(1 << 20) {
        client.raw(piece);
        std::thread::sleep(Duration::from_millis(100));
    }
    client.answer().problem(413, "too-large");
    client.closed();
    assert_nothing_is_left(&dir, "x");
    // A small body is read, and the connection goes on.
    let mut client = Http::connect(&server);
    client.put("/files/..", "", &body[..60_000]).problem(400, "bad-path");
    assert!(client.is_alive());
    // What is there already is sent all the same.
    assert_eq!(put(&server, "/files/f", "", &body[..1 << 20]).status, 201);
    let digest = format!("Hostdir-Digest: {}\r\n", digest_field(&body[..1 << 20]));
    assert_eq!(outcome(&client.put("/files/f", &digest, &body[..1 << 20])), (200, "identical".into()));
    assert!(client.is_alive());
}

#[test]
fn an_upload_that_stalls_or_breaks_off_is_told_and_gone() {
    let (dir, server) = empty(&["--stall-timeout", "1"]);
    let mut client = Http::connect(&server);
    client.send("PUT /files/x", "Content-Length: 1000000\r\n", b"some");
    client.answer().problem(408, "timeout");
    client.closed();
    server.logged(Log::Transfers, &["path=x", "status=incomplete"]);
    let mut client = Http::connect(&server);
    client.send("PUT /files/y", "Content-Length: 1000000\r\n", &[0; 500_000]);
    drop(client);
    server.logged(Log::Transfers, &["path=y", "status=incomplete"]);
    assert_nothing_is_left(&dir, "x");
    assert_nothing_is_left(&dir, "y");
}

#[test]
fn statements_about_the_length_must_agree() {
    let (_dir, server) = empty(&[]);
    let id = format!("Hostdir-Upload: {}\r\nHostdir-Prefix: {}\r\n", "ab".repeat(16), digest_field(b""));
    let cases = [
        "Hostdir-Size: 6\r\n".to_owned(),
        format!("{id}Content-Range: bytes 0-5/6\r\n"),
        format!("{id}Content-Range: bytes 1-4/5\r\n"),
        format!("{id}Content-Range: bytes 0-4/6\r\n"),
        format!("{id}Content-Range: bytes 0-4/*\r\n"),
        format!("{id}Content-Range: bytes 0-4/5\r\nHostdir-Size: 6\r\n"),
        format!("{id}Content-Range: items 0-4/5\r\n"),
        "Hostdir-Size: five\r\n".into(),
        "Hostdir-Upload: 12\r\n".into(),
        "Hostdir-Size: 5\r\nHostdir-Size: 5\r\n".into(),
    ];
    for fields in cases {
        put(&server, "/files/x", &fields, b"hello").problem(400, "protocol");
    }
    assert_eq!(put(&server, "/files/x", "Hostdir-Size: 5\r\n", b"hello").status, 201);
}

#[test]
fn memory_does_not_grow_with_a_body() {
    let (_dir, server) = empty(&[]);
    let mut client = Http::connect(&server);
    let piece = content(4, 1 << 20);
    client.send("PUT /files/large", &format!("Content-Length: {}\r\n", 256 << 20), b"");
    for _ in 0..256 {
        client.raw(&piece);
    }
    assert_eq!(client.answer().status, 201);
    let peak = server.memory_kib("VmHWM") / 1024;
    assert!(peak < 48, "{peak} MiB");
}
