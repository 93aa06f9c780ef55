//! Admission of calls: permits of calls under way, the fair queue, and the memory budget of requests. Each bounds
//! what one owner takes from the others.

pub(crate) mod budget;
pub(crate) mod fair_queue;
pub(crate) mod permits;
