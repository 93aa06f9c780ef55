//! Tests of guarantees that several routes share.

mod bound_secrets;
mod broken_lists;
mod concurrent_requests;
mod created_by;
mod last_used;
mod ledger_roll_up;
mod page_size;
mod replica_clocks;
mod rest_and_grpc_agree;
mod retention;
mod store_failures;
mod usage_windows;
mod whole_lists;
