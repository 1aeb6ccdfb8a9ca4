//! The real `server`, started on a free port, and ended by its process id when the test is done with it.

use super::RawClient;
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to say where it listens.
const START: Duration = Duration::from_secs(90);
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `server` on 127.0.0.1, ended when this is dropped.
pub struct Server {
    address: SocketAddrV4,
    child: Child,
    logs: PathBuf,
    _own_logs: Option<TempDir>,
}

/// How a server is started.
#[derive(Default)]
pub struct Launch<'a> {
    /// A program and its arguments that run the server: `prlimit` and the like, which end in `exec`.
    pub through: &'a [&'a str],
    /// Further arguments.
    pub arguments: &'a [&'a str],
    /// Where the logs go; by default a directory of its own.
    pub logs: Option<&'a Path>,
    /// The port; by default a free one, which nobody else in need of a port is given while this test runs.
    pub port: u16,
    /// The working directory; by default that of the test.
    pub directory: Option<&'a Path>,
}

/// One of the two logs.
#[derive(Debug, Clone, Copy)]
pub enum Log {
    Events,
    Transfers,
}

impl Server {
    /// Starts `server` over `dir`, on a free port, with a log directory of its own and any further arguments.
    ///
    /// # Panics
    /// If it ends, or does not say where it listens in time.
    pub fn start(dir: &Path, extra_args: &[&str]) -> Self {
        Self::launch(dir, &Launch { arguments: extra_args, ..Launch::default() })
    }

    /// As [`Server::start`], with everything else that can be chosen.
    pub fn launch(dir: &Path, launch: &Launch<'_>) -> Self {
        Self::try_launch(dir, launch).unwrap_or_else(|said| panic!("server did not start; it said:\n{said}"))
    }

    /// As [`Server::launch`]; the error is what the server said.
    pub fn try_launch(dir: &Path, launch: &Launch<'_>) -> Result<Self, String> {
        let port = if launch.port == 0 { kept_port() } else { launch.port };
        let own_logs = launch.logs.is_none().then(|| TempDir::new().unwrap());
        let logs = launch.logs.map_or_else(|| own_logs.as_ref().unwrap().path().to_owned(), Path::to_owned);
        let program = [launch.through, &[env!("CARGO_BIN_EXE_server")]].concat();
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(["--ip", "127.0.0.1", "--port", &port.to_string(), "--dir"])
            .arg(dir)
            .arg("--log-dir")
            .arg(&logs)
            .args(launch.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if !launch.arguments.contains(&"--min-free-space") {
            // The machine's disk is none of the test's business.
            command.args(["--min-free-space", "0"]);
        }
        if let Some(directory) = launch.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().unwrap();
        let (lines, received) = mpsc::channel();
        // Both streams are read to their end, so that the server never waits for a reader.
        forward_lines(child.stdout.take().unwrap(), lines.clone());
        forward_lines(child.stderr.take().unwrap(), lines);
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let mut server = Self { address, child, logs, _own_logs: own_logs };
        let deadline = Instant::now() + START;
        let mut said = String::new();
        while server.address.port() == 0 {
            match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    said.push_str(&line);
                    said.push('\n');
                    server.address.set_port(port_in(&line).unwrap_or(0));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(said),
                Err(RecvTimeoutError::Timeout) => return Err(format!("{said}(and nothing more)")),
            }
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// A client that has greeted.
    pub fn client(&self) -> RawClient {
        RawClient::greeted(self.address.into()).unwrap()
    }

    /// A connection on which nothing was said yet.
    pub fn connection(&self) -> RawClient {
        RawClient::connect(self.address.into()).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A thread of that name, once there is one.
    pub fn thread(&self, name: &str) -> u32 {
        let tasks = format!("/proc/{}/task", self.pid());
        let named = |thread: &str| {
            std::fs::read_to_string(format!("{tasks}/{thread}/comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let mut found = None;
        eventually("the thread is there", || {
            let threads =
                std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().file_name().into_string().unwrap());
            found = threads.into_iter().find(|thread| named(thread));
            found.is_some()
        });
        found.unwrap().parse().unwrap()
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// As [`Server::kill`], where it is to be replaced.
    pub fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop, as an operator does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Its exit code, or the negative number of the signal that ended it.
    pub fn wait(&mut self) -> i32 {
        let mut status = None;
        eventually("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The lines of a log so far.
    pub fn log(&self, log: Log) -> Vec<String> {
        let name = match log {
            Log::Events => "server.log",
            Log::Transfers => "transfers.log",
        };
        let mut bytes = std::fs::read(self.logs.join(name)).unwrap_or_default();
        // A line that is just written is none yet.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        let text = String::from_utf8(bytes).expect("a log is UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// The first line of a log that has all of `parts`, once it is there.
    pub fn logged(&self, log: Log, parts: &[&str]) -> String {
        let mut found = None;
        let what = format!("{log:?} log has {parts:?}");
        eventually(&what, || {
            found = self.log(log).into_iter().find(|line| parts.iter().all(|part| line.contains(part)));
            found.is_some()
        });
        found.unwrap()
    }

    /// A figure of `/proc/PID/status` in KiB: `VmHWM` is the peak of resident memory, `VmRSS` what it is now.
    pub fn memory_kib(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// CPU time used so far, in clock ticks (a hundredth of a second each).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that will come, and fails if it does not.
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    eventually_in(PATIENCE, what, is_so);
}

/// As [`eventually`], with a limit of its own.
pub fn eventually_in(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {patience:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A free port that the system gives to nobody else, also while the server on it is down: a socket holds it that does not
/// listen. The server, which reuses addresses, can.
pub fn kept_port() -> u16 {
    /// More servers than one test starts before it needs one of their ports again.
    const KEPT: usize = 64;
    static PORTS: Mutex<VecDeque<Socket>> = Mutex::new(VecDeque::new());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let mut ports = PORTS.lock().unwrap();
    ports.push_back(socket);
    if ports.len() > KEPT {
        ports.pop_front();
    }
    port
}

fn forward_lines(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            // Nobody listens any more once the port is known.
            let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

/// The port in the line of the banner that names the page.
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("://127.0.0.1:")?;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok().filter(|port| *port != 0)
}
