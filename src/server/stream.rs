//! The bytes of a connection: [`Socket`] is what the system has, and [`Heard`] what HTTP reads and
//! writes, with TLS between the two if it is spoken.
//!
//! Whoever is answered must read, and whoever is told that we close is listened to for a moment, so
//! that the last answer reaches them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::activity::Activity;

/// How long, and for how many bytes, a client is listened to that was told that we close. A system that
/// closes on what it has not read takes back what the client has not.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 1024 * 1024;

/// Anything that bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What the system has of a connection.
pub(super) struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// How long the client may leave the connection full.
    write_timeout: Duration,
    /// Runs while the client does not read what there is for it.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Watches the stream.
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self {
            stream,
            activity,
            write_timeout,
            stalled: None,
        }
    }

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
        if self.activity.is_to_look_again() {
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

/// What HTTP reads and writes.
pub(super) struct Heard {
    stream: Box<dyn Stream>,
    activity: Arc<Activity>,
    farewell: Farewell,
}

enum Farewell {
    NotSaid,
    /// What comes is thrown away.
    Listening {
        time: Pin<Box<Sleep>>,
        bytes: usize,
    },
    Done,
}

impl Heard {
    /// Tells of what is said.
    pub(super) fn new(stream: Box<dyn Stream>, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            farewell: Farewell::NotSaid,
        }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.activity
            .hear(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl AsyncWrite for Heard {
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
            match &mut this.farewell {
                Farewell::NotSaid => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                    this.farewell = Farewell::Listening {
                        time: Box::pin(sleep(FAREWELL)),
                        bytes: FAREWELL_BYTES,
                    };
                }
                Farewell::Listening { time, bytes } => {
                    let mut thrown_away = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut thrown_away);
                    let is_over = time.as_mut().poll(context).is_ready();
                    let read = Pin::new(&mut this.stream).poll_read(context, &mut buffer);
                    let count = buffer.filled().len();
                    match read {
                        Poll::Pending if !is_over => return Poll::Pending,
                        Poll::Ready(Ok(())) if !is_over && (1..*bytes).contains(&count) => {
                            *bytes -= count;
                        }
                        _ => this.farewell = Farewell::Done,
                    }
                }
                Farewell::Done => return Poll::Ready(Ok(())),
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
