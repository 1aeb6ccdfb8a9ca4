//! The menu in a pseudo-terminal, against a real server.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use common::Server;
use portable_pty::CommandBuilder;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use terminal::Session;

const INTERRUPT: &str = "\x03";
const ESCAPE: &str = "\x1b";
const ENTER: &str = "\r";
const TAB: &str = "\t";

fn menu(address: SocketAddr, downloads: &Path, columns: u16, rows: u16) -> Session {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--ip", &address.ip().to_string(), "--port", &address.port().to_string(), "--dir"]);
    command.arg(downloads);
    Session::start(command, columns, rows, "xterm-256color")
}

/// Passes bytes on to `server`, those to the client at most so fast that a person could press a key meanwhile.
fn slow_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let upstream = TcpStream::connect(server).unwrap();
            let (mut to_server, mut from_client) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || trickle(upstream, client));
        }
    });
    address
}

fn trickle(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        // Not a synchronisation: the rate of the link.
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn host(files: usize) -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("photos")).unwrap();
    for number in 0..files {
        std::fs::write(dir.path().join(format!("photos/picture {number:04}.jpg")), format!("picture {number}"))
            .unwrap();
    }
    dir
}

#[test]
fn three_of_five_thousand_files_are_found_marked_and_downloaded_in_parallel() {
    let (host, downloads) = (host(5_000), TempDir::new().unwrap());
    let server = Server::start(host.path(), &[]);
    let mut session = menu(server.address().into(), downloads.path(), 100, 30);
    session.see("5,000 files");
    session.see("> Browse & download");
    session.press(ENTER);
    session.see("photos/");
    session.press("\x1b[C");
    session.see("/photos");
    for name in ["0007", "1234", "4999"] {
        session.press(name);
        session.see(&format!("picture {name}.jpg"));
        session.press(TAB);
        session.see("selected");
        session.press("\x15");
    }
    session.see("3 selected");
    session.press(ENTER);
    session.see("Download 3 files");
    session.press("p");
    let screen = session.see("3 of 3 files");
    assert!(screen.contains("3 verified"), "{screen}");
    assert!(screen.contains("picture 1234.jpg"), "{screen}");
    session.see("Saved in:");
    session.see("> Browse & download");
    assert!(!downloads.path().join("photos/picture 0008.jpg").exists());
    for number in [7, 1234, 4999] {
        let name = format!("photos/picture {number:04}.jpg");
        assert_eq!(std::fs::read_to_string(downloads.path().join(name)).unwrap(), format!("picture {number}"));
    }
    session.press("q");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn an_interrupted_download_gives_the_terminal_back_keeps_the_partial_and_goes_on_later() {
    let (host, downloads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let content: Vec<u8> = (0..40 * 1024 * 1024_u32).map(|index| (index >> 12) as u8).collect();
    std::fs::write(host.path().join("big.iso"), &content).unwrap();
    let server = Server::start(host.path(), &[]);
    let mut session = menu(slow_proxy(server.address().into()), downloads.path(), 80, 24);
    session.see("> Browse & download");
    session.press(ENTER);
    session.see("Tab mark");
    session.press(ENTER);
    session.see("Download 1 file");
    session.press("s");
    session.see("TOTAL");
    session.see("MiB/s");
    session.press(INTERRUPT);
    session.see("1 not finished");
    session.see("Retry: client get big.iso");
    session.see("> Browse & download");
    session.press(INTERRUPT);
    assert_eq!(session.child.wait().unwrap().exit_code(), 130);
    session.read_to_end();
    session.assert_restored();
    assert!(!downloads.path().join("big.iso").exists());
    let partial = std::fs::read_dir(downloads.path().join(".hostdir/partial")).unwrap().next().unwrap().unwrap();
    assert!(partial.metadata().unwrap().len() > 0);

    let mut session = menu(server.address().into(), downloads.path(), 80, 24);
    session.see("> Browse & download");
    session.press(ENTER);
    session.see("Tab mark");
    session.press(ENTER);
    session.see("Download 1 file");
    session.press("s");
    session.see("1 resumed");
    session.press("q");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    assert_eq!(std::fs::read(downloads.path().join("big.iso")).unwrap(), content);
    assert!(!downloads.path().join(".hostdir").exists());
}

#[test]
fn a_file_is_uploaded_and_a_taken_name_is_asked_about() {
    let (host, downloads, here) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(here.path().join("letter.txt"), "dear all").unwrap();
    let server = Server::start(host.path(), &[]);
    let mut session = menu(server.address().into(), downloads.path(), 100, 30);
    session.see("> Browse & download");
    session.press("u");
    session.see("File or folder to upload");
    session.press(here.path().join("letter.txt").to_str().unwrap());
    session.press(ENTER);
    session.see("Into the folder on the server");
    session.press(ENTER);
    session.see("1 of 1 file");
    assert_eq!(std::fs::read_to_string(host.path().join("letter.txt")).unwrap(), "dear all");

    std::fs::write(downloads.path().join("letter.txt"), "older").unwrap();
    session.see("> Upload");
    session.press("b");
    session.see("Tab mark");
    session.press(ENTER);
    session.see("Download 1 file");
    session.press("p");
    session.see("exists and differs");
    session.press("r");
    session.see("letter (1).txt");
    assert_eq!(std::fs::read_to_string(downloads.path().join("letter.txt")).unwrap(), "older");
    assert_eq!(std::fs::read_to_string(downloads.path().join("letter (1).txt")).unwrap(), "dear all");
    session.see("Quit");
    session.press(ESCAPE);
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
}

#[test]
fn a_topic_is_followed_until_esc_and_sent_to() {
    let (host, one, two) = (host(1), TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(two.path().join("letter.txt"), "dear all").unwrap();
    let server = Server::start(host.path(), &[]);
    let mut follower = menu(server.address().into(), one.path(), 100, 30);
    follower.see("> Browse & download");
    follower.press("t");
    follower.see("> photos");
    follower.press(ENTER);
    follower.see("Topic photos");
    follower.press("f");
    follower.see("Following photos on");
    let mut sender = menu(server.address().into(), two.path(), 100, 30);
    sender.see("> Browse & download");
    sender.press("t");
    sender.see("(another one, to be typed)");
    // The last of them.
    sender.press("\x1b[A");
    sender.press(ENTER);
    sender.see("Topic (a folder on the server)");
    sender.press("photos/2026");
    sender.press(ENTER);
    sender.see("Topic photos/2026");
    sender.press("s");
    sender.see("File or folder to send");
    sender.press(two.path().join("letter.txt").to_str().unwrap());
    sender.press(ENTER);
    sender.see("photos/2026/letter.txt · arrival 1 · 1 verified");
    let screen = follower.see("verified");
    assert!(screen.contains("photos/2026/letter.txt · 8 B · from 127.0.0.1"), "{screen}");
    assert_eq!(std::fs::read_to_string(one.path().join("photos/2026/letter.txt")).unwrap(), "dear all");
    // An arrow is no Esc, though it begins like one.
    follower.press("\x1b[B");
    follower.press(ESCAPE);
    follower.see("1 of 1 file");
    follower.see("> Topics");
    follower.press("q");
    assert_eq!(follower.child.wait().unwrap().exit_code(), 0);
    follower.read_to_end();
    follower.assert_restored();
}

#[test]
fn two_interrupts_while_following_give_the_terminal_back() {
    let (host, downloads) = (host(1), TempDir::new().unwrap());
    let server = Server::start(host.path(), &[]);
    let mut session = menu(server.address().into(), downloads.path(), 100, 30);
    session.see("> Browse & download");
    session.press("t");
    session.see("> photos");
    session.press(ENTER);
    session.see("Topic photos");
    session.press(ENTER);
    session.see("Following photos on");
    session.press(INTERRUPT);
    session.see("> Topics");
    session.press(INTERRUPT);
    assert_eq!(session.child.wait().unwrap().exit_code(), 130);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn a_server_that_is_not_there_is_told_and_another_address_can_be_given() {
    let (host, downloads) = (host(1), TempDir::new().unwrap());
    let server = Server::start(host.path(), &[]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut session = menu(nobody, downloads.path(), 100, 30);
    session.see("is the server running?");
    session.see("another address");
    session.press("a");
    session.see("Address or name of the server");
    session.press(ENTER);
    session.see("Port:");
    session.press("\x15");
    session.press(&server.address().port().to_string());
    session.press(ENTER);
    session.see("1 file,");
    session.see("> Browse & download");
    session.press("s");
    session.see("menu)");
    session.press(INTERRUPT);
    assert_eq!(session.child.wait().unwrap().exit_code(), 130);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn without_a_terminal_the_help_is_printed_and_the_exit_code_says_usage() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_client")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("Usage: client"));
}
