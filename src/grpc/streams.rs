//! What needs no token is held to more than what does. Streams: there are only so many of them, in all
//! and from one address, since whoever can reach the port can open them, and they may last. Messages:
//! they are as large as names are, and no larger.

use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::error;
use crate::layers::{Client, Limits};
use crate::metrics::{self, Refused};
use crate::server::{Peer, PerAddress, Place};

/// The largest message of whoever needs no token, in bytes, compressed or not. The names of services,
/// files and symbols that they ask about are much shorter.
pub(crate) const MAX_OPEN_MESSAGE_BYTES: usize = 4096;

/// The streams that are open without a token.
#[derive(Clone)]
pub(crate) struct OpenStreams {
    all: Arc<Semaphore>,
    places: Arc<PerAddress>,
}

/// One of them, until it is dropped.
pub(crate) struct OpenStream {
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

impl OpenStreams {
    /// As many as the limits say; a trusted proxy's own address is not counted, since others call
    /// through it.
    pub(crate) fn new(limits: &Limits) -> Self {
        let proxies = limits.trusted_proxies.clone();
        let exempt = Arc::new(move |address| proxies.trusts(address));
        Self {
            all: Arc::new(Semaphore::new(limits.max_open_streams)),
            places: PerAddress::new(limits.max_open_streams_per_address, exempt),
        }
    }

    /// One more, for a request with these extensions.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: all are open, or all of this address.
    pub(crate) fn open(&self, extensions: &Extensions) -> Result<OpenStream, Status> {
        self.place(extensions).ok_or_else(|| {
            metrics::refused(Refused::OpenStreams);
            error::too_many_streams()
        })
    }

    fn place(&self, extensions: &Extensions) -> Option<OpenStream> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        // Who is inside already has no address, and is not counted.
        let place = match address(extensions) {
            Some(address) => Some(self.places.take(address)?),
            None => None,
        };
        Some(OpenStream {
            _permit: permit,
            _place: place,
        })
    }
}

fn address(extensions: &Extensions) -> Option<IpAddr> {
    let client = extensions.get::<Client>().map(|client| client.0);
    client.or_else(|| extensions.get::<Peer>().map(|peer| peer.0.ip()))
}
