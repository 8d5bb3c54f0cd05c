//! The connection to Redis: what it sends is bounded for each exchange, whatever it claims to be sending.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use redis::{RedisError, RedisResult};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clients::tls_connector;
use crate::config::RedisTarget;

/// What our scripts return in one exchange is smaller: at most fifteen reservations of 256 KiB each. In memory small values take
/// about ten times what they take here.
pub(super) const MOST_RECEIVED: usize = 8 * 1024 * 1024;

/// How much may still be received.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// Begins an exchange.
    pub(super) fn renew(&self) {
        self.0.store(MOST_RECEIVED, Ordering::Relaxed);
    }

    /// Whether nothing more may be received.
    pub(super) fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// A stream that ends with an error once more was received than is allowed.
pub(super) struct Bounded<S> {
    stream: S,
    allowance: Allowance,
}

/// Any of our streams.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects, and encrypts if the target says so. The certificate is verified against what the system trusts.
pub(super) async fn connect(
    target: &RedisTarget,
    allowance: &Allowance,
) -> RedisResult<Bounded<Box<dyn Stream>>> {
    let socket = TcpStream::connect((target.host.as_str(), target.port)).await?;
    socket.set_nodelay(true)?;
    let stream: Box<dyn Stream> = if target.has_tls {
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        let connector = tls_connector().map_err(io::Error::other)?;
        Box::new(connector.connect(name, socket).await.map_err(RedisError::from)?)
    } else {
        Box::new(socket)
    };
    Ok(Bounded { stream, allowance: allowance.clone() })
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let received = buffer.filled().len() - before;
        let allowed = self.allowance.0.load(Ordering::Relaxed);
        self.allowance.0.store(allowed.saturating_sub(received), Ordering::Relaxed);
        if received > 0 && received >= allowed {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::other("it sends more than it was asked for")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_was_not_asked_for_ends_the_connection() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let allowance = Allowance::default();
        let mut bounded = Bounded { stream: ours, allowance: allowance.clone() };
        let sending = tokio::spawn(async move { while theirs.write_all(&[b'x'; 4096]).await.is_ok() {} });
        allowance.renew();
        let mut block = vec![0; 4096];
        let mut received = 0;
        let error = loop {
            match bounded.read(&mut block).await {
                Ok(read) => received += read,
                Err(error) => break error,
            }
        };
        assert_eq!(received, MOST_RECEIVED - 4096);
        assert!(allowance.is_used_up());
        assert_eq!(error.to_string(), "it sends more than it was asked for");
        // The next exchange has as much again.
        allowance.renew();
        assert_eq!(bounded.read(&mut block).await.unwrap(), 4096);
        drop(bounded);
        sending.await.unwrap();
    }
}
