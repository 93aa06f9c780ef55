//! Executor for the HTTP/2 stream tasks, each of which can be aborted: dropping the task of a stream resets the
//! stream. Hyper does not poll a response body while the client's window is closed, so a body could not end
//! such a stream itself.

use std::future::Future;

use futures_util::future::{AbortHandle, Abortable};
use hyper::rt::Executor;

tokio::task_local! {
    /// Aborts the running task.
    static STREAM: AbortHandle;
}

/// Spawns a task for each stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (handle, registration) = AbortHandle::new_pair();
        let stream = STREAM.scope(handle, Abortable::new(stream, registration));
        tokio::spawn(stream);
    }
}

/// Returns the handle that resets the current stream. `None` over HTTP/1.1, which has no streams.
pub(crate) fn current_stream() -> Option<AbortHandle> {
    STREAM.try_with(Clone::clone).ok()
}
