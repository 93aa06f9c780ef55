//! System under test: the use cases over the store, and a clock that the test sets.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::Error;
use keyward_core::account::{self, MeteredKey, Usage};
use keyward_core::clock::Timestamp;
use keyward_core::id::{RequestId, ReservationId};
use keyward_core::issued_key::{IssuedKeyFilter, IssuedKeyPatch, NewIssuedKey};
use keyward_core::ledger::{NewReservation, RolledUp};
use keyward_core::money::Nanos;
use keyward_core::page::{MAX_PAGE_ITEMS, PageRequest};
use keyward_core::principal::{Caller, Principal};
use keyward_core::retention::MAX_PASSED;
use keyward_core::services::{IssuedKeys, Ledger, LedgerSettings};
use keyward_crypto::{KeyHash, Token};
use keyward_store::{Store, StoreOptions, TimeSource};
use keyward_testkit::fixtures::{World, caller, organization_id, service};
use keyward_testkit::{ManualClock, TestDatabase};

use crate::model::Model;
use crate::outcome::{Figures, Outcome, Rejection};
use crate::rows::Rows;
use crate::step::{Case, DEFAULT_TTL, MAX_TTL, Step};

/// The use cases on their own database.
pub(crate) struct Bench {
    store: Arc<Store>,
    database: TestDatabase,
    clock: Arc<ManualClock>,
    keys: IssuedKeys,
    ledger: Ledger,
    tokens: Vec<Token>,
    /// Reservations, in the order of the model.
    reservations: Vec<ReservationId>,
}

/// Outcome of a step, and the key as the response describes it.
pub(crate) struct Taken {
    pub(crate) outcome: Outcome,
    metered: Option<MeteredKey>,
}

fn options(database: &TestDatabase) -> StoreOptions {
    let mut options = crate::options::options(database.secret_url());
    options.limits.max_connections = 2;
    // The machine may be busy with other tests.
    (options.limits.acquire_timeout, options.limits.busy_timeout) =
        (Duration::from_secs(60), Duration::from_secs(60));
    options
}

/// Prepares a database with the schema and an organization, and no open connection.
pub(crate) async fn prepare(database: TestDatabase) -> TestDatabase {
    let store = Store::connect(&options(&database)).await.unwrap();
    store.migrate().await.unwrap();
    World::create(&store).await;
    store.close().await;
    database
}

fn nanos(amount: i64) -> Nanos {
    Nanos::new(amount).unwrap()
}

fn millis(duration: i64) -> Duration {
    Duration::from_millis(u64::try_from(duration).unwrap())
}

pub(crate) fn request_id(id: usize) -> RequestId {
    RequestId::parse(format!("request-{id}")).unwrap()
}

fn administrator() -> Caller {
    caller(Principal::ManagementKey {
        hash: KeyHash::from_bytes([0; 32]),
        organization: organization_id("org"),
    })
}

fn rejection(error: Error) -> Result<Rejection, String> {
    Ok(match error {
        Error::Invalid { field, .. } => Rejection::Invalid(field),
        Error::NotFound(noun) => Rejection::NotFound(noun),
        Error::RequestIdConflict { earlier } => Rejection::Conflict(earlier),
        Error::KeyDisabled => Rejection::Disabled,
        Error::KeyExpired => Rejection::Expired,
        Error::LimitExceeded { retry_after } => Rejection::Limit(retry_after),
        Error::ReservationEnded(ending) => Rejection::Ended(ending),
        other => return Err(format!("{other:?}")),
    })
}

fn figures(metered: &MeteredKey, now: Timestamp) -> Figures {
    let usage = |usage: &Usage| {
        let Usage {
            total,
            daily,
            weekly,
            monthly,
        } = *usage;
        [total, daily, weekly, monthly].map(Nanos::get)
    };
    Figures {
        usage: usage(&metered.account.usage),
        byok_usage: usage(&metered.account.byok_usage),
        held: metered.account.held.get(),
        byok_held: metered.account.byok_held.get(),
        remaining: account::remaining(metered).map(Nanos::get),
        available: account::available(metered).map(Nanos::get),
        verdicts: [false, true].map(|byok| account::verdict(metered, byok, now)),
    }
}

impl Bench {
    pub(crate) async fn new(database: TestDatabase, case: &Case) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(case.start)));
        let mut options = options(&database);
        options.machine_clock = clock.clone();
        options.time_source = TimeSource::Machine;
        let store = Arc::new(Store::connect(&options).await.unwrap());
        let keys = IssuedKeys::new(store.clone(), store.clone(), store.clone(), clock.clone());
        let mut bench = Self {
            ledger: use_cases(&store, &clock, None),
            store,
            database,
            clock,
            keys,
            tokens: Vec::new(),
            reservations: Vec::new(),
        };
        for new in &case.keys {
            let expires_at = new.lives.map(|lives| case.start + lives);
            let new = NewIssuedKey {
                name: "Key".to_owned(),
                limit: new.limit.map(nanos),
                limit_reset: new.reset,
                include_byok_in_limit: new.include_byok,
                expires_at: expires_at.map(Timestamp::from_unix_millis),
                ..NewIssuedKey::default()
            };
            let minted = bench.keys.create(&administrator(), new).await.unwrap();
            bench.tokens.push(minted.token);
        }
        bench
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
    }

    /// Sets the clock.
    pub(crate) fn set(&self, now: i64) {
        self.clock.set(Timestamp::from_unix_millis(now));
    }

    fn hash(&self, key: usize) -> Option<KeyHash> {
        Some(self.tokens[key].hash())
    }

    /// Runs a step, which refers to keys and reservations as the model numbers them.
    pub(crate) async fn take(&mut self, model: &Model, step: &Step) -> Result<Taken, String> {
        let taken = match self.try_step(model, step).await {
            Ok((outcome, metered)) => Taken { outcome, metered },
            Err(error) => Taken {
                outcome: Outcome::Rejected(rejection(error)?),
                metered: None,
            },
        };
        Ok(taken)
    }

    async fn try_step(
        &mut self,
        model: &Model,
        step: &Step,
    ) -> Result<(Outcome, Option<MeteredKey>), Error> {
        let platform = caller(service());
        let (ledger, hash) = (self.ledger.clone(), |key| self.hash(key));
        // If the model has no reservation, the step uses an id that does not exist.
        let reservation = |back| match model.hold(back) {
            Some(hold) => self.reservations[hold],
            None => ReservationId::generate(Timestamp::from_unix_millis(model.now)),
        };
        let recorded = match *step {
            Step::Record {
                key,
                id,
                amount,
                byok,
                after,
            } => {
                let at = after.map(|after| Timestamp::from_unix_millis(model.now + after));
                let (id, amount) = (request_id(id), nanos(amount));
                ledger
                    .record(&platform, hash(key), id, amount, byok, at)
                    .await?
            }
            Step::Settle { back, thousandths } => {
                let hold = model.hold(back);
                let cost = nanos(hold.map_or(0, |hold| model.cost(hold, thousandths)));
                ledger
                    .settle(&platform, Some(reservation(back)), cost)
                    .await?
            }
            Step::Reserve {
                key,
                id,
                amount,
                byok,
                ttl,
            } => {
                let new = NewReservation {
                    request_id: request_id(id),
                    amount: nanos(amount),
                    byok,
                    ttl: ttl.map(millis),
                };
                let reserved = ledger.reserve(&platform, hash(key), new).await?;
                let expires_at = reserved.reservation.expires_at.unix_millis();
                let hold = self.number(reserved.reservation.id);
                return Ok((
                    Outcome::Reserved { hold, expires_at },
                    Some(reserved.metered),
                ));
            }
            Step::Release { back } => {
                ledger.release(&platform, Some(reservation(back))).await?;
                return Ok((Outcome::Done, None));
            }
            Step::Change { key, ref change } => {
                let patch = IssuedKeyPatch {
                    name: None,
                    disabled: change.disabled,
                    limit: change.limit.map(|limit| limit.map(nanos)),
                    limit_reset: change.reset,
                    include_byok_in_limit: change.include_byok,
                };
                let changed = self.keys.update(&administrator(), hash(key), patch).await?;
                return Ok((Outcome::Done, Some(changed)));
            }
            Step::Delete { key } => {
                self.keys.delete(&administrator(), hash(key)).await?;
                return Ok((Outcome::Done, None));
            }
            Step::RollUp { retention } => {
                let forgetful = use_cases(&self.store, &self.clock, Some(retention));
                let RolledUp {
                    charges,
                    reservations,
                } = forgetful.roll_up(MAX_PASSED).await?;
                return Ok((
                    Outcome::RolledUp {
                        charges,
                        reservations,
                    },
                    None,
                ));
            }
            Step::Move(_) => return Ok((Outcome::Done, None)),
        };
        let duplicate = recorded.duplicate;
        Ok((Outcome::Recorded { duplicate }, Some(recorded.metered)))
    }

    /// Returns the number of a reservation, the next number if it is new.
    fn number(&mut self, id: ReservationId) -> usize {
        let known = self.reservations.iter().position(|known| *known == id);
        known.unwrap_or_else(|| {
            self.reservations.push(id);
            self.reservations.len() - 1
        })
    }

    /// Checks that a response describes the current state of the key.
    pub(crate) fn compare_answer(
        &self,
        model: &Model,
        step: &Step,
        taken: &Taken,
    ) -> Result<(), String> {
        let Some(metered) = &taken.metered else {
            return Ok(());
        };
        let key = match *step {
            Step::Record { key, .. } | Step::Reserve { key, .. } | Step::Change { key, .. } => key,
            Step::Settle { back, .. } => model.holds[model.hold(back).unwrap()].key,
            _ => return Err("an answer that describes a key".to_owned()),
        };
        let now = Timestamp::from_unix_millis(model.now);
        expect("the answer", figures(metered, now), model.figures(key).0)
    }

    /// Checks the figures that the keys show to their administrator, and the verdict on spending on one side of one
    /// key's account.
    pub(crate) async fn compare_figures(
        &self,
        model: &Model,
        judged: usize,
        byok: bool,
    ) -> Result<(), String> {
        let now = Timestamp::from_unix_millis(model.now);
        let filter = IssuedKeyFilter {
            include_disabled: true,
            ..IssuedKeyFilter::default()
        };
        let first = PageRequest {
            limit: MAX_PAGE_ITEMS,
            after: None,
        };
        let listed = self.keys.list(&administrator(), &filter, &first).await;
        let listed = listed.map_err(|error| format!("{error:?}"))?.items;
        for (key, token) in self.tokens.iter().enumerate() {
            let hash = token.hash();
            let shown = listed.iter().find(|metered| metered.key.hash == hash);
            let (expected, deleted) = model.figures(key);
            let expected = (!deleted).then_some(expected);
            let shown = shown.map(|metered| figures(metered, now));
            expect(&format!("what key {key} shows"), shown, expected)?;
        }
        let token = self.tokens[judged].secret();
        let answer = self.keys.verify(&caller(service()), token, byok).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let (expected, deleted) = model.figures(judged);
        let verdict = expected.verdicts[usize::from(byok)];
        let expected = (!deleted).then_some((verdict, expected));
        let answer = answer.map(|found| (found.verdict, figures(&found.metered, now)));
        expect(&format!("how key {judged} is judged"), answer, expected)
    }

    /// Checks the rows and their sums.
    pub(crate) async fn compare_rows(&self, model: &Model) -> Result<(), String> {
        let hashes = self.tokens.iter().map(|token| token.hash().to_string());
        Rows::new(&self.database, hashes.collect())
            .compare(model)
            .await
    }
}

pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    is: T,
    should: T,
) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} is\n{is:?} instead of\n{should:?}"))
    }
}

fn use_cases(store: &Arc<Store>, clock: &Arc<ManualClock>, retention: Option<i64>) -> Ledger {
    let settings = LedgerSettings {
        default_reservation_ttl: millis(DEFAULT_TTL),
        max_reservation_ttl: millis(MAX_TTL),
        charge_retention: retention.map(millis),
    };
    Ledger::new(store.clone(), settings, clock.clone())
}
