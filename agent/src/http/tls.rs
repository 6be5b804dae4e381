//! How a server's certificate is checked, and what we show it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider};

use super::HttpArgs;
use crate::module::{Doing, ModuleError};

/// Where systems keep the authorities that they trust, as one file.
const AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// # Errors
/// A file of certificates or of a key cannot be read.
pub(super) fn config(args: &HttpArgs) -> Result<TlsConfig, ModuleError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = match &args.ca_path {
        Some(path) => certificates(path)?,
        None => {
            let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            let found = named.into_iter().chain(AUTHORITIES.map(PathBuf::from)).find(|path| path.is_file());
            found.map(|path| certificates(&path)).transpose()?.unwrap_or_default()
        }
    };
    let builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::new_with_certs(&roots))
        .disable_verification(!args.validate_certs);
    let Some(path) = &args.client_cert else { return Ok(builder.build()) };
    let key = read(args.client_key.as_ref().unwrap_or(path))?;
    let key = PrivateKey::from_pem(&key).doing(|| format!("read the key of {}", path.display()))?;
    Ok(builder.client_cert(Some(ClientCert::new_with_certs(&certificates(path)?, key))).build())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ModuleError> {
    let pem = read(path)?;
    let items = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(items.collect())
}

fn read(path: &Path) -> Result<Vec<u8>, ModuleError> {
    std::fs::read(path).doing(|| format!("read {}", path.display()))
}
