//! `/apikeys`: provider API keys.

mod callers;
mod create;
mod delete;
mod list;
mod update;
