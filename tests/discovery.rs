//! Finding a server on the local network: in a network of its own, made for the test, so that nobody else hears of it. Where
//! none can be made (it takes user namespaces, or root), the test says so and passes.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use portable_pty::CommandBuilder;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use terminal::Session;

/// A namespace for the network and for processes: all of them end with the first.
const UNSHARE: [&str; 6] = ["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// A cable whose ends are both in the namespace, one of them with an address and a way for multicast. Without IPv6, which
/// gives addresses to both ends a while later: a server that is given one makes sure of its name anew before it answers.
const NETWORK: &str = "{ echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; } 2>/dev/null; \
    ip link set lo up && ip link add name lan0 type veth peer name lan1 && ip link set lan1 up \
    && ip addr add 192.0.2.7/24 dev lan0 && ip link set lan0 multicast on up && ip route add 224.0.0.0/4 dev lan0";

fn can_be_made() -> bool {
    let made = Command::new("unshare").args(UNSHARE).args(["sh", "-c", NETWORK]).stdin(Stdio::null()).output();
    let made = made.is_ok_and(|output| output.status.success());
    if !made {
        eprintln!("no network namespace can be made here: not tested");
    }
    made
}

/// A server with `flags`, and the menu without an address, in a network of their own.
fn network(directories: &[TempDir; 3], server: &str, client: &str) -> Session {
    joined(directories, NETWORK, server, "true", client)
}

/// The same, where the network is what `before` makes of it when the server starts, and what `after` does once it serves.
fn joined(directories: &[TempDir; 3], before: &str, server: &str, after: &str, client: &str) -> Session {
    let [host, logs, downloads] = directories.each_ref().map(|dir| dir.path().to_str().unwrap().to_owned());
    let (server_program, client_program) = (env!("CARGO_BIN_EXE_server"), env!("CARGO_BIN_EXE_client"));
    // A server answers once it has made sure of its name, which takes it up to a second.
    // The server's port is not the one that the client tries first: on this machine alone nothing is found.
    let script = format!(
        "{{ {before}; }} && {{ {server_program} {server} --port 9555 --name 'el ñas' --dir {host} --log-dir {logs} >{logs}/said & }} \
         && until grep -q Browser {logs}/said; do sleep 0.05; done \
         && {after} && sleep 2 && exec {client_program} {client} --dir {downloads}"
    );
    let mut command = CommandBuilder::new("unshare");
    command.args(UNSHARE);
    command.args(["sh", "-c", &script]);
    Session::start(command, 80, 24, "xterm-256color")
}

fn directories() -> [TempDir; 3] {
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap()];
    std::fs::write(directories[0].path().join("a.txt"), "hello").unwrap();
    directories
}

#[test]
fn a_server_that_nobody_named_is_found_and_chosen() {
    if !can_be_made() {
        return;
    }
    let directories = directories();
    let mut session = network(&directories, "", "");
    session.see("Looking for servers on this network ...");
    session.see("> el ñas  192.0.2.7:9555");
    session.press("\r");
    session.see("Connected to el ñas · 1 file, 5 B");
    session.see("> Browse & download");
}

#[test]
fn a_server_that_started_before_the_network_was_there_is_found_when_it_is() {
    if !can_be_made() {
        return;
    }
    let directories = directories();
    // Changes of the network are looked for every five seconds.
    let mut session = joined(&directories, "ip link set lo up", "", &format!("{{ {NETWORK}; }} && sleep 10"), "");
    session.see("> el ñas  192.0.2.7:9555");
}

#[test]
fn tokens_are_not_taken_in_the_open_from_a_network_that_comes_later() {
    if !can_be_made() {
        return;
    }
    let [host, logs, _] = directories();
    let (server, host, logs) = (env!("CARGO_BIN_EXE_server"), host.path().display(), logs.path().display());
    let script = format!(
        "ip link set lo up && {server} token add phone --rights all --dir {host} >/dev/null \
         && exec timeout 60 {server} --port 9555 --dir {host} --log-dir {logs} --no-discovery"
    );
    let ended =
        Command::new("unshare").args(UNSHARE).args(["sh", "-c", &script]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("there are tokens") && said.contains("--tls"), "{said}");
}

#[test]
fn a_server_that_is_told_not_to_announce_itself_is_not_found() {
    if !can_be_made() {
        return;
    }
    let directories = directories();
    let mut session = network(&directories, "--no-discovery", "");
    session.see("None answered.");
    session.see("> Type another address");
    session.press("q");
    session.child.wait().unwrap();
}

#[test]
fn a_client_that_is_told_not_to_look_does_not() {
    if !can_be_made() {
        return;
    }
    let directories = directories();
    let mut session = network(&directories, "", "--no-discovery");
    let screen = session.see("> Type another address");
    assert!(!screen.contains("Looking") && !screen.contains("Look on this network"), "{screen}");
}
