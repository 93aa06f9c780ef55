//! Time source of the store and the use cases.
//!
//! On PostgreSQL it is the server's clock, so that replicas with different machine clocks decide alike. A change of a
//! key's account reads the server's clock after it has locked the key's row. All other decisions use the server's clock
//! as of the last comparison, advanced by the monotonic clock, so that a step of the machine's clock has no effect. On
//! SQLite, which has one process, it is the machine's clock.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use keyward_core::Error;
use keyward_core::clock::{Clock, SystemClock, Timestamp};
use keyward_core::ports::NotReady;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult, Statement};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::{Store, metrics};

/// Clock difference above which a log line is written.
const NOTABLE_DIFFERENCE: Duration = Duration::from_secs(1);
/// Age of the last comparison from which a probe compares again, even if calls have just shown that the server is
/// usable.
const COMPARISON_INTERVAL: Duration = Duration::from_secs(5);
/// Round trip above which a response is too old to set the time, once there is a better one.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(250);
/// Expression for the server's clock, in milliseconds since 1970.
pub(crate) const SERVER_NOW: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)";
pub(crate) const NOW: &str = "now_millis";

/// Clock that a store uses on PostgreSQL. On SQLite it is always the machine's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeSource {
    /// The database server's clock.
    #[default]
    Server,
    /// The machine's clock, which tests set.
    Machine,
}

/// Clocks of a store.
pub(crate) struct StoreTime {
    machine: Arc<dyn Clock>,
    max_difference: Duration,
    pub(crate) follows_server: bool,
    compared: RwLock<Option<Compared>>,
}

/// Outcome of a comparison.
#[derive(Clone, Copy)]
struct Compared {
    /// Time of the server's clock.
    server: Timestamp,
    /// Time at which the server's clock was read.
    at: Instant,
    /// Milliseconds by which the machine's clock is ahead, less the part that the round trip may explain.
    difference: i64,
    /// Time of the comparison.
    noted: Instant,
}

impl Clock for StoreTime {
    fn now(&self) -> Timestamp {
        match self.compared() {
            Some(compared) if self.follows_server => compared.server.plus(compared.at.elapsed()),
            _ => self.machine.now(),
        }
    }
}

impl StoreTime {
    pub(crate) fn new(
        machine: Arc<dyn Clock>,
        max_difference: Duration,
        follows_server: bool,
    ) -> Self {
        Self {
            machine,
            max_difference,
            follows_server,
            compared: RwLock::default(),
        }
    }

    /// Compares the clocks on the first connection. If the store uses the machine's clock, the difference is 0.
    pub(crate) async fn compare_on(&self, connection: &mut Connection) -> Result<(), DbErr> {
        if self.follows_server {
            let started = Instant::now();
            let row = connection.query_one(server_clock()).await?;
            self.note(shown(row)?, started);
        } else {
            metrics::clock_difference(0);
        }
        Ok(())
    }

    /// Returns true if the last comparison is so old that another one is due.
    pub(crate) fn is_due(&self) -> bool {
        let fresh = |compared: Compared| compared.noted.elapsed() < COMPARISON_INTERVAL;
        self.follows_server && !self.compared().is_some_and(fresh)
    }

    /// Rejects clocks that differ too much.
    ///
    /// # Errors
    /// [`NotReady::ClockDiffers`].
    pub(crate) fn check(&self) -> Result<(), NotReady> {
        match self.compared().map_or(0, |compared| compared.difference) {
            millis if self.level(millis) == Level::TooFar => Err(NotReady::ClockDiffers { millis }),
            _ => Ok(()),
        }
    }

    /// The machine's clock.
    pub(crate) fn system() -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    fn compared(&self) -> Option<Compared> {
        *self.compared.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the server's time, which was read during a round trip that began at `started`.
    fn note(&self, server: Timestamp, started: Instant) -> Compared {
        let took = started.elapsed();
        let machine = self.machine.now();
        // The server read its clock at some time in between.
        let ahead = machine.unix_millis() - server.plus(took / 2).unix_millis();
        let explained = i64::try_from((took / 2).as_millis()).unwrap_or(i64::MAX);
        let difference = ahead.signum() * ahead.saturating_abs().saturating_sub(explained).max(0);
        let mut known = self
            .compared
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = known.map_or(Level::Equal, |known| self.level(known.difference));
        let compared = match *known {
            Some(earlier) if took > MAX_ROUND_TRIP => Compared {
                difference,
                noted: Instant::now(),
                ..earlier
            },
            _ => Compared {
                server,
                at: started + took / 2,
                difference,
                noted: Instant::now(),
            },
        };
        *known = Some(compared);
        drop(known);
        metrics::clock_difference(difference);
        self.report(before, difference);
        compared
    }

    fn level(&self, difference: i64) -> Level {
        let difference = Duration::from_millis(difference.unsigned_abs());
        if difference > self.max_difference {
            Level::TooFar
        } else if difference > NOTABLE_DIFFERENCE {
            Level::Notable
        } else {
            Level::Equal
        }
    }

    /// Logs only changes of the level, because the clocks are compared every few seconds.
    fn report(&self, before: Level, difference_ms: i64) {
        match self.level(difference_ms) {
            level if level == before => {}
            Level::Equal => {
                tracing::info!(
                    difference_ms,
                    "the machine's clock agrees with the database's"
                );
            }
            Level::Notable => {
                tracing::warn!(
                    difference_ms,
                    "the machine's clock differs from the database's"
                );
            }
            Level::TooFar => tracing::error!(
                difference_ms,
                "the machine's clock differs from the database's by more than \
                 database.max_clock_difference_ms: not ready"
            ),
        }
    }
}

/// Severity of a clock difference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Equal,
    Notable,
    TooFar,
}

impl Store {
    /// Returns the clock for use cases over this store.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.time) as _
    }

    /// Checks that the server begins transactions that may write, and compares the clocks if the store uses the
    /// server's clock.
    pub(crate) async fn ping_postgres(&self) -> Result<(), Error> {
        self.read("ping", |db| async move {
            if self.time.follows_server {
                let started = Instant::now();
                let row = db.query_one_raw(server_clock()).await?;
                self.time.note(shown(row)?, started);
            }
            Ok(())
        })
        .await
    }
}

/// Statement that reads the server's clock.
fn server_clock() -> Statement {
    let sql = format!("SELECT {SERVER_NOW} AS {NOW}");
    Statement::from_string(DbBackend::Postgres, sql)
}

fn shown(row: Option<QueryResult>) -> Result<Timestamp, DbErr> {
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the server's clock".to_owned()))?;
    Ok(Timestamp::from_unix_millis(row.try_get("", NOW)?))
}

#[cfg(test)]
mod tests {
    use keyward_testkit::ManualClock;
    use keyward_testkit::fixtures::{NOON, after_noon};

    use super::*;

    fn time() -> (Arc<ManualClock>, StoreTime) {
        let machine = Arc::new(ManualClock::new(NOON));
        let max = Duration::from_secs(5);
        let time = StoreTime::new(Arc::clone(&machine) as _, max, true);
        (machine, time)
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_the_servers_carried_on_by_the_monotonic_clock() {
        let (machine, time) = time();
        assert_eq!(time.now(), NOON);
        time.note(after_noon(40_000), Instant::now());
        assert_eq!(time.now(), after_noon(40_000));
        machine.advance(Duration::from_secs(400 * 24 * 3600));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(time.now(), after_noon(47_000));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answer_neither_sets_the_time_nor_is_a_difference() {
        let (machine, time) = time();
        time.note(NOON, Instant::now());
        let started = Instant::now();
        tokio::time::advance(Duration::from_secs(20)).await;
        machine.advance(Duration::from_secs(20));
        // The server read its clock at once; the response was delayed.
        assert_eq!(time.note(NOON, started).difference, 0);
        assert_eq!(time.now(), after_noon(20_000));
    }

    #[tokio::test(start_paused = true)]
    async fn difference_has_the_sign_of_the_machine() {
        let (_machine, time) = time();
        for (server, difference, too_far) in [
            (0, 0, false),
            (-5_000, 5_000, false),
            (-5_001, 5_001, true),
            (40_000, -40_000, true),
        ] {
            let compared = time.note(after_noon(server), Instant::now());
            assert_eq!(compared.difference, difference);
            assert_eq!(time.level(difference) == Level::TooFar, too_far);
        }
    }
}
