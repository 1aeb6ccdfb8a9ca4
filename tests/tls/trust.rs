//! Which server a client trusts, how it learns that, and that nothing else is spoken to.

use crate::proxy::{Line, Proxy};
use crate::scene::{client, run};
use crate::secured::{Secured, impostor, listen, recorder};
use crate::terminal::Session;
use portable_pty::CommandBuilder;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECRET: &str = "very-secret-name";

/// One attempt only: nothing here gets better by waiting.
const ONCE: [&str; 2] = ["--retries", "0"];

fn secured() -> Secured {
    Secured::with(&[], |host| fs::write(host.join(SECRET), b"content").unwrap())
}

#[test]
fn a_key_that_is_not_known_is_refused_where_nobody_can_be_asked() {
    let tls = secured();
    let (address, seen) = recorder(tls.address());
    let refused = run(tls.untold(address).args(["--tls", "get", SECRET]));
    refused.refused(7, &[&tls.key().to_string(), "--fingerprint", "--accept-new", "not known yet", "Nothing was sent"]);
    seen.knows_nothing_of(&[SECRET, "hostdir"]);
    assert!(!tls.known().exists());
    let json = run(tls.untold(address).args(["--tls", "--json", "list"])).ends(7);
    assert_eq!(json.json("error")[0]["code"], "untrusted");
}

#[test]
fn a_key_is_pinned_on_first_use_and_no_flag_is_needed_after_that() {
    let tls = secured();
    let first = run(tls.untold(tls.address()).args(["--tls", "--accept-new", "list"])).ok();
    assert!(first.err.contains(&tls.key().to_string()), "{first:?}");
    assert_eq!(first.lines(), [SECRET]);
    let known = fs::read_to_string(tls.known()).unwrap();
    assert!(known.contains(&format!("{} {}\n", tls.address(), tls.key())), "{known}");
    assert_eq!(fs::metadata(tls.known()).unwrap().permissions().mode() & 0o777, 0o600);
    let second = run(tls.untold(tls.address()).args(["list"])).ok();
    assert_eq!((second.lines(), second.err.as_str()), (vec![SECRET], ""));
    // Also for each of several connections, and it is said once.
    fs::remove_file(tls.known()).unwrap();
    let again = run(tls.untold(tls.address()).args(["--tls", "--accept-new", "--parallel", "get", "/"])).ok();
    assert_eq!(again.err.matches("sha256//").count(), 1, "{again:?}");
}

#[test]
fn a_fingerprint_that_was_told_is_enough_and_is_remembered() {
    let tls = secured();
    run(tls.told(tls.address()).args(["list"])).ok();
    run(tls.untold(tls.address()).args(["list"])).ok();
    // It is also right where another key is known: whoever names a key means it.
    let other = crate::secured::other_identity().fingerprint().to_string();
    let known = fs::read_to_string(tls.known()).unwrap().replace(&tls.key().to_string(), &other);
    fs::write(tls.known(), known).unwrap();
    run(tls.untold(tls.address()).args(["list"])).refused(7, &["has changed", &other, &tls.key().to_string()]);
    run(tls.told(tls.address()).args(["list"])).ok().says(&other);
    run(tls.untold(tls.address()).args(["list"])).ok();
    // But only that key is.
    let (address, seen) = recorder(tls.address());
    let wrong = run(tls.untold(address).args(["--fingerprint", &other, "get", SECRET]));
    wrong.refused(7, &["--fingerprint", &other, &tls.key().to_string()]);
    seen.knows_nothing_of(&[SECRET]);
    run(tls.untold(address).args(["--fingerprint", "sha256//abc", "list"])).ends(2).says("44 characters");
}

#[test]
fn a_key_that_changed_is_refused_loudly_and_can_be_forgotten() {
    let mut tls = secured();
    run(tls.untold(tls.address()).args(["--tls", "--accept-new", "list"])).ok();
    let (before, address) = (tls.key(), tls.address());
    // The server comes back with another key.
    tls.scene.server.end();
    fs::remove_dir_all(tls.keys.path().join("server")).unwrap();
    let folder = tls.keys.path().join("server").display().to_string();
    let arguments = ["--tls", "--tls-dir", &folder];
    let launch = crate::common::Launch { arguments: &arguments, port: address.port(), ..Default::default() };
    tls.scene.server = crate::common::Server::launch(tls.scene.host.path(), &launch);
    let now = tls.key();
    assert_ne!(before, now);
    for flags in [&["list"][..], &["--tls", "list"], &["--tls", "--accept-new", "list"]] {
        let refused = run(tls.untold(address).args(flags));
        refused.refused(7, &["has changed", &before.to_string(), &now.to_string(), "forget"]);
    }
    let forget = format!("--ip 127.0.0.1 --port {} forget", address.port());
    run(tls.untold(address).args(["list"])).refused(7, &[&forget]);
    run(tls.untold(address).args(["forget"])).ok().says(&before.to_string());
    run(tls.untold(address).args(["forget"])).ok().says("not known");
    run(tls.untold(address).args(["--tls", "--accept-new", "list"])).ok();
}

#[test]
fn whoever_ends_tls_in_between_learns_nothing() {
    let tls = secured();
    let (address, seen) = impostor();
    let name = [SECRET, "hostdir", "content"];
    run(tls.told(address).args(["get", SECRET])).refused(7, &["--fingerprint", "somebody may be in between"]);
    seen.knows_nothing_of(&name);
    // Known from before, by the same address.
    fs::write(tls.known(), format!("{address} {}\n", tls.key())).unwrap();
    let file = tls.scene.local("content");
    fs::write(&file, b"content").unwrap();
    let file = file.display().to_string();
    for words in [&["list"][..], &["get", SECRET], &["put", &file], &["publish", SECRET, &file], &["ping"]] {
        run(tls.untold(address).args(words)).refused(7, &["has changed"]);
    }
    run(tls.untold(address).args(["subscribe", SECRET])).ends(7).says("has changed");
    seen.knows_nothing_of(&name);
    assert!(seen.connections().len() >= 6);
}

/// Something that answers in plaintext, or not at all; returns what it heard.
fn plain(answer: &'static [u8]) -> (SocketAddrV4, Arc<Mutex<Vec<u8>>>) {
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let noted = Arc::clone(&heard);
    let address = listen(move |mut socket| {
        let mut buffer = [0; 4096];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let count = socket.read(&mut buffer).unwrap_or(0);
        noted.lock().unwrap().extend_from_slice(&buffer[..count]);
        let _ = socket.write_all(answer);
        let _ = socket.shutdown(Shutdown::Write);
        while let Ok(count @ 1..) = socket.read(&mut buffer) {
            noted.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    (address, heard)
}

#[test]
fn a_server_that_is_known_with_tls_is_never_spoken_to_without() {
    let tls = secured();
    let greeting: &[u8] = b"\x8ahostdir\0\0\0\x03\x81\xa1\0\x01";
    let refusal: &[u8] = &hostdir::connection::REFUSES_TLS;
    for (answer, code) in [(greeting, 7), (b"HTTP/1.1 400 Bad Request\r\n\r\n", 7), (refusal, 7), (b"", 4)] {
        let (address, heard) = plain(answer);
        fs::write(tls.known(), format!("{address} {}\n", tls.key())).unwrap();
        let run = run(tls.untold(address).args(ONCE).args(["get", SECRET])).ends(code);
        assert!(code != 7 || run.err.contains("known with TLS"), "{run:?}");
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard.first(), Some(&0x16), "a TLS hello came first");
        let gave = |word: &str| heard.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!gave(SECRET) && !gave("hostdir"), "{heard:?}");
    }
    // Without anything known, plaintext is what is spoken: the test would see it.
    let (address, heard) = plain(greeting);
    run(client(address, &tls.scene.downloads()).args(ONCE).args(["get", SECRET])).ends(4);
    assert!(heard.lock().unwrap().starts_with(b"\x8ahostdir"));
}

#[test]
fn known_servers_that_cannot_be_read_are_no_way_back_to_plaintext() {
    let tls = secured();
    run(tls.untold(tls.address()).args(["--tls", "--accept-new", "list"])).ok();
    let good = fs::read_to_string(tls.known()).unwrap();
    let (address, heard) = plain(b"");
    let refused = |why: &str| {
        run(tls.untold(address).args(ONCE).args(["list"])).refused(3, &[why, "known-servers"]);
        assert!(heard.lock().unwrap().is_empty(), "something was said");
    };
    fs::write(tls.known(), good.replace("sha256//", "sha256/")).unwrap();
    refused("line 2 is damaged");
    fs::write(tls.known(), [good.as_bytes(), b"\xff\xfe\n"].concat()).unwrap();
    refused("UTF-8");
    fs::remove_file(tls.known()).unwrap();
    fs::create_dir(tls.known()).unwrap();
    refused("known servers");
}

#[test]
fn clients_that_meet_a_server_at_the_same_time_agree() {
    let tls = secured();
    let command = || {
        let mut command = tls.untold(tls.address());
        command.args(["--tls", "--accept-new", "-q", "list"]);
        command
    };
    let clients: Vec<_> = (0..8).map(|_| crate::scene::Running::start(&mut command())).collect();
    clients.into_iter().for_each(|client| _ = client.wait().ok());
    assert_eq!(fs::read_to_string(tls.known()).unwrap().matches("sha256//").count(), 1);
}

fn on_a_terminal(tls: &Secured, words: &[&str]) -> Session {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--port", &tls.address().port().to_string(), "--known-servers"]);
    command.arg(tls.known());
    command.arg("--dir");
    command.arg(tls.scene.downloads());
    command.args(words);
    Session::start(command, 100, 24, "xterm-256color")
}

#[test]
fn on_a_terminal_the_user_is_asked_and_the_server_does_not_mind_the_wait() {
    let tls = secured();
    let mut asked = on_a_terminal(&tls, &["--tls", "list"]);
    asked.see(&tls.key().to_string());
    asked.see("Trust it from now on?  (y/N)");
    asked.press("n");
    asked.see("is not trusted");
    assert_eq!(asked.child.wait().unwrap().exit_code(), 7);
    assert!(!tls.known().exists());
    // The connection on which the key was seen is not the one that is used.
    let proxy = Proxy::start(tls.address(), &[(Line::Good, Line::Good)]);
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--port", &proxy.address().port().to_string(), "--known-servers"]);
    command.arg(tls.known());
    command.args(["--tls", "list"]);
    let mut asked = Session::start(command, 100, 24, "xterm-256color");
    asked.see("(y/N)");
    proxy.cut_all();
    asked.press("y");
    asked.see(SECRET);
    assert_eq!(asked.child.wait().unwrap().exit_code(), 0);
    assert!(fs::read_to_string(tls.known()).unwrap().contains(&tls.key().to_string()));
}

#[test]
fn the_menu_asks_too_and_says_that_it_is_encrypted() {
    let tls = secured();
    let mut menu = on_a_terminal(&tls, &[]);
    menu.see("this server speaks TLS only");
    menu.see("with TLS");
    menu.press("w");
    menu.see("(y/N)");
    menu.press("y");
    menu.see("encrypted");
    menu.see("Browse & download");
    menu.press("\x03");
    assert_eq!(menu.child.wait().unwrap().exit_code(), 130);
}
