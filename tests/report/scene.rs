//! What the tests of the report share: lines of a log, running the program, and a server with real clients.

use crate::common::{Log, Server, eventually};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A log with everything in it that a report tells.
pub const SAMPLE: &str = include_str!("sample.log");

/// How a report ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The JSON objects of a type.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let objects = self.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        objects.filter(|object| object["type"] == kind).collect()
    }
}

/// Runs `server report` where there is no terminal.
pub fn run(arguments: &[&str], columns: usize, locale: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.arg("report").args(arguments).stdin(Stdio::null());
    let output = command.env_clear().env("COLUMNS", columns.to_string()).env("LC_ALL", locale).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A report on a log, which must succeed.
pub fn report(directory: &Path, arguments: &[&str]) -> Ended {
    report_at(directory, arguments, 80, "C.UTF-8")
}

pub fn report_at(directory: &Path, arguments: &[&str], columns: usize, locale: &str) -> Ended {
    let ended = run(&[&["--log-dir", directory.to_str().unwrap()], arguments].concat(), columns, locale);
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
    ended
}

/// The line of a download on 2026-11-20; `path` as it stands in the log.
pub fn download(time: &str, client: &str, path: &str, bytes: u64, status: &str) -> String {
    transfer("download", time, client, path, bytes, status)
}

/// The line of an upload on 2026-11-20.
pub fn upload(time: &str, client: &str, path: &str, bytes: u64, status: &str) -> String {
    transfer("upload", time, client, path, bytes, status)
}

fn transfer(event: &str, time: &str, client: &str, path: &str, bytes: u64, status: &str) -> String {
    format!(
        "time=2026-11-20T{time}Z level=info event={event} id=7f client={client}:50012 via=native path={path} \
         size={bytes} offset=0 bytes={bytes} ms=12 status={status}\n"
    )
}

/// A server with a log folder of its own, and real clients.
pub struct Live {
    pub host: TempDir,
    pub local: TempDir,
    server: Server,
}

impl Live {
    pub fn new() -> Self {
        let (host, local) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let server = Server::start(host.path(), &[]);
        Self { host, local, server }
    }

    /// Runs the client to its end, which must be a good one.
    pub fn client(&self, command: &str, arguments: &[&str]) {
        let output = self.command(command, "downloads").args(arguments).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A subscriber of `news` that ends after one file, once it follows.
    pub fn follow(&self, folder: &str) -> Child {
        let before = self.followers();
        let child = self.command("subscribe", folder).args(["news", "--count", "1"]).spawn().unwrap();
        eventually("it follows", || self.followers() > before);
        child
    }

    /// The objects of a type that a report has, once they are what is waited for.
    pub fn report_until(&self, kind: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut objects = Vec::new();
        eventually(kind, || {
            objects = report(self.server.logs(), &["--json"]).objects(kind);
            is_so(&objects)
        });
        objects
    }

    fn followers(&self) -> usize {
        self.server.log(Log::Events).iter().filter(|line| line.contains(" event=subscribe ")).count()
    }

    fn command(&self, command: &str, folder: &str) -> Command {
        let folder = self.local.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
        client.current_dir(self.local.path()).arg(command);
        client.args(["--port", &self.server.address().port().to_string(), "--dir"]).arg(folder);
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        client
    }
}
