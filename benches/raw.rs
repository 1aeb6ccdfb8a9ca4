//! What this machine can do at all: the least work that moves the same bytes, without a protocol, names' rules or hashing.
//!
//! `bench/compare` runs these programs next to ours and next to the peers. They trust their arguments and each other.
//!
//! ```text
//! raw send FILE            listens; every connection is sent FILE with sendfile(2)
//! raw receive PORT FILE|-  receives 1 MiB at a time into FILE, or into nothing
//! raw take DIR             listens; every connection's bytes become a file in DIR, flushed, then one byte answers
//! raw push PORT FILE       sends FILE with sendfile(2) and waits for the answer
//! raw send-tree DIR        listens; every connection is sent all files of a tree, one after another
//! raw receive-tree PORT DIR  creates each file under another name, writes it, renames it
//! raw copy FILE FILE       a local copy, 1 MiB at a time
//! raw seal MIB             encrypts so many MiB with AES-128-GCM, a TLS record of 16 KiB at a time, on one core
//! ```
//! Those that listen print their port.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::fs::{CWD, fsync, mkdirat, renameat, sendfile};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Error, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["send", file] => listen(|socket| send(&socket, Path::new(file))),
        ["receive", port, "-"] => receive(connect(port)?, &mut io::sink()),
        ["receive", port, file] => receive(connect(port)?, &mut File::create(file)?),
        ["take", folder] => listen(|socket| take(socket, Path::new(folder))),
        ["push", port, file] => push(connect(port)?, Path::new(file)),
        ["send-tree", folder] => listen(|socket| send_tree(socket, Path::new(folder))),
        ["receive-tree", port, folder] => receive_tree(connect(port)?, Path::new(folder)),
        ["copy", from, to] => receive(File::open(from)?, &mut File::create(to)?),
        ["seal", mib] => seal(mib.parse().map_err(Error::other)?),
        // `cargo bench` runs every program of this folder.
        _ => writeln!(io::stdout(), "raw: see the head of benches/raw.rs; run by bench/compare"),
    }
}

fn listen(serve: impl Fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    for socket in listener.incoming() {
        // A receiver that went away is no reason to end.
        let _ = serve(socket?);
    }
    Ok(())
}

fn connect(port: &str) -> io::Result<TcpStream> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse().map_err(Error::other)?))
}

fn send(socket: &TcpStream, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let (mut sent, size) = (0, file.metadata()?.len());
    while sent < size {
        sendfile(socket, &file, Some(&mut sent), usize::try_from(size).unwrap_or(usize::MAX))?;
    }
    Ok(())
}

fn receive(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; MIB];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn seal(mib: usize) -> io::Result<()> {
    let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(|_| Error::other("no key"))?;
    let (key, mut record) = (LessSafeKey::new(key), vec![7; 16 * 1024]);
    for number in 0..(mib * MIB / record.len()) as u64 {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut record);
        let _ = std::hint::black_box(sealed.map_err(|_| Error::other("not sealed"))?);
    }
    Ok(())
}

fn take(mut socket: TcpStream, folder: &Path) -> io::Result<()> {
    let partial = folder.join("partial");
    let mut file = File::create(&partial)?;
    receive(&mut socket, &mut file)?;
    fsync(&file)?;
    std::fs::rename(&partial, folder.join("taken"))?;
    fsync(&File::open(folder)?)?;
    socket.write_all(b"!")
}

fn push(mut socket: TcpStream, path: &Path) -> io::Result<()> {
    send(&socket, path)?;
    socket.shutdown(Shutdown::Write)?;
    socket.read_exact(&mut [0])
}

/// Each file is the length of its path (`u16`), its size (`u32`), its path, its bytes.
fn send_tree(socket: TcpStream, root: &Path) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(MIB / 4, socket);
    for path in files(root)? {
        let bytes = std::fs::read(&path)?;
        let name = path.strip_prefix(root).map_err(Error::other)?.as_os_str().as_bytes();
        out.write_all(&u16::try_from(name.len()).map_err(Error::other)?.to_be_bytes())?;
        out.write_all(&u32::try_from(bytes.len()).map_err(Error::other)?.to_be_bytes())?;
        out.write_all(name)?;
        out.write_all(&bytes)?;
    }
    out.flush()
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn receive_tree(socket: TcpStream, root: &Path) -> io::Result<()> {
    let mut input = BufReader::with_capacity(MIB / 4, socket);
    let partial = root.join("partial");
    let (mut made, mut head) = (PathBuf::new(), [0; 6]);
    while let Ok(()) = input.read_exact(&mut head) {
        let mut name = vec![0; usize::from(u16::from_be_bytes([head[0], head[1]]))];
        let size = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        let mut bytes = vec![0; size as usize];
        input.read_exact(&mut name)?;
        input.read_exact(&mut bytes)?;
        let path = root.join(OsStr::from_bytes(&name));
        if let Some(parent) = path.parent().filter(|parent| *parent != made) {
            // It may be there already.
            let _ = mkdirat(CWD, parent, 0o777.into());
            parent.clone_into(&mut made);
        }
        File::create(&partial)?.write_all(&bytes)?;
        renameat(CWD, &partial, CWD, &path)?;
    }
    Ok(())
}
