//! Clients that hold a connection without using it: a new one must say enough to tell which version
//! of HTTP it speaks, and one that is answered must read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// The length of HTTP/2's preface (RFC 9113, section 3.4): after as many bytes either version is told
/// from the other. A client whose first request is shorter, for want of a `host`, is answered, and
/// closed when its time to say more is over.
const PREFACE_BYTES: u64 = 24;
/// How long a client may leave the connection full.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream that tells when its client has opened the conversation.
pub(super) struct Opening {
    stream: TcpStream,
    read_bytes: u64,
    opened: watch::Sender<bool>,
    /// Runs while the client does not read what there is for it.
    stalled: Option<Pin<Box<Sleep>>>,
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
                stalled: None,
            },
            Opened(receiver),
        )
    }
}

impl Opening {
    /// Ends the wait of a write that has lasted too long.
    fn unless_stalled(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(WRITE_STALL_TIMEOUT)));
        stalled
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_stalled(context, polled)
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
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.unless_stalled(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
