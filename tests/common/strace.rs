//! `strace`, attached to a running server, so that a chosen system call fails or kills.
//!
//! Each thread counts its calls by itself, from the moment of attaching on, or from its birth: the thread of a session that
//! begins afterwards counts from its first call.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub struct Strace {
    child: Child,
}

impl Strace {
    /// Whether `strace` is there and may attach.
    pub fn is_possible() -> bool {
        let seen = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
        seen.is_ok_and(|output| output.status.success())
    }

    /// Attaches to a process and all of its threads. Each of `injections` is what follows `inject=`, as in
    /// `fsync:error=EIO:when=1`.
    pub fn attach(pid: u32, injections: &[String]) -> Self {
        Self::start(pid, &["-f"], injections)
    }

    /// Attaches to one thread.
    pub fn attach_thread(thread: u32, injections: &[String]) -> Self {
        Self::start(thread, &[], injections)
    }

    /// Attaches to a process and all of its threads, and notes these calls in a file, with the paths of descriptors. The
    /// file is whole when this is dropped.
    pub fn note(pid: u32, calls: &str, log: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-e", &format!("trace={calls}"), "-o"]).arg(log);
        Self::spawn(pid, command)
    }

    fn start(pid: u32, follow: &[&str], injections: &[String]) -> Self {
        let mut command = Command::new("strace");
        let calls: Vec<&str> = injections.iter().map(|it| it.split(':').next().unwrap()).collect();
        command.args(follow).args(["-o", "/dev/null", "-e", &format!("trace={}", calls.join(","))]);
        for injection in injections {
            command.args(["-e", &format!("inject={injection}")]);
        }
        Self::spawn(pid, command)
    }

    fn spawn(pid: u32, mut command: Command) -> Self {
        command.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let attached = said.by_ref().any(|line| line.contains("attached"));
        assert!(attached, "strace did not attach");
        std::thread::spawn(move || said.for_each(drop));
        Self { child }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // SIGTERM lets it detach; the process under it goes on.
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
