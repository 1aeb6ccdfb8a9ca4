//! How a client knows a server: by its key, and by nothing else.
//!
//! Owns the check of a certificate. Names, dates and who signed it say nothing on a local network; the key is compared
//! with the one that is expected, and that the server has it is proved by its signature over the handshake.

use super::fingerprint::Fingerprint;
use super::provider::provider;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::io;
use std::sync::{Arc, OnceLock};

/// Checks one connection's server.
#[derive(Debug)]
pub(super) struct Pin {
    expected: Option<Fingerprint>,
    seen: OnceLock<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pin {
    /// `None` takes any key, which is then to be asked for with [`Pin::seen`].
    pub(super) fn new(expected: Option<Fingerprint>) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { expected, seen: OnceLock::new(), algorithms }
    }

    /// The key that the server has shown. That it has it is only known after the handshake.
    pub(super) fn seen(&self) -> Option<Fingerprint> {
        self.seen.get().copied()
    }

    /// The client's side of a connection whose server is checked by this.
    pub(super) fn config(self: &Arc<Self>) -> io::Result<Arc<ClientConfig>> {
        let verifier: Arc<Self> = Arc::clone(self);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        // No connection rests on what an earlier one has proved.
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Arc::new(config))
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Fingerprint::of(end_entity)?;
        let _ = self.seen.set(seen);
        if self.expected.is_some_and(|expected| expected != seen) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
