//! What becomes of a step: its answer, and what the keys show then.

use std::time::Duration;

use keyward_core::error::Noun;
use keyward_core::ledger::Ending;
use keyward_core::limit::Verdict;

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Recorded { duplicate: bool },
    Reserved { hold: usize, expires_at: i64 },
    RolledUp { charges: u64, reservations: u64 },
    Refused(Refusal),
}

/// Why a step was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Invalid(&'static str),
    NotFound(Noun),
    Conflict(&'static str),
    Disabled,
    Expired,
    Limit(Option<Duration>),
    Ended(Ending),
}

/// What a key shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// In all, on the day, in the week, in the month.
    pub(crate) usage: [i64; 4],
    pub(crate) byok_usage: [i64; 4],
    pub(crate) held: i64,
    pub(crate) byok_held: i64,
    /// Of the limit, without and with regard to holds.
    pub(crate) remaining: Option<i64>,
    pub(crate) available: Option<i64>,
    /// On spending through the platform's provider keys, and through the customer's own.
    pub(crate) verdicts: [Verdict; 2],
}
