//! Acknowledged writes under crashes, full disks and failing databases.

mod clocks;
mod database_file;
mod disk_full;
pub(crate) mod kill;
pub(crate) mod kill_ledger;
mod replicas;
mod spend_limit;
mod switchover;
