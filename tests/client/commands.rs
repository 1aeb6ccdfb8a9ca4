//! The small commands, and the command line itself.

use crate::scene::{Scene, bare_client, fill, run, write};

#[test]
fn a_ping_tells_who_answered_and_how_fast() {
    let scene = Scene::with(&["--name", "attic"], |_| {});
    let run = scene.run(&["ping"]).ok();
    assert!(run.out.starts_with("attic (127.0.0.1:") && run.out.trim_end().ends_with(" ms"), "{run:?}");
    assert_eq!(run.err, "");
    let pongs = scene.run(&["ping", "--json", "--count", "2"]).ok().json("pong");
    assert_eq!(pongs.len(), 2);
    assert_eq!((pongs[0]["name"].as_str(), pongs[0]["protocol"].as_u64()), (Some("attic"), Some(1)));
    assert!(pongs[0]["us"].is_u64());
}

#[test]
fn completions_and_a_manual_page_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(bare_client().args(["completions", shell])).ok().out;
        assert!(script.contains("on-conflict") && script.contains("client"), "{shell}");
    }
    let page = run(bare_client().arg("man")).ok().out;
    assert!(page.contains(".TH client 1") && page.contains("on\\-conflict"), "{page}");
}

#[test]
fn usage_errors_end_with_two_and_say_what_is_wrong() {
    for (words, part) in [
        (&["gett", "x"][..], "gett"),
        (&["get"], "PATH"),
        (&["put"], "PATH"),
        (&["list", "--nonsense"], "--nonsense"),
        (&["--port", "70000", "list"], "70000"),
        (&["--jobs", "0", "list"], "0"),
        (&["get", "x", "--serial", "--parallel"], "--parallel"),
        (&["get", "x", "--on-conflict", "shrug"], "shrug"),
        (&["get", "x", "--timeout", "0"], "0"),
        (&["completions", "cmd"], "cmd"),
        (&["ping", "--count", "x"], "x"),
    ] {
        let run = run(bare_client().args(words)).ends(2).says(part);
        assert_eq!(run.out, "", "{words:?}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = run(bare_client().arg("--help")).ok().out;
    assert!(["list", "get", "put", "ping", "completions", "man", "Exit codes"].iter().all(|word| help.contains(word)));
    assert!(run(bare_client().arg("--version")).ok().out.starts_with("client "));
}

#[test]
fn flags_may_stand_before_and_after_the_command_and_in_the_environment() {
    let scene = Scene::with(&[], fill);
    let port = scene.server.address().port().to_string();
    let out = run(bare_client().args(["--port", &port, "list"])).ok().out;
    assert_eq!(run(bare_client().args(["list", "--port", &port])).ok().out, out);
    assert_eq!(run(bare_client().arg("list").env("HOSTDIR_PORT", &port)).ok().out, out);
    assert_eq!(run(bare_client().args(["-i", "localhost", "-p", &port, "list"])).ok().out, out);
    let mut get = bare_client();
    get.args(["get", "a.txt"]).env("HOSTDIR_PORT", &port).env("HOSTDIR_DIR", scene.downloads());
    run(&mut get).ok();
    assert!(scene.downloaded("a.txt").is_file());
}

#[test]
fn a_switch_on_the_command_line_wins_over_its_counterpart_in_the_environment() {
    let scene = Scene::with(&[], fill);
    let port = scene.server.address().port().to_string();
    for value in ["true", "false"] {
        let mut list = bare_client();
        run(list
            .args(["--parallel", "-v", "list", "-p", &port])
            .env("HOSTDIR_SERIAL", value)
            .env("HOSTDIR_QUIET", value))
        .ok();
    }
    let mut list = bare_client();
    list.args(["list", "-p", &port]).env("HOSTDIR_SERIAL", "true").env("HOSTDIR_PARALLEL", "true");
    run(&mut list).ends(2).says("exclude each other");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let scene = Scene::with(&[], |host| (0..5_000).for_each(|number| write(&host.join(number.to_string()), b"")));
    let mut list = scene.client();
    let mut child = list.arg("list").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_terminal_and_a_command_there_is_help_and_a_usage_error() {
    let run = run(&mut bare_client()).ends(2).says("Usage: client");
    assert_eq!(run.out, "");
}
