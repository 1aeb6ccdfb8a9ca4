//! A stream that is cut is never taken for one that has ended.

use crate::common::{Log, eventually};
use crate::proxy::{Line, Proxy};
use crate::scene::{random, run, write_random};
use crate::secured::{Secured, end_of, fake};
use hostdir::connection::{Await, Connection, Incoming};
use hostdir::wire::{ErrorCode, OnConflict, Put, PutKind, Reply, Request};
use std::fs;
use std::time::Duration;

const SIZE: usize = 100_000;

#[test]
fn a_file_whose_end_did_not_come_is_no_file() {
    let cases: [(&str, usize, bool); 4] = [
        ("nothing", 0, false),
        ("the middle, without a word", SIZE / 2, false),
        ("all bytes, without a word", SIZE, false),
        ("all bytes, closed in an orderly way but without END", SIZE, true),
    ];
    for (what, count, is_orderly) in cases {
        let (address, key) = fake(SIZE, move |mut connection: Connection| {
            if count > 0 {
                connection.send_data(&random(1, SIZE)[..count]).unwrap();
            }
            connection.flush().unwrap();
            if is_orderly {
                connection.close(Duration::from_secs(2));
            } else {
                connection.interrupt().cut();
            }
        });
        let tls = Secured::new();
        let mut command = tls.untold(address);
        let got = run(command.args(["--retries", "0", "--json", "--fingerprint", &key.to_string(), "get", "f"]));
        assert_eq!(got.code, Some(4), "{what}: {got:?}");
        assert_eq!(got.file("f")["status"], "failed", "{what}: {got:?}");
        assert!(!tls.scene.downloaded("f").exists(), "{what}");
        let message = got.file("f")["message"].to_string();
        assert_eq!(message.contains("cut off, within TLS"), !is_orderly, "{what}: {message}");
    }
    // The same, to its end: it is the end that makes the difference.
    let (address, key) = fake(SIZE, move |mut connection: Connection| {
        connection.send_data(&random(1, SIZE)).unwrap();
        connection.send_reply(&end_of(&random(1, SIZE))).unwrap();
        let _ = connection.flush();
        let _ = connection.next_frame(Await::Message);
    });
    let tls = Secured::new();
    run(tls.untold(address).args(["-q", "--fingerprint", &key.to_string(), "get", "f"])).ok();
    assert!(fs::read(tls.scene.downloaded("f")).unwrap() == random(1, SIZE));
}

#[test]
fn a_cut_at_any_byte_never_gives_a_file_that_is_not_whole() {
    let tls = Secured::with(&[], |host| write_random(&host.join("f"), 3, 40_000));
    let whole = fs::read(tls.scene.hosted("f")).unwrap();
    let mut came = 0;
    // Greeting, listing and file take some 42 KiB: cuts before, within and after each of them.
    let cuts = (0..2_000).step_by(97).chain((2_000..41_000).step_by(3_331)).chain((41_000..43_500).step_by(61));
    for cut in cuts {
        let proxy = Proxy::start(tls.address(), &[(Line::Good, Line::CutAfter(cut)), (Line::CutAfter(0), Line::Good)]);
        let got = run(tls.told(proxy.address()).args(["--retries", "0", "--serial", "--no-resume", "-q", "get", "f"]));
        match fs::read(tls.scene.downloaded("f")) {
            Ok(bytes) => {
                assert!(bytes == whole, "cut after {cut}");
                came += 1;
                fs::remove_file(tls.scene.downloaded("f")).unwrap();
            }
            Err(_) => assert_ne!(got.code, Some(0), "cut after {cut}: {got:?}"),
        }
    }
    assert!(came > 0, "no cut came after the file");
}

#[test]
fn an_upload_whose_end_did_not_come_is_not_stored() {
    let tls = Secured::new();
    let put = Put {
        path: b"f"[..].into(),
        kind: PutKind::File,
        size: Some(SIZE as u64),
        modified: None,
        on_conflict: OnConflict::Rename,
        upload: None,
        digest: None,
        ask: false,
    };
    for is_orderly in [false, true] {
        let mut connection = tls.connect();
        connection.send_request(&Request::Put(put.clone())).unwrap();
        connection.send_data(&random(1, SIZE)).unwrap();
        connection.flush().unwrap();
        if is_orderly {
            connection.close(Duration::from_secs(2));
        } else {
            connection.interrupt().cut();
        }
        let cause = if is_orderly { "the connection was closed" } else { "cut off, within TLS" };
        tls.scene.server.logged(Log::Events, &["event=disconnect", cause]);
    }
    assert!(!tls.scene.hosted("f").exists());
}

#[test]
fn whoever_just_leaves_has_ended_the_stream_too() {
    let tls = Secured::new();
    tls.connect().close(Duration::from_secs(2));
    drop(tls.connect());
    assert_eq!(tls.run(&["list", "nothing"]).code, Some(8), "an error ends the client, not its manners");
    eventually("three have left", || disconnects(&tls).len() == 3);
    assert!(disconnects(&tls).iter().all(|line| line.contains("level=info")), "{:#?}", disconnects(&tls));
    // Whoever is cut off has not.
    tls.connect().interrupt().cut();
    tls.scene.server.logged(Log::Events, &["event=disconnect", "level=warn", "cut off, within TLS"]);
}

fn disconnects(tls: &Secured) -> Vec<String> {
    tls.scene.server.log(Log::Events).into_iter().filter(|line| line.contains("event=disconnect")).collect()
}

#[test]
fn a_server_that_stops_ends_tls_in_an_orderly_way() {
    let mut tls = Secured::new();
    let mut idle = tls.connect();
    tls.scene.server.terminate();
    // A word may come first, if the server has not begun to wait for a request yet; then it says that nothing more comes.
    while let Some(word) = idle.next_frame(Await::Message).unwrap() {
        let Incoming::Control(kind, body) = word else { panic!("data from nowhere") };
        let Reply::Error(fault) = Reply::decode(kind, body).unwrap() else { panic!("{kind:?} from nowhere") };
        assert_eq!(fault.code, ErrorCode::ShuttingDown);
    }
    assert_eq!(tls.scene.server.wait(), 0);
    let log = tls.scene.server.log(Log::Events);
    assert!(!log.iter().any(|line| line.contains("cut off")), "{log:#?}");
}
