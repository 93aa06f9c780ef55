//! `kill -9` at random moments under spending: acknowledged charges are recorded, recorded charges were sent,
//! sums match the recorded charges, and sending everything again completes the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use keyward::proto::v1::{RecordUsageRequest, ReserveSpendRequest};
use prost_types::Timestamp;
use sea_orm::{ConnectionTrait, Database, QueryResult, Statement, TryGetable};
use tokio::sync::Notify;
use tonic::{Code, Status};

use crate::durability::kill::check_integrity;
use crate::support::deployment::Deployment;
use crate::support::random::{Random, seed};
use crate::support::spending::Meter;

const ROUNDS: usize = 6;
const WRITERS: usize = 8;
const KEYS: usize = 3;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// 2026-01-01T00:00:00Z, in seconds.
const NEW_YEAR: i64 = 1_767_225_600;

/// Identifier of a charge, and of the reservation that becomes it: a key's hash and a request id.
pub(crate) type Name = (String, String);

/// A charge that a writer was about to record, and its progress.
#[derive(Debug, Clone)]
struct Spend {
    name: Name,
    cost: i64,
    byok: bool,
    way: Way,
    /// True if the charge was acknowledged; otherwise its request was in flight when the program ended.
    acknowledged: bool,
}

#[derive(Debug, Clone)]
enum Way {
    /// Recorded at once, with this second as the time of spending.
    Recorded(i64),
    /// Reserved first; the reservation is known once it was acknowledged.
    Held {
        amount: i64,
        reservation: Option<String>,
    },
}

/// A request that was sent to the program and can be sent again.
impl Spend {
    fn random(hashes: &[String], id: String, random: &mut Random) -> Self {
        let key = random.below(hashes.len() as u64);
        let hash = hashes[usize::try_from(key).unwrap()].clone();
        let cost = random.between(0, 1_000_000);
        let way = if random.below(3) == 0 {
            let amount = random.between(0, 1_000_000);
            Way::Held {
                amount,
                reservation: None,
            }
        } else {
            Way::Recorded(NEW_YEAR + random.between(0, 40 * DAY_MILLIS / 1000))
        };
        Self {
            name: (hash, id),
            cost,
            byok: random.below(3) == 0,
            way,
            acknowledged: false,
        }
    }

    /// Records the charge from its current step; returns true if it was already recorded.
    async fn send(&mut self, meter: &Meter) -> Result<bool, Status> {
        let (hash, request_id) = self.name.clone();
        let duplicate = match &mut self.way {
            Way::Recorded(at) => {
                let charge = RecordUsageRequest {
                    hash,
                    request_id,
                    cost_nanos: self.cost,
                    byok: self.byok,
                    occurred_at: Some(Timestamp {
                        seconds: *at,
                        nanos: 0,
                    }),
                };
                meter.record(charge).await?.duplicate
            }
            Way::Held {
                amount,
                reservation,
            } => {
                if reservation.is_none() {
                    let hold = ReserveSpendRequest {
                        hash,
                        request_id,
                        amount_nanos: *amount,
                        byok: self.byok,
                        ttl: None,
                    };
                    *reservation = Some(meter.reserve(hold).await?.reservation_id);
                }
                let id = reservation.as_deref().unwrap_or_default();
                meter.settle(id, self.cost).await?.duplicate
            }
        };
        self.acknowledged = true;
        Ok(duplicate)
    }
}

/// Spends until the program is gone; returns everything that was sent.
async fn write(
    meter: Meter,
    hashes: Vec<String>,
    writer: String,
    mut random: Random,
    acknowledged: Arc<AtomicUsize>,
    progress: Arc<Notify>,
) -> Vec<Spend> {
    let mut sent = Vec::new();
    for number in 0.. {
        let mut spend = Spend::random(&hashes, format!("{writer}-{number}"), &mut random);
        let answer = spend.send(&meter).await;
        sent.push(spend);
        match answer {
            Ok(duplicate) => assert!(!duplicate, "{sent:?}"),
            Err(failed) => {
                // The connection is lost. An error from the program itself would have details.
                assert!(failed.details().is_empty(), "{failed:?}");
                break;
            }
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
        progress.notify_one();
    }
    sent
}

/// All stored spending of keys.
pub(crate) struct Stored {
    /// Amount, side and day of each charge.
    pub(crate) charges: BTreeMap<Name, (i64, bool, i64)>,
    /// State and cost of each reservation.
    reservations: BTreeMap<Name, (String, Option<i64>)>,
    /// Spending of each key on each day: its own, and through the customer's own provider keys.
    days: BTreeMap<(String, i64), (i64, i64)>,
    totals: BTreeMap<String, (i64, i64)>,
}

fn get<T: TryGetable>(row: &QueryResult, column: &str) -> T {
    row.try_get("", column).unwrap()
}

fn sums(row: &QueryResult) -> (i64, i64) {
    (get(row, "usage_nanos"), get(row, "byok_usage_nanos"))
}

impl Stored {
    /// Reads the data over a connection that is then closed, so that this process keeps no file open when the
    /// program is killed.
    pub(crate) async fn read(url: &str) -> Self {
        let database = Database::connect(url).await.unwrap();
        let of = async |table: &str| {
            let sql =
                format!("SELECT k.hash, t.* FROM {table} t JOIN issued_keys k ON k.id = t.key_id");
            let statement = Statement::from_string(database.get_database_backend(), sql);
            database.query_all_raw(statement).await.unwrap()
        };
        let name = |row: &QueryResult| -> Name { (get(row, "hash"), get(row, "request_id")) };
        let charge = |row: &QueryResult| {
            let day = get::<i64>(row, "occurred_at").div_euclid(DAY_MILLIS);
            (get(row, "amount_nanos"), get(row, "byok"), day)
        };
        let charges = of("charges").await;
        let reservations = of("reservations").await;
        let ending = |row: &QueryResult| (get(row, "state"), get(row, "settled_nanos"));
        let days = of("daily_usage").await;
        let day = |row: &QueryResult| (get(row, "hash"), get(row, "day"));
        let keys = "SELECT hash, usage_nanos, byok_usage_nanos FROM issued_keys";
        let statement = Statement::from_string(database.get_database_backend(), keys);
        let totals = database.query_all_raw(statement).await.unwrap();
        let stored = Self {
            charges: charges.iter().map(|row| (name(row), charge(row))).collect(),
            reservations: reservations
                .iter()
                .map(|row| (name(row), ending(row)))
                .collect(),
            days: days.iter().map(|row| (day(row), sums(row))).collect(),
            totals: totals
                .iter()
                .map(|row| (get(row, "hash"), sums(row)))
                .collect(),
        };
        database.close().await.unwrap();
        stored
    }

    /// Expects that days and totals are the sums of charges.
    pub(crate) fn check_sums(&self) {
        let mut days = BTreeMap::new();
        let mut totals: BTreeMap<_, (i64, i64)> = self
            .totals
            .keys()
            .map(|hash| (hash.clone(), (0, 0)))
            .collect();
        for ((hash, _), (amount, byok, day)) in &self.charges {
            let day: &mut (i64, i64) = days.entry((hash.clone(), *day)).or_default();
            for sums in [day, totals.get_mut(hash).unwrap()] {
                *(if *byok { &mut sums.1 } else { &mut sums.0 }) += amount;
            }
        }
        assert_eq!(self.days, days, "days are not the sums of charges");
        assert_eq!(self.totals, totals, "totals are not the sums of charges");
    }

    /// Expects that acknowledged charges are stored, and that stored charges were sent and not rejected.
    fn check_against(&self, sent: &[Spend]) {
        let mut recorded = 0;
        for spend in sent {
            let charge = self.charges.get(&spend.name);
            recorded += usize::from(charge.is_some());
            assert!(charge.is_some() || !spend.acknowledged, "lost: {spend:?}");
            if let Some((amount, byok, _)) = charge {
                assert_eq!((*amount, *byok), (spend.cost, spend.byok), "{spend:?}");
            }
            if let Way::Held { reservation, .. } = &spend.way {
                let state = self.reservations.get(&spend.name);
                assert!(state.is_some() || reservation.is_none(), "lost: {spend:?}");
                // Settled with the charge, or not at all.
                let cost = charge.map(|_| spend.cost);
                let expected = if cost.is_some() { "settled" } else { "held" };
                let whole = state.is_none_or(|state| *state == (expected.to_owned(), cost));
                assert!(
                    whole && (state.is_some() || cost.is_none()),
                    "{state:?}: {spend:?}"
                );
            }
        }
        assert_eq!(recorded, self.charges.len(), "a charge that was not sent");
        let held = sent
            .iter()
            .filter(|spend| self.reservations.contains_key(&spend.name));
        assert_eq!(
            held.count(),
            self.reservations.len(),
            "a reservation that was not sent"
        );
    }
}

/// Expects that the program reports the stored data, and that the data are consistent.
async fn check(deployment: &Deployment, meter: &Meter, sent: &[Spend]) -> Stored {
    let stored = Stored::read(deployment.database.url()).await;
    stored.check_sums();
    stored.check_against(sent);
    for (hash, (usage, byok_usage)) in &stored.totals {
        let key = meter.key(hash).await;
        assert_eq!(
            (key.usage_nanos, key.byok_usage_nanos),
            (*usage, *byok_usage)
        );
    }
    stored
}

/// Runs the program and kills it while all writers write; returns the charges sent.
async fn round(
    deployment: &Deployment,
    hashes: &[String],
    number: usize,
    before: &[Spend],
    random: &mut Random,
) -> Vec<Spend> {
    let served = deployment.start_patient();
    let meter = Meter::new(&served.url, &deployment.env).await;
    check(deployment, &meter, before).await;
    let (acknowledged, progress) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        writers.push(tokio::spawn(write(
            Meter::new(&served.url, &deployment.env).await,
            hashes.to_vec(),
            format!("{number}-{writer}"),
            random.fork(),
            Arc::clone(&acknowledged),
            Arc::clone(&progress),
        )));
    }
    let enough = 1 + usize::try_from(random.below(80)).unwrap();
    while acknowledged.load(Ordering::SeqCst) < enough {
        progress.notified().await;
    }
    // From an acknowledgement to some point inside the next requests.
    for _ in 0..random.below(2_000_000) {
        std::hint::spin_loop();
    }
    served.running.kill();
    let mut sent = Vec::new();
    for writer in writers {
        sent.extend(writer.await.unwrap());
    }
    let open = sent.iter().filter(|spend| !spend.acknowledged).count();
    assert!(
        sent.len() >= enough && open <= WRITERS,
        "{open} were under way"
    );
    sent
}

/// Sends everything once more, several at once, and expects that stored charges are known.
async fn repeat(meter: &Meter, sent: &mut [Spend], stored: &Stored) {
    for some in sent.chunks_mut(WRITERS) {
        join_all(
            some.iter_mut()
                .map(|spend| repeat_one(meter, spend, stored)),
        )
        .await;
    }
}

async fn repeat_one(meter: &Meter, spend: &mut Spend, stored: &Stored) {
    let known = stored.charges.contains_key(&spend.name);
    assert_eq!(spend.send(meter).await.unwrap(), known, "{spend:?}");
    if let Way::Held { amount, .. } = spend.way {
        let again = ReserveSpendRequest {
            hash: spend.name.0.clone(),
            request_id: spend.name.1.clone(),
            amount_nanos: amount,
            byok: spend.byok,
            ttl: None,
        };
        let rejected = meter.reserve(again).await.unwrap_err();
        assert_eq!(rejected.code(), Code::FailedPrecondition, "{rejected:?}");
    }
}

async fn no_charge_is_lost(deployment: Deployment) {
    let mut random = Random(seed());
    let served = deployment.start_patient();
    let meter = Meter::new(&served.url, &deployment.env).await;
    let mut hashes = Vec::new();
    for _ in 0..KEYS {
        hashes.push(meter.issue(None).await);
    }
    served.running.terminate().expect(0);

    let mut sent = Vec::new();
    for number in 0..ROUNDS {
        let of_round = round(&deployment, &hashes, number, &sent, &mut random).await;
        sent.extend(of_round);
    }
    let served = deployment.start_patient();
    let meter = Meter::new(&served.url, &deployment.env).await;
    let mut stored = check(&deployment, &meter, &sent).await;
    let acknowledged = sent.iter().filter(|spend| spend.acknowledged).count();
    println!(
        "{} sent, {acknowledged} acknowledged, {} recorded",
        sent.len(),
        stored.charges.len()
    );

    for _ in 0..2 {
        repeat(&meter, &mut sent, &stored).await;
        stored = check(&deployment, &meter, &sent).await;
        // Everything is acknowledged now, so everything is recorded exactly once.
        assert_eq!(stored.charges.len(), sent.len());
        let all: i64 = sent.iter().map(|spend| spend.cost).sum();
        let totals = stored.totals.values();
        assert_eq!(totals.map(|(own, byok)| own + byok).sum::<i64>(), all);
    }
    served.running.terminate().expect(0);
    check_integrity(&deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_loses_no_acknowledged_charge_and_counts_none_twice() {
    no_charge_is_lost(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_loses_no_acknowledged_charge_and_counts_none_twice() {
    if let Some(deployment) = Deployment::postgres().await {
        no_charge_is_lost(deployment).await;
    }
}
