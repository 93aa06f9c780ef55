//! Tests of the crate's guarantees, one test per guarantee.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod binding;
mod envelope;
mod fingerprint;
mod keyring_file;
mod keyring_text;
mod redaction;
mod rotation;
mod token;
mod vectors;
mod wrapping;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use keyward_crypto::Key256;

/// Returns a key that differs in every byte from the keys with adjacent `first`.
fn key(first: u8) -> Key256 {
    Key256::from_bytes(std::array::from_fn(|i| first.wrapping_add(i as u8)))
}

/// Runs a future that never waits, such as every future of a keyring.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a keyring answers at once"),
    }
}
