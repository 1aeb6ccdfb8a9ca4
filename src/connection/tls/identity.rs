//! What a server proves with who it is: a certificate, its key, and the rules of its side of TLS.
//!
//! Knows nothing of files: it is given what is in them.

use super::fingerprint::Fingerprint;
use super::provider::{has_aes, provider};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A certificate with its key, ready for connections.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// From a certificate, with those that it is signed by after it, and its key, both in PEM (RFC 7468).
    ///
    /// # Errors
    /// `InvalidData` with what is wrong with them: harmless text, without anything of the key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> io::Result<Self> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(|_| wrong("the certificate is damaged"))?;
        let own = chain.first().ok_or_else(|| wrong("there is no certificate in it (PEM is expected)"))?;
        let fingerprint = Fingerprint::of(own).map_err(|_| wrong("the certificate cannot be used"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| wrong("there is no key in it (PEM is expected)"))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|_| wrong("the key is not that of the certificate, or of a kind that cannot be used"))?;
        // Every connection proves itself anew, and nothing that was sent before means anything when it is sent again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        // What is quick for this machine matters more: it serves many.
        config.ignore_client_order = !has_aes();
        Ok(Self { config: Arc::new(config), fingerprint })
    }

    /// What people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
