//! Paces the reading of connections.
//!
//! A call that is rejected, or that needs no token, costs the server about as much as a call that is served,
//! and its client can send the next at once. Each owner therefore has a rate of such calls, a principal has
//! half of its organization's, and all addresses together have a rate too. Beyond it, the server pauses before
//! it reads more from the connection, so that further calls stay with the client and cost the server nothing.
//! Rejecting them would not help: the rejection is the cost.
//!
//! Calls of a principal beyond its own rate are not charged to its organization, so that one principal alone
//! never delays its colleagues.
//!
//! A pause is short compared to every timeout of a connection, and the debt of an owner is bounded: a client
//! that shares an address with others waits for a moment, and not beyond the end of their calls. An address from which
//! a valid token was shown lately waits for its own debt only, and not for that of all addresses together.

mod accounts;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_throttle::{Owner, Payer, Rate};
use tokio::time::Instant;

use accounts::{Accounts, Change, MAX_PAUSE, REMOVAL_INTERVAL};

/// Rate of all addresses together, as a multiple of the rate of one.
const ADDRESSES: u32 = 10;
/// Maximum number of addresses remembered as known; while all are in use, no further one is.
const MAX_KNOWN: usize = 10_000;
/// Time for which an address is known after a valid token was shown from it.
const KNOWN_TIME: Duration = Duration::from_secs(10 * 60);

/// Accounts of all callers.
pub(crate) struct ReadPacer {
    /// Mean time between two calls of one owner.
    interval: Duration,
    /// Time that a caller may owe without a pause.
    credit: Duration,
    state: Mutex<State>,
}

struct State {
    accounts: Accounts,
    /// Time at which the calls of all addresses together are paid for.
    addresses: Instant,
    known: KnownAddresses,
}

/// Addresses from which a valid token was shown lately.
struct KnownAddresses {
    /// Expiry time of each address.
    until: HashMap<IpAddr, Instant>,
    removed: Instant,
}

impl ReadPacer {
    /// Limits each owner to a rate, and each principal to half of it.
    pub(crate) fn new(rate: Rate) -> Self {
        let now = Instant::now();
        Self {
            interval: rate.interval,
            credit: rate.interval * rate.burst.get(),
            state: Mutex::new(State {
                accounts: Accounts::new(now),
                addresses: now,
                known: KnownAddresses {
                    until: HashMap::new(),
                    removed: now,
                },
            }),
        }
    }

    /// Charges calls to a caller, or refunds them if the number is negative. Returns the pause before more is
    /// read from the caller, `None` while it has credit.
    pub(crate) fn charge(&self, payer: &Payer, calls: i32) -> Option<Duration> {
        let change = Change {
            now: Instant::now(),
            cost: self.interval * calls.unsigned_abs(),
            is_refund: calls < 0,
        };
        let mut state = self.state();
        let mut owed = state.accounts.charge(payer, change, self.credit);
        if let Owner::Address(address) = payer.owner() {
            let all = change.divided_by(ADDRESSES);
            all.apply(&mut state.addresses, self.credit + MAX_PAUSE);
            if !state.known.contains(address, change.now) {
                owed = owed.max(state.addresses.saturating_duration_since(change.now));
            }
        }
        drop(state);
        let pause = owed.checked_sub(self.credit).filter(|it| !it.is_zero())?;
        // Connections that have all reached the maximum do not continue together.
        Some(match pause < MAX_PAUSE {
            true => pause,
            false => jittered(MAX_PAUSE),
        })
    }

    /// Records that a valid token was shown from an address.
    pub(crate) fn set_known(&self, address: IpAddr) {
        self.state().known.insert(address, Instant::now());
    }

    /// Charges the calls of several callers; returns the longest pause.
    pub(crate) fn charge_all(&self, calls: Vec<(Payer, i32)>) -> Option<Duration> {
        let calls = calls.into_iter();
        calls
            .filter_map(|(payer, calls)| self.charge(&payer, calls))
            .max()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownAddresses {
    fn contains(&self, address: &IpAddr, now: Instant) -> bool {
        self.until.get(address).is_some_and(|until| *until > now)
    }

    fn insert(&mut self, address: IpAddr, now: Instant) {
        if self.until.len() >= MAX_KNOWN && !self.until.contains_key(&address) {
            if self.removed + REMOVAL_INTERVAL <= now {
                self.until.retain(|_, until| *until > now);
                self.removed = now;
            }
            if self.until.len() >= MAX_KNOWN {
                return;
            }
        }
        self.until.insert(address, now + KNOWN_TIME);
    }
}

/// Returns a random time between half of the time and all of it.
fn jittered(time: Duration) -> Duration {
    // Each state has keys of its own, from the system's random source.
    let random = RandomState::new().hash_one(0) % 1001;
    time.mul_f64(0.5 + random as f64 / 2000.0)
}

#[cfg(test)]
mod tests;
