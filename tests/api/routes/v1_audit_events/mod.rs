//! `/v1/audit-events`.

mod list;
