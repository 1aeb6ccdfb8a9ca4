//! The menu in a pseudo-terminal, against a real server.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use common::{Launch, Server, kept_port};
use portable_pty::CommandBuilder;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use terminal::Session;

const INTERRUPT: &str = "\x03";
const ESCAPE: &str = "\x1b";
const ENTER: &str = "\r";
const TAB: &str = "\t";

fn menu(address: SocketAddr, downloads: &Path, columns: u16, rows: u16) -> Session {
    Session::start(client(address, downloads), columns, rows, "xterm-256color")
}

fn client(address: SocketAddr, downloads: &Path) -> CommandBuilder {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--ip", &address.ip().to_string(), "--port", &address.port().to_string(), "--dir"]);
    command.arg(downloads);
    command
}

/// Opens the picker, marks everything, and is asked how.
fn mark_everything(session: &mut Session) {
    session.see("> Browse & download");
    session.press("b");
    session.see("Tab mark");
    session.press("\x01");
    session.see("[x]");
    session.press(ENTER);
    session.see("dry run");
}

/// Passes bytes on to `server`, those to the client at most so fast that a person could press a key meanwhile.
fn slow_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // Without a server behind it, whoever dials hears that at once.
            let Ok(upstream) = TcpStream::connect(server) else { continue };
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
    session.see("1 resumed from ");
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
    follow_photos(&mut follower);
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

/// Follows `photos` from the menu.
fn follow_photos(session: &mut Session) {
    session.see("> Browse & download");
    session.press("t");
    session.see("> photos");
    session.press(ENTER);
    session.see("Topic photos");
    session.press("f");
    session.see("Following photos on");
}

#[test]
fn a_followed_server_that_goes_away_is_counted_down_to_and_followed_on() {
    let (host, here) = (host(1), TempDir::new().unwrap());
    let server = Server::start(host.path(), &[]);
    let (address, port) = (server.address(), server.address().port());
    let mut session = menu(address.into(), &here.path().join("downloads"), 100, 24);
    follow_photos(&mut session);
    drop(server);
    let screen = session.see("Enter now · Esc stop");
    assert!(screen.contains(" ✗ no connection: ") && screen.contains(" no connection · again in "), "{screen}");
    // The rests have grown by then: without Enter it would take a while.
    session.see("again in 4 s");
    let server = Server::launch(host.path(), &Launch { port, ..Launch::default() });
    session.press(ENTER);
    let screen = session.see("Connected again to");
    assert_eq!(screen.matches(" ✗ no connection").count(), 1, "it is told once: {screen}");
    std::fs::write(here.path().join("letter.txt"), "dear all").unwrap();
    let mut publishing = std::process::Command::new(env!("CARGO_BIN_EXE_client"));
    publishing.args(["--quiet", "--port", &port.to_string(), "publish", "photos", "letter.txt", "--wait", "0"]);
    assert!(publishing.current_dir(here.path()).status().unwrap().success());
    let screen = session.see("verified");
    assert!(!screen.contains("again in"), "{screen}");
    drop(server);
    session.see("Enter now · Esc stop");
    session.press(ESCAPE);
    session.see("1 of 1 file");
    session.see("> Topics");
    session.press("q");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    session.read_to_end();
    session.assert_restored();
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
    let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, kept_port()).into();
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

#[test]
fn one_transfer_of_two_is_stopped_and_the_other_goes_on() {
    let (host, downloads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for name in ["one.iso", "two.iso"] {
        std::fs::write(host.path().join(name), vec![7; 24 * 1024 * 1024]).unwrap();
    }
    let server = Server::start(host.path(), &[]);
    let mut session = menu(slow_proxy(server.address().into()), downloads.path(), 100, 24);
    mark_everything(&mut session);
    session.press("p");
    session.see("x stop it");
    session.press("\x1b[B");
    let screen = session.see(">  ");
    let stopped =
        if screen.lines().any(|line| line.starts_with('>') && line.contains("one.iso")) { "one" } else { "two" };
    session.press("x");
    session.see(&format!("{stopped}.iso  stopped"));
    // The last of the lines that belong together: those above it are there then.
    let screen = session.see(&format!("{stopped}.iso   stopped; "));
    assert!(screen.contains("1 of 2 files") && screen.contains("1 verified · 1 not finished"), "{screen}");
    assert!(!downloads.path().join(format!("{stopped}.iso")).exists());
    session.see("> Browse & download");
    session.press("q");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn a_lost_server_is_tried_again_at_once_and_the_download_goes_on() {
    let (host, downloads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let content: Vec<u8> = (0..16 * 1024 * 1024_u32).map(|index| (index >> 12) as u8).collect();
    std::fs::write(host.path().join("big.iso"), &content).unwrap();
    let server = Server::start(host.path(), &[]);
    let (address, port) = (server.address(), server.address().port());
    let mut session = menu(slow_proxy(address.into()), downloads.path(), 100, 24);
    mark_everything(&mut session);
    session.press("s");
    session.see("x stop it");
    drop(server);
    let screen = session.see("Enter now");
    assert!(screen.contains(" no connection · again in "), "{screen}");
    // The rests have grown by then: without Enter it would take a while.
    session.see("again in 4 s");
    let _server = Server::launch(host.path(), &Launch { port, ..Launch::default() });
    session.press(ENTER);
    session.see("1 of 1 file");
    assert_eq!(std::fs::read(downloads.path().join("big.iso")).unwrap(), content);
    session.see("> Browse & download");
    session.press("q");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn a_lost_server_is_given_up_with_esc_and_what_came_is_kept() {
    let (host, downloads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(host.path().join("big.iso"), vec![7; 40 * 1024 * 1024]).unwrap();
    let server = Server::start(host.path(), &[]);
    let mut session = menu(slow_proxy(server.address().into()), downloads.path(), 100, 24);
    mark_everything(&mut session);
    session.press("s");
    session.see("x stop it");
    drop(server);
    session.see("Esc stop");
    session.press(ESCAPE);
    let screen = session.see("Retry: client get big.iso");
    assert!(screen.contains("1 not finished"), "{screen}");
    session.see("> Browse & download");
    session.press("q");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn a_capital_letter_answers_for_all_taken_names() {
    let (host, downloads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for name in ["a.txt", "b.txt", "c.txt"] {
        std::fs::write(host.path().join(name), "from the server").unwrap();
        std::fs::write(downloads.path().join(name), "mine").unwrap();
    }
    let server = Server::start(host.path(), &[]);
    let mut session = menu(server.address().into(), downloads.path(), 100, 24);
    mark_everything(&mut session);
    session.press("p");
    session.see("capital = for all");
    session.press("s");
    session.see("a.txt exists and differs: skip");
    session.see("b.txt exists and differs:  (s)kip");
    session.press("O");
    session.see("b.txt exists and differs: overwrite, and all that follow");
    let screen = session.see("2 of 3 files");
    assert!(screen.contains("1 skipped") && !screen.contains("c.txt exists"), "{screen}");
    let content = |name: &str| std::fs::read_to_string(downloads.path().join(name)).unwrap();
    assert_eq!([content("a.txt"), content("b.txt"), content("c.txt")], ["mine", "from the server", "from the server"]);
    mark_everything(&mut session);
    session.press("p");
    session.see("a.txt exists and differs:  (s)kip");
    session.press(ESCAPE);
    session.see("Stopped. Nothing written.");
}

#[test]
fn what_does_not_fit_is_told_before_the_first_byte() {
    let (host, downloads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::File::create(host.path().join("big.iso")).unwrap().set_len(8 << 40).unwrap();
    let server = Server::start(host.path(), &[]);
    let mut session = menu(server.address().into(), downloads.path(), 100, 24);
    mark_everything(&mut session);
    session.press("p");
    let screen = session.see("free. Nothing written.");
    assert!(screen.contains("need 8.0 TiB, "), "{screen}");
    session.see("> Browse & download");
    assert!(!downloads.path().join("big.iso").exists());
}

#[test]
fn a_dry_run_writes_nothing_and_esc_at_the_question_finds_the_marks_again() {
    let (host, downloads) = (host(3), TempDir::new().unwrap());
    let server = Server::start(host.path(), &[]);
    let mut session = menu(server.address().into(), downloads.path(), 100, 24);
    mark_everything(&mut session);
    session.press(ESCAPE);
    session.see("3 selected 27 B");
    session.press(ENTER);
    session.see("dry run");
    session.press("d");
    session.see("3 files, 27 B would be downloaded (dry run)");
    session.see("> Browse & download");
    assert_eq!(std::fs::read_dir(downloads.path()).unwrap().count(), 0);
}

#[test]
fn a_terminal_without_utf8_and_colours_gets_neither() {
    let (host, downloads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(host.path().join("año 日本.txt"), "hola").unwrap();
    let server = Server::start(host.path(), &[]);
    let mut command = client(server.address().into(), downloads.path());
    command.env("LC_ALL", "C");
    command.env("NO_COLOR", "1");
    let mut session = Session::start_as_it_is(command, 100, 24, "xterm-256color");
    mark_everything(&mut session);
    session.press("p");
    session.see("1 of 1 file - 4 B in ");
    session.see("> Browse & download");
    session.press(INTERRUPT);
    session.child.wait().unwrap();
    session.read_to_end();
    session.assert_restored();
    assert!(session.raw.is_ascii(), "{}", String::from_utf8_lossy(&session.raw));
    assert!(String::from_utf8_lossy(&session.raw).contains("a?o ????.txt"));
    // SGR with a colour or an attribute in it (ECMA-48); a reset alone sets none.
    let text = String::from_utf8_lossy(&session.raw).into_owned();
    let colored = text.split("\x1b[").skip(1).any(|rest| {
        let end = rest.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(0);
        rest[end..].starts_with('m') && !matches!(&rest[..end], "" | "0")
    });
    assert!(!colored);
    assert!(downloads.path().join("año 日本.txt").exists());
}

#[test]
fn a_signal_ends_a_menu_that_waits_and_gives_the_terminal_back() {
    let (host, downloads) = (host(1), TempDir::new().unwrap());
    let server = Server::start(host.path(), &[]);
    for (signal, term, waits) in [
        (Signal::TERM, "xterm-256color", "> Browse & download"),
        (Signal::HUP, "xterm-256color", "> Browse & download"),
        (Signal::TERM, "dumb", "5) Quit"),
    ] {
        let command = client(server.address().into(), downloads.path());
        let mut session = Session::start(command, 80, 24, term);
        session.see(waits);
        session.see(if term == "dumb" { "\n>" } else { "Ctrl-C quit" });
        session.signal(signal);
        assert_eq!(session.child.wait().unwrap().exit_code(), 128 + signal.as_raw() as u32);
        session.read_to_end();
        session.assert_restored();
    }
}
