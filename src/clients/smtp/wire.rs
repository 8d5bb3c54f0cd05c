//! The connection to the server: bytes out, replies in, each under its own time limit.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::without_error_numbers;

use super::classify::Step;
use super::reply::Reply;

/// RFC 5321 section 4.5.3.1.5 allows 512 octets; servers send more.
const MAX_REPLY_LINE_BYTES: usize = 8 * 1024;
/// A reply without an end is not read to it.
const MAX_REPLY_LINES: usize = 200;

/// A connection to a server, encrypted or not.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    /// Read and not yet parsed.
    received: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why no reply came.
#[derive(Debug)]
pub(super) enum Break {
    /// The server closed the connection.
    Closed,
    /// Nothing came in time.
    Silence(Duration),
    /// The network.
    Network(io::Error),
    /// Not an SMTP reply.
    Gibberish,
}

impl Break {
    /// A one-sentence description, with the `step` that was in progress.
    pub(super) fn describe(&self, step: Step) -> String {
        match self {
            Self::Closed => format!("the server closed the connection before it answered {}", step.name()),
            Self::Silence(limit) => {
                format!("the server did not answer {} within {}", step.name(), seconds(*limit))
            }
            Self::Network(error) => {
                format!("the connection broke before the answer to {}: {}", step.name(), plain(error))
            }
            Self::Gibberish => format!("what the server answered to {} is not an SMTP reply", step.name()),
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("the server closed the connection"),
            Self::Silence(limit) => write!(formatter, "no answer within {}", seconds(*limit)),
            Self::Network(error) => formatter.write_str(&plain(error)),
            Self::Gibberish => formatter.write_str("the answer is not an SMTP reply"),
        }
    }
}

/// A limit for messages: `30 s`, `0.2 s`.
fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

/// An error in the operating system's words, without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = without_error_numbers(&text);
    // The operating system's messages begin with a capital, ours do not.
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

impl Wire {
    /// Takes a connection over. Small packets leave at once: a mail is an exchange of them.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream: Stream::Plain(stream), received: Vec::new() })
    }

    /// Encrypts it. What was read in plain text is discarded: anybody could have injected it.
    pub(super) async fn encrypt(
        self,
        connector: &TlsConnector,
        name: ServerName<'static>,
        limit: Duration,
    ) -> Result<Self, Break> {
        let Stream::Plain(stream) = self.stream else { return Ok(self) };
        let stream = within(limit, connector.connect(name, stream)).await?;
        Ok(Self { stream: Stream::Tls(Box::new(stream)), received: Vec::new() })
    }

    /// Our own end, for an EHLO without a name.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        self.socket().local_addr().ok()
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether the server has closed an idle connection, or has sent something unsolicited ("421 idle too long").
    pub(super) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        let polled = match &mut self.stream {
            Stream::Plain(stream) => stream.poll_peek(&mut context, &mut buffer).map_ok(drop),
            // What TLS sends for itself is processed here; text, or the closing alert, comes through.
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(&mut context, &mut buffer),
        };
        polled.is_ready() || self.has_more()
    }

    /// Whether the server has sent more than was asked for.
    pub(super) fn has_more(&self) -> bool {
        !self.received.is_empty()
    }

    /// Sends everything. After an error the server does not have all of it.
    pub(super) async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Break> {
        within(limit, async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.write_all(bytes).await,
                Stream::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
            }
        })
        .await
    }

    /// The next reply.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, Break> {
        match timeout(limit, self.next_reply()).await {
            Ok(reply) => reply,
            Err(_) => Err(Break::Silence(limit)),
        }
    }

    async fn next_reply(&mut self) -> Result<Reply, Break> {
        let mut reply: Option<Reply> = None;
        loop {
            let line = self.next_line().await?;
            let (code, is_more, text) = Reply::parse_line(&line).ok_or(Break::Gibberish)?;
            let reply = reply.get_or_insert_with(|| Reply { code, lines: Vec::new() });
            if reply.code != code || reply.lines.len() >= MAX_REPLY_LINES {
                return Err(Break::Gibberish);
            }
            reply.lines.push(text);
            if !is_more {
                return Ok(reply.clone());
            }
        }
    }

    async fn next_line(&mut self) -> Result<Vec<u8>, Break> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.received[looked_at..].iter().position(|byte| *byte == b'\n') {
                return Ok(self.received.drain(..=looked_at + end).collect());
            }
            looked_at = self.received.len();
            if looked_at > MAX_REPLY_LINE_BYTES {
                return Err(Break::Gibberish);
            }
            let count = match &mut self.stream {
                Stream::Plain(stream) => stream.read_buf(&mut self.received).await,
                Stream::Tls(stream) => stream.read_buf(&mut self.received).await,
            }
            .map_err(|error| match error.kind() {
                // TLS without a closing alert.
                io::ErrorKind::UnexpectedEof => Break::Closed,
                _ => Break::Network(error),
            })?;
            if count == 0 {
                return Err(Break::Closed);
            }
        }
    }

    /// Closes the connection.
    pub(super) async fn close(mut self, limit: Duration) {
        // The mails are settled: whether the closing alert arrives makes no difference.
        let _ = timeout(limit, async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.shutdown().await,
                Stream::Tls(stream) => Pin::new(stream).shutdown().await,
            }
        })
        .await;
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, Break> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Break::Network(error)),
        Err(_) => Err(Break::Silence(limit)),
    }
}
