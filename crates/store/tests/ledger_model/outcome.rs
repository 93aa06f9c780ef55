//! Outcome of a step: its response and the figures of the keys after it.

use std::time::Duration;

use keyward_core::account::Verdict;
use keyward_core::{Ending, Noun};

/// Outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Recorded { duplicate: bool },
    Reserved { hold: usize, expires_at: i64 },
    RolledUp { charges: u64, reservations: u64 },
    Rejected(Rejection),
}

/// Reason for which a step was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    Invalid(&'static str),
    NotFound(Noun),
    Conflict(&'static str),
    Disabled,
    Expired,
    Limit(Option<Duration>),
    Ended(Ending),
}

/// Figures that a key shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// In total, on the day, in the week, in the month.
    pub(crate) usage: [i64; 4],
    pub(crate) byok_usage: [i64; 4],
    pub(crate) held: i64,
    pub(crate) byok_held: i64,
    /// Rest of the limit, without and with reservations.
    pub(crate) remaining: Option<i64>,
    pub(crate) available: Option<i64>,
    /// Verdicts on spending through the platform's provider keys, and through the customer's own.
    pub(crate) verdicts: [Verdict; 2],
}
