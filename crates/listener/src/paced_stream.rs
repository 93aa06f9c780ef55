//! Reads a connection at the pace of its caller. A client that has not yet shown a valid token is read in
//! small pieces, and each is paid for before the next, since HTTP begins every call that was read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use keyward_throttle::Payer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::activity::{Activity, Version};
use crate::call_counter::CallCounter;
use crate::pacer::ReadPacer;
use crate::stream::TrackedStream;

/// Size of the piece that is read after one with a call in it, in bytes. After one without a call, such as a
/// part of a body, the next may be twice as large.
const FIRST_PIECE: usize = 256;
const MAX_PIECE: usize = 16 * 1024;

/// A stream that is read at its caller's pace.
pub(crate) struct PacedStream {
    stream: TrackedStream,
    /// Accounts, and the address that pays until the client has shown a valid token. `None`: the connection is
    /// not paced.
    payer: Option<(Arc<ReadPacer>, Payer)>,
    activity: Arc<Activity>,
    calls: CallCounter,
    piece: usize,
    /// Runs while the client has to pay for its calls.
    paused: Option<Pin<Box<Sleep>>>,
}

impl PacedStream {
    /// Charges the connection itself to the address, so that a new one of an address in debt has to wait.
    pub(crate) fn new(
        stream: TrackedStream,
        activity: Arc<Activity>,
        payer: Option<(Arc<ReadPacer>, Payer)>,
    ) -> Self {
        if let Some((_, address)) = &payer {
            activity.set_paced();
            activity.owe(address, 1);
        }
        Self {
            stream,
            payer,
            activity,
            calls: CallCounter::new(),
            piece: FIRST_PIECE,
            paused: None,
        }
    }

    /// Ready once the client has paid for its calls, or while the received bytes are read for the last time.
    fn poll_paid(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.paused.is_none()
            && let Some(pause) = self.charge_owed()
        {
            self.paused = Some(Box::pin(sleep(pause)));
            self.piece = FIRST_PIECE;
        }
        if let Some(paused) = &mut self.paused
            && !self.activity.is_recheck_requested()
        {
            ready!(paused.as_mut().poll(context));
            self.paused = None;
        }
        Poll::Ready(())
    }

    /// Pays for the calls so far; returns the longest pause of the callers.
    fn charge_owed(&self) -> Option<Duration> {
        let (pacer, _) = self.payer.as_ref()?;
        pacer.charge_all(self.activity.owed())
    }

    /// Charges the calls in the bytes that were read.
    fn charge(&mut self, bytes: &[u8]) {
        let calls = self.calls.count(bytes);
        if self.activity.snapshot().version != Version::Http2 {
            // One call at a time, charged when it begins.
            self.piece = MAX_PIECE;
            return;
        }
        if let Some((_, address)) = &self.payer
            && calls > 0
        {
            self.activity.owe(address, calls);
        }
        self.piece = match calls {
            0 => (self.piece * 2).min(MAX_PIECE),
            _ => FIRST_PIECE,
        };
    }
}

impl Drop for PacedStream {
    fn drop(&mut self) {
        self.charge_owed();
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_paid(context));
        if this.payer.is_none() || this.activity.is_authenticated() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            this.calls.count(&buffer.filled()[before..]);
            return Poll::Ready(Ok(()));
        }
        let most = buffer.remaining().min(this.piece);
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.stream).poll_read(context, &mut piece))?;
        let read = piece.filled().len();
        this.charge(piece.filled());
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PacedStream {
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
