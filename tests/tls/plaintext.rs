//! Plaintext where TLS is spoken, and TLS where it is not.

use crate::common::{Log, RawClient};
use crate::scene::{Scene, client, run};
use crate::secured::{Secured, pem};
use hostdir::wire::ErrorCode;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

#[test]
fn plaintext_is_refused_with_the_cure_by_a_server_with_tls() {
    let tls = Secured::new();
    let run = run(client(tls.address(), &tls.scene.downloads()).args(["list"]));
    run.refused(8, &["this server speaks TLS only: use --tls"]);
    let mut raw = RawClient::connect(tls.address().into()).unwrap();
    raw.say_hello().unwrap();
    raw.read_preamble().unwrap();
    assert!(raw.refused(ErrorCode::Forbidden).contains("--tls"));
    raw.closed();
    let line = tls.scene.server.logged(Log::Events, &["event=forbidden", "this server speaks TLS only"]);
    assert!(line.contains("level=warn"), "{line}");
    assert!(!tls.scene.server.log(Log::Events).iter().any(|line| line.contains("event=connect ")));
}

#[test]
fn http_without_tls_is_told_so_by_a_server_with_tls() {
    let tls = Secured::new();
    let mut socket = TcpStream::connect(tls.address()).unwrap();
    socket.write_all(b"GET /files/secret HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 426 ") && body.contains("https://"), "{answer}");
    let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), body.len());
}

#[test]
fn tls_is_refused_in_its_own_words_by_a_server_without() {
    let scene = Scene::new();
    let known = scene.local("known");
    let mut command = scene.client();
    command.arg("--known-servers").arg(&known).args(["--tls", "--accept-new", "list"]);
    run(&mut command).refused(7, &["speaks no TLS", "leave --tls"]);
    assert!(!known.exists());
    scene.server.logged(Log::Events, &["event=forbidden", "it speaks TLS", "--tls"]);
    // Others hear a fatal alert, and not just silence.
    let mut socket = TcpStream::connect(scene.server.address()).unwrap();
    socket.write_all(&[0x16, 3, 1, 0, 4, 1, 0, 0, 0]).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 40]);
    scene.server.client().alive();
}

#[test]
fn other_protocols_are_closed_without_a_word_also_within_tls() {
    let tls = Secured::new();
    for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x16\x03\x01\x00\x04aaaa", b"\0\0\0\0"] {
        let mut stream = tls.stream();
        stream.send(bytes).unwrap();
        stream.flush(hostdir::connection::More::Nothing).unwrap();
        let deadline = std::time::Instant::now() + crate::secured::PATIENCE;
        assert_eq!(stream.fill(deadline, ("answer", crate::secured::PATIENCE)).unwrap(), 0, "{bytes:?}");
    }
}

#[test]
fn a_newcomer_for_whom_there_is_no_room_learns_that_it_may_try_again() {
    let tls = Secured::with(&["--max-connections", "1"], |_| {});
    let first = tls.connect();
    let busy = run(tls.told(tls.address()).args(["--retries", "0", "list"]));
    busy.refused(4, &["busy"]);
    drop(first);
    // It is tried again, and found that there is room.
    run(tls.told(tls.address()).args(["list"])).ok();
}

#[test]
fn flags_that_make_no_sense_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = pem();
    std::fs::write(dir.path().join("c.pem"), certificate).unwrap();
    std::fs::write(dir.path().join("k.pem"), key).unwrap();
    let server = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.args(["--ip", "127.0.0.1", "--port", "0"]).args(arguments).current_dir(dir.path());
        command.env_remove("HOME").env_remove("XDG_DATA_HOME");
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = server(&["--tls-cert", "c.pem"]);
    assert!(code == 2 && said.contains("--tls-key"), "{code} {said}");
    let (code, said) = server(&["--tls"]);
    assert!(code == 2 && said.contains("--tls-dir") && said.lines().count() == 1, "{code} {said}");
}
