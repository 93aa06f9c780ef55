//! Reads the stored rows directly, without the store.

use std::collections::BTreeMap;

use keyward_testkit::TestDatabase;
use sea_orm::{QueryResult, TryGetable};

use crate::bench::{expect, request_id};
use crate::model::{Charge, Model, State};

/// A reservation's row: key, request, amount, side, end, state and settled amount.
type Reservation = (usize, String, i64, bool, i64, String, Option<i64>);

/// Rows of the keys with these hashes.
pub(crate) struct Rows<'d> {
    database: &'d TestDatabase,
    hashes: Vec<String>,
}

fn get<T: TryGetable>(row: &QueryResult, column: &str) -> T {
    row.try_get("", column).unwrap()
}

impl<'d> Rows<'d> {
    pub(crate) fn new(database: &'d TestDatabase, hashes: Vec<String>) -> Self {
        Self { database, hashes }
    }

    /// Returns the rows of a table, each with its key.
    async fn of(&self, table: &str) -> Vec<(usize, QueryResult)> {
        let join = format!("SELECT hash, t.* FROM {table} t JOIN issued_keys k ON k.id = t.key_id");
        self.with_keys(&join).await
    }

    async fn with_keys(&self, sql: &str) -> Vec<(usize, QueryResult)> {
        let rows = self.database.query(sql).await.into_iter();
        let key = |row: &QueryResult| {
            let hash: String = get(row, "hash");
            self.hashes.iter().position(|known| *known == hash).unwrap()
        };
        rows.map(|row| (key(&row), row)).collect()
    }

    /// Checks the rows against the model, that totals are the sums of days, and that days are the sums of charges.
    pub(crate) async fn compare(&self, model: &Model) -> Result<(), String> {
        let sums =
            |row: &QueryResult| (get::<i64>(row, "usage_nanos"), get(row, "byok_usage_nanos"));
        let days = self.of("daily_usage").await;
        let days = days
            .iter()
            .map(|(key, row)| ((*key, get(row, "day")), sums(row)));
        let days: BTreeMap<(usize, i64), (i64, i64)> = days.collect();
        let keys = self.with_keys("SELECT * FROM issued_keys").await;
        for (key, row) in &keys {
            let of_key = days.iter().filter(|((of, _), _)| of == key);
            let sum = of_key.fold((0, 0), |sum, (_, day)| (sum.0 + day.0, sum.1 + day.1));
            expect(&format!("the total of key {key}"), sums(row), sum)?;
        }
        expect("the sums by day", days, model.by_day())?;
        expect("the charges", self.charges().await, charges(model))?;
        expect(
            "the reservations",
            self.reservations().await,
            reservations(model),
        )
    }

    async fn charges(&self) -> Vec<(String, Charge)> {
        let rows = self.of("charges").await;
        let charge = |(key, row): &(usize, QueryResult)| {
            let charge = Charge {
                key: *key,
                id: 0,
                amount: get(row, "amount_nanos"),
                byok: get(row, "byok"),
                occurred_at: get(row, "occurred_at"),
                recorded_at: get(row, "recorded_at"),
                rolled_up: false,
            };
            (get(row, "request_id"), charge)
        };
        let mut charges: Vec<_> = rows.iter().map(charge).collect();
        charges.sort();
        charges
    }

    async fn reservations(&self) -> Vec<Reservation> {
        let rows = self.of("reservations").await;
        let reservation = |(key, row): &(usize, QueryResult)| {
            (
                *key,
                get(row, "request_id"),
                get(row, "amount_nanos"),
                get(row, "byok"),
                get(row, "expires_at"),
                get(row, "state"),
                get(row, "settled_nanos"),
            )
        };
        let mut reservations: Vec<_> = rows.iter().map(reservation).collect();
        reservations.sort();
        reservations
    }
}

/// Returns the charges that are not rolled up.
fn charges(model: &Model) -> Vec<(String, Charge)> {
    let single = model.charges.iter().filter(|charge| !charge.rolled_up);
    let charge = |charge: &Charge| {
        let id = request_id(charge.id).to_string();
        (
            id,
            Charge {
                id: 0,
                ..charge.clone()
            },
        )
    };
    let mut charges: Vec<_> = single.map(charge).collect();
    charges.sort();
    charges
}

fn reservations(model: &Model) -> Vec<Reservation> {
    let mut reservations = Vec::new();
    for hold in &model.holds {
        let (state, settled) = match hold.state {
            State::Held => ("held", None),
            State::Released => ("released", None),
            State::Settled(cost) => ("settled", Some(cost)),
            State::Gone => continue,
        };
        let id = request_id(hold.id).to_string();
        let state = state.to_owned();
        reservations.push((
            hold.key,
            id,
            hold.amount,
            hold.byok,
            hold.expires_at,
            state,
            settled,
        ));
    }
    reservations.sort();
    reservations
}
