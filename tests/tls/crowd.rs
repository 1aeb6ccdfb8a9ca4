//! Many who follow and fetch at once, within TLS, while others send: nobody stands still.

use crate::common::{Log, eventually, scaled};
use crate::scene::{Running, client, random};
use crate::secured::Secured;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// `HOSTDIR_LONG`: fifty of them, for some ten minutes.
const FOLLOWERS: (usize, usize) = (6, 50);
const FILES: (usize, usize) = (30, 1_500);
/// What a publisher rests between two files in the long form.
const REST: Duration = Duration::from_millis(400);

#[test]
fn everybody_gets_everything_while_more_comes() {
    let tls = Secured::new();
    let (followers, files) = (scaled(FOLLOWERS.0, FOLLOWERS.1), scaled(FILES.0, FILES.1));
    let with_key = |mut command: Command| {
        command.arg("--known-servers").arg(tls.known()).args(["--fingerprint", &tls.key().to_string(), "-q"]);
        command
    };
    let mut running: Vec<_> = (0..followers)
        .map(|number| {
            let mut command = with_key(client(tls.address(), &tls.scene.local(&format!("to-{number}"))));
            Running::start(command.args(["--jobs", "2", "subscribe", "chat", "--count", &files.to_string()]))
        })
        .collect();
    eventually("all follow", || {
        let events = tls.scene.server.log(Log::Events);
        events.iter().filter(|line| line.contains("event=subscribe ")).count() >= followers
    });
    let from = tls.scene.local("from");
    fs::create_dir(&from).unwrap();
    for number in 0..files {
        let file = from.join(number.to_string());
        // Small ones, and now and then one of several records, blocks and frames.
        let size = if number % scaled(7, 50) == 0 { 2_500_000 } else { number * 37 % 20_000 };
        fs::write(&file, random(number as u64, size)).unwrap();
        if number + 1 == files {
            // Before the last one, after which they go.
            let events = tls.scene.server.log(Log::Events);
            let cut = events.iter().find(|line| line.contains("event=disconnect") && line.contains("cause="));
            assert_eq!(cut, None, "nobody's connection broke off or stood still");
        }
        let mut command = with_key(client(tls.address(), &tls.scene.downloads()));
        command.args(["publish", "chat"]).arg(&file).args(["--wait", "0"]);
        crate::scene::run(&mut command).ok();
        // Not a synchronisation: the rate of the publisher, so that it lasts.
        std::thread::sleep(scaled(Duration::ZERO, REST));
    }
    running.drain(..).for_each(|follower| _ = follower.wait().ok());
    for number in 0..followers {
        for file in 0..files {
            let came = tls.scene.local(&format!("to-{number}/chat/{file}"));
            assert!(fs::read(came).unwrap() == fs::read(from.join(file.to_string())).unwrap(), "{file} of {number}");
        }
    }
}
