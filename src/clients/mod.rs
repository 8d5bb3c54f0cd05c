//! One file per outside system, all built on one HTTP layer ([`api`]). A client knows its system's protocol and
//! limits; it knows no job. One that is opened once and kept gives the context its method, in its own file.

pub mod api;
pub mod cafe24;
pub mod event_folder;
pub mod event_webhook;
pub mod kafka;
mod mail_api;
pub mod mail_folder;
pub mod mail_transport;
pub mod redis;
pub mod schema_registry;
pub mod sendgrid;
pub mod ses;
pub mod smtp;

/// Names the one crypto provider of the whole program, for libraries that take the process's own.
fn install_tls_provider() {
    // On a second call it is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
