//! Very many clients at once.

use crate::proxy::{Line, Proxy};
use crate::scene::{Running, Scene, client, node, write_random};
use std::time::Instant;

const CLIENTS: usize = 300;
/// What the server may use, in KiB.
const MEMORY: u64 = 200 * 1024;

#[test]
fn three_hundred_clients_at_once_each_get_their_file() {
    let scene = Scene::with(&[], |host| {
        for number in 0..CLIENTS {
            write_random(&host.join(format!("file-{number}")), number as u64, 300_000 + 1_000 * number);
        }
    });
    // Nobody hears the server before all are there.
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    let folder = |number: usize| scene.local(&format!("client-{number}"));
    let running: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let file = format!("file-{number}");
            Running::start(client(proxy.address(), &folder(number)).args(["get", &file, "--json", "--timeout", "300"]))
        })
        .collect();
    proxy.wait_for_connections(CLIENTS);
    let began = Instant::now();
    proxy.allow(u64::MAX);
    for (number, client) in running.into_iter().enumerate() {
        let file = format!("file-{number}");
        assert_eq!(client.wait().ok().file(&file)["status"], "ok");
        assert_eq!(node(&folder(number).join(&file)), node(&scene.hosted(&file)), "{file}");
    }
    let (took, peak) = (began.elapsed(), scene.server.memory_kib("VmHWM"));
    assert!(peak < MEMORY, "{peak} KiB");
    assert_eq!(scene.transfers().iter().filter(|transfer| transfer.status == "ok").count(), CLIENTS);
    eprintln!("{CLIENTS} clients: {took:.1?}, server {} MiB", peak / 1024);
}
