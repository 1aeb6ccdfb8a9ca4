//! The server's key on disk, and certificates that are exchanged while it runs.

use crate::common::{Launch, Log, Server, eventually};
use crate::secured::{key_in, pem};
use hostdir::connection::{Deadlines, Fingerprint, Identity, Stream};
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

fn start(host: &Path, arguments: &[&str]) -> Result<Server, String> {
    Server::try_launch(host, &Launch { arguments, ..Launch::default() })
}

fn own(host: &Path, folder: &Path) -> Result<Server, String> {
    start(host, &["--tls", "--tls-dir", folder.to_str().unwrap()])
}

/// The key that a new connection is shown.
fn shown(server: &Server) -> Fingerprint {
    let socket = TcpStream::connect(server.address()).unwrap();
    let mut stream = Stream::new(socket, Deadlines::client(Duration::from_secs(60))).unwrap();
    stream.connect_tls("localhost", Ipv4Addr::LOCALHOST.into(), None).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn write_pair(folder: &Path, (certificate, key): &(String, String)) {
    for (name, pem) in [("c.pem", certificate), ("k.pem", key)] {
        let aside = folder.join(format!("{name}.new"));
        fs::write(&aside, pem).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(aside, folder.join(name)).unwrap();
    }
}

fn key_of((certificate, key): &(String, String)) -> Fingerprint {
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap().fingerprint()
}

#[test]
fn a_key_is_made_once_for_the_eyes_of_its_user_only() {
    let (host, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let folder = keys.path().join("a/b");
    let server = own(host.path(), &folder).unwrap();
    let key = shown(&server);
    assert_eq!(key_in(&server.logged(Log::Events, &["event=certificate"])), key);
    assert_eq!((mode(&folder), mode(&folder.join("identity.pem"))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else was left there");
    server.kill();
    assert_eq!(shown(&own(host.path(), &folder).unwrap()), key);
}

#[test]
fn servers_that_start_at_the_same_time_have_one_key() {
    let keys = TempDir::new().unwrap();
    let hosts: Vec<_> = (0..4).map(|_| TempDir::new().unwrap()).collect();
    let servers: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = hosts.iter().map(|host| scope.spawn(|| own(host.path(), keys.path()).unwrap())).collect();
        started.into_iter().map(|server| server.join().unwrap()).collect()
    });
    let shown: Vec<_> = servers.iter().map(shown).collect();
    assert!(shown.windows(2).all(|two| two[0] == two[1]), "{shown:?}");
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let (host, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    own(host.path(), keys.path()).unwrap().kill();
    let file = keys.path().join("identity.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let said = own(host.path(), keys.path()).err().unwrap();
    assert!(said.contains("chmod 600") && said.lines().count() == 1, "{said}");
    let pair = pem();
    write_pair(keys.path(), &pair);
    let given = |mode: u32| {
        fs::set_permissions(keys.path().join("k.pem"), fs::Permissions::from_mode(mode)).unwrap();
        let (certificate, key) = (keys.path().join("c.pem"), keys.path().join("k.pem"));
        start(host.path(), &["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()])
    };
    assert!(given(0o644).err().unwrap().contains("chmod 600"));
    // A group of those who may, as Debian has it.
    assert_eq!(shown(&given(0o640).unwrap()), key_of(&pair));
}

#[test]
fn a_key_that_clients_could_fetch_is_not_used() {
    let (host, around) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(host.path().join("keys")).unwrap();
    symlink(host.path().join("keys"), around.path().join("link")).unwrap();
    let places = [host.path().to_owned(), host.path().join("new/folder"), around.path().join("link")];
    for folder in places {
        let said = own(host.path(), &folder).err().unwrap();
        assert!(said.contains("--tls-dir") && said.contains("anybody could fetch"), "{said}");
    }
    assert!(!host.path().join("new").exists() && !host.path().join("keys/identity.pem").exists());
    write_pair(host.path(), &pem());
    let (certificate, key) = (host.path().join("c.pem"), host.path().join("k.pem"));
    let arguments = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    assert!(start(host.path(), &arguments).err().unwrap().contains("--tls-key"));
    // No remote path leads there.
    own(host.path(), &host.path().join(".hostdir/tls")).unwrap();
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_in_one_line() {
    let (host, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (certificate, key) = (keys.path().join("c.pem"), keys.path().join("k.pem"));
    let arguments = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let refused = |why: &str| {
        let said = start(host.path(), &arguments).err().unwrap();
        assert!(said.contains(why) && said.contains(".pem") && said.lines().count() == 1, "{said}");
    };
    refused("c.pem");
    let (one, other) = (pem(), pem());
    write_pair(keys.path(), &(one.0.clone(), other.1.clone()));
    refused("the key is not that of the certificate");
    write_pair(keys.path(), &(one.1.clone(), one.1.clone()));
    refused("there is no certificate in it");
    write_pair(keys.path(), &(one.0.clone(), one.0.clone()));
    refused("there is no key in it");
    write_pair(keys.path(), &(one.0.replace('M', "A"), one.1));
    refused("certificate");
    fs::write(keys.path().join("identity.pem"), "garbage").unwrap();
    fs::set_permissions(keys.path().join("identity.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let said = own(host.path(), keys.path()).err().unwrap();
    assert!(said.contains("identity.pem") && said.contains("remove it"), "{said}");
}

#[test]
fn certificates_are_read_again_and_broken_ones_are_not_used() {
    let (host, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (certificate, key) = (keys.path().join("c.pem"), keys.path().join("k.pem"));
    let [first, second, third] = [pem(), pem(), pem()];
    write_pair(keys.path(), &first);
    let arguments = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = start(host.path(), &arguments).unwrap();
    assert_eq!(shown(&server), key_of(&first));
    // The line of the start is not one of a reload.
    server.logged(Log::Events, &["event=certificate"]);
    let reload = |key: Fingerprint, level: &str| {
        let lines = || {
            let log = server.log(Log::Events);
            log.into_iter().filter(|line| line.contains("event=certificate")).collect::<Vec<_>>()
        };
        let before = lines().len();
        server.signal(Signal::HUP);
        eventually("it is read again", || lines().len() > before);
        let line = lines().pop().unwrap();
        assert!(line.contains(level) && line.contains(&key.to_string()), "{line}");
        assert_eq!(shown(&server), key);
    };
    // A connection from before goes on with what it has.
    let socket = TcpStream::connect(server.address()).unwrap();
    let mut before = Stream::new(socket, Deadlines::client(Duration::from_secs(60))).unwrap();
    before.connect_tls("localhost", Ipv4Addr::LOCALHOST.into(), None).unwrap();
    let mut before = crate::secured::greeted(before);
    write_pair(keys.path(), &second);
    reload(key_of(&second), "level=info");
    write_pair(keys.path(), &(third.0.clone(), first.1.clone()));
    reload(key_of(&second), "level=error");
    fs::remove_file(&key).unwrap();
    reload(key_of(&second), "level=error");
    write_pair(keys.path(), &third);
    reload(key_of(&third), "level=info");
    before.send_request(&hostdir::wire::Request::Ping).unwrap();
    before.flush().unwrap();
    assert_eq!(crate::secured::reply(&mut before), hostdir::wire::Reply::Pong);
}

/// What is named is a link, and another file is put under it.
#[test]
fn certificates_behind_links_are_read_again() {
    let pairs = [pem(), pem()];
    // As Kubernetes does it: a folder for each pair, and one link that is turned.
    let keys = TempDir::new().unwrap();
    for (number, pair) in pairs.iter().enumerate() {
        fs::create_dir(keys.path().join(number.to_string())).unwrap();
        write_pair(&keys.path().join(number.to_string()), pair);
    }
    symlink("0", keys.path().join("data")).unwrap();
    for name in ["c.pem", "k.pem"] {
        symlink(Path::new("data").join(name), keys.path().join(name)).unwrap();
    }
    turned(keys.path(), &pairs, || {
        symlink("1", keys.path().join("new")).unwrap();
        fs::rename(keys.path().join("new"), keys.path().join("data")).unwrap();
    });
    // As certbot does it: all pairs in a folder elsewhere, and a link to each file.
    let keys = TempDir::new().unwrap();
    let (archive, live) = (keys.path().join("archive"), keys.path().join("live"));
    fs::create_dir(&archive).unwrap();
    fs::create_dir(&live).unwrap();
    let point = |number: usize| {
        for name in ["c.pem", "k.pem"] {
            symlink(format!("../archive/{number}-{name}"), live.join("new")).unwrap();
            fs::rename(live.join("new"), live.join(name)).unwrap();
        }
    };
    for (number, pair) in pairs.iter().enumerate() {
        write_pair(&archive, pair);
        for name in ["c.pem", "k.pem"] {
            fs::rename(archive.join(name), archive.join(format!("{number}-{name}"))).unwrap();
        }
    }
    point(0);
    turned(&live, &pairs, || point(1));
}

/// A server with the files of a folder, before and after they were exchanged.
fn turned(folder: &Path, pairs: &[(String, String); 2], turn: impl FnOnce()) {
    let host = TempDir::new().unwrap();
    let (certificate, key) = (folder.join("c.pem"), folder.join("k.pem"));
    let server =
        start(host.path(), &["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]).unwrap();
    assert_eq!(shown(&server), key_of(&pairs[0]));
    turn();
    server.signal(Signal::HUP);
    eventually("the new one is shown", || shown(&server) == key_of(&pairs[1]));
}

#[test]
fn the_banner_shows_what_a_client_needs() {
    let (host, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command
        .args(["--ip", "127.0.0.1", "--port", "0", "--tls", "--tls-dir"])
        .arg(keys.path())
        .arg("--dir")
        .arg(host.path());
    command.arg("--log-dir").arg(keys.path().join("logs")).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())).map_while(Result::ok);
    let clients = lines.by_ref().find(|line| line.starts_with(" Clients:")).unwrap();
    let tls = lines.by_ref().find(|line| line.starts_with(" TLS only:")).unwrap();
    let key = key_in(&tls);
    let words: Vec<&str> = clients.split_whitespace().skip(2).collect();
    let mut client = crate::scene::bare_client();
    client.args(words).arg("--known-servers").arg(keys.path().join("known")).args(["ping"]);
    let pinged = crate::scene::run(&mut client).ok();
    assert!(clients.contains(&format!("--tls --fingerprint {key}")) && pinged.out.contains("TLS"), "{clients}");
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
