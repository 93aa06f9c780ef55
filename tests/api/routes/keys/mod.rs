//! `/keys`: issued keys.

mod audit;
mod callers;
mod create;
mod delete;
mod get;
mod list;
mod pages;
mod update;
