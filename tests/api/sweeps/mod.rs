//! Tests of every method that the descriptor has.

mod cases;
pub mod every_method;
