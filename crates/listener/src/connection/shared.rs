//! State that all connections share.

use std::sync::Arc;

use axum::Router;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::sync::watch;

use crate::activity::Version;
use crate::executor::StreamExecutor;
use crate::pacer::ReadPacer;
use crate::phase::Phase;
use crate::settings::Settings;
use crate::tls::Tls;
use crate::unread::UnreadResponses;

/// State that all connections share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) router: Router,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(super) builders: Builders,
    /// Responses that wait for their clients.
    pub(crate) unread: Arc<UnreadResponses>,
    /// Rate limit of rejected calls, if any.
    pub(crate) pacer: Option<Arc<ReadPacer>>,
}

impl Shared {
    /// Returns the state of a server with these settings.
    pub(crate) fn new(
        settings: Settings,
        router: Router,
        tls: Option<Arc<Tls>>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let pacer = settings.rejected_call_rate.map(ReadPacer::new);
        Self {
            unread: UnreadResponses::new(settings.max_unread_bytes),
            pacer: pacer.map(Arc::new),
            builders: Builders::new(&settings),
            settings,
            router,
            tls,
            phase,
        }
    }
}

/// HTTP implementations, by version.
pub(super) struct Builders {
    either: auto::Builder<StreamExecutor>,
    http1: auto::Builder<StreamExecutor>,
    http2: auto::Builder<StreamExecutor>,
}

impl Builders {
    fn new(settings: &Settings) -> Self {
        let either = builder(settings);
        Self {
            http1: either.clone().http1_only(),
            http2: either.clone().http2_only(),
            either,
        }
    }

    pub(super) fn of(&self, version: Version) -> &auto::Builder<StreamExecutor> {
        match version {
            Version::Unknown => &self.either,
            Version::Http1 => &self.http1,
            Version::Http2 => &self.http2,
        }
    }
}

fn builder(settings: &Settings) -> auto::Builder<StreamExecutor> {
    let mut builder = auto::Builder::new(StreamExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's timer would also run between requests; the one of `decide` does not.
        .header_read_timeout(None)
        .max_buf_size(settings.max_header_bytes as usize);
    let bounds = &settings.http2;
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.keep_alive_interval)
        .keep_alive_timeout(settings.keep_alive_timeout)
        .max_concurrent_streams(bounds.max_concurrent_streams)
        .max_pending_accept_reset_streams(bounds.max_pending_resets)
        .initial_stream_window_size(bounds.stream_window_bytes)
        .initial_connection_window_size(bounds.connection_window_bytes)
        .max_send_buf_size(bounds.send_buffer_bytes)
        .max_header_list_size(settings.max_header_bytes);
    builder
}
