//! Admission of calls: permits of calls under way, look-ups of callers, the fair queue, and the memory budget of
//! requests. Each bounds the share of one owner.

pub(crate) mod budget;
pub(crate) mod entrance;
pub(crate) mod fair_queue;
pub(crate) mod lookups;
pub(crate) mod permits;
