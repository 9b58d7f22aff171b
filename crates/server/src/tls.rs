//! TLS to others: it trusts whom this host trusts.

use std::sync::Arc;
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore},
};

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This host trusts nobody.
    #[error("this host has no root certificates: install its ca-certificates, or set SSL_CERT_FILE")]
    NoRoots,
    /// The library refuses its own defaults.
    #[error("TLS: {0}")]
    Library(#[source] rustls::Error),
}

/// TLS for one protocol. Reads the host's certificates: some milliseconds.
pub(crate) fn connector(alpn: &[u8]) -> Result<TlsConnector, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Error::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Library)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
