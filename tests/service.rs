//! `server` under a service manager: what it tells, and when. The test is the manager.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Launch, Log, Server, eventually, put_file, upload_id};
use hostdir::wire::{Begin, Put, Request};
use rustix::process::Signal;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tempfile::TempDir;

/// A manager's socket, with the name that the server is given.
fn manager(folder: &TempDir) -> (UnixDatagram, String) {
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    (patient(socket), path.to_str().unwrap().to_owned())
}

fn patient(socket: UnixDatagram) -> UnixDatagram {
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

/// A server that is told of a manager.
fn start(folder: &TempDir, name: &str) -> Server {
    let variable = format!("NOTIFY_SOCKET={name}");
    let through = ["env", &variable];
    let hosted = folder.path().join("hosted");
    Server::launch(&hosted, &Launch { through: &through, ..Launch::default() })
}

/// The next message, which begins with this line.
fn hears(socket: &UnixDatagram, first: &str) -> String {
    let mut buffer = [0; 4096];
    let size = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {first}: {error}"));
    let message = String::from_utf8(buffer[..size].to_vec()).unwrap();
    assert_eq!(message.lines().next(), Some(first), "{message}");
    message
}

#[test]
fn a_service_manager_hears_when_the_server_is_ready_reloads_and_stops() {
    let folder = TempDir::new().unwrap();
    let (socket, name) = manager(&folder);
    let mut server = start(&folder, &name);
    hears(&socket, "READY=1");
    server.client();
    server.signal(Signal::HUP);
    let reloading = hears(&socket, "RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(since.parse::<u64>().unwrap() > 0, "systemd 253 and later want to know when");
    hears(&socket, "READY=1");
    server.terminate();
    hears(&socket, "STOPPING=1");
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_server_that_stops_does_not_say_that_it_serves_when_its_logs_are_opened_anew() {
    let folder = TempDir::new().unwrap();
    let (socket, name) = manager(&folder);
    let mut server = start(&folder, &name);
    hears(&socket, "READY=1");
    let mut client = server.client();
    client.ask(Put { upload: Some(upload_id(1)), ..put_file("f", 1 << 20) }).unwrap().unwrap();
    client.send(Request::Begin(Begin { offset: 0 })).unwrap();
    client.data(&[0; 1000]).unwrap();
    eventually("it is being sent", || {
        std::fs::read_dir(folder.path().join("hosted/.hostdir/partial")).unwrap().count() > 0
    });
    server.terminate();
    hears(&socket, "STOPPING=1");
    std::fs::rename(server.logs().join("server.log"), server.logs().join("before")).unwrap();
    server.signal(Signal::HUP);
    eventually("the log is opened anew", || server.logs().join("server.log").exists());
    drop(client);
    server.wait();
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 4096]).is_err(), "something was said after it");
}

#[test]
fn a_socket_without_a_file_is_reached_by_a_confined_server_too() {
    let folder = TempDir::new().unwrap();
    let name = format!("hostdir-test-{}", std::process::id());
    let socket = patient(UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap());
    let mut server = start(&folder, &format!("@{name}"));
    hears(&socket, "READY=1");
    server.terminate();
    hears(&socket, "STOPPING=1");
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_manager_that_cannot_be_told_does_not_keep_the_server_from_serving() {
    let folder = TempDir::new().unwrap();
    let gone = folder.path().join("gone");
    let server = start(&folder, gone.to_str().unwrap());
    server.client();
    server.logged(Log::Events, &["level=warn", "event=service-manager", "READY=1"]);
}
