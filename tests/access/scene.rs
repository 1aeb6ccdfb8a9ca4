//! A host directory with tokens, and who asks there.

use crate::common::{RawClient, Server};
use hostdir::access::{Grant, TokenFile, TokenHash, generate};
use hostdir::wire::{Fault, Rights};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The folder that the tokens of these tests are for.
pub const FOLDER: &str = "a/b";

/// A host directory.
pub struct Scene {
    pub dir: TempDir,
}

impl Scene {
    /// With files inside of [`FOLDER`], above and beside it.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let files =
            ["top.txt", "other/secret.txt", "a/above.txt", "a/bc/secret.txt", "a/b/inside.txt", "a/b/deep/file.txt"];
        for name in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("content of {name}")).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `server token` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.arg("token").args(arguments).arg("--dir").arg(self.path());
        command.env_clear().output().unwrap()
    }

    /// What `server token` prints.
    pub fn said(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A token for [`FOLDER`], as an operator makes it.
    pub fn token(&self, name: &str, rights: &str) -> String {
        self.said(&["add", name, "--rights", rights, "--folder", FOLDER]).trim_end().to_owned()
    }

    /// A token for everything.
    pub fn master(&self, name: &str) -> String {
        self.said(&["add", name, "--rights", "all"]).trim_end().to_owned()
    }

    /// A token that was over long ago.
    pub fn expired(&self) -> String {
        let token = generate().unwrap();
        let grant = Grant::named("expired", Rights::ALL, Vec::new()).unwrap().until(Some(1));
        let file = TokenFile::of(self.path()).unwrap();
        let added = file.edit(|tokens| {
            tokens.push((TokenHash::of(&token), grant));
            Ok(())
        });
        added.unwrap();
        String::from_utf8(token.secret().to_vec()).unwrap()
    }

    pub fn revoke(&self, name: &str) {
        self.said(&["revoke", name]);
    }

    /// The server, which ends no session by its own patience.
    pub fn serve(&self, arguments: &[&str]) -> Server {
        let patient = ["--stall-timeout", "3600", "--idle-timeout", "3600"];
        Server::start(self.path(), &[&patient[..], arguments].concat())
    }
}

/// A client that has greeted with a token.
pub fn with_token(server: &Server, token: &str) -> RawClient {
    greet(server, Some(token)).unwrap_or_else(|fault| panic!("not let in: {fault:?}"))
}

/// Greets; what the server says if it lets nobody in.
pub fn greet(server: &Server, token: Option<&str>) -> Result<RawClient, Fault> {
    let mut client = server.connection();
    client.greet_as(token).unwrap().map(|_| client)
}
