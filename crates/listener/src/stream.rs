//! Byte streams of a connection: [`Socket`] wraps the system's socket, and [`TrackedStream`] is the stream that HTTP
//! reads and writes, with TLS between the two if it is enabled.
//!
//! A client must read its response within a timeout. After the server has closed its side, it reads and
//! discards input for a moment, so that the last response reaches the client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::activity::Activity;

/// Time and number of bytes for which the server discards input after it has closed its side. A system that
/// closes a socket with unread input resets the connection and drops output that the client has not read.
const LINGERING_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const LINGERING_CLOSE_BYTES: usize = 1024 * 1024;

/// Any byte stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The system's socket of a connection.
pub(crate) struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// Timeout for a blocked write.
    write_timeout: Duration,
    /// Timer that runs while the client does not read pending output.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Wraps the stream.
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self {
            stream,
            activity,
            write_timeout,
            stalled: None,
        }
    }

    /// Fails a write that has been blocked for too long.
    fn unless_stalled(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let time = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(time)));
        stalled
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.activity.take_recheck() {
            match recv(
                &self.stream,
                buffer.initialize_unfilled(),
                RecvFlags::DONTWAIT,
            ) {
                Ok((count, _)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
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

/// Stream that HTTP reads and writes.
pub(crate) struct TrackedStream {
    stream: Box<dyn Stream>,
    activity: Arc<Activity>,
    lingering_close: LingeringClose,
}

enum LingeringClose {
    NotStarted,
    /// Input is discarded.
    Discarding {
        time: Pin<Box<Sleep>>,
        bytes: usize,
    },
    Done,
}

impl TrackedStream {
    /// Reports received bytes to `activity`.
    pub(crate) fn new(stream: Box<dyn Stream>, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            lingering_close: LingeringClose::NotStarted,
        }
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.activity
            .on_bytes(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl AsyncWrite for TrackedStream {
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
        let this = &mut *self;
        loop {
            match &mut this.lingering_close {
                LingeringClose::NotStarted => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                    this.lingering_close = LingeringClose::Discarding {
                        time: Box::pin(sleep(LINGERING_CLOSE_TIMEOUT)),
                        bytes: LINGERING_CLOSE_BYTES,
                    };
                }
                LingeringClose::Discarding { time, bytes } => {
                    let mut discarded = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut discarded);
                    let is_over = time.as_mut().poll(context).is_ready();
                    let read = Pin::new(&mut this.stream).poll_read(context, &mut buffer);
                    let count = buffer.filled().len();
                    match read {
                        Poll::Pending if !is_over => return Poll::Pending,
                        Poll::Ready(Ok(())) if !is_over && (1..*bytes).contains(&count) => {
                            *bytes -= count;
                        }
                        _ => this.lingering_close = LingeringClose::Done,
                    }
                }
                LingeringClose::Done => return Poll::Ready(Ok(())),
            }
        }
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
