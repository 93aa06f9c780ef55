//! `/key`: the issued key that calls.

mod get;
