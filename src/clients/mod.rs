//! One file per outside system, all built on one HTTP layer ([`api`]). A client knows its system's protocol and
//! limits; it knows no job. One that is opened once and kept gives the context its method, in its own file.

pub mod api;
pub mod cafe24;
pub mod event_folder;
pub mod event_webhook;
mod folders;
pub mod kafka;
mod mail_api;
pub mod mail_folder;
pub mod mail_transport;
pub mod redis;
pub mod schema_registry;
pub mod sendgrid;
pub mod ses;
pub mod smtp;

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// What encrypts sockets of ours: it checks certificates against the roots of the operating system, or of `SSL_CERT_FILE`.
/// Otherwise says what is missing.
fn tls_connector() -> Result<TlsConnector, String> {
    install_tls_provider();
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(format!(
            "failed to load the trusted certificates: {cause} (install ca-certificates, or name a PEM file in SSL_CERT_FILE)"
        ));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Names the one crypto provider of the whole program, for libraries that take the process's own.
fn install_tls_provider() {
    // On a second call it is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
