//! Whom to trust: the authorities of the machine, or those of a file.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Longest file of certificates: the authorities of a whole machine are some 200 KiB.
const FILE_MAX: u64 = 4 << 20;

/// The certificates of a file.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(crate) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let told = std::fs::metadata(path).map_err(|e| format!("{shown} cannot be read: {e}"))?;
    if told.len() > FILE_MAX {
        return Err(format!("{shown} is longer than {FILE_MAX} bytes"));
    }
    let found =
        CertificateDer::pem_file_iter(path).map_err(|e| format!("{shown} cannot be read: {e}"))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|e| format!("{shown}: {e}"))?;
    if found.is_empty() { Err(format!("{shown} holds no certificate")) } else { Ok(found) }
}

/// A client's side of TLS that trusts the authorities of `file`, or else those of the machine.
///
/// # Errors
/// When there are none.
pub(crate) fn client(file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in authorities(path)? {
                roots.add(certificate).map_err(|e| format!("{}: {e}", path.display()))?;
            }
        }
        None => {
            // Some machines have certificates among theirs that nobody can read.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| format!("TLS cannot be used: {e}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
