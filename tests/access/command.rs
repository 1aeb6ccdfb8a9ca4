//! `server token`, and the client with a token.

use crate::common::{Launch, Log, Server};
use crate::scene::{FOLDER, Scene};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

fn client(server: &Server, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().envs(variables.iter().copied());
    command.args(["--port", &server.address().port().to_string(), "--retries", "0", "--no-input"]);
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_token_is_shown_once_and_kept_nowhere() {
    let scene = Scene::new();
    let token = scene.token("phone", "read,add");
    assert!(token.starts_with("hd_") && token.len() == 55, "{token}");
    let kept = std::fs::read_to_string(scene.path().join(".hostdir/tokens")).unwrap();
    assert!(!kept.contains(&token) && !kept.contains(&token[3..]), "{kept}");
    let listed = scene.said(&["list"]);
    assert!(listed.contains("phone") && listed.contains("read,add") && listed.contains(FOLDER), "{listed}");
    assert!(!listed.contains(&token[3..]));
    let json = scene.said(&["list", "--json"]);
    assert_eq!(
        json,
        "{\"expires\":null,\"folders\":[\"a/b\"],\"name\":\"phone\",\"rate\":null,\"rights\":[\"read\",\"add\"]}\n"
    );
}

#[test]
fn a_rate_is_listed_and_kept() {
    let scene = Scene::new();
    scene.said(&["add", "slow", "--rights", "all", "--rate", "2MiB"]);
    scene.token("phone", "read");
    let listed = scene.said(&["list"]);
    assert!(listed.lines().nth(1).unwrap().ends_with("2.0 MiB/s"), "{listed}");
    assert!(scene.said(&["list", "--json"]).contains("\"rate\":2097152"));
}

#[test]
fn what_makes_no_sense_is_a_usage_error_and_changes_nothing() {
    let scene = Scene::new();
    scene.token("phone", "read");
    let before = scene.said(&["list"]);
    let wrong: [&[&str]; 8] = [
        &["add", "phone", "--rights", "read"],
        &["add", "x", "--rights", "write"],
        &["add", "x", "--rights", "none"],
        &["add", "a b", "--rights", "read"],
        &["add", "x", "--rights", "read", "--folder", "../x"],
        &["add", "x", "--rights", "read", "--expires", "soon"],
        &["add", "x", "--rights", "read", "--rate", "1KiB"],
        &["revoke", "nobody"],
    ];
    for arguments in wrong {
        let output = scene.command(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    assert_eq!(scene.said(&["list"]), before);
}

#[test]
fn the_client_takes_its_token_from_the_environment_or_a_file_that_is_its_own() {
    let scene = Scene::new();
    let token = scene.token("phone", "read");
    let server = scene.serve(&[]);
    let listed = client(&server, &["list", FOLDER], &[("HOSTDIR_TOKEN", &token)]);
    assert_eq!(text(&listed.stdout), "a/b/deep/\na/b/inside.txt\n");
    let file = scene.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let path = file.to_str().unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = client(&server, &["list", FOLDER, "--token-file", path], &[]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("chmod 600"), "{refused:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(client(&server, &["list", FOLDER, "--token-file", path], &[]).status.success());
    let told = client(&server, &["ping", "-v"], &[("HOSTDIR_TOKEN", &token)]);
    assert!(text(&told.stdout).contains("you may: read"), "{told:?}");
}

#[test]
fn without_a_token_the_client_says_where_to_put_one() {
    let scene = Scene::new();
    let token = scene.token("phone", "read");
    let server = scene.serve(&[]);
    for variables in [&[][..], &[("HOSTDIR_TOKEN", "hd_wrong")]] {
        let refused = client(&server, &["list"], variables);
        assert_eq!(refused.status.code(), Some(8));
        let said = text(&refused.stderr);
        assert!(said.contains("--token-file") && !said.contains("hd_wrong") && !said.contains(&token), "{said}");
    }
}

#[test]
fn a_damaged_list_of_tokens_stops_the_start() {
    let scene = Scene::new();
    scene.token("one", "read");
    std::fs::write(scene.path().join(".hostdir/tokens"), "hostdir tokens 1\none\nend\n").unwrap();
    let said = Server::try_launch(scene.path(), &Launch::default()).err().unwrap();
    assert!(said.contains("line 2 is damaged"), "{said}");
}

#[test]
fn with_tokens_and_without_encryption_only_this_machine_is_served_unasked() {
    let scene = Scene::new();
    scene.token("one", "read");
    let start = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.args(["--ip", "0.0.0.0", "--port", "0", "--dir"]).arg(scene.path());
        command.arg("--log-dir").arg(scene.path().join("logs")).args(flags).env_clear().output().unwrap()
    };
    let refused = start(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--insecure-tokens"), "{refused:?}");
    let server = scene.serve(&[]);
    server.logged(Log::Events, &["event=start", "tokens=1", "anonymous=none"]);
}
