//! Programs that are built and run: the static ones in a root with nothing else in it, and in the long form what
//! `scripts/package` makes of them.

use super::common::is_long;
use super::{has, out, top};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The user of the container.
const USER: u32 = 10_001;
const CONTENT: &[u8] = b"what was hosted";

/// A server that was started with a free port of 127.0.0.1, and is ended with this.
struct Running {
    child: Child,
    port: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, rest) = line.split_once("http://127.0.0.1:")?;
            Some(rest.split('/').next()?.to_owned())
        });
        // Read to the end, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port: port.expect("the server says where it listens") }
    }

    fn stop(mut self) -> i32 {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM)
            .unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where programs without libraries are; built here without optimisation, which takes a third of the time, or in the long form as
/// they are handed out.
fn static_programs() -> Option<PathBuf> {
    if is_long() {
        return package("static").then(|| top("target/package/static"));
    }
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    if !installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&target)) {
        eprintln!("no target {target} (rustup target add {target}): static programs are left out");
        return None;
    }
    if !has("musl-gcc", "static programs") {
        return None;
    }
    let folder = top("target/empty-root");
    out(Command::new(env!("CARGO"))
        .args(["build", "--locked", "--bins", "--quiet", "--target", &target, "--target-dir"])
        .arg(&folder)
        .args(["--config", "profile.dev.package.\"*\".opt-level=0", "--config", "profile.dev.debug=false"])
        .current_dir(top("")));
    Some(folder.join(target).join("debug"))
}

/// Builds a part of what is handed out; not, if something for it is missing, which the script says.
fn package(part: &str) -> bool {
    let status = Command::new(top("scripts/package")).arg(part).status().unwrap();
    assert!(matches!(status.code(), Some(0 | 77)), "scripts/package {part}: {status}");
    status.success()
}

/// A root with the two programs, the folders of the container, and nothing else.
fn empty_root(programs: &Path) -> TempDir {
    let root = TempDir::new().unwrap();
    for name in ["server", "client"] {
        fs::copy(programs.join(name), root.path().join(name)).unwrap();
    }
    for name in ["host_dir", "logs", "downloads"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::write(root.path().join("host_dir/hosted"), CONTENT).unwrap();
    root
}

/// Runs programs with `root` as their root: as the container's user if the test is privileged, else in a user namespace.
fn change_root(root: &Path) -> Option<Vec<String>> {
    let text = root.to_str().unwrap().to_owned();
    if rustix::process::geteuid().is_root() {
        for name in ["", "host_dir", "logs", "downloads"] {
            chown(root.join(name), Some(USER), Some(USER)).unwrap();
        }
        return Some(vec!["chroot".into(), format!("--userspec={USER}:{USER}"), text]);
    }
    let unshare = ["unshare", "--user", "--map-root-user"];
    if !Command::new(unshare[0]).args(&unshare[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("neither privileged nor with user namespaces: the empty root is left out");
        return None;
    }
    Some(unshare.iter().map(ToString::to_string).chain(["chroot".to_owned(), text]).collect())
}

#[test]
fn a_static_server_and_client_work_in_an_empty_root() {
    if !has("chroot", "the empty root") {
        return;
    }
    let Some(programs) = static_programs() else { return };
    let root = empty_root(&programs);
    let Some(through) = change_root(root.path()) else { return };
    let inside = |program: &str, words: &[&str]| {
        let mut command = Command::new(&through[0]);
        command.args(&through[1..]).arg(program).args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command
    };
    let server = Running::start(&mut inside("/server", &["--ip", "127.0.0.1", "--port", "0", "--min-free-space", "0"]));
    out(&mut inside("/client", &["--port", &server.port, "get", "hosted"]));
    assert_eq!(fs::read(root.path().join("downloads/hosted")).unwrap(), CONTENT);
    let again =
        Command::new(env!("CARGO_BIN_EXE_client")).args(["--port", &server.port, "get", "hosted", "-o", "-"]).output();
    assert_eq!(again.unwrap().stdout, CONTENT, "and from outside");
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 nas\n").unwrap();
    out(&mut inside("/client", &["--ip", "nas", "--port", &server.port, "put", "/client", "--name", "sent"]));
    assert!(root.path().join("host_dir/sent").is_file());
    assert_eq!(server.stop(), 0);
}

#[test]
fn the_debian_package_has_what_it_promises() {
    if !is_long() {
        return eprintln!("only with HOSTDIR_LONG: it needs an optimised build");
    }
    if !has("dpkg-deb", "the Debian package") || !package("deb") {
        return;
    }
    let built = fs::read_dir(top("target/package")).unwrap().map(|entry| entry.unwrap().path());
    let deb = built.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb")).unwrap();
    let folder = TempDir::new().unwrap();
    out(Command::new("dpkg-deb").arg("--raw-extract").arg(&deb).arg(folder.path()));
    let installed = |path: &str| folder.path().join(path);
    for path in [
        "lib/systemd/system/hostdir.service",
        "usr/lib/sysusers.d/hostdir.conf",
        "usr/share/man/man1/hostdir-server.1.gz",
        "usr/share/man/man1/hostdir-client.1.gz",
        "usr/share/bash-completion/completions/hostdir-client",
        "usr/share/zsh/vendor-completions/_hostdir-client",
        "usr/share/fish/vendor_completions.d/hostdir-client.fish",
        "usr/share/doc/hostdir/copyright",
    ] {
        let found = installed(path).is_file() || installed(&format!("usr/{path}")).is_file();
        assert!(found, "{path}");
    }
    assert_eq!(fs::read_to_string(installed("DEBIAN/conffiles")).unwrap().trim(), "/etc/hostdir/server.toml");
    let listing = out(Command::new(installed("usr/bin/hostdir-server"))
        .args(["--check-config", "--config"])
        .arg(installed("etc/hostdir/server.toml")));
    assert!(listing.contains("\"/var/lib/hostdir/files\""), "{listing}");
    let version = out(Command::new(installed("usr/bin/hostdir-client")).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")));
    install(&deb);
}

/// Installs the package into a root that is forgotten, upgrades it, and purges it.
fn install(deb: &Path) {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh"]).arg(top("tests/package/install.sh"));
    let output = command.arg(folder.path()).arg(deb).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        _ if !rustix::process::geteuid().is_root() => eprintln!("not privileged: the package is not installed"),
        Some(77) => eprintln!("nothing can be mounted here: the package is not installed: {said}"),
        code => panic!("{code:?}: {said}{}", String::from_utf8_lossy(&output.stdout)),
    }
}

#[test]
fn the_container_serves_a_download() {
    if !is_long() {
        return eprintln!("only with HOSTDIR_LONG: it needs an optimised build");
    }
    if !rustix::process::geteuid().is_root() || !package("image") {
        return eprintln!("not privileged, or no image: the container is left out");
    }
    let hosted = TempDir::new().unwrap();
    let Some(container) = Container::of("hostdir:latest", &hosted) else { return };
    let hosted = container.hosted();
    fs::write(hosted.join("hosted"), CONTENT).unwrap();
    let flags = ["--ip", "127.0.0.1", "--port", "0", "--min-free-space", "0"];
    let server = Running::start(container.command().args(flags));
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    let got = client.args(["--port", &server.port, "get", "hosted", "-o", "-"]).output().unwrap();
    assert_eq!(got.stdout, CONTENT);
    assert_eq!(fs::metadata(hosted.join(".hostdir")).unwrap().uid(), USER, "it runs as nobody");
    assert_eq!(server.stop(), 0);
}

/// An image that is run by podman, or where that lacks what it needs, in a changed root by hand.
enum Container {
    Podman { image: &'static str, hosted: PathBuf },
    Root { name: String, root: PathBuf },
}

impl Container {
    fn of(image: &'static str, hosted: &TempDir) -> Option<Self> {
        let run = Command::new("podman").args(["run", "--rm", image, "--version"]).output();
        if run.is_ok_and(|output| output.status.success()) {
            chown(hosted.path(), Some(USER), Some(USER)).unwrap();
            return Some(Self::Podman { image, hosted: hosted.path().to_owned() });
        }
        eprintln!("podman cannot run containers here");
        if !has("buildah", "the container") {
            return None;
        }
        let name = format!("hostdir-test-{}", std::process::id());
        out(Command::new("buildah").args(["from", "--name", &name, image]));
        let root = out(Command::new("buildah").args(["mount", &name])).trim().into();
        Some(Self::Root { name, root })
    }

    /// Where the volume with what is hosted is.
    fn hosted(&self) -> PathBuf {
        match self {
            Self::Podman { hosted, .. } => hosted.clone(),
            Self::Root { root, .. } => root.join("host_dir"),
        }
    }

    /// Its server, with the network of this machine; flags may follow.
    fn command(&self) -> Command {
        match self {
            Self::Podman { image, hosted } => {
                let mut command = Command::new("podman");
                command.args(["run", "--rm", "--network", "host", "--volume"]);
                command.arg(format!("{}:/host_dir", hosted.display())).arg(image);
                command
            }
            Self::Root { root, .. } => {
                let mut command = Command::new("chroot");
                command.arg(format!("--userspec={USER}:{USER}")).arg(root).arg("/server");
                command.env("HOSTDIR_SERVER_CONFIG", "/config/server.toml");
                command
            }
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Self::Root { name, .. } = self {
            let _ = Command::new("buildah").args(["rm", name]).output();
        }
    }
}
