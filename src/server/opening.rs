//! Whether a new client has said enough to tell which version of HTTP it speaks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The length of HTTP/2's preface (RFC 9113, section 3.4): after as many bytes either version is told
/// from the other. No request of HTTP/1.1 is shorter, since it has a `host`.
const PREFACE_BYTES: u64 = 24;

/// A stream that tells when its client has opened the conversation.
pub(super) struct Opening {
    stream: TcpStream,
    read_bytes: u64,
    opened: watch::Sender<bool>,
}

/// Tells when the client has opened the conversation.
pub(super) struct Opened(watch::Receiver<bool>);

impl Opening {
    /// Watches the stream.
    pub(super) fn new(stream: TcpStream) -> (Self, Opened) {
        let (opened, receiver) = watch::channel(false);
        (
            Self {
                stream,
                read_bytes: 0,
                opened,
            },
            Opened(receiver),
        )
    }
}

impl Opened {
    /// Whether the client opens the conversation within the time.
    pub(super) async fn within(mut self, time: Duration) -> bool {
        // An error means that the stream is gone; its connection ends by itself.
        tokio::time::timeout(time, self.0.wait_for(|opened| *opened))
            .await
            .is_ok()
    }
}

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.read_bytes < PREFACE_BYTES {
            self.read_bytes += buffer.filled().len().saturating_sub(before) as u64;
            if self.read_bytes >= PREFACE_BYTES {
                self.opened.send_replace(true);
            }
        }
        polled
    }
}

impl AsyncWrite for Opening {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
