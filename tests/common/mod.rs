//! What tests with the real `server` share: starting it on a port of its own, and being sure that it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to say where it listens.
const START: Duration = Duration::from_secs(20);

/// A running `server` on 127.0.0.1, ended when this is dropped.
pub struct Server {
    address: SocketAddrV4,
    child: Child,
    _logs: TempDir,
}

impl Server {
    /// Starts `server` over `dir`, on a free port, with a log directory of its own and any further arguments.
    ///
    /// # Panics
    /// If it ends, or does not say where it listens in time.
    pub fn start(dir: &Path, extra_args: &[&str]) -> Self {
        let logs = TempDir::new().expect("a temporary directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["--ip", "127.0.0.1", "--port", "0"])
            .arg("--dir")
            .arg(dir)
            .arg("--log-dir")
            .arg(logs.path())
            .args(extra_args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("server can be started");
        let (lines, received) = mpsc::channel();
        // Both streams are read to their end, so that the server never waits for a reader.
        forward_lines(child.stdout.take().expect("is piped"), lines.clone());
        forward_lines(child.stderr.take().expect("is piped"), lines);
        let mut server = Self { address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), child, _logs: logs };
        let deadline = Instant::now() + START;
        let mut said = String::new();
        while server.address.port() == 0 {
            match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    said.push_str(&line);
                    said.push('\n');
                    server.address.set_port(port_in(&line).unwrap_or(0));
                }
                Err(RecvTimeoutError::Disconnected) => panic!("server ended before it listened; it said:\n{said}"),
                Err(RecvTimeoutError::Timeout) => panic!("server did not say where it listens; it said:\n{said}"),
            }
        }
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward_lines(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            // Nobody listens any more once the port is known.
            let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

/// The port in a line that has `127.0.0.1:PORT` in it.
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok().filter(|port| *port != 0)
}
