//! What needs no token, and so anyone who can reach the port can have. Streams, which may last: there are
//! only so many of them, in all and from one address. Calls whose message is still to come: there are only
//! so many of those too, but a further one is let in, and the oldest is given up, since a prober is not
//! refused for what others do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::Extensions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tonic::Status;

use crate::error;
use crate::layers::{Client, Limits};
use crate::metrics::{self, Refused};
use crate::server::{Peer, PerAddress, Place};

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

/// The calls that were begun last, some of whose messages are still to come.
#[derive(Clone)]
pub(crate) struct Unfinished(Arc<Begun>);

struct Begun {
    /// How many there may be.
    most: usize,
    /// The oldest first. A call whose place is dropped hears of it, if it still listens.
    places: Mutex<VecDeque<oneshot::Sender<Infallible>>>,
}

impl Unfinished {
    /// As many as there may be streams.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Begun {
            most: limits.max_open_streams,
            places: Mutex::default(),
        }))
    }

    /// One more call that waits for its message. What is returned is done when the call is given up, since
    /// as many others have been begun before it has ended.
    pub(crate) fn begin(&self) -> oneshot::Receiver<Infallible> {
        let (place, given_up) = oneshot::channel();
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.push_back(place);
        if places.len() > self.0.most {
            places.pop_front();
        }
        given_up
    }
}
