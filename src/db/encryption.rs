//! How a connection to PostgreSQL is encrypted, and against whom it is verified.
//!
//! The driver's default is libpq's `prefer`: it takes a server's word that it has no TLS, and any certificate. Somebody
//! on the way needs no more than that to read the password and the shop's data. On this machine that is as good as
//! anything else; to any other it is full verification, unless the URL itself says something else.

use std::fmt;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::hosts::is_this_machine;

/// The spellings of the parameter that the driver knows.
const SSL_MODE: [&str; 2] = ["sslmode", "ssl-mode"];

/// What protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// A socket of this machine: nothing travels.
    Socket,
    /// TLS with the server's certificate and its name verified.
    VerifiedFully,
    /// TLS with the server's certificate verified, whatever name it has.
    VerifiedWithoutName,
    /// TLS with whoever answers.
    Unverified,
    /// TLS with whoever answers, and none if the server offers none.
    IfOffered,
    /// None. The driver treats `allow` like `disable`.
    None,
}

impl Encryption {
    /// What is in force for these options.
    fn of(options: &PgConnectOptions) -> Self {
        if is_socket(options) {
            return Self::Socket;
        }
        match options.get_ssl_mode() {
            PgSslMode::VerifyFull => Self::VerifiedFully,
            PgSslMode::VerifyCa => Self::VerifiedWithoutName,
            PgSslMode::Require => Self::Unverified,
            PgSslMode::Prefer => Self::IfOffered,
            PgSslMode::Allow | PgSslMode::Disable => Self::None,
        }
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Socket => "a socket of this machine",
            Self::VerifiedFully => "TLS, certificate and host name verified (sslmode=verify-full)",
            Self::VerifiedWithoutName => "TLS, certificate verified, host name not (sslmode=verify-ca)",
            Self::Unverified => "TLS, but the server is not verified (sslmode=require)",
            Self::IfOffered => "TLS only if the server offers it, and not verified (sslmode=prefer)",
            Self::None => "not encrypted (sslmode=disable)",
        })
    }
}

/// What is in force for a database URL; `None` for SQLite, and for a URL that the driver cannot read.
pub fn encryption(url: &str) -> Option<Encryption> {
    if super::Kind::of(url) != super::Kind::Postgres {
        return None;
    }
    encrypted(url).ok().map(|options| Encryption::of(&options))
}

/// The driver's options for a URL. Off this machine TLS is verified fully unless the URL says otherwise: a variable such
/// as PGSSLMODE, which any shell may have, does not weaken it.
pub(super) fn encrypted(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = url.parse::<PgConnectOptions>()?;
    if says_how(url) || is_socket(&options) || is_this_machine(options.get_host()) {
        return Ok(options);
    }
    Ok(options.ssl_mode(PgSslMode::VerifyFull))
}

fn says_how(url: &str) -> bool {
    Url::parse(url)
        .is_ok_and(|url| url.query_pairs().any(|(name, _)| SSL_MODE.iter().any(|known| name == *known)))
}

/// A certificate or key that the URL names and that cannot be read.
pub(super) fn missing_file(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| super::Kind::of(url.as_str()) == super::Kind::Postgres)?;
    url.query_pairs().find_map(|(name, file)| {
        let error = match &*name {
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" => {
                std::fs::File::open(&*file).err()?
            }
            _ => return None,
        };
        Some(format!("`{name}`: failed to read `{file}`: {error}"))
    })
}

fn is_socket(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || options.get_host().starts_with('/')
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::db::{Db, DbError, DbErrorKind};

    /// The first message of a client that asks for TLS: its length, and a code (PostgreSQL's manual, 55.7).
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    /// `ErrorResponse` with the code of a wrong password: how far a login got.
    const WRONG_PASSWORD: &[u8] = b"E\0\0\0\x22SFATAL\0C28P01\0Mno such login\0\0";

    /// A server of another machine, as far as a client can tell by its address, that this machine reaches all the same.
    async fn listening() -> (TcpListener, String) {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, format!("postgres://shop:hunter2@0.0.0.0:{port}/shop"))
    }

    async fn asked_for_tls(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request, SSL_REQUEST);
        stream
    }

    /// Says that it has no TLS, and returns what the client sends in the clear after that.
    fn without_tls(listener: TcpListener) -> JoinHandle<Vec<u8>> {
        tokio::spawn(async move {
            let mut stream = asked_for_tls(&listener).await;
            stream.write_all(b"N").await.unwrap();
            let mut heard = Vec::new();
            let mut packet = [0; 1024];
            // The login is answered, so that a client that makes one does not wait.
            if let Ok(length @ 1..) = stream.read(&mut packet).await {
                heard.extend_from_slice(&packet[..length]);
                stream.write_all(WRONG_PASSWORD).await.unwrap();
            }
            heard
        })
    }

    /// Offers TLS with a certificate, and returns what the client sends through it.
    fn with_tls(listener: TcpListener, folder: &Path) -> JoinHandle<Vec<u8>> {
        let certificate = CertificateDer::from_pem_file(folder.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        tokio::spawn(async move {
            let mut stream = asked_for_tls(&listener).await;
            stream.write_all(b"S").await.unwrap();
            let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
                return Vec::new();
            };
            let mut packet = vec![0; 1024];
            let length = stream.read(&mut packet).await.unwrap_or_default();
            packet.truncate(length);
            // A client that does not want it is gone.
            drop(stream.write_all(WRONG_PASSWORD).await);
            drop(stream.shutdown().await);
            packet
        })
    }

    /// A certificate for a name, signed by nobody else.
    fn make_certificate(folder: &Path, name: &str) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=test", "-keyout", "server.key", "-out", "server.crt"])
            .args(["-addext", &format!("subjectAltName={name}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    async fn refused(url: &str) -> DbError {
        Db::connect(url, false).await.err().unwrap()
    }

    /// Whether the error tells the way out, and is not one that passes by itself.
    fn names_the_parameter(error: &DbError) -> bool {
        error.kind() == DbErrorKind::Configuration
            && error.hint().is_some_and(|hint| hint.contains("sslmode=") && hint.contains("sslrootcert="))
    }

    #[tokio::test]
    async fn a_server_elsewhere_that_has_no_tls_hears_nothing() {
        let (listener, url) = listening().await;
        let heard = without_tls(listener);
        let error = refused(&url).await;
        assert_eq!(heard.await.unwrap(), b"");
        assert_eq!(error.kind(), DbErrorKind::Configuration);
        let hint = error.hint().unwrap();
        // A certificate or `require` would change nothing.
        assert!(hint.contains("`?sslmode=disable`") && !hint.contains("sslmode=require"), "{hint}");
        assert!(!error.to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn the_url_may_say_that_the_way_is_trusted() {
        for mode in ["disable", "prefer"] {
            let (listener, url) = listening().await;
            let heard = if mode == "prefer" {
                without_tls(listener)
            } else {
                tokio::spawn(async move {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut packet = vec![0; 1024];
                    let length = stream.read(&mut packet).await.unwrap();
                    stream.write_all(WRONG_PASSWORD).await.unwrap();
                    packet[..length].to_vec()
                })
            };
            let error = refused(&format!("{url}?sslmode={mode}")).await;
            assert!(error.to_string().ends_with("no such login"), "{mode}: {error}");
            assert!(String::from_utf8_lossy(&heard.await.unwrap()).contains("user\0shop\0"), "{mode}");
        }
    }

    #[tokio::test]
    async fn a_certificate_that_nobody_vouches_for_is_refused_unless_the_url_names_who_does() {
        let folder = tempfile::tempdir().unwrap();
        make_certificate(folder.path(), "IP:0.0.0.0");
        let (listener, url) = listening().await;
        let heard = with_tls(listener, folder.path());
        let error = refused(&url).await;
        assert_eq!(heard.await.unwrap(), b"");
        assert!(names_the_parameter(&error), "{error}: {:?}", error.hint());

        let (listener, url) = listening().await;
        let heard = with_tls(listener, folder.path());
        let authority = folder.path().join("server.crt");
        let error = refused(&format!("{url}?sslrootcert={}", authority.display())).await;
        assert!(error.to_string().ends_with("no such login"), "{error}");
        assert_eq!(error.hint(), None);
        assert!(String::from_utf8_lossy(&heard.await.unwrap()).contains("user\0shop\0"));
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        make_certificate(folder.path(), "DNS:db.example.jp");
        let (listener, url) = listening().await;
        let heard = with_tls(listener, folder.path());
        let authority = folder.path().join("server.crt");
        let error = refused(&format!("{url}?sslrootcert={}", authority.display())).await;
        assert_eq!(heard.await.unwrap(), b"");
        assert!(names_the_parameter(&error), "{error}: {:?}", error.hint());
    }

    #[test]
    fn what_is_in_force_depends_on_the_host_and_on_the_url_alone() {
        use Encryption::{
            IfOffered, None as Unencrypted, Socket, Unverified, VerifiedFully, VerifiedWithoutName,
        };
        for (url, expected) in [
            ("sqlite:shop.db", None),
            ("postgres://shop@db.example.jp/shop", Some(VerifiedFully)),
            ("postgres://shop@10.0.0.5/shop", Some(VerifiedFully)),
            ("postgres://shop@[2001:db8::1]/shop", Some(VerifiedFully)),
            ("postgres://shop@localhost.example.jp/shop", Some(VerifiedFully)),
            // The parameter overrides the host.
            ("postgres://shop@127.0.0.1/shop?host=db.example.jp", Some(VerifiedFully)),
            ("postgres://shop@127.0.0.1/shop?hostaddr=10.0.0.5", Some(VerifiedFully)),
            ("postgres://shop@db.example.jp/shop?sslmode=verify-ca", Some(VerifiedWithoutName)),
            ("postgres://shop@db.example.jp/shop?sslmode=require", Some(Unverified)),
            ("postgres://shop@db.example.jp/shop?ssl-mode=prefer", Some(IfOffered)),
            ("postgres://shop@db.example.jp/shop?sslmode=allow", Some(Unencrypted)),
            ("postgres://shop@db.example.jp/shop?sslmode=disable", Some(Unencrypted)),
            ("postgres://shop@127.0.0.1/shop", Some(IfOffered)),
            ("postgres://shop@[::1]/shop", Some(IfOffered)),
            ("postgres://shop@localhost/shop", Some(IfOffered)),
            ("postgres://shop@localhost/shop?sslmode=verify-full", Some(VerifiedFully)),
            ("postgres:///shop?host=/run/postgresql", Some(Socket)),
            ("postgres://shop@%2Frun%2Fpostgresql/shop", Some(Socket)),
            ("postgres://shop@db/shop?sslmode=nonsense", None),
        ] {
            assert_eq!(encryption(url), expected, "{url}");
        }
    }
}
