//! Bounded admission by key: rate limits, and slots that are held for a time.
//!
//! The memory of each table is bounded by its own limits or by the resources that hold its slots, never by the
//! number of callers. Tables belong to one process and are not persisted.

mod counts;
mod owner;
mod rate;
mod slots;

pub use counts::{KeyedCounts, PayerCounts};
pub use owner::{Owner, Payer, principal_share};
pub use rate::{Rate, RateLimiter};
pub use slots::{Exempt, KeyedSlots, PerIpSlots, Slot, client_network};
