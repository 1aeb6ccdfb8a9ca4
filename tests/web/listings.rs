//! Listings, and what the server says of itself (WEB.md, section 6).

use crate::common::{Server, memory};
use crate::http::{Http, get, served};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

fn entries(body: &Value) -> BTreeMap<String, &Value> {
    let entries = body["entries"].as_array().unwrap();
    let named: BTreeMap<_, _> =
        entries.iter().map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry)).collect();
    assert_eq!(named.len(), entries.len());
    named
}

#[test]
fn a_folder_is_listed_with_kinds_sizes_times_and_addresses() {
    let (dir, server) = served(&[("photos/año nuevo.jpg", b"12345"), ("photos/raw/a", b""), ("top", b"x")], &[]);
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 123_456_789);
    let photo = File::open(dir.path().join("photos/año nuevo.jpg")).unwrap();
    photo.set_times(FileTimes::new().set_modified(time)).unwrap();
    let answer = get(&server, "/api/list?path=photos");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    assert!(answer.is_whole && answer.text().contains("\"modified\":1767225600.123456789"), "{}", answer.text());
    let body = answer.json();
    let told = (&body["path"], &body["truncated"], &body["skipped"], &body["unreadable"]);
    assert_eq!(told, (&"photos".into(), &false.into(), &0.into(), &0.into()));
    let found = entries(&body);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["año nuevo.jpg", "raw"]);
    let photo = found["año nuevo.jpg"];
    assert_eq!((&photo["kind"], &photo["size"]), (&"file".into(), &5.into()));
    assert_eq!(get(&server, photo["href"].as_str().unwrap()).body, b"12345");
    assert_eq!((&found["raw"]["kind"], &found["raw"]["size"]), (&"folder".into(), &Value::Null));
    for root in ["/api/list", "/api/list?path=", "/api/list?path=/"] {
        assert_eq!(entries(&get(&server, root).json()).keys().collect::<Vec<_>>(), ["photos", "top"], "{root}");
    }
    let all = get(&server, "/api/list?recursive=1").json();
    let names: Vec<_> = entries(&all).into_keys().collect();
    assert_eq!(names, ["photos", "photos/año nuevo.jpg", "photos/raw", "photos/raw/a", "top"]);
    let below = get(&server, "/api/list?path=photos/&recursive=1").json();
    assert_eq!(entries(&below).into_keys().collect::<Vec<_>>(), ["año nuevo.jpg", "raw", "raw/a"]);
    let limited = get(&server, "/api/list?recursive=1&limit=2").json();
    assert_eq!((entries(&limited).len(), &limited["truncated"]), (2, &true.into()));
    let one = get(&server, "/api/list?path=photos/raw/a").json();
    assert_eq!(entries(&one).into_keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(get(&server, "/api/list?path=photos/raw/a").json()["entries"][0]["href"], "/files/photos/raw/a");
}

#[test]
fn hostile_names_are_exact_in_their_addresses_and_harmless_in_the_text() {
    let (dir, server) = served(&[], &[]);
    let names: [&[u8]; 6] =
        [b"a\"b\\n", b"\xff\xfe", "\u{202e}gpj.exe".as_bytes(), b"<script>", b"%41?#&", b"a\nb\x1b"];
    // A backslash is in no remote path; that one is skipped.
    for name in names {
        fs::write(dir.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    symlink("/etc", dir.path().join("link")).unwrap();
    let body = get(&server, "/api/list").json();
    assert_eq!((entries(&body).len(), &body["skipped"]), (5, &2.into()));
    for entry in body["entries"].as_array().unwrap() {
        let answer = get(&server, entry["href"].as_str().unwrap());
        assert_eq!(String::from_utf8_lossy(&answer.body), entry["name"].as_str().unwrap());
    }
}

#[test]
fn what_cannot_be_listed_is_a_problem() {
    let (_dir, server) = served(&[("f", b"x")], &[]);
    let mut client = Http::connect(&server);
    client.get("/api/list?path=nothing").problem(404, "not-found");
    client.get("/api/list?path=../x").problem(400, "bad-path");
    client.get("/api/list?path=%zz").problem(400, "protocol");
    client.get("/api/list?limit=-1").problem(400, "protocol");
    assert!(client.is_alive());
}

#[test]
fn a_hundred_thousand_entries_are_listed_in_little_memory() {
    const COUNT: usize = 100_000;
    let dir = memory();
    for number in 0..COUNT {
        File::create(dir.path().join(format!("entry-{number}"))).unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    let mut client = Http::connect(&server);
    assert!(client.is_alive());
    let before = server.memory_kib("VmHWM");
    // Nothing is taken of it for a while: what is not taken must not pile up.
    client.send("GET /api/list?recursive=1", "", b"");
    let mut answer = client.head();
    assert!(client.body(&mut answer));
    let grown = server.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB");
    assert_eq!(entries(&answer.json()).len(), COUNT);
}

#[test]
fn the_server_says_what_it_is_and_allows() {
    let (_dir, server) = served(&[], &["--name", "the attic", "--allow-overwrite", "--max-file-size", "1MiB"]);
    let body = get(&server, "/api/server").json();
    assert_eq!((&body["name"], &body["version"]), (&"the attic".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(
        (&body["overwrite"], &body["read_only"], &body["max_file_size"]),
        (&true.into(), &false.into(), &1_048_576.into())
    );
    let (_dir, server) = served(&[], &["--read-only"]);
    let body = get(&server, "/api/server").json();
    assert_eq!(
        (&body["overwrite"], &body["read_only"], &body["max_file_size"]),
        (&false.into(), &true.into(), &Value::Null)
    );
}
