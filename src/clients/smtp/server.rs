//! Which server, how it is reached, and how long each step may take: `BATCHCTL_SMTP_URL`.
//!
//! `smtps://USER:PASSWORD@HOST[:465]` is encrypted from the first byte; `smtp://[USER:PASSWORD@]HOST[:587]` must offer
//! STARTTLS, unless it is this machine. `?tls=required` and `?tls=none` decide otherwise.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::clients::tls_connector;
use crate::config::Config;
use crate::failure::Failure;
use crate::hosts::is_this_machine;
use crate::mail::delivery::Stop;

use super::connection::SmtpConnection;
use super::wire::{Break, Wire, plain};

/// The variable of its URL.
pub const VARIABLE: &str = "BATCHCTL_SMTP_URL";
/// RFC 8314 section 7.3.
const IMPLICIT_TLS_PORT: u16 = 465;
/// RFC 6409: submission.
const SUBMISSION_PORT: u16 = 587;

/// How long each step may take: as in RFC 5321 section 4.5.3.2, where it gives a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving the server and opening the connection, and the TLS handshake.
    pub connect: Duration,
    /// Until the greeting.
    pub greeting: Duration,
    /// EHLO, STARTTLS, AUTH, MAIL FROM, RCPT TO, RSET.
    pub command: Duration,
    /// The answer to DATA.
    pub data: Duration,
    /// Sending one block of the mail.
    pub block: Duration,
    /// The answer to the final dot.
    pub message: Duration,
    /// The answer to QUIT, which nobody needs.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_mins(1);
        Self {
            connect: Duration::from_secs(30),
            greeting: 5 * MINUTE,
            command: 5 * MINUTE,
            data: 2 * MINUTE,
            block: 3 * MINUTE,
            message: 10 * MINUTE,
            quit: Duration::from_secs(2),
        }
    }
}

impl Timeouts {
    /// None longer than `most`.
    #[must_use]
    pub fn capped(self, most: Duration) -> Self {
        Self {
            connect: self.connect.min(most),
            greeting: self.greeting.min(most),
            command: self.command.min(most),
            data: self.data.min(most),
            block: self.block.min(most),
            message: self.message.min(most),
            quit: self.quit.min(most),
        }
    }
}

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    AtOnce,
    StartTls,
    Never,
}

/// The contents of the URL.
#[derive(Debug)]
struct Target {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<Credentials>,
}

/// A server that accepts mails. Connects as often as asked; each connection is independent.
#[derive(Clone)]
pub struct SmtpServer {
    /// `host:port`, for messages.
    name: String,
    host: String,
    port: u16,
    encryption: Encryption,
    /// The name in its certificate, where the connection is encrypted.
    tls_name: Option<ServerName<'static>>,
    /// Made by the first connection: the certificates of the operating system are many, and a run that has nothing to
    /// send needs none.
    connector: Arc<OnceCell<TlsConnector>>,
    credentials: Option<Credentials>,
    timeouts: Timeouts,
}

impl std::fmt::Debug for SmtpServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the credentials.
        formatter
            .debug_struct("SmtpServer")
            .field("name", &self.name)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

impl SmtpServer {
    /// The server of `BATCHCTL_SMTP_URL`. Opens no connection.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let Some(url) = &config.mail().smtp_url else {
            return Err(Failure::configuration(format!("{VARIABLE} is not set"))
                .hint(format!(
                    "write smtps://USER:PASSWORD@HOST or smtp://USER:PASSWORD@HOST, special characters as %XX, in {}",
                    config.variables_file()
                ))
                .retry_once("once it is set"));
        };
        let timeouts = match config.mail().smtp_timeout {
            Some(most) => Timeouts::default().capped(most),
            None => Timeouts::default(),
        };
        Self::at(url.expose(), timeouts)
    }

    /// The server of a URL.
    pub(super) fn at(url: &str, timeouts: Timeouts) -> Result<Self, Failure> {
        let Target { host, port, encryption, credentials } = parse(url)?;
        let tls_name = if encryption == Encryption::Never { None } else { Some(server_name(&host)?) };
        let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let connector = Arc::default();
        Ok(Self { name, host, port, encryption, tls_name, connector, credentials, timeouts })
    }

    /// Its host and port, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection: greeting, EHLO, encryption and authentication, ready for mails.
    pub async fn connect(&self) -> Result<SmtpConnection, Stop> {
        let wire = Wire::new(self.open().await?).map_err(|error| self.unreachable(&plain(&error)))?;
        let wire = match (&self.tls_name, self.encryption) {
            (Some(name), Encryption::AtOnce) => self.encrypt(wire, name).await?,
            _ => wire,
        };
        let mut connection = SmtpConnection::greet(wire, &self.name, self.timeouts).await?;
        if let (Some(name), Encryption::StartTls) = (&self.tls_name, self.encryption) {
            let wire = connection.start_tls().await?;
            let wire = self.encrypt(wire, name).await?;
            // What the server said in plain text no longer counts (RFC 3207 section 4.2): EHLO again.
            connection = SmtpConnection::after_tls(wire, &self.name, self.timeouts).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.authenticate(credentials).await?;
        }
        Ok(connection)
    }

    /// The first of the host's addresses that answers.
    async fn open(&self) -> Result<TcpStream, Stop> {
        let limit = self.timeouts.connect;
        let late = || self.unreachable(&format!("no answer within {} s", limit.as_secs_f64()));
        let addresses: Vec<SocketAddr> =
            match timeout(limit, lookup_host((self.host.as_str(), self.port))).await {
                Ok(Ok(addresses)) => addresses.collect(),
                Ok(Err(error)) => return Err(self.unreachable(&plain(&error))),
                Err(_) => return Err(late()),
            };
        let mut last = self.unreachable("the host has no address");
        for address in addresses {
            match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = self.unreachable(&plain(&error)),
                Err(_) => last = late(),
            }
        }
        Err(last)
    }

    async fn encrypt(&self, wire: Wire, name: &ServerName<'static>) -> Result<Wire, Stop> {
        let connector =
            self.connector.get_or_try_init(async || tls_connector().map_err(Stop::Configuration)).await?;
        wire.encrypt(connector, name.clone(), self.timeouts.connect).await.map_err(|broken| match &broken {
            // rustls's reason: an untrusted, wrong-host or expired certificate, or no TLS at all.
            Break::Network(error)
                if error
                    .get_ref()
                    .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) =>
            {
                Stop::Refused(format!("failed to encrypt the connection to `{}`: {broken}", self.name))
            }
            _ => self.unreachable(&format!("the TLS handshake failed: {broken}")),
        })
    }

    fn unreachable(&self, cause: &str) -> Stop {
        Stop::Unreachable(format!("failed to connect to `{}`: {cause}", self.name))
    }
}

/// Reads the URL. No message shows it, because of the password.
fn parse(text: &str) -> Result<Target, Failure> {
    let wrong = |problem: &str| Failure::configuration(format!("{VARIABLE}: {problem}"));
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    let is_implicit = match url.scheme() {
        "smtps" => true,
        "smtp" => false,
        _ => return Err(wrong("is not smtp:// or smtps://")),
    };
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err(wrong(
            "has a path, which SMTP does not have; write `/`, `#`, `?` and `@` in a password as %XX",
        ));
    }
    let host = match url.host() {
        Some(url::Host::Ipv6(address)) => address.to_string(),
        // The parser of `url` does not normalise the host of an unknown scheme.
        Some(host) => {
            url::Host::parse(&decoded(&host.to_string()).ok_or_else(|| wrong("the host is not UTF-8"))?)
                .map_err(|_| wrong("the host is not valid"))?
                .to_string()
        }
        None => return Err(wrong("has no host")),
    };
    let mut tls = None;
    for (name, value) in url.query_pairs() {
        if name != "tls" || tls.is_some() {
            // Its name may be part of a password with a `?` in it.
            return Err(wrong("has a parameter other than one `tls=required` or `tls=none`"));
        }
        tls = Some(match &*value {
            "required" => true,
            "none" => false,
            _ => return Err(wrong("`tls` is neither `required` nor `none`")),
        });
    }
    let is_here = is_this_machine(&host);
    let encryption = match (is_implicit, tls) {
        (true, Some(false)) => return Err(wrong("smtps:// and `tls=none` contradict each other")),
        (true, _) => Encryption::AtOnce,
        (false, Some(true)) => Encryption::StartTls,
        (false, Some(false)) => Encryption::Never,
        (false, None) => {
            if is_here {
                Encryption::Never
            } else {
                Encryption::StartTls
            }
        }
    };
    let user = decoded(url.username()).ok_or_else(|| wrong("the user is not UTF-8"))?;
    let password =
        decoded(url.password().unwrap_or_default()).ok_or_else(|| wrong("the password is not UTF-8"))?;
    let credentials = match (user.is_empty(), url.password().is_some()) {
        (true, false) => None,
        (false, true) => {
            // A NUL ends a field of AUTH PLAIN (RFC 4616).
            if user.contains('\0') || password.contains('\0') {
                return Err(wrong("the credentials contain a NUL"));
            }
            Some(Credentials::new(user, password))
        }
        (false, false) => return Err(wrong("has a user but no password")),
        (true, true) => return Err(wrong("has a password but no user")),
    };
    if credentials.is_some() && encryption == Encryption::Never && !is_here {
        return Err(wrong("with `tls=none` the password would cross the network in plain text")
            .hint("remove `tls=none` or the password"));
    }
    let port = url.port().unwrap_or(if is_implicit { IMPLICIT_TLS_PORT } else { SUBMISSION_PORT });
    Ok(Target { host, port, encryption, credentials })
}

/// Decodes `%XX`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            Some(digit(digits[0])? * 16 + digit(digits[1])?)
        });
        if let (b'%', Some(byte)) = (first, digits) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        Failure::configuration(format!("{VARIABLE}: the host is not a name that a certificate can have"))
    })
}
