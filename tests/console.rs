//! The server's console in a pseudo-terminal: what an operator sees, and which key shows what.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use common::{Frame, RawClient, eventually, whole};
use hostdir::wire::{FileHeader, Reply, Request};
use portable_pty::{CommandBuilder, native_pty_system};
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;
use terminal::Session;

const INTERRUPT: &str = "\x03";

/// A server on a terminal, over a directory with one file that is larger than all buffers on the way.
struct Console {
    session: Session,
    address: SocketAddr,
    _directories: [TempDir; 2],
}

impl Console {
    fn start(columns: u16, rows: u16) -> Self {
        let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        File::create(directories[0].path().join("big.iso")).unwrap().set_len(64 << 20).unwrap();
        let mut session = Session::start(server(&directories), columns, rows, "xterm-256color");
        let screen = session.see("0 clients");
        let (_, rest) = screen.split_once("http://127.0.0.1:").unwrap();
        let port = rest.split_once('/').unwrap().0.parse().unwrap();
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Self { session, address, _directories: directories }
    }

    /// A client in the middle of a download.
    fn downloading(&self) -> (RawClient, FileHeader) {
        let mut client = RawClient::greeted(self.address).unwrap();
        client.send(Request::Get(whole("big.iso"))).unwrap();
        let Frame::Reply(Reply::File(header)) = client.receive().unwrap() else { panic!("no FILE") };
        (client, header)
    }
}

/// A server over the first directory, with its logs in the second.
fn server([host, logs]: &[TempDir; 2]) -> CommandBuilder {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_server"));
    command.args(["--ip", "127.0.0.1", "--port", "0", "--dir"]);
    command.arg(host.path());
    command.arg("--log-dir");
    command.arg(logs.path());
    command
}

#[test]
fn the_banner_names_the_page_and_the_live_line_counts() {
    let mut console = Console::start(100, 24);
    let screen = console.session.see("0 clients · 0 ↓ 0 ↑ · 0 B/s · 0 ok 0 failed today · s: who");
    assert!(screen.contains("(1 file, 64.0 MiB) · uploads add, never replace"), "{screen}");
    assert!(screen.contains(&format!("Browser:  http://{}/", console.address)), "{screen}");
    // Nobody else can reach it: no code for a telephone, and nobody to be warned of.
    assert!(!screen.contains('█') && !screen.contains("Anyone"), "{screen}");
    let (mut client, header) = console.downloading();
    console.session.see("1 client · 1 ↓ 0 ↑");
    let transfer = header.transfer;
    client.take_bytes(header).unwrap().unwrap();
    client.receipt(transfer).unwrap();
    console.session.see("1 ok 0 failed today");
}

#[test]
fn a_key_shows_who_is_connected_and_what_they_do() {
    let mut console = Console::start(100, 24);
    let idle = RawClient::greeted(console.address).unwrap();
    let (client, _) = console.downloading();
    console.session.see("2 clients · 1 ↓ 0 ↑");
    console.session.press("s");
    console.session.see(" 2 clients now");
    // The last line: the ones above it are there then.
    let screen = console.session.see("  idle");
    let at =
        |text: &str| screen.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {screen}"));
    // Who moves something comes first, though it came last.
    assert!(at("% of 64.0 MiB,") < at("  idle"), "{screen}");
    assert!(screen.lines().any(|line| line.contains("since ") && line.trim_end().ends_with("big.iso")), "{screen}");
    drop((idle, client));
}

#[test]
fn a_drain_is_counted_down_and_a_second_interrupt_cuts() {
    let mut console = Console::start(100, 24);
    let _downloading = console.downloading();
    console.session.see("1 client · 1 ↓ 0 ↑");
    assert!(console.session.is_raw());
    console.session.press(INTERRUPT);
    console.session.see("waiting for 1 transfer");
    console.session.see("at most 29 s");
    console.session.see("at most 28 s; Ctrl-C again to cut");
    console.session.press(INTERRUPT);
    assert_eq!(console.session.child.wait().unwrap().exit_code(), 1);
    console.session.assert_restored();
}

#[test]
fn a_narrow_terminal_gets_one_fact_a_line_and_nothing_wraps() {
    let mut console = Console::start(40, 24);
    let screen = console.session.see("0 B/s");
    assert!(screen.lines().all(|line| line.chars().count() <= 40), "{screen}");
    assert!(screen.lines().any(|line| line.starts_with(" Browser:  http://127.0.0.1:")), "{screen}");
    console.session.press(INTERRUPT);
    assert_eq!(console.session.child.wait().unwrap().exit_code(), 0);
    console.session.assert_restored();
}

#[test]
fn a_server_whose_terminal_is_closed_stops() {
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let pair = native_pty_system().openpty(terminal::size(80, 24)).unwrap();
    let mut child = pair.slave.spawn_command(server(&directories)).unwrap();
    drop(pair.slave);
    // Not by a thread: a reader that waits would hold the terminal open.
    let mut reader = pair.master.try_clone_reader().unwrap();
    let (mut said, mut buffer) = (Vec::new(), [0; 4_096]);
    while !String::from_utf8_lossy(&said).contains("0 clients") {
        let count = reader.read(&mut buffer).unwrap();
        said.extend_from_slice(&buffer[..count]);
    }
    drop((reader, pair.master));
    eventually("the server ended", || child.try_wait().unwrap().is_some());
}
