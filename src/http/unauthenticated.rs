//! Bounds the streams that need no token, and so are available to any client that can reach the port: in total and
//! per address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use keyward_listener::Peer;
use keyward_throttle::{PerIpSlots, Slot};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::api::status;
use crate::http::body::{End, Observer};
use crate::http::client_ip::{ClientIp, TrustedProxies};
use crate::telemetry::metrics::{self, RejectReason};

/// Limits for calls that need no token: probes, health watches and reflection.
#[derive(Debug, Clone)]
pub struct UnauthenticatedLimits {
    /// Maximum number of streams.
    pub max_streams: usize,
    /// Maximum number of streams from one address; 0 means no limit.
    pub max_streams_per_address: usize,
    /// Maximum size of a message, in bytes, compressed or not.
    pub max_message_bytes: usize,
    /// Maximum duration of a reflection stream.
    pub reflection_stream_timeout: Duration,
}

/// Streams that are open without a token.
#[derive(Clone)]
pub(crate) struct UnauthenticatedStreams {
    all: Arc<Semaphore>,
    slots: PerIpSlots,
}

/// Slot of a stream, released on drop.
pub(crate) struct UnauthenticatedStream {
    _permit: OwnedSemaphorePermit,
    _slot: Option<Slot<IpAddr>>,
}

impl Observer for UnauthenticatedStream {
    fn ended(self, _: End<'_>) {}
}

impl UnauthenticatedStreams {
    /// Uses the maximums of the limits. The address of a trusted proxy is not counted, since many clients call
    /// through it.
    pub(crate) fn new(limits: &UnauthenticatedLimits, proxies: &TrustedProxies) -> Self {
        let proxies = proxies.clone();
        let exempt = Arc::new(move |address| proxies.trusts(address));
        Self {
            all: Arc::new(Semaphore::new(limits.max_streams)),
            slots: PerIpSlots::new(limits.max_streams_per_address, exempt),
        }
    }

    /// Opens a stream for a request with these extensions.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: the maximum of all streams, or of this address, is reached.
    pub(crate) fn open(&self, extensions: &Extensions) -> Result<UnauthenticatedStream, Status> {
        self.take(extensions).ok_or_else(|| {
            metrics::rejected(RejectReason::UnauthenticatedStreams);
            status::too_many_streams()
        })
    }

    fn take(&self, extensions: &Extensions) -> Option<UnauthenticatedStream> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        // In-process callers have no address, and are not counted.
        let slot = match address(extensions) {
            Some(address) => Some(self.slots.take(address)?),
            None => None,
        };
        Some(UnauthenticatedStream {
            _permit: permit,
            _slot: slot,
        })
    }
}

fn address(extensions: &Extensions) -> Option<IpAddr> {
    let client = extensions.get::<ClientIp>().map(|client| client.0);
    client.or_else(|| extensions.get::<Peer>().map(|peer| peer.0.ip()))
}
