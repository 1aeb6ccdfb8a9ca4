//! Defects that were found and mended, each with its cause.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::{Command, Stdio};

/// What `client ping` prints on standard output while nothing listens, with `HOSTDIR_JSON` set to `word`.
fn ping_with_json(word: &str) -> (Option<i32>, String) {
    // The port was just given out and given back, so nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    client.args(["ping", "--port", &port.to_string()]).env("HOSTDIR_JSON", word);
    let output = client.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Switches in the environment took `true` and `false` only, and `1` was a usage error.
#[test]
fn a_switch_in_the_environment_takes_the_usual_words() {
    for on in ["true", "1", "yes", "on"] {
        let (code, said) = ping_with_json(on);
        assert_eq!((code, said.starts_with('{')), (Some(4), true), "{on}: {said}");
    }
    for off in ["false", "0", "no", "off"] {
        assert_eq!(ping_with_json(off), (Some(4), String::new()), "{off}");
    }
    assert_eq!(ping_with_json("ture").0, Some(2));
}

/// The line that says why the server does not start was written in pieces, while the console's thread still printed.
#[test]
fn why_the_server_does_not_start_is_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_server"));
    server.arg("--dir").arg(dir.path().join("new")).arg("--log-dir").arg(dir.path().join("file/logs"));
    server.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let code = server.spawn().unwrap().wait().unwrap().code();
    drop(server);
    let said = std::io::read_to_string(reader).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(matches!(lines[..], [made, why] if made.starts_with("Made ") && why.starts_with("server: ")), "{said}");
    assert_eq!(code, Some(3));
}
