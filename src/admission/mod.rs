//! Admission of calls: permits of calls under way, the fair queue, and the memory budget of requests. Each bounds
//! the share of one owner.

pub(crate) mod budget;
pub(crate) mod fair_queue;
pub(crate) mod permits;
