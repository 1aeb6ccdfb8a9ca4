//! Both sides of a connection in memory, with every way that bytes can be cut between them.

use super::super::identity::Identity;
use super::super::pin::Pin;
use super::super::provider::provider;
use super::*;
use rustls::pki_types::ServerName;
use std::sync::Arc;

fn identity() -> Identity {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Identity::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap()
}

/// A client that takes any key, and a server.
fn pair() -> (Engine, Engine) {
    let name = ServerName::try_from("localhost").unwrap();
    let client = UnbufferedClientConnection::new(Arc::new(Pin::new(None)).config().unwrap(), name).unwrap();
    let server = UnbufferedServerConnection::new(identity().config()).unwrap();
    (Engine::new(Side::Client(client)), Engine::new(Side::Server(server)))
}

/// Carries what one side has to send to the other, `step` bytes at a time; returns the plaintext that came.
fn carry(from: &mut Engine, to: &mut Engine, step: usize) -> Result<Vec<u8>, Error> {
    let mut came = Vec::new();
    while !from.outgoing().is_empty() {
        let piece = from.outgoing()[..step.min(from.outgoing().len())].to_vec();
        from.sent(piece.len());
        to.append(piece.len(), |incoming| incoming.extend_from_slice(&piece));
        while to.take(1000, &mut |bytes| came.extend_from_slice(bytes))? > 0 {}
    }
    Ok(came)
}

fn shake_hands(client: &mut Engine, server: &mut Engine, step: usize) {
    client.has_plaintext().unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        assert_eq!(carry(client, server, step).unwrap(), b"");
        assert_eq!(carry(server, client, step).unwrap(), b"");
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8).collect()
}

#[test]
fn bytes_pass_both_ways_however_they_are_cut() {
    for step in [1, 2, 5, 17, 4096, usize::MAX] {
        let (mut client, mut server) = pair();
        shake_hands(&mut client, &mut server, step);
        for size in [1, 1000, RECORD - 1, RECORD, RECORD + 1, 3 * RECORD + 7] {
            client.encrypt(&content(size)).unwrap();
            server.encrypt(&content(size / 2 + 1)).unwrap();
            assert!(carry(&mut client, &mut server, step).unwrap() == content(size), "{size} by {step}");
            assert!(carry(&mut server, &mut client, step).unwrap() == content(size / 2 + 1), "{size} by {step}");
        }
    }
}

#[test]
fn what_is_not_asked_for_is_kept_and_seen() {
    let (mut client, mut server) = pair();
    shake_hands(&mut client, &mut server, usize::MAX);
    client.encrypt(&content(40_000)).unwrap();
    let sent = client.outgoing().to_vec();
    server.append(sent.len(), |incoming| incoming.extend_from_slice(&sent));
    assert!(server.has_plaintext().unwrap());
    let mut came = Vec::new();
    for room in [1, 2, 511, 16_384, 20_000, 3_102] {
        assert_eq!(server.take(room, &mut |bytes| came.extend_from_slice(bytes)).unwrap(), room);
    }
    assert!(came == content(40_000));
    assert!(!server.has_plaintext().unwrap());
    assert_eq!(server.take(9, &mut |_| panic!("nothing is left")).unwrap(), 0);
    server.release();
}

#[test]
fn the_end_is_known_only_from_the_peer_and_after_everything() {
    let (mut client, mut server) = pair();
    shake_hands(&mut client, &mut server, usize::MAX);
    client.encrypt(b"last").unwrap();
    client.close_notify().unwrap();
    let sent = client.outgoing().to_vec();
    server.append(sent.len(), |incoming| incoming.extend_from_slice(&sent));
    assert!(server.has_plaintext().unwrap() && !server.has_ended());
    let mut came = Vec::new();
    server.take(100, &mut |bytes| came.extend_from_slice(bytes)).unwrap();
    assert_eq!((came.as_slice(), server.has_ended()), (&b"last"[..], true));
    // The other direction is still open.
    server.encrypt(b"goodbye").unwrap();
    client.sent(usize::MAX);
    assert_eq!(carry(&mut server, &mut client, 3).unwrap(), b"goodbye");
}

#[test]
fn a_byte_that_was_altered_is_a_failure_that_stays_and_is_told() {
    let (mut client, mut server) = pair();
    shake_hands(&mut client, &mut server, usize::MAX);
    client.encrypt(b"whole").unwrap();
    let good = client.outgoing().to_vec();
    client.sent(good.len());
    client.encrypt(b"altered").unwrap();
    let mut sent = client.outgoing().to_vec();
    *sent.last_mut().unwrap() ^= 1;
    server.append(sent.len(), |incoming| incoming.extend([good, sent].concat()));
    let mut came = Vec::new();
    server.take(100, &mut |bytes| came.extend_from_slice(bytes)).unwrap();
    assert_eq!(came, b"whole");
    assert!(server.outgoing().len() > 5, "an alert is queued");
    for _ in 0..3 {
        assert_eq!(server.take(100, &mut |_| panic!("nothing of it")).unwrap_err(), Error::DecryptError);
        assert_eq!(server.encrypt(b"more").unwrap_err(), Error::DecryptError);
    }
}

#[test]
fn what_is_no_tls_is_a_failure_and_no_panic() {
    for bytes in
        [&b"\x16\x03\x01\x00\x04aaaa"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x8ahostdir", &[0x16; 300], &[0xff; 70_000]]
    {
        for step in [1, 7, bytes.len()] {
            let (_, mut server) = pair();
            let result = bytes.chunks(step).try_for_each(|piece| {
                server.append(piece.len(), |incoming| incoming.extend_from_slice(piece));
                server.has_plaintext().map(|_| ())
            });
            // Too few bytes may still be waited for.
            assert!(result.is_err() || bytes.len() < 400, "{bytes:?}");
            assert!(server.is_handshaking());
        }
    }
}

#[test]
fn asking_for_new_keys_does_not_go_on_for_ever() {
    let (mut client, mut server) = pair();
    shake_hands(&mut client, &mut server, usize::MAX);
    const TOO_MANY: Error = Error::PeerMisbehaved(rustls::PeerMisbehaved::TooManyKeyUpdateRequests);
    let ask = |client: &mut Engine| {
        let Side::Client(side) = &mut client.side else { panic!("it is a client") };
        let ConnectionState::WriteTraffic(traffic) = side.process_tls_records(&mut []).state.unwrap() else {
            panic!("it can write")
        };
        traffic.refresh_traffic_keys().unwrap();
        client.has_plaintext().unwrap();
    };
    // One now and then is what honest peers send.
    for _ in 0..1_000 {
        ask(&mut client);
        client.encrypt(b"data").unwrap();
        assert_eq!(carry(&mut client, &mut server, usize::MAX).unwrap(), b"data");
        server.encrypt(b"answer").unwrap();
        assert_eq!(carry(&mut server, &mut client, usize::MAX).unwrap(), b"answer");
    }
    (0..1_000).for_each(|_| ask(&mut client));
    assert_eq!(carry(&mut client, &mut server, usize::MAX).unwrap_err(), TOO_MANY);
}

/// The keys are changed long before they are worn out. Real limits are 256 GiB away, so here they are near.
#[test]
fn keys_are_changed_on_the_way() {
    let mut provider = (*provider()).clone();
    provider.cipher_suites = provider
        .cipher_suites
        .iter()
        .filter_map(|suite| suite.tls13())
        .map(|suite| {
            let common = rustls::crypto::CipherSuiteCommon { confidentiality_limit: 8, ..suite.common };
            let suite = rustls::Tls13CipherSuite { common, ..*suite };
            rustls::SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        })
        .collect();
    let provider = Arc::new(provider);
    let (mut client, mut server) = pair_of(&provider);
    shake_hands(&mut client, &mut server, usize::MAX);
    for round in 0..40 {
        let bytes = content(round * 3_000 + 1);
        client.encrypt(&bytes).unwrap();
        assert!(carry(&mut client, &mut server, 900).unwrap() == bytes, "to the server, round {round}");
        server.encrypt(&bytes).unwrap();
        assert!(carry(&mut server, &mut client, 900).unwrap() == bytes, "to the client, round {round}");
    }
}

/// Both sides with a cryptography of the test's.
fn pair_of(provider: &Arc<rustls::crypto::CryptoProvider>) -> (Engine, Engine) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let versions = [&rustls::version::TLS13];
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pin::new(None)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = UnbufferedClientConnection::new(Arc::new(client), name).unwrap();
    let server = UnbufferedServerConnection::new(Arc::new(server)).unwrap();
    (Engine::new(Side::Client(client)), Engine::new(Side::Server(server)))
}
