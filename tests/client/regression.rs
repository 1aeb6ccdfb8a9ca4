//! Defects that were found and fixed; each test names the cause.

use crate::common::{Launch, Log, Server, eventually};
use crate::scene::{Running, Scene, client, run, write, write_random};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Runs what follows with a limit of the size of files: a little above what is stored at a time (256 KiB), so that a file
/// of 300,000 bytes fails with its last bytes.
const LIMITED: [&str; 2] = ["prlimit", "--fsize=270000"];

/// A client that cannot write larger files.
fn limited(scene: &Scene) -> Command {
    let whole = scene.client();
    let mut command = Command::new(LIMITED[0]);
    command.args(&LIMITED[1..]).arg(whole.get_program()).args(whole.get_args());
    command
}

/// Cause: the source of a value was asked of the group that the settings form, which panics.
#[test]
fn a_command_survives_asking_where_its_settings_came_from() {
    let scene = Scene::new();
    scene.run(&["list"]).ok();
    scene.run(&["--jobs", "2", "list", "--timeout", "9"]).ok();
}

/// Causes: the signal of a file beyond the limit ended the client; and when the last bytes of an answer could not be
/// stored, its end was looked for in the answers after it.
#[test]
fn a_download_that_cannot_be_stored_leaves_the_others_alone() {
    for flag in ["--serial", "--jobs=1"] {
        let scene = Scene::with(&[], |host| {
            write_random(&host.join("a"), 1, 300_000);
            write_random(&host.join("b"), 2, 100);
            write_random(&host.join("c"), 3, 3_000_000);
            write_random(&host.join("d"), 4, 100);
            write_random(&host.join("e"), 5, 12_000_000);
            write_random(&host.join("f"), 6, 100);
        });
        let run = run(limited(&scene).args(["get", "/", flag, "--json", "--retries", "0", "--timeout", "30"])).ends(3);
        for path in ["a", "c", "e"] {
            assert_eq!(run.file(path)["status"], "failed", "{run:?}");
            assert!(run.file(path)["message"].as_str().unwrap().contains("File too large"), "{run:?}");
            scene.server.logged(Log::Transfers, &[&format!("path={path} "), "status="]);
        }
        for path in ["b", "d", "f"] {
            assert_eq!(run.file(path)["status"], "ok", "{run:?}");
            assert_eq!(fs::read(scene.downloaded(path)).unwrap(), fs::read(scene.hosted(path)).unwrap());
        }
        assert!(!scene.downloaded(".hostdir").exists(), "nothing is left of what failed");
        // Only the largest is not worth passing over.
        assert_eq!(scene.connections(), 2);
    }
}

/// Cause: as above, on the server: the client's next upload was thrown away in the search for an end.
#[test]
fn an_upload_that_cannot_be_stored_leaves_the_others_alone() {
    let (host, local) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let server = Server::launch(host.path(), &Launch { through: &LIMITED, ..Launch::default() });
    let scene = Scene { host, local, server };
    write_random(&scene.local("source/a"), 1, 300_000);
    write_random(&scene.local("source/b"), 2, 100);
    write_random(&scene.local("source/c"), 3, 3_000_000);
    write_random(&scene.local("source/d"), 4, 100);
    let source = scene.local("source");
    let run = scene.run(&["put", source.to_str().unwrap(), "--serial", "--json", "--retries", "0"]).ends(8);
    for path in ["source/a", "source/c"] {
        assert_eq!(run.file(path)["code"], "too-large", "{run:?}");
    }
    for path in ["source/b", "source/d"] {
        assert_eq!(run.file(path)["status"], "ok", "{run:?}");
    }
    assert_eq!(scene.connections(), 1);
}

/// Cause: the words of the command line were read as text for the line that tells how to try again.
#[test]
fn an_argument_that_is_not_text_does_not_end_the_client() {
    use std::os::unix::ffi::OsStrExt;
    let scene = Scene::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    write(&scene.host.path().join(name), b"x");
    let mut get = client(scene.server.address(), &scene.downloads());
    run(get.arg("get").arg(name)).ok();
}

/// Cause: a file that the server listed was called published without a word to the server, so its arrival had no number,
/// nobody was asked who received it, and it was acknowledged before it was known to be durable.
#[test]
fn a_file_that_was_published_before_was_called_published_by_its_name_in_a_listing() {
    let scene = Scene::new();
    for (name, size) in [("small", 100), ("large", 3_000_000)] {
        let path = scene.local(name);
        write_random(&path, 1, size);
        let publish = ["publish", "chat", path.to_str().unwrap(), "--json"];
        let first = scene.run(&publish).ends(0).file(&format!("chat/{name}"));
        let again = scene.run(&publish).ends(0).file(&format!("chat/{name}"));
        assert_eq!((&again["status"], &again["bytes"]), (&"identical".into(), &0.into()));
        assert_eq!(again["number"], first["number"]);
        assert!(again["receivers"].is_array(), "{again}");
    }
}

/// Cause: with one connection at a time, that one was also given an upload that was still on its way, besides the
/// connection that is only for those.
#[test]
fn an_upload_that_stood_still_held_up_what_had_arrived() {
    for how in [&[][..], &["--serial"], &["--jobs", "1"], &["--jobs", "2"]] {
        let scene = Scene::new();
        let (before, place) = (scene.server.log(Log::Events).len(), scene.local("one"));
        let mut command = client(scene.server.address(), &place);
        let follower = Running::start(command.args(["subscribe", "chat", "--count", "1", "--json"]).args(how));
        eventually("it follows", || scene.server.log(Log::Events).len() > before + 1);
        let stalled = ["first", "second", "third", "fourth"].map(|name| {
            let mut command = scene.client();
            command.args(["publish", "chat", "-", "--name", name, "--wait", "0", "--quiet"]);
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.as_mut().unwrap().write_all(b"line\n").unwrap();
            child
        });
        let asked = || scene.server.log(Log::Events).iter().filter(|line| line.contains("event=connect ")).count();
        // The one that follows, four that send, and those that fetch.
        eventually("some are being fetched", || asked() >= 6);
        scene.server.client().put("chat/small", b"small").unwrap().unwrap();
        let run = follower.within(Duration::from_secs(30)).ends(0);
        assert_eq!(run.file("chat/small")["status"], "ok", "{how:?}");
        for mut child in stalled {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
