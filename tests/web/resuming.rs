//! Uploads that go on after a break (WEB.md, section 5; promises 3 and 4).

use crate::common::{Log, Random, Server, content, eventually};
use crate::http::{Answer, Http, digest_field, get, served};
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ID: &str = "00112233445566778899aabbccddeeff";

/// How much of an upload is there, and its digest as a field.
fn held(server: &Server, size: usize) -> (usize, Option<String>) {
    let ask = || get(server, &format!("/api/upload?path=a/f&upload={ID}&size={size}"));
    let mut answer = ask();
    // A request of a connection that is gone may be read after this one, and takes the upload over: it is asked again.
    eventually("it is told", || {
        let is_told = answer.status != 409;
        if !is_told {
            answer = ask();
        }
        is_told
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let prefix = body["prefix"].as_str().map(|digits| format!("blake3={digits}"));
    (body["offset"].as_u64().unwrap() as usize, prefix)
}

/// Begins an upload of `size` bytes, and breaks off after `sent` of them.
fn break_off(server: &Server, content: &[u8], sent: usize, framing: &str) {
    let mut client = Http::connect(server);
    let head = format!("{framing}Hostdir-Upload: {ID}\r\n");
    client.send("PUT /files/a/f", &head, b"");
    if framing.contains("chunked") {
        client.raw(format!("{:x}\r\n", content.len()));
    }
    // The server may have closed already where another connection took the upload over.
    let _ = client.stream.write_all(&content[..sent]);
}

/// Sends the rest from `offset` on.
fn go_on(server: &Server, content: &[u8], offset: usize, fields: &str) -> Answer {
    let size = content.len();
    let range = if offset == size { format!("*/{size}") } else { format!("{offset}-{}/{size}", size - 1) };
    let fields = format!("Hostdir-Upload: {ID}\r\nContent-Range: bytes {range}\r\n{fields}");
    let mut client = Http::connect(server);
    client.send("PUT /files/a/f", &format!("Content-Length: {}\r\n{fields}", size - offset), b"");
    // Where another connection has taken the upload over, the answer is there before all is sent.
    let _ = client.stream.write_all(&content[offset..]);
    client.answer()
}

/// Waits until so many bytes are there. To ask for them would cut off who sends them.
fn wait_for(dir: &TempDir, count: usize) {
    let partial = dir.path().join(".hostdir/partial").join(ID);
    eventually("the bytes are there", || fs::metadata(&partial).is_ok_and(|partial| partial.len() >= count as u64));
}

#[test]
fn an_upload_that_breaks_off_anywhere_goes_on_where_it_was() {
    let content = content(1, 600_000);
    let mut random = Random::announced("an_upload_that_breaks_off_anywhere_goes_on_where_it_was");
    let mut points = vec![0, 1, 131_071, 131_072, 131_073, 599_999, 600_000];
    points.extend((0..5).map(|_| random.below(600_000) as usize));
    for framing in [format!("Content-Length: {}\r\n", content.len() + 1), "Transfer-Encoding: chunked\r\n".into()] {
        for sent in &points {
            let (dir, server) = served(&[], &[]);
            // One byte more is announced than ever comes, so that no attempt is whole by itself.
            let mut longer = content.clone();
            longer.push(b'!');
            break_off(&server, &longer, *sent, &framing);
            server.logged(Log::Transfers, &["status=incomplete"]);
            let (offset, prefix) = held(&server, longer.len());
            assert_eq!(offset, *sent, "all that came is kept");
            assert_eq!(prefix, (offset > 0).then(|| digest_field(&longer[..offset])));
            let fields = prefix.map(|prefix| format!("Hostdir-Prefix: {prefix}\r\n"));
            let fields = fields.unwrap_or_else(|| format!("Hostdir-Prefix: {}\r\n", digest_field(b"")));
            let answer = go_on(&server, &longer, offset, &fields);
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert!(fs::read(dir.path().join("a/f")).unwrap() == longer);
            let line = server.logged(Log::Transfers, &["status=ok"]);
            assert!(line.contains(&format!("offset={offset} bytes={}", longer.len() - offset)), "{line}");
            assert_eq!(fs::read_dir(dir.path().join(".hostdir/partial")).unwrap().count(), 0);
        }
    }
}

/// Many breaks in one upload, each wherever it comes; and the server killed between two of them.
#[test]
fn an_upload_that_breaks_off_again_and_again_arrives_whole() {
    let content = content(2, 5_000_000);
    let (dir, mut server) = served(&[], &[]);
    let mut random = Random::announced("an_upload_that_breaks_off_again_and_again_arrives_whole");
    for round in 0..12 {
        let (offset, prefix) = held(&server, content.len());
        let mut client = Http::connect(&server);
        let fields = prefix
            .map(|prefix| format!("Hostdir-Prefix: {prefix}\r\nContent-Range: bytes {offset}-4999999/5000000\r\n"));
        let fields = format!("{}Hostdir-Upload: {ID}\r\n", fields.unwrap_or_default());
        client.send("PUT /files/a/f", &format!("Content-Length: {}\r\n{fields}", content.len() - offset), b"");
        let sent = random.below(((content.len() - offset) / 2) as u64) as usize;
        // A session of before may take the upload over meanwhile.
        let _ = client.stream.write_all(&content[offset..offset + sent]);
        wait_for(&dir, offset);
        drop(client);
        if round == 6 {
            drop(server);
            server = Server::start(dir.path(), &[]);
        }
    }
    // A request of a connection that is gone may still be read: then the client asks again, as it would of another break.
    eventually("it is whole", || {
        let (offset, prefix) = held(&server, content.len());
        let prefix = prefix.unwrap_or_else(|| digest_field(b""));
        let answer = go_on(&server, &content, offset, &format!("Hostdir-Prefix: {prefix}\r\n"));
        assert!(matches!(answer.status, 201 | 409), "{}", answer.text());
        answer.status == 201
    });
    assert!(fs::read(dir.path().join("a/f")).unwrap() == content);
    assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
}

#[test]
fn a_length_alone_is_never_trusted() {
    let (dir, server) = served(&[], &[]);
    let content = content(3, 200_000);
    break_off(&server, &content, 100_000, "Content-Length: 200000\r\n");
    server.logged(Log::Transfers, &["status=incomplete"]);
    assert_eq!(held(&server, 200_000).0, 100_000);
    go_on(&server, &content, 100_000, "").problem(428, "protocol");
    let prefix = |bytes: &[u8]| format!("Hostdir-Prefix: {}\r\n", digest_field(bytes));
    let other = prefix(b"something else");
    assert!(go_on(&server, &content, 100_000, &other).problem(409, "changed").contains("100000"));
    let whole = format!("Hostdir-Digest: {}\r\n", digest_field(&content));
    for offset in [99_999, 100_001] {
        go_on(&server, &content, offset, &prefix(&content[..offset])).problem(409, "changed");
        go_on(&server, &content, offset, &whole).problem(409, "changed");
    }
    // The digest of the whole finds what is wrong with a prefix that was not compared.
    let mut wrong = content.clone();
    wrong[0] ^= 1;
    let whole = format!("Hostdir-Digest: {}\r\n", digest_field(&wrong));
    go_on(&server, &wrong, 100_000, &whole).problem(422, "mismatch");
    assert_eq!(held(&server, 200_000), (0, None), "what was wrong is gone");
    break_off(&server, &content, 100_000, "Content-Length: 200000\r\n");
    wait_for(&dir, 100_000);
    assert_eq!(held(&server, 200_000).0, 100_000);
    let whole = format!("Hostdir-Digest: {}\r\n", digest_field(&content));
    assert_eq!(go_on(&server, &content, 100_000, &whole).status, 201);
    assert!(fs::read(dir.path().join("a/f")).unwrap() == content);
    // Without an identity nothing is kept.
    let fields = format!("Content-Length: 100\r\nContent-Range: bytes 100-199/200\r\n{}", prefix(&content[..100]));
    Http::connect(&server).ask("PUT /files/b", &fields, &[0; 100]).problem(428, "protocol");
}

#[test]
fn an_upload_that_is_sent_from_its_start_again_begins_anew() {
    let (dir, server) = served(&[], &[]);
    let (old, new) = (content(4, 200_000), content(5, 200_000));
    break_off(&server, &old, 150_000, "Content-Length: 200000\r\n");
    server.logged(Log::Transfers, &["status=incomplete"]);
    let answer = Http::connect(&server).put("/files/a/f", &format!("Hostdir-Upload: {ID}\r\n"), &new);
    assert_eq!(answer.status, 201);
    assert!(fs::read(dir.path().join("a/f")).unwrap() == new);
}

/// As browsers do by themselves, when a connection breaks that they had used before.
#[test]
fn a_first_attempt_that_is_sent_again_throws_nothing_away() {
    let (dir, server) = served(&[], &[]);
    let content = content(8, 200_000);
    let first = format!("Content-Range: bytes 0-199999/200000\r\nHostdir-Prefix: {}\r\n", digest_field(b""));
    break_off(&server, &content, 150_000, &format!("Content-Length: 200000\r\n{first}"));
    server.logged(Log::Transfers, &["status=incomplete"]);
    let again = go_on(&server, &content, 0, &format!("Hostdir-Prefix: {}\r\n", digest_field(b"")));
    assert!(again.problem(409, "changed").contains("150000"));
    // Nor is it heard out: browsers read no answer before they have sent everything, or the connection ends.
    let mut client = Http::connect(&server);
    let fields = format!("Content-Length: 200000\r\nHostdir-Upload: {ID}\r\n{first}");
    client.send("PUT /files/a/f", &fields, &content[..10]);
    let asked = Instant::now();
    client.answer().problem(409, "changed");
    client.closed();
    assert!(asked.elapsed() < Duration::from_secs(20));
    let (offset, prefix) = held(&server, 200_000);
    assert_eq!(offset, 150_000);
    assert_eq!(go_on(&server, &content, offset, &format!("Hostdir-Prefix: {}\r\n", prefix.unwrap())).status, 201);
    assert!(fs::read(dir.path().join("a/f")).unwrap() == content);
}

/// All bytes came, and then the connection broke, or the server did: nothing is left to be sent.
#[test]
fn where_all_is_there_nothing_is_sent() {
    let (dir, server) = served(&[], &[]);
    let content = content(6, 100_000);
    let mut client = Http::connect(&server);
    let fields = format!("Transfer-Encoding: chunked\r\nHostdir-Upload: {ID}\r\n");
    client.send("PUT /files/a/f", &fields, b"186a0\r\n");
    client.raw(&content);
    wait_for(&dir, 100_000);
    let prefix = held(&server, 100_000).1.unwrap();
    assert_eq!(prefix, digest_field(&content));
    let answer = go_on(&server, &content, 100_000, &format!("Hostdir-Prefix: {prefix}\r\n"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(fs::read(dir.path().join("a/f")).unwrap() == content);
    // The answer was lost: the same once more is told that it is there.
    let again = Http::connect(&server).put("/files/a/f", &format!("Hostdir-Upload: {ID}\r\n"), &content);
    assert_eq!((again.status, again.json()["outcome"].as_str()), (200, Some("identical")));
    assert_eq!(again.json()["number"], answer.json()["number"]);
}

#[test]
fn a_connection_that_still_sends_is_cut_off_by_the_one_that_asks() {
    let (dir, server) = served(&[], &[]);
    let content = content(7, 300_000);
    let mut older = Http::connect(&server);
    older.send("PUT /files/a/f", &format!("Content-Length: 300000\r\nHostdir-Upload: {ID}\r\n"), &content[..200_000]);
    wait_for(&dir, 200_000);
    let (offset, prefix) = held(&server, 300_000);
    assert_eq!(offset, 200_000);
    older.answer().problem(409, "superseded");
    older.gone();
    let answer = go_on(&server, &content, offset, &format!("Hostdir-Prefix: {}\r\n", prefix.unwrap()));
    assert_eq!(answer.status, 201);
    server.logged(Log::Transfers, &["status=failed", "another connection took this upload over"]);
}

#[test]
fn what_is_asked_of_an_upload_must_name_it() {
    let (_dir, server) = served(&[], &[]);
    for query in ["", "?path=a", "?upload=x", "?path=a&upload=12", &format!("?upload={ID}")] {
        get(&server, &format!("/api/upload{query}")).problem(400, "protocol");
    }
    get(&server, &format!("/api/upload?path=../x&upload={ID}")).problem(400, "bad-path");
    get(&server, &format!("/api/upload?path=a&upload={ID}&size=-1")).problem(400, "protocol");
    let answer = get(&server, &format!("/api/upload?path=a&upload={ID}"));
    assert_eq!(answer.json(), serde_json::json!({ "offset": 0 }));
    let (_dir, server) = served(&[], &["--read-only"]);
    get(&server, &format!("/api/upload?path=a&upload={ID}")).problem(403, "read-only");
}
