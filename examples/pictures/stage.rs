//! What the pictures show: a host directory that could be somebody's, a server over it, and a slow way there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// One piece of a download, and how long the next one takes: some 50 MiB/s for each connection.
const PIECE: usize = 256 * 1024;
const PAUSE: Duration = Duration::from_millis(5);

/// Everything that is running, gone when it is dropped.
pub struct Stage {
    server: Child,
    port: u16,
    slow_port: u16,
    folder: TempDir,
}

impl Stage {
    /// Makes the files and starts the server.
    pub fn build(programs: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        files(&folder.path().join("host_dir"));
        fs::create_dir(folder.path().join("here")).unwrap();
        let mut command = Command::new(programs.join("server"));
        command.args(["--ip", "127.0.0.1", "--port", "0", "--name", "nas", "--no-discovery"]);
        let mut server = command.current_dir(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("http://127.0.0.1:")?;
            rest.split('/').next()?.parse().ok()
        });
        let port = port.unwrap();
        Self { server, port, slow_port: slow_way_to(port), folder }
    }

    /// Where the server listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same server, slow.
    pub fn slow_port(&self) -> u16 {
        self.slow_port
    }

    /// A folder for whoever is a client.
    pub fn here(&self) -> PathBuf {
        self.folder.path().join("here")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Files without content, which take no space: sizes, names and ages are all that is seen.
fn files(host: &Path) {
    const HOUR: u64 = 3_600;
    let photos =
        ["beach", "breakfast", "cathedral", "fireworks, seen from the roof", "market", "olive trees", "señora"];
    for (number, name) in (0_u64..).zip(photos) {
        file(
            &host.join(format!("photos/2026/{name}.jpg")),
            (23 * MIB / 10) * (number % 4 + 1),
            HOUR * (3 + 7 * number),
        );
        file(&host.join(format!("photos/2026/{name}.thumb.jpg")), 14_000 + 700 * number, HOUR * (3 + 7 * number));
    }
    for (number, name) in
        (0_u64..).zip(["a Sunday in Cádiz and what came of it", "storm", "ferry", "dunes", "Ærøskøbing"])
    {
        file(&host.join(format!("photos/2026/{name}.jpg")), 5 * MIB + number * 811_000, 24 * HOUR * (3 + number));
    }
    for number in 0..204 {
        file(&host.join(format!("photos/2026/raw/IMG_{:04}.dng", 2_300 + number)), 26 * MIB, 30 * HOUR);
    }
    for number in 0..60 {
        file(&host.join(format!("photos/2025/IMG_{:04}.jpg", 1_100 + number)), 4 * MIB, 300 * 24 * HOUR);
    }
    let films =
        [("film.mkv", 734), ("harbour, first cut.mov", 411), ("interview_with_the_fishermen_long_version.mov", 902)];
    for (name, size) in films.into_iter().chain([("titles.mov", 96)]) {
        file(&host.join("videos").join(name), size * MIB, 50 * HOUR);
    }
    file(&host.join("recipes/salmorejo cordobés.txt"), 601, 9 * HOUR);
    file(&host.join("welcome.txt"), 544, 40 * 24 * HOUR);
}

fn file(path: &Path, size: u64, seconds_old: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds_old)).unwrap();
}

/// Passes bytes on to the server; those that come back take their time.
fn slow_way_to(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow_port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            thread::spawn(move || trickle(server, client));
        }
    });
    slow_port
}

fn trickle(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        thread::sleep(PAUSE);
    }
    let _ = to.shutdown(Shutdown::Both);
}
