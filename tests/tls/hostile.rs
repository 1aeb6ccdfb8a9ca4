//! Peers that play with TLS itself.

use crate::common::{Log, eventually};
use crate::scene::run;
use crate::secured::{PATIENCE, Secured, Seen, recorder};
use hostdir::connection::{Deadlines, NotSecured, Stream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WantsServerCert};
use rustls::sign::CertifiedKey;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[test]
fn a_session_that_is_played_back_does_nothing() {
    let tls = Secured::new();
    let file = tls.scene.local("f");
    fs::write(&file, b"once").unwrap();
    let (address, seen) = recorder(tls.address());
    run(tls.told(address).args(["-q", "--serial", "put", file.to_str().unwrap()])).ok();
    let transfers = || tls.scene.server.log(Log::Transfers);
    tls.scene.server.logged(Log::Events, &["event=disconnect"]);
    tls.scene.server.logged(Log::Transfers, &["event=upload"]);
    let before = transfers();
    let sessions = seen.connections();
    assert!(!sessions.is_empty());
    let events = |what: &str| tls.scene.server.log(Log::Events).iter().filter(|line| line.contains(what)).count();
    let (connected, refused) = (events("event=connect "), events("TLS handshake"));
    for session in &sessions {
        // The first flight alone, everything, and everything twice.
        for bytes in [&session[..session.len().min(300)], session, &session.repeat(2)] {
            let mut socket = TcpStream::connect(tls.address()).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = socket.write_all(bytes);
            let _ = socket.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer);
        }
    }
    eventually("all of them were refused", || events("TLS handshake") == refused + 3 * sessions.len());
    assert_eq!(events("event=connect "), connected, "nobody got as far as to greet");
    let stored =
        fs::read_dir(tls.scene.host.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(stored.iter().filter(|name| *name != ".hostdir").count(), 1, "{stored:?}");
    assert_eq!(transfers(), before);
    assert_eq!(before.len(), 1);
}

#[test]
fn a_handshake_that_drips_is_cut_off_after_the_time_for_a_greeting() {
    let tls = Secured::new();
    let hello = {
        let (address, seen) = recorder(tls.address());
        run(tls.told(address).args(["list"])).ok();
        seen.connections().remove(0)
    };
    let mut socket = TcpStream::connect(tls.address()).unwrap();
    let began = Instant::now();
    let mut dripping = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        for byte in hello.chunks(1) {
            if dripping.write_all(byte).is_err() {
                return;
            }
            // Not a synchronisation: the rate of the drip.
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(60), "{took:?}");
    tls.scene.server.logged(Log::Events, &["event=disconnect", "TLS handshake: nothing in 10 s"]);
    tls.connect();
}

#[test]
fn nobody_else_waits_for_those_who_only_begin() {
    let tls = Secured::new();
    let half: Vec<_> = (0..100)
        .map(|_| {
            let mut socket = TcpStream::connect(tls.address()).unwrap();
            socket.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
            socket
        })
        .collect();
    let began = Instant::now();
    tls.run(&["list"]).ok();
    // One after the other would take 10 s each.
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
    drop(half);
}

#[test]
fn garbage_instead_of_a_handshake_panics_nobody() {
    let tls = Secured::new();
    let mut random = crate::common::Random::new(7);
    for round in 0..60 {
        let mut bytes = vec![0x16, 3, 1];
        if round % 2 == 0 {
            bytes.extend_from_slice(&[1, 0, 1, 0, 0, 0xfc, 3, 3]);
        }
        bytes.extend(random.bytes(random.clone().below(2_000) as usize + 20));
        let mut socket = TcpStream::connect(tls.address()).unwrap();
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(Shutdown::Write);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    tls.connect();
    assert!(!tls.scene.server.log(Log::Events).iter().any(|line| line.contains("panic")));
}

/// Whoever alters a byte of the server's handshake makes the client refuse; whoever alters one later ends the connection.
#[test]
fn altered_bytes_are_noticed() {
    let tls = Secured::with(&[], |host| fs::write(host.join("f"), vec![7; 3_000]).unwrap());
    let target = tls.address();
    let (mut refused, mut ignored) = (0, 0);
    for place in (0..1_400).step_by(53) {
        let address = crate::secured::listen(move |mut client| {
            let mut server = TcpStream::connect(target).unwrap();
            let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            let (mut buffer, mut passed) = ([0; 512], 0);
            while let Ok(count @ 1..) = server.read(&mut buffer) {
                if let Some(byte) = buffer[..count].get_mut(place - passed.min(place)).filter(|_| passed <= place) {
                    *byte ^= 0x10;
                }
                passed += count;
                if client.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
        let got = run(tls.told(address).args(["--retries", "0", "--timeout", "5", "-q", "get", "f"]));
        if got.code == Some(0) {
            // The version in the head of a record must be ignored (RFC 8446, section 5.1).
            assert_eq!(fs::read(tls.scene.downloaded("f")).unwrap(), vec![7; 3_000], "byte {place}");
            fs::remove_file(tls.scene.downloaded("f")).unwrap();
            ignored += 1;
        } else {
            assert!(matches!(got.code, Some(4 | 7)), "byte {place}: {got:?}");
            assert!(!tls.scene.downloaded("f").exists(), "byte {place}");
            refused += 1;
        }
    }
    assert!(refused > 20 && ignored < 4, "{refused} were refused, {ignored} were not");
}

/// Shows a certificate, and signs with another key.
#[derive(Debug)]
struct Borrowed(Arc<CertifiedKey>);

impl ResolvesServerCert for Borrowed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn a_certificate_without_its_key_is_worth_nothing() {
    const SECRET: &str = "very-secret-name";
    let tls = Secured::with(&[], |host| fs::write(host.join(SECRET), b"content").unwrap());
    // What everybody can have: the server shows its certificate to whoever asks.
    let own = fs::read(tls.keys.path().join("server/identity.pem")).unwrap();
    let certificate = CertificateDer::from_pem_slice(&own).unwrap();
    let key = PrivateKeyDer::from_pem_slice(crate::secured::pem().1.as_bytes()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let config = server_config(&rustls::version::TLS13)
        .with_cert_resolver(Arc::new(Borrowed(Arc::new(CertifiedKey::new(vec![certificate], key)))));
    let config = Arc::new(config);
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let noted = Arc::clone(&heard);
    let target = crate::secured::listen(move |mut socket| {
        let mut server = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        while server.complete_io(&mut socket).is_ok_and(|(read, _)| read > 0) {
            let _ = server.reader().read_to_end(&mut noted.lock().unwrap());
        }
    });
    let (address, seen) = recorder(target);
    let seen = Seen { plaintext: heard, ..seen };
    run(tls.told(address).args(["--retries", "0", "get", SECRET]))
        .refused(7, &["handshake is not right", "Nothing was sent"]);
    run(tls.untold(address).args(["--tls", "--accept-new", "get", SECRET])).refused(7, &["handshake is not right"]);
    seen.knows_nothing_of(&[SECRET]);
    assert!(!tls.known().exists());
}

fn server_config(
    version: &'static rustls::SupportedProtocolVersion,
) -> rustls::ConfigBuilder<rustls::ServerConfig, WantsServerCert> {
    rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
}

#[test]
fn a_server_without_tls_1_3_is_refused_by_the_client() {
    let (certificate, key) = crate::secured::pem();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = server_config(&rustls::version::TLS12).with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    let address = crate::secured::listen(move |mut socket| {
        let mut server = rustls::ServerConnection::new(config.clone()).unwrap();
        let _ = server.complete_io(&mut socket);
    });
    let mut stream = Stream::new(TcpStream::connect(address).unwrap(), Deadlines::client(PATIENCE)).unwrap();
    let refused = stream.connect_tls("localhost", Ipv4Addr::LOCALHOST.into(), None).unwrap_err();
    assert!(matches!(&refused, NotSecured::NoTls(why) if why.contains("TLS 1.3")), "{refused:?}");
}
