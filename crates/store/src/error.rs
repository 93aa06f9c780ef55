//! Maps database errors to the core's errors. Only this module contains database error codes. The driver boxes the
//! errors of both engines in one type, so that only downcasts distinguish them.
//!
//! Text that is kept for the log never contains a bound value. PostgreSQL puts values into an error's detail and
//! context, and quotes them in the message of a data exception (class 22), so these are dropped. Decoding errors are
//! dropped for the same reason.

use std::time::Duration;

use keyward_core::{Cause, Error};
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::sqlx::sqlite::SqliteError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlxError};

use crate::deadline;

/// Reason for which a transaction stops.
pub(crate) enum Failure {
    /// The database failed; a retry of the transaction may succeed.
    Database(DbErr),
    /// A row that existed a moment ago was deleted; a retry sees the new state.
    Conflict,
    /// The request is rejected.
    Rejected(Error),
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Rejected(error)
    }
}

/// Kind of a database error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DbErrorKind {
    /// The transaction lost against a concurrent one; a retry may succeed.
    Conflict,
    /// SQLite waited for the maximum time without success; a retry would wait as long again.
    Busy,
    /// PostgreSQL waited for a lock for the maximum time that a call may keep a connection.
    Locked,
    /// A unique constraint was violated.
    Unique,
    /// A foreign key was violated, from either side.
    ForeignKey,
    /// The server stopped the statement at the deadline.
    Deadline,
    /// The database cannot be reached or is out of service.
    Unavailable,
    /// An unexpected error.
    Other,
}

/// A database error without the values that it may have quoted.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct DatabaseFailure {
    text: String,
}

/// Concurrent transactions changed the same rows in every attempt.
#[derive(Debug, thiserror::Error)]
#[error("the transaction was overtaken by others too often")]
pub(crate) struct RetriesExhausted;

/// Returns the kind of a database error.
pub(crate) fn classify(error: &DbErr) -> DbErrorKind {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) => {
            DbErrorKind::Unavailable
        }
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => classify_driver(error),
        // Created by the pool.
        DbErr::Conn(RuntimeErr::Internal(_)) => DbErrorKind::Unavailable,
        _ => DbErrorKind::Other,
    }
}

/// Reason for which a connection is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiscardReason {
    /// Only this connection is in an unknown state, or the database closed only this one.
    Connection,
    /// No response arrived in time. Other connections may be lost for the same reason.
    Silent,
    /// The server stopped or was replaced, or its schema changed: older connections are not used again.
    Server,
    /// The server accepts no writes. It may have been demoted from primary.
    ReadOnly,
}

impl DiscardReason {
    /// Returns the name in log lines and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Silent => "silent",
            Self::Server => "server",
            Self::ReadOnly => "read_only",
        }
    }
}

/// Returns the reason for which a connection with this error is not used again, if any.
pub(crate) fn discard_reason(error: &SqlxError) -> Option<DiscardReason> {
    let SqlxError::Database(error) = error else {
        return match error {
            SqlxError::Io(_)
            | SqlxError::Tls(_)
            | SqlxError::Protocol(_)
            | SqlxError::WorkerCrashed => Some(DiscardReason::Server),
            _ => None,
        };
    };
    let code = error.code().unwrap_or_default();
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return match &*code {
            "25006" => Some(DiscardReason::ReadOnly),
            // idle_in_transaction_session_timeout, idle_session_timeout
            "25P03" | "57P05" => Some(DiscardReason::Connection),
            // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped;
            // invalid_sql_statement_name; connection exceptions
            "57P01" | "57P02" | "57P03" | "57P04" | "26000" => Some(DiscardReason::Server),
            _ if code.starts_with("08") || is_outdated_plan(error) => Some(DiscardReason::Server),
            _ => None,
        };
    }
    match sqlite_primary(&code) {
        // SQLITE_READONLY, SQLITE_CORRUPT, SQLITE_CANTOPEN, SQLITE_NOTADB
        8 | 11 | 14 | 26 => Some(DiscardReason::Server),
        // SQLITE_NOMEM, SQLITE_INTERRUPT, SQLITE_IOERR, SQLITE_FULL: SQLite may have rolled back by itself
        7 | 9 | 10 | 13 => Some(DiscardReason::Connection),
        _ => None,
    }
}

/// Returns true if an error shows that the database accepts no writes now.
pub(crate) fn is_unwritable(error: &DbErr) -> bool {
    let Some(code) = status_code(error) else {
        return false;
    };
    // disk_full, read_only_sql_transaction;
    // SQLITE_READONLY, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_NOTADB
    matches!(&*code, "53100" | "25006") || matches!(sqlite_primary(&code), 8 | 10 | 11 | 13 | 26)
}

/// Returns true if SQLite waited for a lock without success.
pub(crate) fn is_busy(error: &DbErr) -> bool {
    matches!(classify(error), DbErrorKind::Busy | DbErrorKind::Conflict)
}

/// Returns true if PostgreSQL has no free connection slot: too_many_connections.
pub(crate) fn is_server_full(error: &DbErr) -> bool {
    status_code(error).as_deref() == Some("53300")
}

/// Returns true if a statement was prepared for columns that a migration has changed since. The error's text depends on
/// the server's language, and its code has other uses.
fn is_outdated_plan(error: &PgDatabaseError) -> bool {
    error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
}

/// Returns the primary code of a SQLite extended result code. SQLSTATEs with five digits are far above this range.
fn sqlite_primary(code: &str) -> u32 {
    match code.parse::<u32>() {
        Ok(code) if code < 10_000 => code & 0xff,
        _ => 0,
    }
}

pub(crate) fn classify_driver(error: &SqlxError) -> DbErrorKind {
    match error {
        SqlxError::Database(error) => {
            let code = error.code().unwrap_or_default();
            if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                match is_outdated_plan(error) {
                    true => DbErrorKind::Conflict,
                    false => classify_postgres(&code),
                }
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                classify_sqlite(&code)
            } else {
                DbErrorKind::Other
            }
        }
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed
        | SqlxError::BeginFailed => DbErrorKind::Unavailable,
        _ => DbErrorKind::Other,
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn classify_postgres(code: &str) -> DbErrorKind {
    match code {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => DbErrorKind::Conflict,
        // lock_not_available
        "55P03" => DbErrorKind::Locked,
        "23505" => DbErrorKind::Unique,
        // foreign_key_violation; restrict_violation, which PostgreSQL 18 has for RESTRICT
        "23503" | "23001" => DbErrorKind::ForeignKey,
        // query_canceled: by the statement timeout
        "57014" => DbErrorKind::Deadline,
        // read_only_sql_transaction: the server has become a standby; idle_in_transaction_session_timeout: the server
        // has closed the connection; invalid_catalog_name: the database does not exist; io_error
        "25006" | "25P03" | "3D000" | "58030" => DbErrorKind::Unavailable,
        // invalid_sql_statement_name: the server does not have the statement that this connection prepared
        "26000" => DbErrorKind::Conflict,
        // connection exceptions, rejected logins, exhausted resources, shutdowns and start-ups
        _ if ["08", "28", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            DbErrorKind::Unavailable
        }
        _ => DbErrorKind::Other,
    }
}

/// <https://www.sqlite.org/rescode.html>
fn classify_sqlite(code: &str) -> DbErrorKind {
    let Ok(code) = code.parse::<u32>() else {
        return DbErrorKind::Other;
    };
    match code {
        // SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE
        1555 | 2067 => DbErrorKind::Unique,
        // SQLITE_CONSTRAINT_FOREIGNKEY, and SQLITE_CONSTRAINT_TRIGGER, which SQLite returns for RESTRICT
        787 | 1811 => DbErrorKind::ForeignKey,
        // SQLITE_BUSY_SNAPSHOT, for which SQLite does not wait
        517 => DbErrorKind::Conflict,
        _ => match code & 0xff {
            // SQLITE_BUSY
            5 => DbErrorKind::Busy,
            // SQLITE_LOCKED
            6 => DbErrorKind::Conflict,
            // SQLITE_READONLY: the file may have been read-only only when this connection was opened; a new connection
            // shows that. SQLite begins an immediate transaction on a read-only file without an error.
            8 => DbErrorKind::Conflict,
            // SQLITE_NOMEM, SQLITE_INTERRUPT, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_PROTOCOL
            7 | 9 | 10 | 13 | 14 | 15 => DbErrorKind::Unavailable,
            _ => DbErrorKind::Other,
        },
    }
}

/// Returns true if the error is a violation of this unique constraint. Engines name either the index or its columns.
pub(crate) fn violates_unique(error: &DbErr, index: &str, column: &str) -> bool {
    if classify(error) != DbErrorKind::Unique {
        return false;
    }
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    let SqlxError::Database(error) = &**error else {
        return false;
    };
    match error.constraint() {
        Some(constraint) => constraint == index,
        None => error.message().contains(column),
    }
}

/// Returns true if PostgreSQL reached the lock timeout of the transaction.
pub(crate) fn is_lock_timeout(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    matches!(&**error, SqlxError::Database(error) if error.code().as_deref() == Some("55P03"))
}

/// Returns the database's code for an error, which is a few letters and digits: an SQLSTATE or a SQLite result code.
pub(crate) fn status_code(error: &DbErr) -> Option<String> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => match &**error {
            SqlxError::Database(error) => error.code().map(|code| code.into_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the kind of an error for spans and metrics, from a fixed set of words.
pub(crate) fn error_type(error: &DbErr) -> &'static str {
    match classify(error) {
        DbErrorKind::Conflict => "conflict",
        DbErrorKind::Busy => "busy",
        DbErrorKind::Locked => "lock_timeout",
        DbErrorKind::Unique => "unique_violation",
        DbErrorKind::ForeignKey => "foreign_key_violation",
        DbErrorKind::Deadline => "deadline_exceeded",
        DbErrorKind::Unavailable => "unavailable",
        DbErrorKind::Other => "_OTHER",
    }
}

/// Returns the core's error for a database error that has no special meaning for the caller.
pub(crate) fn translate(error: &DbErr) -> Error {
    let cause = cause(error);
    match classify(error) {
        DbErrorKind::Conflict
        | DbErrorKind::Busy
        | DbErrorKind::Locked
        | DbErrorKind::Unavailable => Error::Unavailable(cause),
        // The server's time limit for one statement was shorter than the deadline.
        DbErrorKind::Deadline if deadline::remaining() > Some(Duration::from_secs(1)) => {
            Error::Unavailable(cause)
        }
        DbErrorKind::Deadline => Error::DeadlineExceeded,
        DbErrorKind::Unique | DbErrorKind::ForeignKey | DbErrorKind::Other => {
            Error::Internal(cause)
        }
    }
}

/// Returns the core's error for a driver error on connecting.
pub(crate) fn translate_connecting(error: &SqlxError) -> Error {
    let text = match error {
        SqlxError::Database(error) if error.as_error().is::<PgDatabaseError>() => {
            // PostgreSQL's error text may contain the names of user and database, which the URL contains.
            let code = error.code().unwrap_or_default();
            let reason = rejection(&code).unwrap_or("the server refuses the connection");
            format!("database error {code}: {reason}")
        }
        _ => driver_text(error),
    };
    let cause = DatabaseFailure { text };
    match classify_driver(error) {
        DbErrorKind::Conflict
        | DbErrorKind::Busy
        | DbErrorKind::Locked
        | DbErrorKind::Unavailable
        | DbErrorKind::Deadline => Error::unavailable(cause),
        DbErrorKind::Unique | DbErrorKind::ForeignKey | DbErrorKind::Other => {
            Error::internal(cause)
        }
    }
}

/// Returns the part of a database error that may be logged.
pub(crate) fn cause(error: &DbErr) -> Cause {
    let text = match error {
        DbErr::ConnectionAcquire(error) => error.to_string(),
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => driver_text(error),
        // These texts are about the schema, never about a row.
        DbErr::Custom(text) | DbErr::Migration(text) => text.clone(),
        // Created by the pool, from fixed texts.
        DbErr::Conn(RuntimeErr::Internal(text)) => text.clone(),
        DbErr::RecordNotFound(_) | DbErr::RecordNotInserted | DbErr::RecordNotUpdated => {
            "a row that was expected is not there".to_owned()
        }
        _ => "a row or a statement does not fit its entity".to_owned(),
    };
    DatabaseFailure { text }.into()
}

fn driver_text(error: &SqlxError) -> String {
    match error {
        SqlxError::Database(error) => database_text(&**error),
        SqlxError::Io(error) => format!("input or output failed: {}", error.kind()),
        SqlxError::Tls(_) => "TLS could not be established".to_owned(),
        SqlxError::Protocol(_) => "the server broke the protocol".to_owned(),
        SqlxError::PoolTimedOut => "no connection became free in time".to_owned(),
        SqlxError::PoolClosed => "the store is closed".to_owned(),
        SqlxError::WorkerCrashed => "the database's thread is gone".to_owned(),
        SqlxError::BeginFailed => "the transaction did not begin".to_owned(),
        SqlxError::Configuration(_) => "the database URL does not fit".to_owned(),
        SqlxError::RowNotFound => "a row that was expected is not there".to_owned(),
        SqlxError::ColumnNotFound(name) => format!("column {name} is not there"),
        SqlxError::ColumnDecode { index, .. } => format!("column {index} does not decode"),
        _ => "the driver failed".to_owned(),
    }
}

fn database_text(error: &dyn DatabaseError) -> String {
    let code = error.code().unwrap_or_default();
    let is_postgres = error.as_error().is::<PgDatabaseError>();
    let message = match rejection(&code) {
        Some(reason) if is_postgres => reason,
        _ if is_postgres && code.starts_with("22") => "a value does not fit its column",
        // SQLITE_CORRUPT
        _ if sqlite_primary(&code) == 11 => {
            "the database file is damaged, restore it from a backup"
        }
        // SQLITE_NOTADB
        _ if sqlite_primary(&code) == 26 => "the file of `database.url` is not a SQLite database",
        _ => error.message(),
    };
    let mut text = format!("database error {code}: {message}");
    for (label, name) in [("table", error.table()), ("constraint", error.constraint())] {
        if let Some(name) = name {
            text.push_str(&format!("; {label} {name}"));
        }
    }
    text
}

/// Returns the reason for which PostgreSQL rejects a connection, without the names that its message contains.
fn rejection(code: &str) -> Option<&'static str> {
    match code {
        "3D000" => Some("the database is not there"),
        "53300" => Some("the server has no connection left"),
        "57P03" => Some("the server is not ready"),
        _ if code.starts_with("28") => Some("the server refuses the log-in"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_waits_once() {
        // SQLITE_BUSY, SQLITE_BUSY_RECOVERY, SQLITE_BUSY_TIMEOUT: after the busy timeout
        for code in ["5", "261", "773"] {
            assert_eq!(classify_sqlite(code), DbErrorKind::Busy, "{code}");
        }
        // SQLITE_BUSY_SNAPSHOT, SQLITE_LOCKED, SQLITE_LOCKED_SHAREDCACHE: at once
        for code in ["517", "6", "262"] {
            assert_eq!(classify_sqlite(code), DbErrorKind::Conflict, "{code}");
        }
    }

    #[test]
    fn sqlite_without_a_resource_is_unavailable() {
        // SQLITE_NOMEM, SQLITE_IOERR_NOMEM, SQLITE_FULL, SQLITE_PROTOCOL
        for code in ["7", "3082", "13", "15"] {
            assert_eq!(classify_sqlite(code), DbErrorKind::Unavailable, "{code}");
        }
    }
}
