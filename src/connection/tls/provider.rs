//! The cryptography of both sides, which is ring's, in the order of what this machine does quickly.

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::crypto::ring::default_provider;
use std::sync::{Arc, OnceLock};

/// The cryptography: ring's, in the order of what this machine does quickly.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let mut provider = default_provider();
        let first = if has_aes() { TLS13_AES_128_GCM_SHA256.suite() } else { TLS13_CHACHA20_POLY1305_SHA256.suite() };
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
        Arc::new(provider)
    };
    Arc::clone(PROVIDER.get_or_init(make))
}

/// Whether the processor has instructions for AES: without them ChaCha20 is several times as fast.
pub(super) fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
