//! `client --ask-token`, at a terminal: nothing of what is typed is shown, and the terminal is as it was however it ends.

use crate::common::{Server, eventually};
use crate::scene::{FOLDER, Scene};
use crate::terminal::Session;
use portable_pty::CommandBuilder;

fn asked(server: &Server) -> Session {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_client"));
    command.env_remove("HOSTDIR_TOKEN");
    let port = server.address().port().to_string();
    command.args(["--port", &port, "--retries", "0", "--ask-token", "list", FOLDER]);
    let mut session = Session::start(command, 100, 24, "xterm-256color");
    session.see("Token (not shown): ");
    session
}

#[test]
fn nothing_of_a_token_that_is_typed_is_shown() {
    let scene = Scene::new();
    let token = scene.token("phone", "read");
    let server = scene.serve(&[]);
    let mut session = asked(&server);
    assert!(session.is_raw(), "who sees the question can type at once, and unseen");
    // A slip of the finger, and taken back.
    session.press(&format!("Z\u{7f}{token}\r"));
    session.see("a/b/inside.txt");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    session.assert_restored();
    let shown = String::from_utf8_lossy(&session.raw).into_owned();
    assert!(!shown.contains(&token[..6]) && !shown.contains('*') && !shown.contains('Z'), "{shown}");
}

#[test]
fn ctrl_c_at_the_question_leaves_the_terminal_as_it_was() {
    let scene = Scene::new();
    scene.token("phone", "read");
    let server = scene.serve(&[]);
    let mut session = asked(&server);
    session.press("hd_half\u{3}");
    let status = session.child.wait().unwrap();
    session.read_to_end();
    assert_eq!(status.exit_code(), 130, "{}", session.screen.screen().contents());
    eventually("the terminal is as it was", || !session.is_raw());
    session.assert_restored();
    assert!(!session.screen.screen().contents().contains("half"));
}
