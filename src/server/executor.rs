//! The tasks that HTTP/2 starts, one for each stream, each of which can be ended from outside: a stream
//! whose task is dropped is reset. Hyper does not look at the body of an answer while the client's window is
//! closed, so that no body could end such a stream itself.

use std::future::Future;

use futures_util::future::{AbortHandle, Abortable};
use hyper::rt::Executor;

tokio::task_local! {
    /// Ends the task that is running.
    static STREAM: AbortHandle;
}

/// Starts a task for each stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamExecutor;

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

/// The handle that resets the current stream. `None` over HTTP/1.1, which has no streams.
pub(super) fn current_stream() -> Option<AbortHandle> {
    STREAM.try_with(Clone::clone).ok()
}
