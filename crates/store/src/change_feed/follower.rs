//! Follows the feed and outdates what other replicas changed.
//!
//! On PostgreSQL the follower has a connection of its own, so that busy or slow calls do not delay it. It reads the feed
//! when another replica notifies it, and otherwise at an interval, so that a lost notification only delays. A replica
//! notifies the others after its commits, and not in their transactions: PostgreSQL would commit transactions that
//! notify one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::SqlxError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow};
use sea_orm::sqlx::{self, Executor as _, Row as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::position::Position;
use crate::cache::{CacheSettings, CacheState};
use crate::connect::Connector;
use crate::subject::{MalformedSubject, Subject};
use crate::{Store, metrics};

/// Channel of the notifications.
const CHANNEL: &str = "keyward_changes";
/// Maximum time to open the follower's connection.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// Maximum time for one read of the feed, or for a notification.
const POLL_LIMIT: Duration = Duration::from_secs(2);
/// Maximum age of the connection, to follow a name that has moved to another server.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Maximum time for which the server runs a statement of the follower, shorter than [`POLL_LIMIT`], so that no statement
/// outlives its connection.
const STATEMENT_LIMIT_MILLIS: u64 = 1500;
/// Minimum time between two reads, or two notifications: many commits in that time need only one.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// Time after which a lost connection is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Interval between deletions of old rows.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of rows that one read processes; after more, all entries are outdated instead.
const MAX_ROWS: usize = 10_000;

/// Reads the feed: the rows that a snapshot does not show, and the snapshot of this statement. `$1` is the first
/// transaction that had not begun in the earlier snapshot, and `$2` those that were open. A row that was restored from
/// another server may name a transaction that has not begun here.
const READ: &str = "SELECT CAST(pg_current_snapshot() AS text) AS snapshot, \
     CAST(pg_postmaster_start_time() AS text) AS server, \
     pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS is_read_only, \
     new.kind, new.organization_id, new.resource_id \
     FROM (SELECT 1) AS one LEFT JOIN LATERAL (\
         SELECT kind, organization_id, resource_id FROM changes \
         WHERE (transaction_id >= $1 OR transaction_id = ANY($2)) AND transaction_id < \
             CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) \
         LIMIT $3\
     ) AS new ON TRUE";

/// The follower of a store.
pub(crate) struct Follower {
    caches: Arc<CacheState>,
    poll_interval: Duration,
    /// Commits of this process that the other replicas were not notified of.
    committed: Notify,
    is_running: AtomicBool,
    /// True if no other process changes the database, so that its rows are not read.
    is_alone: bool,
    /// True if a commit failed, and may still succeed, on a database whose rows are not read.
    is_doubtful: AtomicBool,
}

/// Reason for which following was interrupted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interruption {
    #[error("the database does not answer in time")]
    Silent,
    #[error("the connection was lost")]
    Lost,
    #[error("the server is read-only")]
    ReadOnly,
    #[error("the position in the feed is malformed")]
    Malformed,
    /// The driver's text may quote values.
    #[error("the database rejects the connection or the statement")]
    Failed(#[from] SqlxError),
}

impl Follower {
    pub(crate) fn new(caches: &Arc<CacheState>, settings: &CacheSettings, is_alone: bool) -> Self {
        Self {
            caches: Arc::clone(caches),
            poll_interval: settings.poll_interval,
            committed: Notify::new(),
            is_running: AtomicBool::new(false),
            is_alone,
            is_doubtful: AtomicBool::new(false),
        }
    }

    /// Outdates what a transaction of this process changed, and has the other replicas notified. Must be called after
    /// the commit, before its outcome is known to the caller.
    ///
    /// A commit that was given up may still succeed. On PostgreSQL the feed then has its rows. On SQLite the caches are
    /// not used until another transaction has committed, since there is one writer at a time.
    pub(crate) fn note_commit(&self, changed: &[Subject], has_succeeded: bool) {
        self.caches.invalidate(changed);
        if !changed.is_empty() {
            self.committed.notify_one();
        }
        if !self.is_alone {
            return;
        }
        if !has_succeeded {
            self.is_doubtful.store(true, Ordering::Release);
            self.caches.withdraw();
        } else if self.is_doubtful.swap(false, Ordering::AcqRel) {
            self.caches.invalidate_all();
            self.confirm_alone();
        }
    }

    /// Lets the caches be used on a database that no other process changes, while the follower runs.
    fn confirm_alone(&self) {
        self.caches.confirm_always();
        if !self.is_running.load(Ordering::Acquire) {
            self.caches.withdraw();
        }
    }
}

/// Ends the use of the caches when the follower stops.
struct Running<'a>(&'a Follower);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Release);
        self.0.caches.withdraw();
    }
}

impl Store {
    /// Follows the changes of other replicas, for as long as it is polled. The caches are used only meanwhile. A second
    /// call on the same store returns at once.
    ///
    /// On SQLite the store must have locked its file ([`Store::claim`]), so that no other process changes it.
    pub async fn follow_changes(&self) {
        if self.follower.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let _running = Running(&self.follower);
        let following = async {
            match self.pool.connector() {
                Connector::Sqlite { .. } => {
                    if self.is_claimed() {
                        self.follower.caches.invalidate_all();
                        self.follower.confirm_alone();
                    }
                    std::future::pending().await
                }
                Connector::Postgres(options) => self.follower.follow_postgres(options).await,
            }
        };
        tokio::join!(following, self.trim_regularly());
    }

    async fn trim_regularly(&self) {
        loop {
            sleep(TRIM_INTERVAL).await;
            if let Err(error) = self.trim_changes().await {
                tracing::debug!(%error, "failed to delete old changes");
            }
        }
    }
}

impl Follower {
    async fn follow_postgres(&self, options: &PgConnectOptions) {
        let mut was_interrupted = false;
        loop {
            let followed = self.follow_connection(options, &mut was_interrupted);
            let Err(interruption) = followed.await else {
                continue;
            };
            metrics::feed_poll("failure");
            // The pool reports the state of the database itself.
            if !was_interrupted {
                tracing::warn!(%interruption, "lost the changes of other replicas, caches end soon");
            }
            was_interrupted = true;
            sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Follows the feed on one connection until that fails or is old.
    async fn follow_connection(
        &self,
        options: &PgConnectOptions,
        was_interrupted: &mut bool,
    ) -> Result<(), Interruption> {
        let (mut connection, own_process) = within(OPEN_LIMIT, open(options)).await?;
        let opened = Instant::now();
        // A server that has crashed may use the numbers of transactions again, so each connection has its own position.
        let mut reader = Reader::default();
        while opened.elapsed() < MAX_AGE {
            within(POLL_LIMIT, reader.read(&mut connection, self)).await?;
            metrics::feed_poll("success");
            if std::mem::take(was_interrupted) {
                tracing::info!("following the changes of other replicas again");
            }
            self.wait(&mut connection, own_process).await?;
            sleep(MIN_PAUSE).await;
        }
        Ok(())
    }

    /// Waits until it is time to read the feed, and notifies the others of commits meanwhile.
    async fn wait(
        &self,
        connection: &mut PgListener,
        own_process: i32,
    ) -> Result<(), Interruption> {
        let until = Instant::now() + self.poll_interval;
        loop {
            tokio::select! {
                received = connection.try_recv() => match received? {
                    None => return Err(Interruption::Lost),
                    Some(notification) if process_of(&notification) == own_process => {}
                    Some(_) => break,
                },
                () = self.committed.notified() => {
                    let notify = format!("NOTIFY {CHANNEL}");
                    let sent = connection.execute(sqlx::AssertSqlSafe(notify));
                    within(POLL_LIMIT, async { Ok(sent.await?) }).await?;
                    sleep(MIN_PAUSE).await;
                }
                () = tokio::time::sleep_until(until) => break,
            }
        }
        // The read that follows covers all that have arrived.
        while connection.next_buffered().is_some() {}
        Ok(())
    }
}

/// Reads the feed on PostgreSQL, from its position on.
#[derive(Default)]
pub(super) struct Reader(Option<Position>);

impl Reader {
    /// Reads the new rows and outdates what they name.
    pub(super) async fn read(
        &mut self,
        connection: &mut PgListener,
        follower: &Follower,
    ) -> Result<(), Interruption> {
        let started = Instant::now();
        let (next, open, limit) = match &self.0 {
            Some(position) => (position.next, position.open.as_slice(), MAX_ROWS as i64 + 1),
            None => (0, [].as_slice(), 0),
        };
        let query = sqlx::query(READ).bind(next).bind(open).bind(limit);
        let rows = query.fetch_all(&mut *connection).await?;
        let head = rows.first().ok_or(Interruption::Malformed)?;
        if head.try_get("is_read_only")? {
            return Err(Interruption::ReadOnly);
        }
        let found = Position::parse(head.try_get("snapshot")?, head.try_get("server")?);
        let found = found.ok_or(Interruption::Malformed)?;
        let earlier = self.0.as_ref();
        let earlier = earlier.filter(|earlier| earlier.server == found.server);
        match earlier {
            Some(earlier) if rows.len() <= MAX_ROWS => match subjects(&rows)? {
                Some(subjects) if !has_missed(earlier, &subjects) => {
                    follower.caches.invalidate(&subjects);
                }
                _ => follower.caches.invalidate_all(),
            },
            _ => follower.caches.invalidate_all(),
        }
        self.0 = Some(found);
        follower.caches.confirm(started);
        Ok(())
    }
}

/// Returns the subjects of the rows that this version knows; `None` if one is malformed.
fn subjects(rows: &[PgRow]) -> Result<Option<Vec<Subject>>, SqlxError> {
    let mut subjects = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(kind) = row.try_get::<Option<&str>, _>("kind")? else {
            continue;
        };
        let (organization, resource) =
            (row.try_get("organization_id")?, row.try_get("resource_id")?);
        match Subject::from_columns(kind, organization, resource) {
            Ok(subject) => subjects.extend(subject),
            Err(MalformedSubject) => return Ok(None),
        }
    }
    Ok(Some(subjects))
}

/// Returns true if rows that the position does not show may have been deleted.
fn has_missed(position: &Position, subjects: &[Subject]) -> bool {
    subjects.iter().any(|subject| match subject {
        Subject::Trimmed(transaction) => *transaction >= position.first_unseen(),
        _ => false,
    })
}

#[cfg(test)]
impl Reader {
    /// Makes the position one of another server.
    pub(super) fn pretend_another_server(&mut self) {
        if let Some(position) = &mut self.0 {
            position.server.clear();
        }
    }
}

#[cfg(test)]
impl Follower {
    /// Lets the caches be used although nothing is followed.
    pub(super) fn confirm_always_for_tests(&self) {
        self.caches.confirm_always();
    }
}

/// Opens the connection of a follower, and returns it with the server's number of its process.
pub(super) async fn open(options: &PgConnectOptions) -> Result<(PgListener, i32), Interruption> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(OPEN_LIMIT)
        .connect_lazy_with(options.clone().options([
            ("statement_timeout", STATEMENT_LIMIT_MILLIS.to_string()),
            ("lock_timeout", STATEMENT_LIMIT_MILLIS.to_string()),
        ]));
    let mut connection = PgListener::connect_with(&pool).await?;
    connection.eager_reconnect(false);
    connection.listen(CHANNEL).await?;
    let asked = sqlx::query("SELECT pg_backend_pid() AS process");
    let process = asked.fetch_one(&mut connection).await?.try_get("process")?;
    Ok((connection, process))
}

fn process_of(notification: &sqlx::postgres::PgNotification) -> i32 {
    i32::try_from(notification.process_id()).unwrap_or_default()
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Interruption>>,
) -> Result<T, Interruption> {
    timeout(limit, work)
        .await
        .unwrap_or(Err(Interruption::Silent))
}
